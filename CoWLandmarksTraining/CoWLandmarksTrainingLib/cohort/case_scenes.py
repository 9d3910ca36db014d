"""Cases that are Slicer scenes (.mrb, .mrml); their nodes are read by `CoWLandmarksLib.scene.annotations`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.core.intensity import recognise_modality
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.files.case_description import case_description

from .annotated_cases import AnnotatedScan, ImageSource
from .annotation import landmarks_of_points
from .discovery import CasePlace, safe_name
from .problems import Problem, error, note, warning


def read_scene_cases(place: CasePlace, anatomy: Anatomy) -> tuple[list[AnnotatedScan], list[Problem]]:
    """All cases of one scene file; what cannot be read is reported as problems."""
    from CoWLandmarksLib.scene.annotations import annotations_in_scene, data_files  # optional
    from CoWLandmarksLib.scene.scene_files import load_scene  # optional

    whole = safe_name(place.name)
    try:
        scene = load_scene(place.file)
    except CoWLandmarksError as wrong:
        return [], [error(whole, str(wrong))]
    files = [place.file, *(data_files(scene) if place.file.suffix.lower() == ".mrml" else ())]
    annotations = annotations_in_scene(scene, anatomy)
    if not annotations:
        return [], [error(whole, f"the scene '{place.file}' holds no point list with landmarks.")]
    scans: list[AnnotatedScan] = []
    problems: list[Problem] = []
    for annotation in annotations:
        default = whole if len(annotations) == 1 else f"{whole}-{annotation.markups.GetName()}"
        name = safe_name(annotation.attributes.get("case", default))
        try:
            scan = _scan_of(annotation, place, anatomy, name, tuple(files), problems)
        except CoWLandmarksError as wrong:
            problems.append(error(name, str(wrong)))
        except (ValueError, TypeError) as wrong:
            problems.append(error(name, f"the attributes of its point list are not readable ({wrong})."))
        else:
            scans += [scan] if scan is not None else []
    return scans, problems


def _scan_of(
    annotation: Any, place: CasePlace, anatomy: Anatomy, name: str, files: tuple[Path, ...], problems: list[Problem]
) -> AnnotatedScan | None:
    from CoWLandmarksLib.scene.nodes import with_table_states  # optional

    attributes = annotation.attributes
    problems += [error(name, doubt) for doubt in annotation.doubts]
    landmarks, point_problems = landmarks_of_points(annotation.points, anatomy, name)
    problems += point_problems
    landmarks = with_table_states(annotation.markups, landmarks)
    transform = attributes.get("transform")
    described = case_description({**attributes, "transform": None if transform is None else json.loads(transform)})
    modality = described.modality or _assumed_modality(annotation, place, name, problems)
    if modality is None:
        problems.append(error(name, "whether it is MRA or CTA is said nowhere; put 'mra' or 'cta' into its name."))
        return None
    image, mask = (
        None if node is None else ImageSource(place.file, node.GetID())
        for node in (annotation.volume, annotation.segmentation)
    )
    return AnnotatedScan(
        name=name,
        patient=described.patient or place.patient(),
        modality=modality,
        landmarks=landmarks,
        files=files,
        role=described.role,
        image=image,
        vessel_mask=mask,
        transform=described.transform,
        split=place.split(),
        annotator=described.annotator,
        reviewed=described.reviewed,
    )


def _assumed_modality(annotation: Any, place: CasePlace, name: str, problems: list[Problem]) -> Modality | None:
    from CoWLandmarksLib.scene.nodes import volume_from_node  # optional

    volume_name = "" if annotation.volume is None else annotation.volume.GetName()
    modality = place.modality(volume_name, annotation.markups.GetName())
    if modality is not None:
        problems.append(note(name, f"taken for {modality.value.upper()} by its name."))
        return modality
    if annotation.volume is None:
        return None
    volume = volume_from_node(annotation.volume)
    if volume.modality is not None:
        return volume.modality
    recognised, certain = recognise_modality(volume.voxels)
    sentence = f"taken for {recognised.value.upper()} by the look of its values; put 'mra' or 'cta' into its name."
    problems.append(note(name, sentence) if certain else warning(name, sentence))
    return recognised
