"""A reviewed annotation as a case of a training cohort: voxels, landmarks, vessel mask and case.json in one folder.

Nothing of the file, the DICOM header or the scene that the scan came from is written: only voxels and their geometry,
the landmarks without their free texts, and what the caller gives here: pseudonyms, initials and time of review.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..core.anatomy import Anatomy
from ..core.declaration import Declarations
from ..core.detection import NOT_PLACED, LandmarkEstimate
from ..core.errors import ConfigurationError, OutputError
from ..core.volume import Volume
from .case_description import CASE_FILE, CaseDescription, write_case_json
from .markups import write_annotation
from .nrrd_file import packing_nrrd
from .result_folders import result_folder

IMAGE_FILE, LANDMARKS_FILE, MASK_FILE = "scan.nrrd", "landmarks.mrk.json", "vessels.nrrd"
_PSEUDONYM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
_NUMBERED = "case-{:03d}"


def check_pseudonym(text: str, known: Sequence[str] = ()) -> str:
    """`text` if it can be a pseudonym; raises ConfigurationError.

    `known` are names and IDs of the patient from the scan's header: a pseudonym may not hold any of them.
    """
    if not _PSEUDONYM.fullmatch(text):
        raise ConfigurationError(
            f"'{text}' cannot be a pseudonym; use up to 60 letters, digits, '-' and '_', a letter or digit first."
        )
    if any(part in text.casefold() for part in identifying_parts(known)):
        raise ConfigurationError(
            f"The pseudonym '{text}' holds a name or an ID of the patient from the header of the scan; choose another."
        )
    return text


def identifying_parts(known: Sequence[str]) -> set[str]:
    """The parts of names and IDs that are long enough to identify somebody, folded."""
    parts = (part for text in known for part in (text, *re.split(r"[\s^,;=]+", text)))
    return {part.strip().casefold() for part in parts if len(part.strip()) >= 3}


def free_pseudonym(cohort: Path) -> str:
    """The first of case-001, case-002 ... that neither the cohort nor one of its folders (splits) has yet."""
    taken = {path.name.casefold() for pattern in ("*", "*/*") for path in cohort.glob(pattern)}
    number = 1
    while _NUMBERED.format(number) in taken:
        number += 1
    return _NUMBERED.format(number)


def case_is_there(cohort: Path, case: str) -> bool:
    """Whether the cohort has a case, or anything else, of this name (case of letters does not count)."""
    return cohort.is_dir() and any(entry.name.casefold() == case.casefold() for entry in cohort.iterdir())


def writing_case(
    cohort: Path,
    description: CaseDescription,
    volume: Volume,
    landmarks: Sequence[LandmarkEstimate],
    anatomy: Anatomy,
    mask: Volume | None = None,
    keep_notes: bool = False,
    declared: Declarations | None = None,
) -> Iterator[float]:
    """Write the case folder `cohort/<case>`, a little at each step; yields the part that is done.

    `description` has the pseudonyms and the review; names of files and of the landmark set are filled in here, and a
    transform to the reference frame is left to the training, which makes it of the landmarks. Notes on landmarks are
    written only with `keep_notes`, which is for those that the program made itself. What is `declared` of arteries
    stands in the file of the landmarks.
    The folder appears, complete, when the last step is taken, and not at all if the iterator is closed before.
    Raises OutputError where there is such a folder already, and ConfigurationError for an unusable pseudonym.
    """
    check_pseudonym(description.case)
    check_pseudonym(description.patient)
    if case_is_there(cohort, description.case):
        raise OutputError(
            f"The cohort '{cohort}' has a case '{description.case}' already, which is not replaced; choose another "
            "pseudonym, or remove that folder yourself."
        )
    with ExitStack() as delivering:
        folder = delivering.enter_context(result_folder(cohort, description.case))
        parts = [(IMAGE_FILE, volume), *([(MASK_FILE, mask)] if mask is not None else [])]
        for number, (name, image) in enumerate(parts):
            for done in packing_nrrd(folder / name, image):
                yield (number + done) / len(parts)
        written = [
            estimate if keep_notes else replace(estimate, note="")
            for estimate in landmarks
            if estimate.note != NOT_PLACED
        ]
        write_annotation(folder / LANDMARKS_FILE, written, anatomy, declared=declared or None)
        described = replace(
            description,
            image=IMAGE_FILE,
            landmarks=LANDMARKS_FILE,
            vessel_mask=None if mask is None else MASK_FILE,
            anatomy=anatomy.name,
            reviewed_at=description.reviewed_at or "",
        )
        write_case_json(folder / CASE_FILE, described)
    yield 1.0
