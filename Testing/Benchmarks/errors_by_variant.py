"""Errors of a model on a cohort of phantom 4, by landmark and by variant, as Markdown.

usage: errors_by_variant.py REPORT COHORT [REPORT COHORT ...]

REPORT is what `cowlandmarks-train evaluate MODEL COHORT --out REPORT` has written.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksTrainingLib.evaluate.evaluation import FAR_MM
from CoWLandmarksTrainingLib.records.evaluation_file import read_errors

OF_LANDMARK = {
    "A2-A3": ("A2", "A2 calibres", "A2 course", "callosomarginal", "frontal branches"),
    "A1-A2": ("ACoA", "A1"),
    "M1-M2": ("MCA", "early branches", "trunk ratio", "next division", "trunks", "lower trunk"),
    "P1-P2A": ("PCoA", "PCoA entry", "P1 course", "P2"),
    "P2A-P2P": ("P2", "P2A course", "P2 lateral course"),
    "C5-C6": ("siphon", "OphA", "OphA origin"),
    "C4-C5": ("siphon", "carotid entry"),
}
"""The variants that may matter for a landmark of either side (keys of case.json, without the side)."""


def variants_of(cohort: Path) -> dict[str, dict[str, str]]:
    """Variants of every case of a cohort by its name."""
    found = {}
    for path in cohort.rglob("case.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        found[content["case"]] = content["phantom"]["variants"]
    return found


def cells(errors: Iterable[float]) -> str:
    """Number, median and share beyond 4 mm."""
    values = np.array([e for e in errors if np.isfinite(e)])
    if not values.size:
        return "0 | |"
    return f"{values.size} | {np.median(values):.2f} | {100 * (values > FAR_MM).mean():.1f} %"


def main() -> None:
    """Print both tables."""
    by_landmark: dict[tuple[str, str], list[float]] = defaultdict(list)
    by_variant: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    codes = default_anatomy().codes
    for report, cohort in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        variants = variants_of(Path(cohort))
        for case, errors in read_errors(Path(report)).items():
            for code, error in zip(codes, errors, strict=True):
                name = code if code == "BA-T" else code[2:]
                by_landmark[case[:3], name].append(error)
                by_landmark[case[:3], "all"].append(error)
                for trait in OF_LANDMARK.get(name, ()):
                    value = variants[case].get(f"{code[0]}-{trait}", variants[case].get(trait, "?"))
                    by_variant[name, trait, value].append(error)
    print("| scans | landmark | n | median mm | beyond 4 mm |\n|---|---|---|---|---|")
    for (modality, name), errors in by_landmark.items():
        print(f"| {modality.upper()} | {name} | {cells(errors)} |")
    print("\n| landmark | variant | n | median mm | beyond 4 mm |\n|---|---|---|---|---|")
    for (name, trait, value), errors in sorted(by_variant.items()):
        print(f"| {name} | {trait}: {value} | {cells(errors)} |")


if __name__ == "__main__":
    main()
