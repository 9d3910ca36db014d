"""The nested sequences of a DICOM file, which SimpleITK's header access leaves out.

Enhanced multi-frame files keep the position, orientation and scale of every frame in such sequences
(DICOM PS3.3 C.7.6.16). Only what is asked for is kept; encoding rules are those of PS3.5 section 7.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Union

from ..core.errors import VolumeError

Item = dict[int, Union[bytes, "list[Item]"]]
"""One data set: tag (group << 16 | element) -> raw value, or items of a sequence."""

_EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_TRANSFER_SYNTAX = 0x00020010
PIXEL_DATA = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG_FORMS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_DEEPEST = 16
_LONGEST_VALUE = 4096
_LONGEST_HEADER = 1 << 24


def read_sequences(path: Path, sequences: Collection[int]) -> Item:
    """The top-level data set of a DICOM file up to its pixels (an empty value under PIXEL_DATA).

    Of the sequences only those named are opened; values longer than 4096 bytes are left out.

    Raises VolumeError when the file is damaged or stored in an encoding that is no longer in use.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[128:132] != b"DICM":
                raise VolumeError(f"'{path}' has no DICOM preamble, so its frames cannot be placed; export it again.")
            meta = _Reader(data, explicit=True, sequences=())
            header, start = meta.file_meta(132)
            syntax = _text(header.get(_TRANSFER_SYNTAX, b""))
            if syntax == _EXPLICIT_BIG_ENDIAN:
                raise VolumeError(f"'{path}' is stored big-endian; export it again as explicit little-endian DICOM.")
            body: mmap.mmap | bytes = data
            if syntax == _DEFLATED:
                body, start = zlib.decompress(data[start:], -15), 0
            reader = _Reader(body, explicit=syntax != _IMPLICIT_LITTLE_ENDIAN, sequences=sequences)
            return reader.data_set(start, len(body), 0)[0]
    except (struct.error, zlib.error, ValueError) as error:
        raise VolumeError(f"'{path}' is a damaged DICOM file ({error}); export it again.") from error


def read_what_is_there(path: Path) -> tuple[Item, bool]:
    """As much of the top-level data set as can be read, without sequences; and whether that was all of it."""
    with path.open("rb") as file:
        data = file.read(_LONGEST_HEADER)
    if data[128:132] != b"DICM":
        return {}, True
    found: Item = {}
    try:
        _, start = _Reader(data, explicit=True, sequences=()).file_meta(132, found)
        explicit = _text(found.get(_TRANSFER_SYNTAX, b"")) != _IMPLICIT_LITTLE_ENDIAN
        _Reader(data, explicit=explicit, sequences=()).data_set(start, len(data), 0, found)
    except (struct.error, ValueError):
        return found, False
    return found, len(found) > 0 and (PIXEL_DATA in found or len(data) < _LONGEST_HEADER)


def _text(value: bytes | list[Item]) -> str:
    return value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else ""


class _Reader:
    """Walks little-endian DICOM elements in a buffer."""

    def __init__(self, data: mmap.mmap | bytes, explicit: bool, sequences: Collection[int]) -> None:
        self._data = data
        self._explicit = explicit
        self._sequences = frozenset(sequences)

    def file_meta(self, offset: int, found: Item | None = None) -> tuple[Item, int]:
        """The group 0002 at `offset`, put into `found`, if given, and where the data set behind it starts."""
        found = {} if found is None else found
        while offset + 8 <= len(self._data) and struct.unpack_from("<H", self._data, offset)[0] == 0x0002:
            tag, _, length, offset = self._element(offset)
            found[tag] = self._value(offset, length)
            offset += length
        return found, offset

    def data_set(self, offset: int, end: int, depth: int, found: Item | None = None) -> tuple[Item, int]:
        """Elements from `offset` to `end`, the end of their item, or the pixels; put into `found`, if given."""
        if depth > _DEEPEST:
            raise ValueError("sequences nested too deeply")
        found = {} if found is None else found
        while offset < end:
            tag, vr, length, offset = self._element(offset)
            if tag == PIXEL_DATA and depth == 0:
                found[tag] = b""
                break
            if tag in (_ITEM_END, _SEQUENCE_END):
                break
            if length == _UNDEFINED or tag in self._sequences:
                # A sequence of unknown type and undefined length holds implicit elements (PS3.5 6.2.2).
                inner = _Reader(self._data, False, self._sequences) if vr == b"UN" and length == _UNDEFINED else self
                items, offset = inner._items(offset, length, depth + 1)
                if tag in self._sequences:
                    found[tag] = items
                continue
            if length <= _LONGEST_VALUE:
                found[tag] = self._value(offset, length)
            offset += length
        return found, offset

    def _items(self, offset: int, length: int, depth: int) -> tuple[list[Item], int]:
        end = len(self._data) if length == _UNDEFINED else offset + length
        if end > len(self._data):
            raise ValueError("a sequence is cut off")
        items: list[Item] = []
        while offset < end:
            tag, item_length = self._tag(offset), struct.unpack_from("<I", self._data, offset + 4)[0]
            offset += 8
            if tag == _SEQUENCE_END:
                break
            if tag != _ITEM:
                raise ValueError("a sequence holds something other than items")
            item_end = len(self._data) if item_length == _UNDEFINED else offset + item_length
            item, offset = self.data_set(offset, item_end, depth)
            items.append(item)
        return items, offset

    def _tag(self, offset: int) -> int:
        group, element = struct.unpack_from("<HH", self._data, offset)
        return int(group) << 16 | int(element)

    def _element(self, offset: int) -> tuple[int, bytes, int, int]:
        """Tag, type, length of the value and where the value starts."""
        tag = self._tag(offset)
        if not self._explicit or tag >> 16 == 0xFFFE:
            return tag, b"", struct.unpack_from("<I", self._data, offset + 4)[0], offset + 8
        vr = bytes(self._data[offset + 4 : offset + 6])
        if vr in _LONG_FORMS:
            return tag, vr, struct.unpack_from("<I", self._data, offset + 8)[0], offset + 12
        if not (vr.isalpha() and vr.isupper()):
            raise ValueError("an element has no valid type")
        return tag, vr, struct.unpack_from("<H", self._data, offset + 6)[0], offset + 8

    def _value(self, offset: int, length: int) -> bytes:
        if offset + length > len(self._data):
            raise ValueError("an element is cut off")
        return bytes(self._data[offset : offset + length])
