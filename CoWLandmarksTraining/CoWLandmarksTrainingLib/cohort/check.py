"""`cowlandmarks-train check`: a table of the cases of a cohort and every problem in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import LandmarkState
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.core.intensity import recognise_modality
from CoWLandmarksLib.core.volume import Grid, Modality
from CoWLandmarksLib.files.case_description import Role

from ..records.checked_cohort import NO_IMAGE, UNREADABLE_IMAGE, CheckedCase, write_checked
from .annotated_cases import AnnotatedScan, Cohort, placed_landmarks, problems_across_splits
from .annotation_check import annotation_problems, listed_twice
from .annotation_geometry import absurd_distances
from .problems import Problem, Severity, cases_with_errors, error, note, warning


@dataclass(frozen=True)
class CohortReport:
    """The table and all problems of a checked cohort, those of reading it included."""

    cohort: Cohort
    rows: tuple[CheckedCase, ...]

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

    def write(self, file: Path) -> None:
        """Write table and problems as `cow-check/1`; raises OutputError."""
        problems = [(problem.case, problem.severity.value, problem.sentence) for problem in self.problems]
        write_checked(file, self.rows, len(self.cohort.anatomy), problems)

    def count(self, severity: Severity) -> int:
        """Number of problems of one severity."""
        return sum(problem.severity is severity for problem in self.problems)


def check_cohort(cohort: Cohort, on_case: Callable[[str], None] = lambda _: None) -> CohortReport:
    """Check every case and the cohort as a whole; nothing stops it before the last one."""
    anatomy = cohort.anatomy
    rows, problems = [], []
    for scan in cohort.scans:
        grid, image, image_problems = _checked_image(scan)
        problems += image_problems + annotation_problems(scan, anatomy, grid)
        if scan.from_labels:
            bases = "; ".join(f"{estimate.code}: {estimate.note}" for estimate in scan.landmarks)
            problems.append(note(scan.name, f"its landmarks come from {scan.annotator} ({bases})."))
        rows.append(_checked_case(scan, anatomy, image))
        on_case(scan.name)
    problems += _distance_problems(cohort) + listed_twice(cohort) + problems_across_splits(cohort.scans)
    checked = cohort.with_problems(problems)
    return CohortReport(checked.with_problems(_whole(checked)), tuple(rows))


def _checked_image(scan: AnnotatedScan) -> tuple[Grid | None, str, list[Problem]]:
    if scan.image is None:
        if scan.modality is Modality.MRA:
            return None, NO_IMAGE, [warning(scan.name, "an MRA case without image trains only the discriminator.")]
        if scan.transform is None:
            sentence = "landmarks only, without a transform to the reference frame: aligned by its landmarks."
            return None, NO_IMAGE, [note(scan.name, sentence)]
        return None, NO_IMAGE, []
    try:
        volume = scan.read_volume()
    except CoWLandmarksError as wrong:
        return None, UNREADABLE_IMAGE, [error(scan.name, str(wrong))]
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


def _checked_case(scan: AnnotatedScan, anatomy: Anatomy, image: str) -> CheckedCase:
    states = [estimate.state for estimate in scan.landmarks]
    main = scan.files[0].absolute()
    in_scene = main.suffix.lower() in (".mrb", ".mrml")
    annotations = [] if in_scene else [file for file in scan.files if file.name.endswith((".mrk.json", ".fcsv"))]
    return CheckedCase(
        scan.name,
        scan.patient,
        scan.modality.value,
        scan.role.value,
        scan.split or "",
        image,
        placed=sum(state in (LandmarkState.FOUND, LandmarkState.UNCERTAIN) for state in states),
        absent=states.count(LandmarkState.ABSENT),
        outside=states.count(LandmarkState.OUTSIDE),
        missing=len(anatomy) - len(states),
        scene=main if in_scene else None,
        volume=None if in_scene or scan.image is None else scan.image.path.absolute(),
        annotation=annotations[0].absolute() if annotations else None,
    )
