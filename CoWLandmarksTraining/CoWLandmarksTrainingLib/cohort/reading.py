"""Reading a cohort: every case below some folders, with unique names, and every problem on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from CoWLandmarksLib.core.anatomy import Anatomy

from .annotated_cases import AnnotatedScan, Cohort
from .case_files import read_folder_case, read_plain_case
from .case_scenes import read_scene_cases
from .discovery import find_cases
from .problems import Problem, warning


def read_cohort(folders: Sequence[Path], anatomy: Anatomy) -> Cohort:
    """Read every case below `folders` (or single scene files); one bad case never stops the others.

    Raises AnnotationError when there is no case at all or a folder does not exist.
    """
    scans: list[AnnotatedScan] = []
    problems: list[Problem] = []
    for place in find_cases(folders):
        if place.is_scene:
            found, new_problems = read_scene_cases(place, anatomy)
        else:
            found, new_problems = (read_folder_case if place.described else read_plain_case)(place, anatomy)
        found, new_problems = _with_unique_names(found, new_problems, {scan.name for scan in scans})
        scans += found
        problems += new_problems
    scans.sort(key=lambda scan: scan.name)
    return Cohort(anatomy, tuple(scans), tuple(problems))


def _with_unique_names(
    scans: Sequence[AnnotatedScan], problems: Sequence[Problem], taken: set[str]
) -> tuple[list[AnnotatedScan], list[Problem]]:
    renamed: dict[str, str] = {}
    unique: list[AnnotatedScan] = []
    warnings: list[Problem] = []
    for scan in scans:
        name, number = scan.name, 2
        while name in taken:
            name, number = f"{scan.name}-{number}", number + 1
        if name != scan.name:
            warnings.append(warning(name, f"another case is called '{scan.name}' too; this one is now '{name}'."))
            renamed[scan.name] = name
        taken.add(name)
        unique.append(replace(scan, name=name))
    return unique, [replace(p, case=renamed.get(p.case, p.case)) for p in problems] + warnings
