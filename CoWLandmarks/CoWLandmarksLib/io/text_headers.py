"""The text headers of NRRD and MetaImage files: what is needed to check that their voxels are all there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..files.nrrd_file import parse_nrrd_header

_LONGEST_LINE = 1 << 16
_MOST_LINES = 10_000
_NRRD_ITEM_BYTES = {
    "char": 1,
    "short": 2,
    "int": 4,
    "long": 8,
    "float": 4,
    "double": 8,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
}
_NUMBER_IN_NAME = re.compile(r"%0?[0-9]?d")
_MOST_FILES = 100_000
_META_ITEM_BYTES = {"char": 1, "short": 2, "int": 4, "long": 4, "long_long": 8, "float": 4, "double": 8}


@dataclass(frozen=True)
class TextHeader:
    """`fields` by lower-case name; the voxels are in `data` (None: in several files, `parts`) from byte `start` on.

    `packing` is '', 'zlib', 'bzip2' or 'text'; `data_bytes` are those of all unpacked voxels, 0 where unknown.
    """

    fields: dict[str, str]
    data: Path | None
    start: int
    packing: str
    data_bytes: float
    parts: tuple[Path, ...] = ()


def read_nrrd_header(path: Path) -> TextHeader | None:
    """Header of an NRRD file; None for what is none."""
    lines, start = _lines(path, lambda line: not line.strip())
    if lines is None or not lines[0].startswith("NRRD"):
        return None
    fields = dict(parse_nrrd_header(lines[1:]).fields)
    kind = fields.get("type", "").lower()
    kind = kind.removeprefix("unsigned ").removeprefix("signed ").removesuffix("_t").split(" ")[0]
    kind = "char" if kind == "uchar" else kind.removeprefix("u")
    data_file = fields.get("datafile")
    plain = data_file is None or not _names_several(data_file)
    skipped = any(fields.get(key, "0") not in ("0", "") for key in ("lineskip", "byteskip"))
    encoding = fields.get("encoding", "").lower()
    packing = {"raw": "", "gzip": "zlib", "gz": "zlib", "bzip2": "bzip2", "bz2": "bzip2"}.get(encoding, "text")
    return TextHeader(
        fields,
        None if not plain else path if data_file is None else path.parent / data_file,
        start if data_file is None else 0,
        packing,
        0.0 if skipped else _product(fields.get("sizes", "")) * _NRRD_ITEM_BYTES.get(kind, 0),
        () if data_file is None or plain else _parts(data_file, _behind_data_file(lines), path.parent),
    )


def read_metaimage_header(path: Path) -> TextHeader | None:
    """Header of a MetaImage file; None for what is none."""
    lines, start = _lines(path, lambda line: line.partition("=")[0].strip().lower() == "elementdatafile")
    if lines is None:
        return None
    fields = {}
    for line in lines:
        key, equals, value = line.partition("=")
        if equals:
            fields[key.strip().lower()] = value.strip()
    data_file = fields.get("elementdatafile", "")
    local = data_file.upper() == "LOCAL"
    plain = local or not _names_several(data_file)
    skipped = fields.get("headersize", "0") not in ("0", "")
    packing = "zlib" if fields.get("compresseddata", "").lower() in ("true", "1") else ""
    if fields.get("binarydata", "true").lower() in ("false", "0"):
        packing = "text"
    kind = fields.get("elementtype", "").lower().removeprefix("met_").removesuffix("_array")
    kind = kind if kind in _META_ITEM_BYTES else kind.removeprefix("u")
    voxels = _product(fields.get("dimsize", "")) * _product(fields.get("elementnumberofchannels", "1"))
    return TextHeader(
        fields,
        None if not plain else path if local else path.parent / data_file,
        start if local else 0,
        packing,
        0.0 if skipped else voxels * _META_ITEM_BYTES.get(kind, 0),
        () if plain else _parts(data_file, _lines_from(path, start), path.parent),
    )


def _names_several(data_file: str) -> bool:
    """Whether voxels lie in several files: a list of names follows, or numbers stand in for a part of the name."""
    return data_file.upper().startswith("LIST") or "%" in data_file


def _parts(data_file: str, listed: Sequence[str], folder: Path) -> tuple[Path, ...]:
    """The files of `LIST` or of `name%03d.raw FIRST LAST STEP`; none where it cannot be told."""
    if data_file.upper().startswith("LIST"):
        return tuple(folder / line.strip() for line in listed[:_MOST_FILES] if line.strip())
    name, *numbers = data_file.split()
    try:
        first, last, step = (int(number) for number in (*numbers[:2], *(numbers[2:3] or ["1"])))
        places = range(first, last + (1 if step > 0 else -1), step)[:_MOST_FILES]
    except ValueError:
        return ()
    pattern = _NUMBER_IN_NAME.search(name)
    if pattern is None:
        return ()
    before, after = name[: pattern.start()], name[pattern.end() :]
    return tuple(folder / f"{before}{pattern.group() % place}{after}" for place in places)


def _behind_data_file(lines: Sequence[str]) -> Sequence[str]:
    """The lines of an NRRD header that follow the field `data file`, which then is its last one."""
    keys = ["".join(line.partition(":")[0].lower().split()) for line in lines]
    return lines[keys.index("datafile") + 1 :]


def _lines_from(path: Path, start: int) -> list[str]:
    with path.open("rb") as stream:
        stream.seek(start)
        return [line.decode("latin-1").rstrip("\r\n") for line in stream]


def _lines(path: Path, is_last: Callable[[str], bool]) -> tuple[list[str] | None, int]:
    """Lines up to the last one, and where the bytes behind it start."""
    lines: list[str] = []
    with path.open("rb") as stream:
        while len(lines) < _MOST_LINES:
            line = stream.readline(_LONGEST_LINE)
            if not line:
                # An NRRD header without data may end with the file.
                return (lines or None) if lines and lines[0].startswith("NRRD") else None, stream.tell()
            lines.append(line.decode("latin-1").rstrip("\r\n"))
            if is_last(lines[-1]):
                return lines, stream.tell()
    return None, 0


def _product(text: str) -> float:
    try:
        return float(np.prod([float(part) for part in text.split()], dtype=float)) if text.split() else 0.0
    except ValueError:
        return 0.0
