"""What a NIfTI-1 header says, contradictions included, which ITK settles silently.

ITK's metadata show the header as mended: voxel sizes of zero or NaN are 1, a NaN in the quaternion is 0, numbers have
six digits, and the sign of the third axis (qfac) is missing; so the bytes are read here.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import VolumeError
from ..core.volume import NO_ORIENTATION, Grid, Sides

ENDINGS = (".nii", ".nii.gz", ".hdr", ".img", ".img.gz")
_BYTES = 348
_ITEM_BYTES = {2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4, 1024: 8, 1280: 8, 2304: 4}
_FLOATS = {16: "f4", 64: "f8"}
_TO_MM = {1: 1000.0, 3: 0.001}
_SIZES_DIFFER = 0.02
_DISAGREEMENT_MM = 1.0


@dataclass(frozen=True)
class NiftiHeader:
    """The fields that matter here, lengths in the file's own unit; `order` is '<' or '>', `srow` (3, 4).

    `quaternion` and `offset` are (b, c, d) and (x, y, z) of the qform. `single` tells whether the voxels follow in
    the same file.
    """

    order: str
    dim: tuple[int, ...]
    datatype: int
    pixdim: tuple[float, ...]
    voxel_offset: float
    units: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, float, float]
    offset: tuple[float, float, float]
    srow: np.ndarray
    single: bool

    @property
    def data_bytes(self) -> float:
        """Bytes of all voxels; 0 for an unknown type."""
        count = np.prod([max(1, n) for n in self.dim[1 : 1 + max(0, min(self.dim[0], 7))]], dtype=float)
        return float(count) * _ITEM_BYTES.get(self.datatype, 0)

    @property
    def float_type(self) -> str | None:
        """numpy's name of the voxel type where that is a real floating-point number."""
        name = _FLOATS.get(self.datatype)
        return None if name is None else self.order + name

    @property
    def unit_mm(self) -> float:
        """Length unit in mm."""
        return _TO_MM.get(self.units & 7, 1.0)

    def sform(self) -> np.ndarray:
        """(4, 4) ijk-to-RAS in mm as the sform has it."""
        return self._in_mm(np.vstack([self.srow, (0.0, 0.0, 0.0, 1.0)]))

    def qform(self) -> np.ndarray:
        """(4, 4) ijk-to-RAS in mm as quaternion, voxel size and offset have it (nifti1.h, method 2)."""
        b, c, d = self.quaternion
        a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        matrix = np.eye(4)
        matrix[:3, :3] = rotation * np.array(self.pixdim[1:4]) * (1.0, 1.0, -1.0 if self.pixdim[0] < 0 else 1.0)
        matrix[:3, 3] = self.offset
        return self._in_mm(matrix)

    def _in_mm(self, matrix: np.ndarray) -> np.ndarray:
        matrix[:3] *= self.unit_mm
        return matrix


def header_file(path: Path) -> Path:
    """The file of a NIfTI pair that holds the header: the `.hdr` beside an `.img`."""
    name = path.name.lower()
    if name.endswith((".img", ".img.gz")):
        stem = path.name[: name.rindex(".img")]
        for ending in (".hdr", ".HDR", ".hdr.gz"):
            if path.with_name(stem + ending).is_file():
                return path.with_name(stem + ending)
    return path


def read_nifti_header(path: Path) -> NiftiHeader | None:
    """The header of a NIfTI-1 or Analyze file, packed or not; None where there is none.

    Raises VolumeError for NIfTI-2, which nothing here can read.
    """
    if not path.name.lower().endswith(ENDINGS):
        return None
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            header = stream.read(_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return None
    if len(header) < 4:
        return None
    if 540 in struct.unpack("<i", header[:4]) + struct.unpack(">i", header[:4]):
        raise VolumeError(f"'{path}' is NIfTI-2, which is not supported; convert it to NIfTI-1 (.nii.gz) or NRRD.")
    for order in "<>":
        if len(header) == _BYTES and struct.unpack_from(f"{order}i", header)[0] == _BYTES:
            return _parsed(header, order)
    return None


def _parsed(header: bytes, order: str) -> NiftiHeader:
    b, c, d, x, y, z = struct.unpack_from(f"{order}6f", header, 256)
    nifti = header[344:348] in (b"n+1\0", b"ni1\0")
    codes = struct.unpack_from(f"{order}2h", header, 252) if nifti else (0, 0)
    return NiftiHeader(
        order=order,
        dim=struct.unpack_from(f"{order}8h", header, 40),
        datatype=struct.unpack_from(f"{order}h", header, 70)[0],
        pixdim=struct.unpack_from(f"{order}8f", header, 76),
        voxel_offset=struct.unpack_from(f"{order}f", header, 108)[0],
        units=header[123] if nifti else 0,
        qform_code=codes[0],
        sform_code=codes[1],
        quaternion=(b, c, d),
        offset=(x, y, z),
        srow=np.array(struct.unpack_from(f"{order}12f", header, 280), float).reshape(3, 4),
        single=header[344:348] == b"n+1\0",
    )


def check_nifti_header(header: NiftiHeader, path: Path) -> None:
    """Raise VolumeError for voxel sizes and axes that ITK would quietly replace by others."""
    again = "convert it again from the original images"
    sizes = np.array(header.pixdim[1:4])
    if (sizes == 0).any():
        raise VolumeError(f"'{path}' records a voxel size of zero; {again}.")
    if not np.isfinite(sizes).all():
        raise VolumeError(f"'{path}' records voxel sizes that are not numbers; {again}.")
    if header.sform_code <= 0 and (sizes < 0).any():
        raise VolumeError(f"'{path}' records a negative voxel size, which leaves left and right unsure; {again}.")
    numbers = np.concatenate([np.ravel(header.srow) if header.sform_code > 0 else np.zeros(0)])
    if header.qform_code > 0:
        numbers = np.concatenate([numbers, header.quaternion, header.offset])
    if not np.isfinite(numbers).all():
        raise VolumeError(f"'{path}' has damaged axes or origin (not finite numbers); {again}.")
    if header.qform_code > 0 and np.linalg.norm(header.quaternion) > 1.01:
        raise VolumeError(f"'{path}' has damaged axes (an impossible rotation in its qform); {again}.")
    if header.sform_code > 0 and header.qform_code <= 0:  # a sound qform beside it is used, with a warning
        columns = np.linalg.norm(header.srow[:, :3], axis=0)
        if (np.abs(columns / np.abs(sizes) - 1.0) > _SIZES_DIFFER).any():
            _refuse_contradiction(columns, np.abs(sizes), header, path)


def _refuse_contradiction(columns: np.ndarray, sizes: np.ndarray, header: NiftiHeader, path: Path) -> None:
    axes = header.srow[:, :3] / np.where(columns > 0, columns, 1.0)
    if abs(np.linalg.det(axes)) < 0.99:
        return  # sheared or lost axes: there is a better message for that
    both = (" x ".join(f"{size * header.unit_mm:.4g}" for size in some) for some in (columns, sizes))
    raise VolumeError(
        f"'{path}' records two voxel sizes, {next(both)} mm (sform) and {next(both)} mm (pixdim); convert it again "
        "from the original images."
    )


def geometry_doubts(header: NiftiHeader, grid: Grid) -> tuple[tuple[str, ...], Sides]:
    """Sentences about a header that leaves left and right, or the place, unsure, and what it says of the sides.

    `grid` is how it was understood.
    """
    if header.sform_code <= 0 and header.qform_code <= 0:
        return (NO_ORIENTATION,), Sides.UNRECORDED
    if header.sform_code <= 0 or header.qform_code <= 0:
        return (), Sides.RECORDED
    corners = np.c_[grid.size * np.indices((2, 2, 2)).reshape(3, -1).T, np.ones(8)]
    sform, qform = header.sform(), header.qform()
    apart = float(np.abs(corners @ (sform - qform).T).max())
    if apart <= _DISAGREEMENT_MM:
        return (), Sides.RECORDED
    gaps = [float(np.abs(corners @ (matrix - grid.ijk_to_ras).T).max()) for matrix in (sform, qform)]
    used = f"the {'sform' if gaps[0] <= gaps[1] else 'qform'} was used"
    if min(gaps) > _DISAGREEMENT_MM:
        used = "the sform was used with the voxel sizes of the qform, as in 3D Slicer"
    mirrored = np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0
    sides = ", of which one mirrors the other, so that left and right are unsure" if mirrored else ""
    sentence = f"The file records two positions {apart:.0f} mm apart (sform, qform){sides}; {used}."
    return (sentence,), Sides.CONTRADICTORY if mirrored else Sides.RECORDED
