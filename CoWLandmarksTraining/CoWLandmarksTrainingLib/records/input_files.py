"""What a file was when something was made from it, to notice later that it has changed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.errors import AnnotationError

_BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; raises AnnotationError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise AnnotationError(f"'{path}' cannot be read ({error.strerror or error}); check its permissions.") from error
    return digest.hexdigest()


@dataclass(frozen=True)
class InputFile:
    """A file as it was: `path` relative to the folder of what was made from it, size, time of change and content."""

    path: str
    bytes: int
    modified_ns: int
    sha256: str

    @classmethod
    def of(cls, file: Path, relative_to: Path) -> InputFile:
        """The file as it is now; raises AnnotationError when it cannot be read."""
        content = sha256_of(file)
        status = file.stat()
        try:
            path = Path(os.path.relpath(file.resolve(), relative_to.resolve())).as_posix()
        except ValueError:  # Windows: on another drive
            path = file.resolve().as_posix()
        return cls(path, status.st_size, status.st_mtime_ns, content)

    def has_changed(self, relative_to: Path | None) -> bool:
        """Whether the file lies in its place with other content. A file that is gone has not changed.

        The content is compared only where size or time differ.
        """
        file = Path(relative_to or ".") / self.path
        try:
            status = file.stat()
        except OSError:
            return False
        if status.st_size != self.bytes:
            return True
        return status.st_mtime_ns != self.modified_ns and sha256_of(file) != self.sha256

    def to_dict(self) -> dict[str, Any]:
        """Plain values; inverse: `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> InputFile:
        """Inverse of `to_dict`."""
        return cls(str(content["path"]), int(content["bytes"]), int(content["modified_ns"]), str(content["sha256"]))
