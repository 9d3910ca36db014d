"""The vocabulary of the program: anatomy, scan geometry, detections, artery maps, errors."""

THIRD_PARTY = ("numpy",)
