"""From control points to the landmarks of a case, with every problem instead of the first."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import LandmarkEstimate
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.files.markups import LabelledPoint, estimate_from_point

from .problems import Problem, error, warning


def landmarks_of_points(
    points: Sequence[LabelledPoint], anatomy: Anatomy, case: str
) -> tuple[tuple[LandmarkEstimate, ...], list[Problem]]:
    """Landmarks in the anatomy's order; of a landmark listed twice none is taken."""
    problems: list[Problem] = []
    known = [point for point in points if point.label in anatomy.codes]
    foreign = [point.label for point in points if point.label not in anatomy.codes]
    if foreign and len(known) < len(foreign):
        problems.append(
            error(
                case,
                f"{len(foreign)} of its {len(points)} points ({', '.join(foreign[:3])} ...) are no landmarks of "
                f"'{anatomy.name}'; it seems to be annotated with another landmark set (see --anatomy).",
            )
        )
    else:
        problems += [warning(case, _foreign_sentence(label, anatomy)) for label in foreign]
    landmarks: dict[str, LandmarkEstimate] = {}
    placed = [point for point in known if not point.not_placed_yet]
    for code in anatomy.codes:
        same = [point for point in placed if point.label == code]
        if len(same) > 1:
            problems.append(error(case, f"landmark '{code}' is listed {len(same)} times; delete all but one."))
        elif same:
            try:
                landmarks[code] = estimate_from_point(code, same[0].description, same[0].position, same[0].status)
            except AnnotationError as wrong:
                problems.append(error(case, str(wrong)))
    return tuple(landmarks.values()), problems


def _foreign_sentence(label: str, anatomy: Anatomy) -> str:
    folded = {code.casefold(): code for code in anatomy.codes}
    close = difflib.get_close_matches(label.casefold(), list(folded), n=1, cutoff=0.6)
    meant = f"; is '{folded[close[0]]}' meant?" if close else "."
    return f"point '{label}' is no landmark of '{anatomy.name}' and is not used{meant}"
