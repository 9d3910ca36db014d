"""From a scan and a model to landmarks: coarse, circle and fine stage, states, verdict."""

THIRD_PARTY = ("numpy", "scipy", "torch")
