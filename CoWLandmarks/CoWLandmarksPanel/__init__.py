"""The parts of the panel of the 3D Slicer module CoW Landmarks; they run in Slicer only."""
