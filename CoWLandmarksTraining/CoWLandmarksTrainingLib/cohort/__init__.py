"""Annotated scans: finding, reading, checking and splitting them."""

THIRD_PARTY = ("numpy", "SimpleITK", "torch")
