"""The files that a detection is delivered as, in the order in which they are written."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap
from ..core.detection import Detection
from ..core.errors import AnnotationError
from ..core.label_scheme import LabelScheme
from ..core.volume import Volume
from ..files.arteries_files import write_arteries_csv, write_segmentation
from ..files.artery_graph import write_artery_graph
from ..files.delivered import Delivered
from ..files.detection_files import write_detection_json, write_landmarks_csv
from ..files.dicom_source import SourceSeries
from ..files.markups import write_annotation
from ..files.nrrd_file import write_plain_nrrd
from ..files.result_folders import (
    ARTERIES_FILE,
    CENTERLINES_FILE,
    DETECTION_FILE,
    DICOM_REPORT_FILE,
    DICOM_SEGMENTATION_FILE,
    GRAPH_FILE,
    HEATMAP_FILE,
    LABELS_FILE,
    LANDMARKS_FILE,
    PICTURE_FILE,
    SCENE_FILE,
    SEGMENTATION_FILE,
    SURFACES_FILE,
    TABLE_FILE,
)

WritingCallback = Callable[[str, float], None]
"""Takes the name of the file that is being written and the part done, 0..1."""


@dataclass(frozen=True)
class Delivery:
    """Which files are written for each scan; the landmarks, their table and the detection always are.

    `labels` is the scheme of a further label map of the arteries, `centerlines` are those for VMTK and 3D Slicer,
    `dicom` are the objects that refer to the DICOM series of the scan.
    """

    anatomy: Anatomy
    pictures: bool = True
    scene: bool = True
    heatmaps: bool = False
    surfaces: bool = False
    centerlines: bool = False
    labels: LabelScheme | None = None
    dicom: bool = False

    def write(
        self,
        folder: Path,
        volume: Volume,
        detection: Detection,
        writing: WritingCallback | None = None,
        arteries: ArteryMap | None = None,
        source: SourceSeries | None = None,
    ) -> tuple[str, ...]:
        """Write the files into `folder`, which exists; returns warnings about files that had to be left out.

        `source` is what DICOM objects refer to (`source_of`). Raises OutputError where a file cannot be written.
        """

        warnings: list[str] = []
        declared = None if arteries is None else arteries.declared or None
        steps: list[tuple[str, Callable[[Path], None]]] = [
            (LANDMARKS_FILE, lambda path: write_annotation(path, detection.landmarks, self.anatomy, None, declared)),
            (TABLE_FILE, lambda path: write_landmarks_csv(path, detection, self.anatomy)),
            (DETECTION_FILE, lambda path: write_detection_json(path, detection, arteries)),
        ]
        if arteries is not None:
            steps += self._artery_steps(volume, detection, arteries, warnings)
        if source is not None:
            steps += self._dicom_steps(detection, arteries, source, warnings)
        for heatmap in detection.heatmaps if self.heatmaps else ():
            name = HEATMAP_FILE.format(code=heatmap.name)
            steps.append((name, lambda path, heatmap=heatmap: write_plain_nrrd(path, heatmap)))  # type: ignore[misc]
        if self.pictures:
            from ..pictures.report_picture import write_picture  # start-up time

            steps.append((PICTURE_FILE, lambda path: write_picture(path, volume, detection, self.anatomy, arteries)))
        if self.scene and scene_support_missing():
            warnings.append(
                f"{SCENE_FILE} was left out: the package 'slicer-core' is not installed (pip install slicer-core)."
            )
        elif self.scene:
            steps.append((SCENE_FILE, lambda path: self._write_scene(path, volume, detection, arteries)))
        for number, (name, write) in enumerate(steps):
            if writing is not None:
                writing(name, number / len(steps))
            write(folder / name)
        return tuple(warnings)

    def _artery_steps(
        self, volume: Volume, detection: Detection, found: ArteryMap, warnings: list[str]
    ) -> list[tuple[str, Callable[[Path], None]]]:
        """Names of the files of the arteries, with what writes them; why one had to be left out goes to `warnings`."""
        steps: list[tuple[str, Callable[[Path], None]]] = [
            (SEGMENTATION_FILE, lambda path: write_segmentation(path, found, self.anatomy)),
            (ARTERIES_FILE, lambda path: write_arteries_csv(path, found, self.anatomy)),
            (GRAPH_FILE, lambda path: write_artery_graph(path, detection, found, self.anatomy)),
        ]
        if self.labels is not None:
            from ..arteries.continued_labels import label_volume  # start-up time
            from ..io.volume_io import write_volume  # start-up time

            name = LABELS_FILE.format(scheme=self.labels.name)
            try:
                labels = label_volume(volume, detection.modality, found, self.labels, self.anatomy)
                steps.append((name, lambda path: write_volume(labels, path)))
            except AnnotationError as error:
                warnings.append(f"{name} was left out: {error}")
        if self.centerlines:
            from ..files.centerline_file import write_centerlines  # optional

            steps.append((CENTERLINES_FILE, lambda path: write_centerlines(path, found, self.anatomy)))
        # Without VTK whoever shows the surfaces makes them.
        if self.surfaces and importlib.util.find_spec("vtkmodules") is not None:
            from ..files.surfaces import write_surfaces  # optional

            steps.append((SURFACES_FILE, lambda path: write_surfaces(path, found, self.anatomy)))
        return steps

    def _dicom_steps(
        self, detection: Detection, arteries: ArteryMap | None, source: SourceSeries, warnings: list[str]
    ) -> list[tuple[str, Callable[[Path], None]]]:
        """Names of the DICOM files, with what writes them; `warnings` as above."""
        from ..files.dicom_report import write_dicom_report  # optional
        from ..files.dicom_segmentation import write_dicom_segmentation  # optional

        def segmentation(path: Path, found: ArteryMap) -> None:
            if not write_dicom_segmentation(path, found, detection, self.anatomy, source):
                warnings.append(f"{DICOM_SEGMENTATION_FILE} was left out: no artery was found.")

        steps: list[tuple[str, Callable[[Path], None]]] = [
            (DICOM_REPORT_FILE, lambda path: write_dicom_report(path, detection, self.anatomy, source))
        ]
        if arteries is not None:
            steps.append((DICOM_SEGMENTATION_FILE, lambda path: segmentation(path, arteries)))
        return steps

    def source_of(self, scan: Path, series: str | None = None) -> SourceSeries | None:
        """The DICOM series that a scan was read from; None where no DICOM objects are wanted.

        Raises VolumeError where it is no DICOM series, or one to which no object can refer.
        """
        if not self.dicom:
            return None
        from ..io.dicom import read_source_series  # start-up time

        return read_source_series(scan, series)

    def _write_scene(self, path: Path, volume: Volume, detection: Detection, arteries: ArteryMap | None) -> None:
        from ..scene.nodes import add_volume  # optional
        from ..scene.results import add_result  # optional
        from ..scene.scene_files import create_scene, save_scene  # optional

        scene = create_scene()
        node = add_volume(scene, volume)
        add_result(scene, node, Delivered(path.parent, detection, arteries), self.anatomy)
        save_scene(scene, path)


def scene_support_missing() -> bool:
    """Whether no MRML is at hand (neither 3D Slicer itself nor the package slicer-core)."""
    return importlib.util.find_spec("slicer") is None
