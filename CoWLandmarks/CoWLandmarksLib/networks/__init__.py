"""Networks and what they read and write: generator, heatmaps, weights, resampled images."""

THIRD_PARTY = ("numpy", "torch")
