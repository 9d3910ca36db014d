"""Writing files all at once or not at all."""

from __future__ import annotations

import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import OutputError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; it takes the place of `path` when the block succeeds.

    The sibling keeps the whole ending of the name (`scan.nii.gz` stays `.nii.gz`), because writers choose the
    format by it. The folder is made if needed. If the block raises, nothing new remains and an older `path`
    is untouched. An OSError becomes an OutputError that names the file.
    """
    target = Path(path)
    stem, dot, ending = target.name.partition(".")
    temporary = target.with_name(f"{stem[:100]}-{uuid.uuid4().hex[:8]}.part{dot}{ending}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(target)
    except OSError as error:
        raise OutputError(
            f"'{target}' cannot be written: {error.strerror or error}; choose another folder or make room there."
        ) from error
    finally:
        with suppress(OSError):  # where nothing could be written there is nothing to remove
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text with Unix line ends, all at once; raises OutputError."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write indented UTF-8 JSON of `plain(content)`, all at once; raises OutputError."""
    write_text(path, json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """The value in types that JSON has: numpy values become numbers and lists, NaN and infinity None, others text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return plain(value.tolist()) if hasattr(value, "tolist") else str(value)
