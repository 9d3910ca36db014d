"""From a scan and given landmarks (corrected by hand, say) to a delivered result with its arteries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..arteries.tracer import ArteryTracer
from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap, cropped_labels
from ..core.declaration import Declarations, with_texts
from ..core.detection import Detection, LandmarkEstimate
from ..core.errors import AnnotationError, VolumeError
from ..core.given_landmarks import given_detection
from ..core.volume import Modality, Volume
from ..files.detection_files import read_detection_and_arteries
from ..files.result_folders import DETECTION_FILE, SEGMENTATION_FILE
from ..io.volume_io import read_volume
from .scan_memory import ScanMemory

RENEWED = "The corrected landmarks speak for another variant of the circle; all arteries were traced anew."


def earlier_result(folder: Path, volume: Volume, anatomy: Anatomy) -> tuple[Detection, ArteryMap]:
    """Detection and arteries of an earlier result of the same scan.

    Raises AnnotationError where the folder holds no arteries, VolumeError where they lie on another grid.
    """
    detection, recorded = read_detection_and_arteries(folder / DETECTION_FILE)
    if tuple(trace.code for trace in recorded.traces) != tuple(artery.code for artery in anatomy.arteries):
        raise AnnotationError(f"'{folder}' holds no arteries of '{anatomy.name}'; leave out --previous.")
    labels = read_volume(folder / SEGMENTATION_FILE)
    same = labels.voxels.shape == volume.voxels.shape and np.allclose(
        labels.ijk_to_ras, volume.ijk_to_ras, atol=1e-3 * float(volume.grid.spacing.min())
    )
    if not same:
        raise VolumeError(f"'{folder / SEGMENTATION_FILE}' does not lie on the grid of the scan; leave out --previous.")
    part, start = cropped_labels(labels.voxels)
    found = ArteryMap(
        recorded.traces, part, start, volume.grid, "", detection.landmarks, recorded.anchors, recorded.declared
    )
    return detection, replace(found, probabilities=recorded.probabilities)


def retraced(
    volume: Volume,
    landmarks: tuple[LandmarkEstimate, ...],
    anatomy: Anatomy,
    modality: Modality | None = None,
    previous: Path | None = None,
    memory: ScanMemory | None = None,
    declared: Declarations | None = None,
    declare: Sequence[str] = (),
) -> tuple[Detection, ArteryMap]:
    """Detection with the given landmarks, and the arteries between them.

    With the folder of a `previous` result of the scan only arteries that hang on a changed landmark are traced, unless
    that speaks clearly for another variant of the circle: then all are, and a warning says so.
    `memory`, from which the volume was read, makes that quicker and changes nothing else. `declared` is what a person
    says of arteries (None: what was declared in the previous result), `declare` are texts that change it
    (core/declaration.py). Raises AnnotationError, VolumeError.
    """
    earlier: ArteryMap | None = None
    if previous is None:
        detection = given_detection(volume, landmarks, anatomy, modality)
    else:
        result, earlier = earlier_result(previous, volume, anatomy)
        detection = replace(
            given_detection(volume, landmarks, anatomy, modality or result.modality),
            ras_to_reference=result.ras_to_reference,
            warnings=result.warnings,
            provenance={**result.provenance, "landmarks": "corrected"},
        )
    kept = None if memory is None else memory.surroundings
    tracer = ArteryTracer(volume, detection.modality, anatomy, earlier, kept)
    before = earlier.declared if earlier is not None else {}
    found = tracer.trace(landmarks, with_texts(before if declared is None else declared, declare, anatomy))
    if memory is not None:
        memory.surroundings = tracer.surroundings
    warnings = [text for text in detection.warnings if text != RENEWED] + [RENEWED] * found.renewed
    return replace(detection, warnings=tuple(warnings)), found
