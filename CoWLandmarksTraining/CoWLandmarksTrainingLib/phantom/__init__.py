"""Synthetic angiograms with exact landmarks: geometry (numpy) and rendering (torch)."""
