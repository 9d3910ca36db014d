"""What ITK passes over without a word: cut-off NIfTI, damaged compressed MHA, NIfTI voxel sizes of zero."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .errors import VolumeError

_BLOCK = 1 << 20


def check_complete(path: Path, metadata: Mapping[str, str]) -> None:
    """Raise VolumeError when a NIfTI or compressed MetaImage file is cut off or damaged.

    `metadata` is what SimpleITK tells of the header. Other formats are checked by ITK itself.
    """
    name = path.name.lower()
    try:
        if name.endswith((".nii", ".nii.gz")):
            complete = _content_size(path) >= _nifti_size(metadata)
        elif name.endswith((".mha", ".mhd")):
            complete = _metaimage_complete(path)
        else:
            return
    except (EOFError, zlib.error, gzip.BadGzipFile):
        complete = False
    if not complete:
        raise VolumeError(f"'{path}' is cut off or damaged; copy or export it again.")


def _nifti_size(metadata: Mapping[str, str]) -> float:
    """Bytes that the header promises; 0 where it is not understood."""
    try:
        dimensions = int(metadata["dim[0]"])
        voxels = np.prod([max(1, int(metadata[f"dim[{axis + 1}]"])) for axis in range(dimensions)], dtype=float)
        return float(metadata["vox_offset"]) + float(voxels) * int(metadata["bitpix"]) / 8
    except (KeyError, ValueError):
        return 0.0


def records_zero_voxel_size(path: Path) -> bool:
    """Whether a NIfTI-1 header has a voxel size of zero, which ITK would read as one millimetre."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return False
    with gzip.open(path, "rb") if _packed(path) else path.open("rb") as stream:
        header = stream.read(92)
    for order in "<>":
        if len(header) == 92 and struct.unpack_from(f"{order}i", header)[0] == 348:
            return 0.0 in struct.unpack_from(f"{order}3f", header, 80)
    return False


def _packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _content_size(path: Path) -> int:
    """Bytes of a file, unpacked if it is gzip (whose checksum is then verified)."""
    if not _packed(path):
        return path.stat().st_size
    size = 0
    with gzip.open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
    return size


def _metaimage_complete(path: Path) -> bool:
    """Whether the zlib stream of a compressed MetaImage ends with the right checksum."""
    with path.open("rb") as header:
        fields: dict[str, str] = {}
        while "elementdatafile" not in fields:
            line = header.readline(4096)
            if not line:
                return False
            key, _, value = line.decode("latin-1").partition("=")
            fields[key.strip().lower()] = value.strip()
        start = header.tell()
    if fields.get("compresseddata", "false").lower() not in ("true", "1"):
        return True
    data = fields["elementdatafile"]
    source, start = (path, start) if data.upper() == "LOCAL" else (path.parent / data, 0)
    unpacker = zlib.decompressobj(wbits=47)  # zlib or gzip
    with source.open("rb") as stream:
        stream.seek(start)
        while not unpacker.eof:
            block = stream.read(_BLOCK)
            if not block:
                return False
            unpacker.decompress(block)
    return True
