"""Annotated scans: finding, reading, checking and splitting them."""

THIRD_PARTY = ("numpy", "scipy", "SimpleITK", "torch")
