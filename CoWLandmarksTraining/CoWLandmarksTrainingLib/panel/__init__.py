"""What the training panel shows, without Qt."""

THIRD_PARTY = ("numpy", "slicer", "vtk")
