"""Figures of errors and reliability."""

THIRD_PARTY = ("numpy", "scipy")
