"""Training: stages, methods, samples, both phases, checkpoints."""

THIRD_PARTY = ("numpy", "scipy", "torch")
