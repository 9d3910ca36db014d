"""Synthetic angiograms: a Circle of Willis drawn at random, and its image."""

THIRD_PARTY = ("numpy", "scipy", "torch")
