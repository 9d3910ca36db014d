"""An annotation as files to hand on: point list, tables and segmentation of one scan. Without SimpleITK and torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap
from ..core.declaration import Declarations
from ..core.detection import NOT_PLACED, Detection
from ..core.errors import OutputError
from .arteries_files import segmentation_fields, write_arteries_csv
from .detection_files import write_landmarks_csv
from .dicom_source import DicomOrigin, SourceSeries, check_highdicom
from .markups import write_annotation
from .nrrd_file import packing_nrrd

LANDMARKS, TABLE, ARTERIES, SEGMENTATION = ".mrk.json", ".csv", "-arteries.csv", "-arteries.seg.nrrd"
REPORT, DICOM_SEGMENTATION = ".sr.dcm", "-arteries.seg.dcm"
"""What follows the chosen name in the names of the files."""


@dataclass(frozen=True)
class Annotation:
    """A detection as a person left it; `reviews` code -> (initials, time), `review` initials and time of the whole.

    `declared` is what the person says of arteries, whether or not they were traced since.
    """

    detection: Detection
    reviews: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    review: Mapping[str, str] = field(default_factory=dict)
    arteries: ArteryMap | None = None
    declared: Declarations = field(default_factory=dict)

    @property
    def reviewed(self) -> bool:
        """Whether a person reviewed every landmark."""
        return all(estimate.reviewed for estimate in self.detection.landmarks)


@dataclass(frozen=True)
class FileChoice:
    """Which files are written; `dicom` is the series to which DICOM objects refer, None where none are wanted."""

    landmarks: bool = True
    tables: bool = True
    segmentation: bool = True
    dicom: DicomOrigin | None = None

    def files(self, folder: Path, name: str, annotation: Annotation) -> list[Path]:
        """The files of this choice; without arteries there are none of theirs."""
        arteries = annotation.arteries is not None
        chosen = [
            (LANDMARKS, self.landmarks),
            (TABLE, self.tables),
            (ARTERIES, self.tables and arteries),
            (SEGMENTATION, self.segmentation and arteries),
            (REPORT, self.dicom is not None),
            (DICOM_SEGMENTATION, self.dicom is not None and arteries),
        ]
        return [folder / f"{name}{ending}" for ending, wanted in chosen if wanted]


def writing_annotation(
    folder: Path, name: str, annotation: Annotation, anatomy: Anatomy, choice: FileChoice, *, overwrite: bool = False
) -> Iterator[float]:
    """Write the chosen files as `folder/name...`, a little at each step; yields the part that is done.

    Raises OutputError where one of them exists and `overwrite` is not set, and ConfigurationError and VolumeError where
    no DICOM objects can be made, before any is written.
    """
    files = choice.files(folder, name, annotation)
    there = [file.name for file in files if file.exists()]
    if there and not overwrite:
        raise OutputError(f"'{folder}' holds {', '.join(there)} already; choose another name, or allow to replace.")
    source = None
    if choice.dicom is not None:
        check_highdicom()
        yield 0.0
        source = choice.dicom.read()
    for number, file in enumerate(files):
        for part in _writing_file(file, name, annotation, anatomy, source):
            yield (number + part) / len(files)
    yield 1.0


def _writing_file(
    file: Path, name: str, annotation: Annotation, anatomy: Anatomy, source: SourceSeries | None
) -> Iterator[float]:
    """Write one of the files of a choice; yields the part of it that is done."""
    detection, arteries = annotation.detection, annotation.arteries
    ending = file.name.removeprefix(name)
    if ending == LANDMARKS:
        placed = [estimate for estimate in detection.landmarks if estimate.note != NOT_PLACED]
        write_annotation(file, placed, anatomy, annotation.review, annotation.declared or None)
    elif ending == TABLE:
        write_landmarks_csv(file, detection, anatomy, annotation.reviews)
    elif ending == REPORT and source is not None:
        from .dicom_report import write_dicom_report  # optional

        write_dicom_report(file, detection, anatomy, source)
        yield 1.0
    elif arteries is None:
        return
    elif ending == ARTERIES:
        write_arteries_csv(file, arteries, anatomy)
    elif ending == DICOM_SEGMENTATION and source is not None:
        from .dicom_segmentation import write_dicom_segmentation  # optional

        write_dicom_segmentation(file, arteries, detection, anatomy, source)
        yield 1.0
    elif ending == SEGMENTATION:
        yield from packing_nrrd(file, arteries.label_volume("arteries"), segmentation_fields(arteries, anatomy))
