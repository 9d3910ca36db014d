"""`cowlandmarks-train check`: a table of the cases of a cohort and every problem in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import LandmarkState
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.core.intensity import recognise_modality
from CoWLandmarksLib.core.volume import EDGE_MM, Grid, Modality
from CoWLandmarksLib.files.case_description import Role

from .annotated_cases import AnnotatedScan, Cohort, placed_landmarks, problems_across_splits
from .annotation_geometry import absurd_distances, coinciding, swapped_sides
from .problems import Problem, Severity, cases_with_errors, error, note, warning
from .reference_shape import FEWEST_POINTS

_HALF = 0.5
_SAME_MM = 0.01


@dataclass(frozen=True)
class CaseRow:
    """One line of the table; `image` describes the scan in words."""

    name: str
    patient: str
    modality: str
    role: str
    split: str
    image: str
    placed: int
    absent: int
    outside: int
    missing: int


@dataclass(frozen=True)
class CohortReport:
    """The table and all problems of a checked cohort, those of reading it included."""

    cohort: Cohort
    rows: tuple[CaseRow, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem, errors first, then by case."""
        order = list(Severity)
        return tuple(sorted(self.cohort.problems, key=lambda p: (order.index(p.severity), p.case)))

    def text(self) -> str:
        """Table (Markdown) and problems."""
        bad = cases_with_errors(self.problems)
        lines = [
            "| case | patient | modality | role | split | image | placed | absent | outside | missing | |",
            "|" + "---|" * 11,
        ]
        for row in self.rows:
            counts = f"{row.placed} | {row.absent} | {row.outside} | {row.missing}"
            mark = "error" if row.name in bad else ""
            lines.append(
                f"| {row.name} | {row.patient} | {row.modality} | {row.role} | {row.split} | {row.image} | "
                f"{counts} | {mark} |"
            )
        lines += ["", *(str(problem) for problem in self.problems)]
        lines.append(
            f"{len(self.rows)} cases read; {sum(row.name not in bad for row in self.rows)} without errors; "
            + ", ".join(f"{self.count(severity)} {severity.value}s" for severity in Severity)
            + "."
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Table and problems in types that JSON has, with where each case lies (`cow-check/1`)."""
        scans = {scan.name: scan for scan in self.cohort.scans}
        return {
            "schema": "cow-check/1",
            "landmarks": len(self.cohort.anatomy),
            "cases": [{**asdict(row), **_places(scans[row.name])} for row in self.rows],
            "problems": [
                {"case": problem.case, "severity": problem.severity.value, "sentence": problem.sentence}
                for problem in self.problems
            ],
        }

    def count(self, severity: Severity) -> int:
        """Number of problems of one severity."""
        return sum(problem.severity is severity for problem in self.problems)


def _places(scan: AnnotatedScan) -> dict[str, Any]:
    """Files of a case: its `scene`, or its `volume` (None without) and its `annotation`."""
    main = scan.files[0].absolute()
    if main.suffix.lower() in (".mrb", ".mrml"):
        return {"scene": str(main), "volume": None, "annotation": None}
    annotations = [file for file in scan.files if file.name.endswith((".mrk.json", ".fcsv"))]
    volume = None if scan.image is None else str(scan.image.path.absolute())
    return {"scene": None, "volume": volume, "annotation": str(annotations[0].absolute()) if annotations else None}


def check_cohort(cohort: Cohort, on_case: Callable[[str], None] = lambda _: None) -> CohortReport:
    """Check every case and the cohort as a whole; nothing stops it before the last one."""
    anatomy = cohort.anatomy
    rows, problems = [], []
    for scan in cohort.scans:
        grid, image, told = _checked_image(scan)
        problems += told + annotation_problems(scan, anatomy, grid)
        rows.append(_row(scan, anatomy, image))
        on_case(scan.name)
    problems += _distance_problems(cohort) + _twice(cohort) + problems_across_splits(cohort.scans)
    checked = cohort.with_problems(problems)
    return CohortReport(checked.with_problems(_whole(checked)), tuple(rows))


def with_checked_annotations(cohort: Cohort) -> Cohort:
    """The cohort with the problems of its landmarks; no image is read."""
    problems = [p for scan in cohort.scans for p in annotation_problems(scan, cohort.anatomy, None)]
    return cohort.with_problems(problems + _twice(cohort))


def annotation_problems(scan: AnnotatedScan, anatomy: Anatomy, grid: Grid | None) -> list[Problem]:
    """Problems of the landmarks of one case; `grid` is that of its scan, None where there is none."""
    name, points = scan.name, placed_landmarks(scan, anatomy)
    problems = _completeness(scan, anatomy)
    swapped = swapped_sides(points, anatomy)
    if swapped.whole:
        sentence = (
            "left and right are exchanged in the whole case; swap the labels, or look whether the scan is mirrored."
        )
        problems.append(error(name, sentence))
    problems += [
        error(name, f"'{code}' lies to the left of its counterpart; exchange the two labels.") for code in swapped.pairs
    ]
    problems += [
        warning(name, f"'{first}' and '{second}' lie at the same place.")
        for first, second in coinciding(points, anatomy)
    ]
    if grid is not None:
        known = np.isfinite(points).all(axis=1)
        depths = np.where(known, grid.depth_mm(np.nan_to_num(points)), np.inf)
        for code, depth in zip(anatomy.codes, depths, strict=True):
            if depth < -EDGE_MM:
                problems.append(error(name, f"'{code}' lies {-depth:.1f} mm outside the scan."))
            elif depth < EDGE_MM:
                problems.append(
                    warning(name, f"'{code}' lies within {EDGE_MM:g} mm of the edge and counts as outside.")
                )
    return problems


def _completeness(scan: AnnotatedScan, anatomy: Anatomy) -> list[Problem]:
    name = scan.name
    given = {estimate.code: estimate for estimate in scan.landmarks}
    missing = [code for code in anatomy.codes if code not in given]
    placed = sum(estimate.position is not None for estimate in scan.landmarks)
    problems = []
    if placed == 0:
        return [error(name, "no landmark is placed.")]
    if placed < FEWEST_POINTS:
        problems.append(error(name, f"only {placed} landmarks are placed; {FEWEST_POINTS} are needed to align it."))
    if missing:
        half = "only half annotated: " if len(missing) > _HALF * len(anatomy) else ""
        problems.append(
            warning(name, f"{half}{', '.join(missing)} not annotated; these channels do not count in training.")
        )
    doubtful = [
        estimate.code
        for estimate in scan.landmarks
        if estimate.state is LandmarkState.UNCERTAIN and not (estimate.corrected or estimate.reviewed)
    ]
    if doubtful and not scan.reviewed:
        problems.append(warning(name, f"{', '.join(doubtful)}: uncertain to the program and reviewed by nobody."))
    return problems


def _checked_image(scan: AnnotatedScan) -> tuple[Grid | None, str, list[Problem]]:
    if scan.image is None:
        if scan.modality is Modality.MRA:
            return None, "none", [warning(scan.name, "an MRA case without image trains only the discriminator.")]
        if scan.transform is None:
            sentence = "landmarks only, without a transform to the reference frame: aligned by its landmarks."
            return None, "none", [note(scan.name, sentence)]
        return None, "none", []
    try:
        volume = scan.read_volume()
    except CoWLandmarksError as wrong:
        return None, "unreadable", [error(scan.name, str(wrong))]
    problems = [warning(scan.name, sentence) for sentence in volume.warnings]
    recognised, certain = recognise_modality(volume.voxels)
    if certain and recognised is not scan.modality:
        problems.append(
            warning(
                scan.name, f"called {scan.modality.value.upper()}, but its values look like {recognised.value.upper()}."
            )
        )
    size = " x ".join(str(n) for n in volume.grid.size)
    spacing = " x ".join(f"{mm:.2f}" for mm in volume.grid.spacing)
    return volume.grid, f"{size}, {spacing} mm", problems


def _distance_problems(cohort: Cohort) -> list[Problem]:
    scans = [scan for scan in cohort.scans if any(e.position is not None for e in scan.landmarks)]
    configurations = [placed_landmarks(scan, cohort.anatomy) for scan in scans]
    return [
        warning(
            scans[found.case].name,
            f"'{cohort.anatomy.codes[found.index]}': its distances to the other landmarks are {found.off_mm:.0f} mm "
            f"off those of the cohort (robust z-score {found.z:.0f}).",
        )
        for found in absurd_distances(configurations)
    ]


def _twice(cohort: Cohort) -> list[Problem]:
    """Cases with the same landmarks at the same places: one scan under two names."""
    problems = []
    seen: dict[tuple[float, ...], AnnotatedScan] = {}
    for scan in cohort.scans:
        points = np.nan_to_num(placed_landmarks(scan, cohort.anatomy))
        if not points.any():
            continue
        key = tuple(np.round(points / _SAME_MM).ravel().tolist())
        other = seen.setdefault(key, scan)
        if other is not scan:
            tell = warning if other.patient == scan.patient else error
            problems.append(tell(scan.name, f"has the same landmarks as '{other.name}'; keep one of the two."))
    return problems


def _whole(cohort: Cohort) -> list[Problem]:
    usable = cohort.usable()
    with_image = [scan for scan in usable if scan.image is not None]
    problems = []
    if not usable:
        return [error("", "no case can be used.")]
    if len({scan.patient for scan in with_image}) == 1:
        problems.append(warning("", "there is one patient with an image: nothing is left to validate or test on."))
    if not with_image:
        problems.append(warning("", "no case has an image; landmarks alone cannot train a detector."))
    for modality in Modality:
        templates = [s.name for s in usable if s.modality is modality and s.role is Role.TEMPLATE]
        if len(templates) > 1:
            problems.append(
                error("", f"{', '.join(templates)} are all the {modality.value.upper()} template; keep one of them.")
            )
    return problems


def _row(scan: AnnotatedScan, anatomy: Anatomy, image: str) -> CaseRow:
    states = [estimate.state for estimate in scan.landmarks]
    placed = sum(state in (LandmarkState.FOUND, LandmarkState.UNCERTAIN) for state in states)
    return CaseRow(
        scan.name,
        scan.patient,
        scan.modality.value,
        scan.role.value,
        scan.split or "",
        image,
        placed,
        states.count(LandmarkState.ABSENT),
        states.count(LandmarkState.OUTSIDE),
        len(anatomy) - len(states),
    )
