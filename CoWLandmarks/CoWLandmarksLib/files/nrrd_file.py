"""Scans and label maps as NRRD without SimpleITK, plain or packed: 3D Slicer's own process uses this.

The header holds type, size and geometry, and what the caller adds: nothing of the file that a scan came from.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from ..core.atomic_files import atomic_path
from ..core.errors import OutputError, VolumeError
from ..core.volume import Volume

_TYPES = {
    ("i", 1): "int8",
    ("u", 1): "uint8",
    ("i", 2): "int16",
    ("u", 2): "uint16",
    ("i", 4): "int32",
    ("u", 4): "uint32",
    ("i", 8): "int64",
    ("u", 8): "uint64",
    ("f", 4): "float",
    ("f", 8): "double",
}
_NUMPY_TYPES = {text: f"{kind}{size}" for (kind, size), text in _TYPES.items()} | {"unsigned char": "u1"}
"""The last is how SimpleITK calls it, which wrote the label maps of version 0.1.0."""
_CHUNK_BYTES = 1 << 20
"""Packed at a time: some ten milliseconds."""
_GZIP = zlib.MAX_WBITS | 16
_SPACE = "right-anterior-superior"


def write_plain_nrrd(path: Path, volume: Volume) -> None:
    """Write a scan as uncompressed NRRD in RAS mm; raises OutputError."""
    voxels = _storable(volume)
    try:
        with path.open("wb") as file:
            file.write(_header(volume, voxels, "raw", {}))
            # Writing a whole buffer leaves other threads in peace, converting it would not.
            file.write(voxels.data)
    except OSError as error:
        raise OutputError(
            f"'{path}' cannot be written: {error.strerror or error}; make room on the disk of the temporary folder."
        ) from error


@dataclass(frozen=True)
class NrrdHeader:
    """`fields` by their names in lower case without blanks; `pairs` (key:=value) are what the writer added to them."""

    fields: Mapping[str, str]
    pairs: Mapping[str, str]


def parse_nrrd_header(lines: Iterable[str]) -> NrrdHeader:
    """The header in the lines between the first one ("NRRD000x") and the blank one; what is neither is passed over."""
    fields, pairs = {}, {}
    for line in lines:
        key, colon, value = line.partition(":")
        if not colon or line.startswith("#"):
            continue
        if value.startswith("="):
            pairs[key] = value[1:]
        else:
            fields["".join(key.lower().split())] = value.strip()
    return NrrdHeader(fields, pairs)


def read_own_nrrd(path: str | PathLike[str]) -> tuple[np.ndarray, NrrdHeader]:
    """Voxels [k, j, i], read-only, and header of a file that this module wrote; raises VolumeError for most others.

    Packed label maps of SimpleITK are read as well. No copy of the voxels is made.
    """
    try:
        head, _, data = Path(path).read_bytes().partition(b"\n\n")
        header = parse_nrrd_header(head.decode("utf-8").splitlines()[1:])
        kind = np.dtype(_NUMPY_TYPES[header.fields["type"]])
        if kind.itemsize > 1:
            kind = kind.newbyteorder(">" if header.fields["endian"] == "big" else "<")
        encoding = header.fields["encoding"]
        if encoding not in ("raw", "gzip"):
            raise ValueError(f"encoding {encoding}")
        width, height, depth = (int(text) for text in header.fields["sizes"].split())
        unpacked = data if encoding == "raw" else zlib.decompress(data, zlib.MAX_WBITS | 32)
        return np.frombuffer(unpacked, kind).reshape(depth, height, width), header
    except (OSError, ValueError, KeyError, zlib.error) as error:
        raise VolumeError(f"'{path}' cannot be read ({error!r}); run the detection again.") from error


def read_plain_nrrd(path: Path, name: str) -> Volume:
    """Read a file that `write_plain_nrrd` wrote; raises VolumeError for any other."""
    voxels, header = read_own_nrrd(path)
    matrix = np.eye(4)
    try:
        if header.fields["space"] != _SPACE:
            raise ValueError(f"space {header.fields['space']}")
        for column, vector in enumerate([*header.fields["spacedirections"].split(), header.fields["spaceorigin"]]):
            matrix[:3, column] = [float(text) for text in vector.strip("()").split(",")]
    except (ValueError, KeyError, IndexError) as error:
        raise VolumeError(f"'{path}' cannot be read ({error!r}); run the detection again.") from error
    return Volume(voxels, matrix, name)


def packing_nrrd(path: str | PathLike[str], volume: Volume, fields: Mapping[str, str] | None = None) -> Iterator[float]:
    """Write a scan as compressed NRRD in RAS mm, a little at each step; yields the part that is done.

    `fields` are further entries of the header. The file appears when the last step is taken, and not at all if the
    iterator is closed before. Raises OutputError.
    """
    voxels = _storable(volume)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_header(volume, voxels, "gzip", fields or {}))
        packer = zlib.compressobj(level=1, wbits=_GZIP)
        content = voxels.reshape(-1).view(np.uint8).data
        for start in range(0, len(content), _CHUNK_BYTES):
            file.write(packer.compress(content[start : start + _CHUNK_BYTES]))
            yield start / len(content)
        file.write(packer.flush())


def _storable(volume: Volume) -> np.ndarray:
    """The voxels, contiguous and in a type that NRRD has; the same array where it is so already."""
    voxels = volume.voxels.view(np.uint8) if volume.voxels.dtype == np.bool_ else volume.voxels
    if voxels.dtype == np.float16:
        voxels = voxels.astype(np.float32)
    if (voxels.dtype.kind, voxels.dtype.itemsize) not in _TYPES or voxels.ndim != 3:
        raise OutputError(f"'{volume.name}' holds {voxels.dtype} values in {voxels.ndim} dimensions; give a grey scan.")
    return np.ascontiguousarray(voxels, voxels.dtype.newbyteorder("="))


def _header(volume: Volume, voxels: np.ndarray, encoding: str, fields: Mapping[str, str]) -> bytes:
    matrix = np.asarray(volume.ijk_to_ras, float)
    vectors = [f"({','.join(repr(float(value)) for value in vector)})" for vector in matrix[:3, :].T]
    lines = [
        "NRRD0004",
        f"type: {_TYPES[voxels.dtype.kind, voxels.dtype.itemsize]}",
        "dimension: 3",
        f"space: {_SPACE}",
        f"sizes: {' '.join(str(n) for n in voxels.shape[::-1])}",
        f"space directions: {' '.join(vectors[:3])}",
        "kinds: domain domain domain",
        f"endian: {sys.byteorder}",
        f"encoding: {encoding}",
        f"space origin: {vectors[3]}",
        *(f"{key}:={value}" for key, value in fields.items()),
    ]
    return ("\n".join(lines) + "\n\n").encode("utf-8")
