"""A cohort brought into one reference frame, by templates or by landmarks."""

THIRD_PARTY = ("numpy", "scipy", "torch")
