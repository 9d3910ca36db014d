"""Landmarks and arteries that were given, not detected: annotated by a person, here or elsewhere. Needs no PyTorch."""

from __future__ import annotations

import numpy as np

from .. import PROGRAM
from .anatomy import Anatomy
from .artery_map import ArteryMap, ArteryState, ArteryTrace, cropped_labels
from .bone import bright_millilitres, modality_by_bone
from .circle_variant import summary_of
from .detection import GIVEN, NOT_PLACED, Detection, LandmarkEstimate, LandmarkState
from .errors import AnnotationError
from .intensity import recognise_modality
from .mean_landmarks import reference_to_scan
from .volume import Grid, Modality, Volume


def given_detection(
    volume: Volume, landmarks: tuple[LandmarkEstimate, ...], anatomy: Anatomy, modality: Modality | None
) -> Detection:
    """A Detection that holds given landmarks, without a verdict; those of the anatomy that are not given are outside.

    Raises AnnotationError where no landmark has a position.
    """
    given = {estimate.code: estimate for estimate in landmarks}
    positions = {e.code: np.array(e.position, float) for e in landmarks if e.position is not None}
    if not positions:
        raise AnnotationError("The annotation holds no placed landmark; place some of them first.")
    recognised, certain = (modality, True) if modality is not None else _modality_of(volume, list(positions.values()))
    warnings = volume.warnings
    if not certain:
        name = recognised.value.upper()
        warnings += (f"The modality was guessed ({name}); give it with --modality if that is wrong.",)
    unplaced = [code for code in anatomy.codes if code not in given]
    estimates = tuple(
        given.get(code, LandmarkEstimate(code, None, LandmarkState.OUTSIDE, 0.0, 0.0, note=NOT_PLACED))
        for code in anatomy.codes
    )
    reasons = ["The landmarks were given, not detected."]
    if unplaced:
        reasons.append(f"Not placed: {', '.join(unplaced)}.")
    return Detection(
        scan=volume.name,
        modality=recognised,
        verdict=None,
        reasons=tuple(reasons),
        landmarks=estimates,
        ras_to_reference=np.linalg.inv(reference_to_scan(positions)),
        warnings=warnings,
        provenance={"program": PROGRAM, "model": GIVEN},
    )


def given_arteries(labels: np.ndarray, grid: Grid, anatomy: Anatomy) -> ArteryMap:
    """Arteries of which only the labels are given, uint8 [k, j, i] on the grid of the scan; without measures.

    An artery without voxels is unknown: it may be absent, or nobody drew it.
    """
    drawn = set(np.unique(labels).tolist())
    traces = tuple(
        ArteryTrace(artery.code, ArteryState.PRESENT, "drawn in the file", 1.0)
        if artery.label in drawn
        else ArteryTrace(artery.code, ArteryState.UNKNOWN, "not drawn in the file", 0.0)
        for artery in anatomy.arteries
    )
    part, start = cropped_labels(labels)
    return ArteryMap(traces, part, start, grid, summary_of(traces))


def _modality_of(volume: Volume, places: list[np.ndarray]) -> tuple[Modality, bool]:
    """By the values, and where these do not settle it by what shines beside the landmarks."""
    kind, certain = recognise_modality(volume.voxels)
    return (kind, True) if certain else (modality_by_bone(bright_millilitres(volume, np.array(places))), False)
