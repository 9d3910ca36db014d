"""What ITK passes over silently: cut-off NIfTI, damage in packed voxels, and what it reads as something else."""

from __future__ import annotations

import bz2
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..core.errors import VolumeError
from ..core.volume import MOST_NOT_A_NUMBER_PERCENT, NO_ORIENTATION
from .nifti_header import ENDINGS, NiftiHeader, check_nifti_header, header_file, read_nifti_header
from .text_headers import TextHeader, read_metaimage_header, read_nrrd_header

_BLOCK = 1 << 20
_UNUSED_BEHIND = 16 * _BLOCK
"""Packed bytes behind the voxels are not unpacked further than this."""
_ZLIB_OR_GZIP = 47
_GZIP = b"\x1f\x8b"


_MILLIMETRES = ("mm", "millimeter", "millimeters", "millimetre", "millimetres", "none", "s", "ms", "")
_NRRD_SPACES = (
    "right-anterior-superior", "left-anterior-superior", "left-posterior-superior", "ras", "las", "lps"
)  # fmt: skip


def check_complete(path: Path) -> tuple[str, ...]:
    """Raise VolumeError when a scan file is cut off, damaged or without voxel size; returns warnings.

    Packed voxels are unpacked once, block by block, so that checksums are verified and memory is only taken for
    voxels that are there. Files of other formats than NIfTI, NRRD and MetaImage pass.
    """
    name = path.name.lower()
    try:
        if name.endswith(ENDINGS):
            return _check_nifti(path)
        if name.endswith((".nrrd", ".nhdr")):
            return _check_text(path, read_nrrd_header(path), _nrrd_doubts)
        if name.endswith((".mha", ".mhd")):
            return _check_text(path, read_metaimage_header(path), _metaimage_doubts)
    except (EOFError, zlib.error, ValueError) as error:
        raise _damaged(path) from error
    return ()


def files_of_image(path: Path) -> tuple[Path, ...]:
    """The image file and, where its voxels lie in others (`.mhd`, `.nhdr`, `.hdr`), those.

    A file that cannot be read stands for itself; whoever reads its voxels will say so.
    """
    name = path.name.lower()
    parts: tuple[Path | None, ...] = ()
    if name.endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
        try:
            header = read_nrrd_header(path) if name.endswith((".nrrd", ".nhdr")) else read_metaimage_header(path)
        except (OSError, ValueError):
            return (path,)
        parts = () if header is None else header.parts or (header.data,)
    elif name.endswith((".hdr", ".hdr.gz")):
        parts = (_voxel_file(path),)
    return (path, *(part for part in parts if part is not None and part != path and part.is_file()))


def _damaged(path: Path) -> VolumeError:
    return VolumeError(f"'{path}' is cut off or damaged; copy or export it again.")


def _check_nifti(path: Path) -> tuple[str, ...]:
    header = read_nifti_header(header_file(path))
    if header is None:
        if _is_packed(path):
            _length_of_packed(path, 0.0)  # a cut or a changed bit is the better reason, if there is one
        return ()
    check_nifti_header(header, path)
    data = path if header.single else _voxel_file(header_file(path))
    start = max(header.voxel_offset, 0.0)
    if data is None or not np.isfinite(start):
        raise _damaged(path)
    needed = start + header.data_bytes
    if header.float_type is None and not _is_packed(data):
        if data.stat().st_size < needed:
            raise _damaged(data)
        return ()
    return _checked_stream(data, needed, header, int(start))


def _voxel_file(header: Path) -> Path | None:
    """The voxels that belong to a `.hdr` file."""
    stem = header.name[: header.name.lower().rindex(".hdr")] if ".hdr" in header.name.lower() else header.name
    places = (header.with_name(stem + ending) for ending in (".img", ".IMG", ".img.gz"))
    return next((place for place in places if place.is_file()), None)


def _checked_stream(path: Path, needed: float, header: NiftiHeader, start: int) -> tuple[str, ...]:
    """Length and, of floating-point voxels, the number that are not finite, which the NIfTI reader makes zero."""
    length = bad = 0
    rest = b""
    warnings: list[str] = []
    with path.open("rb") as stream:
        for block in _unpacked(stream, warnings) if _is_packed(path) else _read(stream):
            if header.float_type is not None:
                voxels = rest + block[max(0, start - length) : max(0, int(needed) - length)]
                whole = len(voxels) - len(voxels) % np.dtype(header.float_type).itemsize
                values = np.frombuffer(voxels[:whole], header.float_type)
                bad, rest = bad + len(values) - int(np.count_nonzero(np.isfinite(values))), voxels[whole:]
            length += len(block)
            if length > needed + _UNUSED_BEHIND:
                break
    if length < needed:
        raise _damaged(path)
    if bad and header.float_type is not None:
        share = 100.0 * bad * np.dtype(header.float_type).itemsize / header.data_bytes
        if share > MOST_NOT_A_NUMBER_PERCENT:
            raise VolumeError(
                f"{share:.1f} % of the values of '{path}' are not numbers (NaN or infinite); "
                "replace them by the background value and try again."
            )
        warnings.append(f"{bad} values were not numbers (NaN or infinite); they were replaced by 0.")
    return tuple(warnings)


def _check_text(
    path: Path, header: TextHeader | None, doubts: Callable[[Path, TextHeader], tuple[str, ...]]
) -> tuple[str, ...]:
    if header is None or header.data is None or header.packing == "text" or not header.data.is_file():
        return ()  # ITK says what is wrong
    warnings = doubts(path, header)
    if header.packing:
        with header.data.open("rb") as stream:
            stream.seek(header.start)
            more: list[str] = []
            blocks = _unpacked(stream, more) if header.packing == "zlib" else _unpacked_bzip2(stream)
            length = 0
            for block in blocks:
                length += len(block)
                if length > header.data_bytes + _UNUSED_BEHIND:
                    break
        warnings = (*warnings, *more)
    else:
        length = header.data.stat().st_size - header.start
    if length < header.data_bytes:
        raise _damaged(path)
    return warnings


def _nrrd_doubts(path: Path, header: TextHeader) -> tuple[str, ...]:
    if not {"spacings", "spacedirections"} & set(header.fields):
        raise VolumeError(f"'{path}' records no voxel size; export it again with its geometry.")
    units = header.fields.get("spaceunits", "").replace('"', " ").split()
    other = next((unit for unit in units if unit.lower() not in _MILLIMETRES), None)
    if other is not None:
        raise VolumeError(f"'{path}' records voxel sizes in {other}; export it again in millimetres.")
    sizes = header.fields.get("spacings", "").split()[-3:]
    if any(not 0.0 < float(size) < math.inf for size in sizes):
        raise VolumeError(f"'{path}' records an impossible voxel size ({' '.join(sizes)}); export it again.")
    space = header.fields.get("space", "").lower().removesuffix("-time")
    return () if space in _NRRD_SPACES else (NO_ORIENTATION,)


def _metaimage_doubts(path: Path, header: TextHeader) -> tuple[str, ...]:
    sizes = header.fields.get("elementspacing", header.fields.get("elementsize", ""))
    if not sizes:
        raise VolumeError(f"'{path}' records no voxel size; export it again with its geometry.")
    if any(float(size) < 0 for size in sizes.split()):
        raise VolumeError(f"'{path}' records a negative voxel size ({sizes}); export it again with its geometry.")
    return () if {"transformmatrix", "rotation", "orientation"} & set(header.fields) else (NO_ORIENTATION,)


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _length_of_packed(path: Path, needed: float) -> int:
    length = 0
    with path.open("rb") as stream:
        for block in _unpacked(stream, []):
            length += len(block)
            if length > needed + _UNUSED_BEHIND:
                break
    return length


def _read(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block


def _unpacked(stream: BinaryIO, warnings: list[str]) -> Iterator[bytes]:
    """What a zlib stream or all members of a gzip file hold, a megabyte at most at a time.

    Raises EOFError or zlib.error for a stream that is cut off or damaged. Other bytes behind it are left alone,
    with a warning.
    """
    waiting = stream.read(_BLOCK)
    packed = waiting[:2] == _GZIP
    while waiting:
        unpacker = zlib.decompressobj(_ZLIB_OR_GZIP)
        while not unpacker.eof:
            if not waiting:
                raise EOFError
            yield unpacker.decompress(waiting, _BLOCK)
            waiting = unpacker.unconsumed_tail or (b"" if unpacker.eof else stream.read(_BLOCK))
        waiting = (unpacker.unused_data or stream.read(_BLOCK)).lstrip(b"\0")
        if waiting and not (packed and waiting[:2] == _GZIP):
            warnings.append("Bytes that belong to no scan follow the packed voxels; they were left out.")
            return


def _unpacked_bzip2(stream: BinaryIO) -> Iterator[bytes]:
    unpacker = bz2.BZ2Decompressor()
    while not unpacker.eof:
        block = stream.read(_BLOCK) if unpacker.needs_input else b""
        if unpacker.needs_input and not block:
            raise EOFError
        try:
            yield unpacker.decompress(block, _BLOCK)
        except OSError as error:
            raise zlib.error("damaged") from error
