"""Makes slicer_api.json, the surface of the real application as far as the stand-in offers it, from a full dump.

    python Testing/SlicerStandIn/reduce_api.py FULL-DUMP

The dump comes from the application itself: per class the properties, signals and public names that PythonQt shows.
Here a class names the class it extends the most and holds only what it has beyond that, which makes the file small.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TARGET = Path(__file__).with_name("slicer_api.json")
BASES = ("QTimer", "QWidget", "QFrame", "QPushButton", "QComboBox", "QTableView", "QTextEdit", "QDialog", "QMessageBox")
CTK = (
    "ctkCheckablePushButton",
    "ctkCollapsibleButton",
    "ctkCollapsibleGroupBox",
    "ctkDirectoryButton",
    "ctkDoubleSpinBox",
    "ctkMessageBox",
    "ctkPathLineEdit",
    "ctkSliderWidget",
)
SLICER_WIDGETS = ("qMRMLCheckableNodeComboBox", "qMRMLNodeComboBox", "qMRMLWidget")
KINDS = ("properties", "names", "signals")


def reduced(dump: dict) -> dict:
    """The reduced form; `SlicerStandIn.api` reads it."""
    full = {
        **dump["qt"],
        **{name: dump["ctk"][name] for name in CTK},
        **{name: dump["slicer_widgets"][name] for name in SLICER_WIDGETS},
    }
    known = {name: {kind: set(full[name].get(kind, ())) for kind in KINDS} for name in full}
    classes = {}
    for name in full:
        fitting = [
            base
            for base in BASES
            if base != name
            and all(known[base][kind] <= known[name][kind] for kind in KINDS)
            and not (name in BASES and known[name] == known[base])
        ]
        base = max(fitting, key=lambda other: len(known[other]["names"]), default=None)
        more = {kind: sorted(known[name][kind] - (known[base][kind] if base else set())) for kind in KINDS}
        classes[name] = {"base": base, "names": " ".join(more["names"])}
        if "properties" in full[name]:  # else the dump could not make an object of the class
            classes[name] |= {"properties": " ".join(more["properties"]), "signals": more["signals"]}
    return {
        "slicer_version": dump["slicer_version"],
        "qt": sorted(dump["qt"]),
        "ctk": list(CTK),
        "slicer_widgets": list(SLICER_WIDGETS),
        "classes": classes,
        "slicer.util": {
            name: value if isinstance(value, str) else value.get("class", [])
            for name, value in dump["slicer.util"].items()
        },
        "slicer.packaging": {name: value for name, value in dump["slicer.packaging"].items() if isinstance(value, str)},
        **{
            key: dump[key]
            for key in (
                "slicer.app",
                "slicer.app.layoutManager",
                "slicer.i18n",
                "slicer.testing",
                "modules",
                "SampleData.SampleDataLogic",
            )
        },
        "ScriptedLoadableModule": {name: value["class"] for name, value in dump["ScriptedLoadableModule"].items()},
        "parameterNodeWrapper": sorted(dump["parameterNodeWrapper"]),
        "parameterNodeWrapper.guiConnectors": sorted(dump["parameterNodeWrapper.guiConnectors"]),
    }


if __name__ == "__main__":
    api = reduced(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    lines = [
        f" {json.dumps(key)}: "
        + (
            "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in part.items()) + "\n }"
            if isinstance(part, dict)
            else json.dumps(part)
        )
        for key, part in api.items()
    ]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
