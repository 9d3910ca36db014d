"""Configuration files: one TOML or JSON document whose sections fill frozen dataclasses by the names of their fields.

A section is a frozen dataclass whose fields have defaults and, through `setting`, a line that explains them. The
same dataclass reads its section and writes it with comments. JSON has no comments, so there keys that begin with
`#` are comments.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from CoWLandmarksLib.core.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib

T = TypeVar("T")
_WIDTH = 100


def setting(default: Any, explanation: str) -> Any:
    """A field of a section: its default and the comment that stands above it in a written file."""
    return field(default=default, metadata={"help": explanation})


@dataclass(frozen=True)
class ConfigFile:
    """The content of a configuration file; relative paths in it are meant from the folder of the file."""

    path: Path
    tables: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(
        cls, path: str | PathLike[str], known: Mapping[str, type], former: Mapping[str, Sequence[str]] | None = None
    ) -> ConfigFile:
        """Read a `.toml` or `.json` file with sections out of `known` (name -> dataclass).

        Every section is checked at once. Raises ConfigurationError with one sentence: a file that cannot be read or is
        that of an earlier version (which had the sections and keys `former`), an unknown section or key (with the
        nearest known one), a value of the wrong kind.
        """
        path = Path(path)
        document = _parsed(path)
        for name, keys in (former or {}).items():
            table = document.get(name)
            old = [key for key in keys if isinstance(table, dict) and key in table]
            if old or (table is not None and name not in known):
                what = f"'{old[0]}' in [{name}]" if old else f"the section [{name}]"
                raise ConfigurationError(
                    f"'{path}' is a file of an earlier version ({what} is gone); write a new one with "
                    "cowlandmarks-train init and carry your values over."
                )
        for name, table in document.items():
            if name not in known:
                raise ConfigurationError(f"'{path}' has an unknown section [{name}]{_nearest(name, list(known))}.")
            if not isinstance(table, dict):
                raise ConfigurationError(f"'{name}' in '{path}' is a value; a section [{name}] is needed.")
        content = cls(path, document)
        for name, kind in known.items():
            content.section(name, kind)
        return content

    def section(self, name: str, kind: type[T]) -> T:
        """The dataclass `kind` filled from section `name`; defaults where the section or a key is missing."""
        where = f"[{name}] of '{self.path}'"
        hints = typing.get_type_hints(kind)
        known = [entry.name for entry in dataclasses.fields(kind)]  # type: ignore[arg-type]
        values = {}
        for key, value in self.tables.get(name, {}).items():
            if key not in known:
                raise ConfigurationError(f"{where} has an unknown key '{key}'{_nearest(key, known)}.")
            values[key] = self._converted(value, hints[key], f"'{key}' in {where}")
        try:
            return kind(**values)
        except ValueError as error:
            raise ConfigurationError(f"{where} cannot be used: {error}") from error

    def _converted(self, value: Any, hint: Any, what: str) -> Any:
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            options = [option for option in arguments if option is not type(None)]
            if type(None) in arguments and value in (None, ""):  # TOML has no null
                return None
            return self._converted(value, options[0], what)
        if origin is tuple:
            return self._converted_list(value, arguments, what)
        if origin is typing.Literal:
            return _one_of(value, [str(choice) for choice in arguments], what)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return hint(_one_of(value, [str(choice.value) for choice in hint], what))
        if hint is Path and isinstance(value, str) and value:
            return self.path.parent / value
        fits = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
        if hint is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not fits or (hint is float and not math.isfinite(value)):
            raise ConfigurationError(f"{what} is {json.dumps(value, default=str)}; {_wanted(hint)} is needed.")
        return value

    def _converted_list(self, value: Any, arguments: tuple[Any, ...], what: str) -> tuple[Any, ...]:
        any_length = len(arguments) == 2 and arguments[1] is Ellipsis
        if not isinstance(value, list):
            raise ConfigurationError(f"{what} is {json.dumps(value, default=str)}; a list in brackets is needed.")
        if not any_length and len(value) != len(arguments):
            raise ConfigurationError(f"{what} has {len(value)} values; {len(arguments)} are needed.")
        hints = [arguments[0]] * len(value) if any_length else arguments
        return tuple(self._converted(item, hint, what) for item, hint in zip(value, hints, strict=True))


def settings_of_options(options: Sequence[str], known: Mapping[str, type]) -> ConfigFile:
    """Options such as `training.batch_size=4` as if they stood in a file; raises ConfigurationError.

    A value is read as JSON, else it is a text; relative paths are meant from the working folder.
    """
    tables: dict[str, dict[str, Any]] = {}
    for option in options:
        name, equals, text = option.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise ConfigurationError(f"--set {option} is not of the form SECTION.KEY=VALUE.")
        if section not in known:
            raise ConfigurationError(f"--set {option} has an unknown section{_nearest(section, list(known))}.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        tables.setdefault(section, {})[key] = value
    content = ConfigFile(Path("--set"), tables)
    for name, kind in known.items():
        content.section(name, kind)
    return content


def commented_toml(sections: Mapping[str, type], title: str, values: Mapping[str, Any] | None = None) -> str:
    """All sections with their defaults and explanations as TOML; keys without default value are commented out.

    `values` (section -> instance of its dataclass) take the place of the defaults.
    """
    lines = [f"# {line}" for line in title.splitlines()]
    for name, kind in sections.items():
        lines += ["", f"[{name}]"]
        for entry in dataclasses.fields(kind):
            lines += [f"# {line}" for line in _wrapped(_explanation(entry))]
            default = _plain(_default(entry, (values or {}).get(name)))
            lines.append(f"# {entry.name} =" if default is None else f"{entry.name} = {_toml(default)}")
    return "\n".join(lines) + "\n"


def commented_json(sections: Mapping[str, type], title: str, values: Mapping[str, Any] | None = None) -> str:
    """The same as JSON, with the explanations under keys that begin with `#`."""
    document: dict[str, Any] = {"#": title}
    for name, kind in sections.items():
        table: dict[str, Any] = {}
        for entry in dataclasses.fields(kind):
            if explanation := _explanation(entry):
                table[f"# {entry.name}"] = explanation
            table[entry.name] = _plain(_default(entry, (values or {}).get(name)))
        document[name] = table
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _parsed(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or error if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"The configuration '{path}' cannot be read ({reason}); check the path.") from error
    try:
        if path.suffix.lower() != ".json":
            document: Any = _parsed_toml(path, text)
        else:
            document = json.loads(text)
    except ValueError as error:  # both decoders raise subclasses of it
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"The configuration '{path}' is not readable: {reason}.") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"The configuration '{path}' holds no sections.")
    return _without_comments(document)


def _parsed_toml(path: Path, text: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        return tomllib.loads(text)
    raise ConfigurationError(
        f"'{path}' is TOML, which Python 3.10 cannot read; use a .json file (cowlandmarks-train init FILE.json)."
    )


def _without_comments(document: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_comments(value) if isinstance(value, dict) else value
        for key, value in document.items()
        if not key.startswith("#")
    }


def _nearest(name: str, known: list[str]) -> str:
    """'; did you mean ...' or the list of what there is."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(known)}"


def _one_of(value: Any, choices: list[str], what: str) -> str:
    if value not in choices:
        raise ConfigurationError(f"{what} is {json.dumps(value, default=str)}; use one of {', '.join(choices)}.")
    return str(value)


def _wanted(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _default(entry: dataclasses.Field[Any], instance: Any = None) -> Any:
    if instance is not None:
        return getattr(instance, entry.name)
    if entry.default_factory is not dataclasses.MISSING:
        return entry.default_factory()
    return None if entry.default is dataclasses.MISSING else entry.default


def _explanation(entry: dataclasses.Field[Any]) -> str:
    return str(entry.metadata.get("help", ""))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value.as_posix() if isinstance(value, Path) else value


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)  # TOML writes texts, numbers and booleans as JSON does


def _wrapped(text: str) -> list[str]:
    lines: list[str] = []
    for token in text.split():
        if lines and len(lines[-1]) + len(token) < _WIDTH:
            lines[-1] += f" {token}"
        else:
            lines.append(token)
    return lines
