"""Scans from files: NIfTI, NRRD, MetaImage and DICOM, each checked for damage."""

THIRD_PARTY = ("numpy", "pydicom", "SimpleITK", "torch")
