"""Folders of scans with label maps of their arteries, as an annotated cohort."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.detection import LandmarkEstimate
from CoWLandmarksLib.core.errors import AnnotationError, OutputError, VolumeError
from CoWLandmarksLib.core.intensity import recognise_modality
from CoWLandmarksLib.core.label_scheme import LabelScheme
from CoWLandmarksLib.core.volume import Volume, validated
from CoWLandmarksLib.files.case_description import CaseDescription
from CoWLandmarksLib.files.case_folder import case_is_there, writing_case
from CoWLandmarksLib.io.volume_io import WRITABLE, read_volume, scan_name

from .annotated_cases import LABELS_ANNOTATOR
from .discovery import CasePlace
from .label_landmarks import landmarks_from_labels


@dataclass(frozen=True)
class LabelledScan:
    """A scan and its label map; `case` and `patient` are pseudonyms made of the name of the file."""

    case: str
    patient: str
    image: Path
    labels: Path
    root: Path


def find_labelled_scans(folder: Path, scheme: LabelScheme) -> list[LabelledScan]:
    """All label maps below a folder laid out as the scheme says, with their scans.

    Raises AnnotationError where there is no such folder, or a label map has no scan.
    """
    layout = scheme.layout
    images = next((folder / name for name in layout.images if (folder / name).is_dir()), None)
    maps = next((folder / name for name in layout.labels if (folder / name).is_dir()), None)
    expected = f"{layout.images[0]}/NAME{layout.image_suffix}.nii.gz and {layout.labels[0]}/NAME.nii.gz"
    files = [] if maps is None else [file for file in sorted(maps.iterdir()) if file.name.lower().endswith(WRITABLE)]
    if images is None or not files:
        raise AnnotationError(f"'{folder}' holds no scans with label maps; '{scheme.name}' expects {expected}.")
    return [_labelled_scan(file, images, folder, layout.image_suffix) for file in files]


def _labelled_scan(file: Path, images: Path, root: Path, suffix: str) -> LabelledScan:
    name = next(file.name[: -len(ending)] for ending in WRITABLE if file.name.lower().endswith(ending))
    image = next((path for ending in WRITABLE if (path := images / f"{name}{suffix}{ending}").is_file()), None)
    if image is None:
        raise AnnotationError(f"The label map '{file}' has no scan '{images / (name + suffix)}.nii.gz'; add it.")
    place = CasePlace(image, root, name)
    return LabelledScan(_pseudonym(name), _pseudonym(place.patient()), image, file, root)


def _pseudonym(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:60] or "case"


def check_target(scans: list[LabelledScan], cohort: Path) -> None:
    """Raise OutputError where the cohort has one of the cases already, or two scans would become one case."""
    names = [scan.case.casefold() for scan in scans]
    twice = next((scan.case for scan in scans if names.count(scan.case.casefold()) > 1), None)
    there = next((scan.case for scan in scans if case_is_there(cohort, scan.case)), None)
    if twice or there:
        reason = f"would hold '{twice}' twice" if twice else f"has a case '{there}' already"
        raise OutputError(f"The cohort '{cohort}' {reason}; choose another --out, or rename the files.")


def import_case(
    scan: LabelledScan, scheme: LabelScheme, anatomy: Anatomy, cohort: Path
) -> tuple[LandmarkEstimate, ...]:
    """Write the case `cohort/<case>`; returns its landmarks.

    Raises AnnotationError or VolumeError for files that cannot be used, OutputError where the case cannot be written.
    """
    volume = validated(read_volume(scan.image))
    labels = _checked_labels(scan, volume, scheme)
    landmarks = landmarks_from_labels(labels, scheme, anatomy)
    if not any(estimate.position is not None for estimate in landmarks):
        raise AnnotationError(f"From '{scan.labels}' no landmark can be derived; do its classes touch each other?")
    modality = CasePlace(scan.image, scan.root, scan_name(scan.labels)).modality()
    description = CaseDescription(
        case=scan.case,
        patient=scan.patient,
        modality=modality or recognise_modality(volume.voxels)[0],
        annotator=f"{LABELS_ANNOTATOR}{scheme.name}",
    )
    for _ in writing_case(cohort, description, volume, landmarks, anatomy, labels, keep_notes=True):
        pass
    return landmarks


def _checked_labels(scan: LabelledScan, volume: Volume, scheme: LabelScheme) -> Volume:
    """The label map as uint8; raises AnnotationError or VolumeError."""
    labels = read_volume(scan.labels)
    spacing = float(volume.grid.spacing.min())
    if labels.voxels.shape != volume.voxels.shape or not np.allclose(
        labels.ijk_to_ras, volume.ijk_to_ras, atol=0.01 * spacing
    ):
        raise VolumeError(f"The label map '{scan.labels}' lies on another grid than its scan; resample it to that.")
    values = set(np.unique(labels.voxels).tolist()) - {0}
    if not values:
        raise AnnotationError(f"The label map '{scan.labels}' is empty; leave it out, or label the arteries.")
    unknown = sorted(values - set(scheme.labels))
    if unknown:
        listed = ", ".join(f"{value:g}" for value in unknown[:5])
        raise AnnotationError(
            f"The label map '{scan.labels}' holds {listed}, which '{scheme.name}' does not have; is it another scheme?"
        )
    return Volume(labels.voxels.astype(np.uint8), labels.ijk_to_ras, scan.case)
