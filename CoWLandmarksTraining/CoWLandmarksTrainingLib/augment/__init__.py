"""Random changes of training cases: deformation, intensity, errors of earlier stages."""

THIRD_PARTY = ("numpy", "scipy", "torch")
