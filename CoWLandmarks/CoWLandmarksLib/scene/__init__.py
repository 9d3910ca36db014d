"""Everything in a MRML scene: point lists, tables, segmentations, views, the review. No Qt."""

THIRD_PARTY = ("numpy", "slicer", "vtk")
