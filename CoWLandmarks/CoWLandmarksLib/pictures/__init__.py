"""The report picture, drawn without a display."""

THIRD_PARTY = ("numpy", "scipy", "torch", "vtkmodules")
