"""NIfTI-1 files made byte by byte, with headers that no library would write."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

STRAIGHT = ((2.0, 0.0, 0.0, 1.0), (0.0, 2.2, 0.0, 2.0), (0.0, 0.0, 2.5, 3.0))
"""Rows of a plain sform: voxels of 2 x 2.2 x 2.5 mm along R, A, S."""
_TYPES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "u2": 512, "i8": 1024}


def nifti_bytes(
    *,
    dim: tuple[int, ...] = (3, 14, 12, 10),
    pixdim: tuple[float, float, float] = (2.0, 2.2, 2.5),
    sform: object = STRAIGHT,
    qform: tuple[float, ...] | None = None,
    scale: tuple[float, float] = (1.0, 0.0),
    units: int = 2,
    voxels: np.ndarray | None = None,
    dtype: str = "i2",
    big_endian: bool = False,
    qfac: float = 1.0,
    description: bytes = b"",
    type_code: int | None = None,
    bits: int | None = None,
    offset: float = 352.0,
) -> bytes:
    """A NIfTI file: `sform` rows (3, 4) or None, `qform` (b, c, d, x, y, z) or None, `scale` (slope, intercept)."""
    order = ">" if big_endian else "<"
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, *(*dim, *[1] * (8 - len(dim))))
    item = np.dtype(dtype).itemsize
    code = _TYPES[dtype] if type_code is None else type_code
    struct.pack_into(f"{order}2h", header, 70, code, 8 * item if bits is None else bits)
    struct.pack_into(f"{order}8f", header, 76, qfac, *pixdim, 1, 1, 1, 1)
    struct.pack_into(f"{order}3f", header, 108, offset, *scale)
    header[123] = units
    header[148 : 148 + len(description)] = description
    struct.pack_into(f"{order}2h", header, 252, 0 if qform is None else 1, 0 if sform is None else 1)
    if qform is not None:
        struct.pack_into(f"{order}6f", header, 256, *qform)
    if sform is not None:
        struct.pack_into(f"{order}12f", header, 280, *np.ravel(np.asarray(sform, float)))
    header[344:348] = b"n+1\0"
    if voxels is None:
        voxels = np.arange(np.prod(dim[1:])) % 1000
    return bytes(header) + voxels.astype(order + dtype).tobytes()


def write_nifti(path: Path, **fields: object) -> Path:
    """Write `nifti_bytes(**fields)`, packed if the name ends in .gz."""
    content = nifti_bytes(**fields)  # type: ignore[arg-type]
    path.write_bytes(gzip.compress(content, 1) if path.name.endswith(".gz") else content)
    return path
