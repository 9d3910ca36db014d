"""Makes overloads.json, what the methods of the stand-in's classes take in the real application, from a full dump.

    python Testing/SlicerStandIn/reduce_overloads.py FULL-DUMP

The dump comes from the application itself: the overloads of each method as PythonQt writes them, inherited ones too.
Here an overload is the types of its arguments; a class names the one it shares the most with and holds the rest.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

TARGET = Path(__file__).with_name("overloads.json")
_API = json.loads(Path(__file__).with_name("slicer_api.json").read_text(encoding="utf-8"))
OFFERED = (*_API["qt"], *_API["ctk"], *_API["slicer_widgets"])
_OVERLOAD = re.compile(r"(static )?\w+\((.*)\)(?: -> .*)?")
_TYPE = re.compile(r"\s*([\w:.]+(?:<[^<>]*>)?)[^,]*(?:,|$)")

Methods = dict[str, list[str]]


def argument_types(overload: str) -> str:
    """`"f(QList<int> a, QString b) -> void"` becomes `"QList<int>,QString"`; `static` stays before it."""
    found = _OVERLOAD.fullmatch(overload)
    if found is None:
        raise ValueError(f"'{overload}' is not in PythonQt's form")
    return (found[1] or "") + ",".join(_TYPE.findall(found[2]))


def reduced(dump: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, object]]:
    """Per offered class the one it extends and the methods beyond; `SlicerStandIn.overloads` reads it."""
    full: dict[str, Methods] = {
        name: {method: sorted({argument_types(text) for text in texts}) for method, texts in dump[name].items()}
        for name in sorted(OFFERED)
        if name in dump
    }
    classes: dict[str, dict[str, object]] = {}
    for name, methods in full.items():
        smaller = [
            other
            for other in full
            if full[other].keys() <= methods.keys() and (len(full[other]), other) < (len(methods), name)
        ]
        base = max(
            smaller,
            key=lambda other: sum(methods[method] == full[other][method] for method in full[other]),
            default=None,
        )
        inherited = full[base] if base else {}
        beyond = {method: texts for method, texts in methods.items() if inherited.get(method) != texts}
        classes[name] = {"base": base, "methods": beyond}
    return classes


def written(classes: dict[str, dict[str, object]]) -> str:
    """The text of the file: one class per line."""
    lines = [f" {json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}" for name, entry in classes.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    full_dump = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    TARGET.write_text(written(reduced(full_dump["classes"])), encoding="utf-8")
