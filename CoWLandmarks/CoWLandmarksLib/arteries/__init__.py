"""From a scan and its landmarks to the arteries between them."""

THIRD_PARTY = ("numpy", "scipy", "torch")
