"""What is written beside a scan and read back: point lists, tables, label maps, cases, result folders."""

THIRD_PARTY = ("highdicom", "numpy", "pydicom", "vtkmodules")
