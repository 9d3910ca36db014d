"""The options of `detect` that a run.json keeps, and their return to the command line."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import PROGRAM
from ..core.errors import ConfigurationError
from .command_line import path_argument

if TYPE_CHECKING:
    from ..files.result_record import RunSettings

_NOT_KEPT = (
    *("help", "scans", "sample", "out", "force", "json_progress", "debug"),
    *("resume", "shard", "settings", "with_paths", "origin_of_settings"),
)
_PRIVATE = ("model", "hint", "series")
"""Options whose value may name a file or a person: run.json keeps their hash."""
_ORIGIN = "origin_of_settings"
"""Under this name `arguments` hold the `SettingsOrigin` of their settings file."""
SHIPPED = "shipped"
"""The origin of the model that comes with the program."""


@dataclass(frozen=True)
class SettingsOrigin:
    """Which program wrote the settings in `path`; `hashes` are those of the private options that were given then."""

    path: Path
    program: str
    hashes: Mapping[str, str]


def shard_argument(text: str) -> tuple[int, int]:
    """K/N from the command line."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"'{text}' is no shard; give K/N with K from 1 to N, such as 2/8")
    return int(number), int(count)


def add_run_options(parser: argparse.ArgumentParser, settings: Path | None) -> None:
    """Add the options for batches, and take those of the file `settings` as defaults; raises ConfigurationError."""
    parser.add_argument("--bids", action="store_true", help="names and folders of BIDS derivatives")
    parser.add_argument("--settings", metavar="run.json", type=path_argument, help="take the options of an earlier run")
    parser.add_argument("--resume", action="store_true", help="do not make results again that stand already")
    parser.add_argument("--shard", metavar="K/N", type=shard_argument, help="only part K of N of the scans")
    parser.add_argument("--with-paths", action="store_true", help="write paths and names of scans into run.json, too")
    kept = {action.dest: action for action in parser._actions if action.dest not in _NOT_KEPT}
    _add_opposites(parser, [action for action in kept.values() if action.nargs == 0])
    if settings is not None:
        _take(parser, kept, settings)


def _take(parser: argparse.ArgumentParser, kept: Mapping[str, argparse.Action], path: Path) -> None:
    from ..files.run_manifest import read_run_settings  # start-up time

    settings, values = read_run_settings(path)
    hashes = {"model": settings.model["sha256"]}
    defaults: dict[str, Any] = {}
    for name, value in settings.options.items():
        action = kept.get(name)
        if action is None:
            raise ConfigurationError(
                f"'{path}' holds the option '{name}', which this version does not know; use the program that wrote it "
                f"({settings.program})."
            )
        if name not in _PRIVATE:
            defaults[name] = _checked(action, value, path)
        elif value is not None:
            hashes[name] = str(value)
    for name, text in values.items():
        if name in _PRIVATE and name in kept and text:
            convert = kept[name].type
            defaults[name] = convert(text) if callable(convert) else text
    parser.set_defaults(**defaults, **{_ORIGIN: SettingsOrigin(path, settings.program, hashes)})


def _checked(action: argparse.Action, value: Any, path: Path) -> Any:
    of_its_kind = isinstance(value, bool) if action.nargs == 0 else value is None or isinstance(value, str)
    if not of_its_kind or (action.choices is not None and value not in action.choices):
        raise ConfigurationError(f"'{path}' holds a wrong value for {action.option_strings[0]} ({value}); correct it.")
    return value


def _add_opposites(parser: argparse.ArgumentParser, flags: list[argparse.Action]) -> None:
    """Options that take back the flags of a settings file: `--arteries` for `--no-arteries`, and the reverse."""
    for action in flags:
        name = action.option_strings[0].removeprefix("--")
        opposite = name.removeprefix("no-") if name.startswith("no-") else f"no-{name}"
        parser.add_argument(f"--{opposite}", dest=action.dest, action="store_false", help=argparse.SUPPRESS)


def settings_of(arguments: argparse.Namespace) -> RunSettings:
    """Program, model and options of a call, without names of files; raises ConfigurationError."""
    from ..detect.model import DEFAULT_MODEL_FILE  # start-up time
    from ..files.result_record import RunSettings  # start-up time

    options: dict[str, Any] = {}
    for name, value in sorted(vars(arguments).items()):
        if name in _NOT_KEPT or name in ("run", "model"):
            continue
        options[name] = _hashed(value) if name in _PRIVATE and value is not None else value
    model = arguments.model or DEFAULT_MODEL_FILE
    origin = SHIPPED if model.resolve() == DEFAULT_MODEL_FILE.resolve() else "given"
    return RunSettings(PROGRAM, {"sha256": _file_hash(model), "origin": origin}, options)


def doubts_about_settings(arguments: argparse.Namespace) -> list[str]:
    """Warnings where program, model, hint or series are not those of the settings file of a call.

    Raises ConfigurationError where the settings need one of these files or names, and the call does not give it.
    """
    from ..detect.model import DEFAULT_MODEL_FILE  # start-up time

    origin: SettingsOrigin | None = getattr(arguments, _ORIGIN, None)
    if origin is None:
        return []
    doubts = []
    if origin.program != PROGRAM:
        doubts.append(
            f"The settings were written by {origin.program}; {PROGRAM} may give other results with the same options."
        )
    for name, sha256 in origin.hashes.items():
        given = getattr(arguments, name)
        value = DEFAULT_MODEL_FILE if name == "model" and given is None else given
        if value is not None and _hashed(value) == sha256:
            continue
        if given is None:
            raise ConfigurationError(
                f"'{origin.path}' was written with another {name} (SHA-256 {sha256[:12]}...), which it does not hold; "
                f"give it with --{name}."
            )
        doubts.append(f"This is not the {name} of the settings (SHA-256 {sha256[:12]}...), so results may differ.")
    return doubts


def private_values(arguments: argparse.Namespace) -> Mapping[str, str]:
    """The values that `settings_of` leaves out, for whoever asks for paths."""
    given = {name: getattr(arguments, name) for name in _PRIVATE}
    return {name: str(value) for name, value in given.items() if value is not None}


def _hashed(value: Path | str) -> str:
    return _file_hash(value) if isinstance(value, Path) else hashlib.sha256(value.encode("utf-8")).hexdigest()


def _file_hash(path: Path) -> str:
    from ..files.result_record import file_sha256  # start-up time

    try:
        return file_sha256(path)
    except OSError as error:
        raise ConfigurationError(f"'{path}' cannot be read ({error.strerror}); check the path.") from error
