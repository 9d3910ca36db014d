"""A picture of every case of an aligned folder, by which a person checks its registration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..figures.error_picture import write_error_picture
from ..records.aligned_folder import PICTURE_FOLDER, AlignedCase, AlignedCohort, case_picture


def write_case_pictures(cohort: AlignedCohort, folder: Path, on_case: Callable[[str], None] = lambda _: None) -> None:
    """Draw every case that has an image, those whose alignment failed included, and take old pictures away.

    Rings are the mean places of the landmarks of the cohort, discs those of the case; those that are more than 3 mm
    apart are joined and named, which between two people is usual. Raises OutputError, AnnotationError.
    """
    drawn = set()
    for case in cohort.all_cases:
        if not case.has_image:
            continue
        path = case_picture(folder, case.name)
        image = np.clip(case.crop().astype(np.float32), 0.0, None)
        mean = cohort.frame.mean_landmarks
        write_error_picture(path, image, cohort.frame.grid, mean, case.landmarks, cohort.anatomy, _title(case))
        drawn.add(path.name)
        on_case(case.name)
    for path in (folder / PICTURE_FOLDER).glob("*.png"):
        if path.name not in drawn:
            path.unlink(missing_ok=True)


def _title(case: AlignedCase) -> str:
    accepted = "" if case.accepted else ", left out"
    return f"{case.name}: {case.residual_mm:.1f} mm from the mean places (rings){accepted}"
