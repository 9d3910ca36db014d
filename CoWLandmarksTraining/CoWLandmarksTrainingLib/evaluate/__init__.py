"""Evaluation and calibration of models on annotated scans."""

THIRD_PARTY = ("numpy", "torch")
