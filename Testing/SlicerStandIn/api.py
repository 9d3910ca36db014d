"""The surface of the real Slicer, from slicer_api.json: what a class or module of the stand-in may offer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

API = json.loads(Path(__file__).with_name("slicer_api.json").read_text(encoding="utf-8"))

ALIASES = {"exec": "exec_", "raise": "raise_", "print": "print_"}
"""Python's keywords: PythonQt and PySide both put a line behind them."""

UNLISTED = {
    "ctkPathLineEdit": frozenset(
        ("Dirs", "Drives", "NoSymLinks", "Files", "Readable", "Writable", "Executable", "Hidden", "NoDot", "NoDotDot")
    ),
}
"""Constants of flags: PythonQt knows but does not list them, so the dump lacks them; scripts use them everywhere."""

DICOM_DATABASE = frozenset(("fileForInstance",))
"""What the modules use of `slicer.dicomDatabase`, a ctkDICOMDatabase: set by the module DICOM, so the dump lacks it."""


@dataclass(frozen=True)
class Members:
    """What one class shows to Python: names (methods, properties, signals, constants), and which of them are what.

    Of a few classes the dump has the names only (`listed` is False): each may be a property or a signal then.
    """

    names: frozenset[str]
    properties: frozenset[str]
    signals: frozenset[str]
    listed: bool = True

    def signal(self, signature: str) -> bool:
        """Whether there is a signal of this signature, as in "clicked(bool)"."""
        return signature in self.signals if self.listed else signature.split("(")[0] in self.names


@cache
def members(class_name: str) -> Members:
    """The members of a Qt, CTK or MRML widget class; KeyError for a class that the application lacks."""
    entry = API["classes"][class_name]
    base = members(entry["base"]) if entry["base"] else Members(frozenset(), frozenset(), frozenset())
    names = set(entry["names"].split())
    names |= {alias for own, alias in ALIASES.items() if own in names} | UNLISTED.get(class_name, frozenset())
    listed = "properties" in entry
    properties = entry["properties"].split() if listed else names
    return Members(
        base.names | names, base.properties.union(properties), base.signals.union(entry.get("signals", ())), listed
    )
