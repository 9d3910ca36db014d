"""Another landmark set than the nineteen: seven of them, with the arteries between them."""

from __future__ import annotations

import copy
from typing import Any

from CoWLandmarksLib.core.anatomy import default_anatomy

SEVEN = ("R-A1-A2", "L-A1-A2", "R-ICA-T", "L-ICA-T", "BA-T", "R-P1-P2A", "L-P1-P2A")


def seven_points() -> dict[str, Any]:
    """The content of an anatomy file."""
    source = copy.deepcopy(default_anatomy().source)
    source["name"] = "Seven points of the circle"
    source["landmarks"] = [entry for entry in source["landmarks"] if entry["code"] in SEVEN]
    source["arteries"] = [
        entry
        for entry in source["arteries"]
        if all(end is None or end in SEVEN for end in (entry["start"], entry["end"]))
    ]
    return source
