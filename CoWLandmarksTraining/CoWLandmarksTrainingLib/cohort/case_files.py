"""Cases that are files in a folder: with a case.json that describes them, or by their names alone."""

from __future__ import annotations

from pathlib import Path

from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.errors import AnnotationError, CoWLandmarksError
from CoWLandmarksLib.core.intensity import recognise_modality
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.files.case_description import CaseDescription, read_case_json
from CoWLandmarksLib.files.markups import read_points
from CoWLandmarksLib.io.file_integrity import files_of_image
from CoWLandmarksLib.io.volume_io import read_volume

from .annotated_cases import AnnotatedScan, ImageSource
from .annotation import landmarks_of_points
from .discovery import CasePlace, safe_name
from .problems import Problem, error, note, warning

Reading = tuple[list[AnnotatedScan], list[Problem]]


def read_folder_case(place: CasePlace, anatomy: Anatomy) -> Reading:
    """A case folder with a case.json; what cannot be read is reported as problems."""
    folder = place.file.parent
    try:
        description = read_case_json(place.file)
    except AnnotationError as wrong:
        return [], [error(safe_name(place.name), str(wrong))]
    name = safe_name(description.case or place.name)
    if description.landmarks is None:
        return [], [error(name, f"'{place.file}' names no landmarks; add \"landmarks\": the name of a .mrk.json.")]
    image, mask = (None if own is None else folder / own for own in (description.image, description.vessel_mask))
    problems: list[Problem] = []
    if image is not None and not image.exists():
        problems.append(error(name, f"the image '{image}' does not exist; correct case.json or copy the file."))
    if mask is not None and not mask.exists():
        problems.append(warning(name, f"the vessel mask '{mask}' does not exist and is not used."))
        mask = None
    modality = description.modality or _named_modality(place, name, image, problems)
    annotation = folder / description.landmarks
    return _read(place, anatomy, name, description, annotation, image, mask, problems, modality)


def read_plain_case(place: CasePlace, anatomy: Anatomy) -> Reading:
    """An annotation with a volume beside it (or none); names tell patient and modality."""
    name = safe_name(place.name)
    problems: list[Problem] = []
    modality = _named_modality(place, name, place.image, problems)
    return _read(place, anatomy, name, CaseDescription(), place.file, place.image, place.mask, problems, modality)


def _read(
    place: CasePlace,
    anatomy: Anatomy,
    name: str,
    description: CaseDescription,
    annotation: Path,
    image: Path | None,
    mask: Path | None,
    problems: list[Problem],
    modality: Modality | None,
) -> Reading:
    try:
        landmarks, point_problems = landmarks_of_points(read_points(annotation), anatomy, name)
    except CoWLandmarksError as wrong:
        return [], [*problems, error(name, str(wrong))]
    problems += point_problems
    if modality is None:
        return [], [*problems, error(name, "whether it is MRA or CTA is said nowhere; write it into case.json.")]
    files = [
        place.file,
        annotation,
        *(file for own in (image, mask) if own is not None for file in files_of_image(own)),
    ]
    scan = AnnotatedScan(
        name=name,
        patient=description.patient or place.patient(),
        modality=modality,
        landmarks=landmarks,
        files=tuple(dict.fromkeys(files)),
        role=description.role,
        image=None if image is None else ImageSource(image),
        vessel_mask=None if mask is None else ImageSource(mask),
        transform=description.transform,
        split=place.split(),
        annotator=description.annotator,
        reviewed=description.reviewed,
        phantom=description.phantom,
    )
    return [scan], problems


def _named_modality(place: CasePlace, name: str, image: Path | None, problems: list[Problem]) -> Modality | None:
    """The modality by names, else by the intensities of the image; what was assumed is reported."""
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
