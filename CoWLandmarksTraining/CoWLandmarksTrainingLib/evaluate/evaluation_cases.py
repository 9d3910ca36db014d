"""Which annotated scans a model is evaluated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError

from ..cohort.annotated_cases import AnnotatedScan
from ..cohort.annotation_check import annotation_problems, with_checked_annotations
from ..cohort.problems import Severity
from ..cohort.reading import read_cohort
from ..cohort.splits import SPLITS_FILE, Splits
from .evaluation import AnnotatedVolume
from .subgroups import subgroups_of


@dataclass(frozen=True)
class EvaluationCases:
    """`scans` to evaluate; `failed` cases that cannot be used, with the reason; `sets` landmark sets without image,
    left out; `seal` that of the splits which chose them."""

    scans: tuple[AnnotatedScan, ...]
    failed: tuple[dict[str, str], ...]
    sets: int
    seal: str | None = None


def evaluation_cases(
    cohort: Path | Sequence[Path], anatomy: Anatomy, split: str | None = None, splits_file: Path | None = None
) -> EvaluationCases:
    """The cases of a cohort (case folders, scenes; in one folder or several) or of one split of it.

    The split comes from `splits_file` or the first folder's splits.json, whose seal is checked for the test split, else
    from folders named after it. Cases whose landmarks `check` finds wrong are among the failed ones. Raises
    AnnotationError when there is no such case, or the seal is broken.
    """
    folders = [cohort] if isinstance(cohort, Path) else list(cohort)
    read = with_checked_annotations(read_cohort(folders, anatomy))
    splits = _splits(folders[0], splits_file) if split else None
    if splits is not None and split == "test":
        splits.check(read.scans)
    chosen = [scan for scan in read.scans if split is None or _split_of(scan, splits) == split]
    if not chosen and read.scans and split:
        raise AnnotationError(
            f"No case of '{folders[0]}' is in the split '{split}'; name the splits file that the model "
            "was trained with (--splits), or make splits with cowlandmarks-train split."
        )
    names = {scan.name for scan in chosen}
    known = {scan.name for scan in read.scans}
    errors: dict[str, str] = {}
    for problem in read.problems:
        if problem.severity is Severity.ERROR and (problem.case in names or problem.case not in known):
            errors.setdefault(problem.case, problem.sentence)
    usable = [scan for scan in chosen if scan.name not in errors]
    with_image = tuple(scan for scan in usable if scan.image is not None)
    failed = tuple({"case": case, "error": sentence} for case, sentence in errors.items())
    seal = None if splits is None else splits.seal
    return EvaluationCases(with_image, failed, len(usable) - len(with_image), seal)


def annotated_volume(scan: AnnotatedScan, anatomy: Anatomy) -> AnnotatedVolume:
    """Read a scan; raises VolumeError, or AnnotationError when its landmarks cannot be those of this scan."""
    volume = scan.read_volume()
    for problem in annotation_problems(scan, anatomy, volume.grid):
        if problem.severity is Severity.ERROR:
            raise AnnotationError(f"'{scan.name}': {problem.sentence}")
    traits = subgroups_of(scan.modality, scan.phantom, volume, scan.landmarks)
    return AnnotatedVolume(volume, scan.landmarks, scan.modality.value, traits, _alternatives(scan.phantom))


def _alternatives(phantom: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The runners-up (k, 3) RAS mm that a phantom records, by landmark code."""
    alternatives = phantom.get("alternatives") or {}
    return {code: np.array([one["position"] for one in found], float) for code, found in alternatives.items() if found}


def _splits(cohort: Path, given: Path | None) -> Splits | None:
    if given is not None:
        if not given.is_file():
            raise ConfigurationError(f"There is no splits file '{given}'; make it with cowlandmarks-train split.")
        return Splits.read(given)
    own = (cohort if cohort.is_dir() else cohort.parent) / SPLITS_FILE
    return Splits.read(own) if own.is_file() else None


def _split_of(scan: AnnotatedScan, splits: Splits | None) -> str | None:
    return (splits.of(scan) if splits is not None else None) or scan.split
