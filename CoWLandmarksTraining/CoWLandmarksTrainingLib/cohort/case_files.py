"""Cases that are files in a folder: with a case.json that describes them, or by their names alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.core.intensity import recognise_modality
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.files.markups import read_points
from CoWLandmarksLib.io.file_integrity import files_of_image
from CoWLandmarksLib.io.volume_io import read_volume

from .annotated_cases import AnnotatedScan, ImageSource
from .annotation import described_modality, described_reviewed, described_role, landmarks_of_points, transform_of
from .discovery import CasePlace, safe_name
from .problems import Problem, error, note, warning

Reading = tuple[list[AnnotatedScan], list[Problem]]


def read_folder_case(place: CasePlace, anatomy: Anatomy) -> Reading:
    """A case folder with a case.json; what cannot be read is told as problems."""
    folder = place.file.parent
    try:
        description = json.loads(place.file.read_text(encoding="utf-8-sig"))
        name = safe_name(str(description.get("case") or place.name))
        annotation = _member(folder, description, "landmarks")
        image, mask = _member(folder, description, "image"), _member(folder, description, "vessel_mask")
        modality, role = described_modality(description), described_role(description)
        transform = transform_of(description.get("transform"))
    except (OSError, ValueError, TypeError, AttributeError) as wrong:
        reason = " ".join(str(wrong).split())
        return [], [error(safe_name(place.name), f"'{place.file}' is no readable case description ({reason}).")]
    if annotation is None:
        return [], [error(name, f"'{place.file}' names no landmarks; add \"landmarks\": the name of a .mrk.json.")]
    problems: list[Problem] = []
    if image is not None and not image.exists():
        problems.append(error(name, f"the image '{image}' does not exist; correct case.json or copy the file."))
    if mask is not None and not mask.exists():
        problems.append(warning(name, f"the vessel mask '{mask}' does not exist and is not used."))
        mask = None
    return _read(
        place,
        anatomy,
        name,
        annotation,
        image,
        mask,
        problems,
        modality=modality or _named_modality(place, name, image, problems),
        fields={
            "patient": str(description.get("patient") or place.patient()),
            "role": role,
            "transform": transform,
            "annotator": str(description.get("annotator") or ""),
            "reviewed": described_reviewed(description),
        },
    )


def read_plain_case(place: CasePlace, anatomy: Anatomy) -> Reading:
    """An annotation with a volume beside it (or none); names tell patient and modality."""
    name = safe_name(place.name)
    problems: list[Problem] = []
    modality = _named_modality(place, name, place.image, problems)
    return _read(
        place, anatomy, name, place.file, place.image, place.mask, problems, modality, {"patient": place.patient()}
    )


def _read(
    place: CasePlace,
    anatomy: Anatomy,
    name: str,
    annotation: Path,
    image: Path | None,
    mask: Path | None,
    problems: list[Problem],
    modality: Modality | None,
    fields: Mapping[str, Any],
) -> Reading:
    try:
        landmarks, told = landmarks_of_points(read_points(annotation), anatomy, name)
    except CoWLandmarksError as wrong:
        return [], [*problems, error(name, str(wrong))]
    problems += told
    if modality is None:
        return [], [*problems, error(name, "whether it is MRA or CTA is said nowhere; write it into case.json.")]
    files = [
        place.file,
        annotation,
        *(file for own in (image, mask) if own is not None for file in files_of_image(own)),
    ]
    scan = AnnotatedScan(
        name=name,
        modality=modality,
        landmarks=landmarks,
        files=tuple(dict.fromkeys(files)),
        image=None if image is None else ImageSource(image),
        vessel_mask=None if mask is None else ImageSource(mask),
        split=place.split(),
        **fields,
    )
    return [scan], problems


def _member(folder: Path, description: Mapping[str, Any], key: str) -> Path | None:
    """A file that a case.json names; it may not leave the folder upwards by an absolute path on another machine."""
    value = description.get(key)
    return folder / str(value) if value else None


def _named_modality(place: CasePlace, name: str, image: Path | None, problems: list[Problem]) -> Modality | None:
    """The modality by names, else by the look of the image; what was assumed is told."""
    modality = place.modality()
    if modality is not None:
        problems.append(note(name, f"taken for {modality.value.upper()} by its name; case.json can say it."))
        return modality
    if image is None:
        return None

    try:
        modality, certain = recognise_modality(read_volume(image).voxels)
    except CoWLandmarksError as wrong:
        problems.append(error(name, str(wrong)))
        return None
    sentence = f"taken for {modality.value.upper()} by the look of its values; case.json can say it."
    problems.append(note(name, sentence) if certain else warning(name, sentence))
    return modality
