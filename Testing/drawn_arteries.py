"""The circle of straight tubes (tube_circle.py) as a finished artery map, without tracing."""

from __future__ import annotations

import numpy as np
import torch
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryMeasures, ArteryState, ArteryTrace
from CoWLandmarksLib.core.detection import Detection, LandmarkEstimate
from CoWLandmarksLib.core.mean_landmarks import BASILAR_JUNCTION_MM
from CoWLandmarksLib.core.volume import Grid, Modality
from CoWLandmarksTrainingLib.phantom.tubes import capsules_of_polyline, joined, rasterise
from tube_circle import ANATOMY, diameter, landmarks, position


def drawn_arteries(
    grid: Grid, states: dict[str, ArteryState] | None = None, points: list[LandmarkEstimate] | None = None
) -> ArteryMap:
    """All arteries of the tube circle on a grid, those with another of `states` (by code) left out."""
    traces, tubes = [], []
    for artery in ANATOMY.arteries:
        state = (states or {}).get(artery.code, ArteryState.PRESENT)
        if state not in (ArteryState.PRESENT, ArteryState.HYPOPLASTIC):
            traces.append(ArteryTrace(artery.code, state, "left out", 0.9))
            continue
        start = np.array(BASILAR_JUNCTION_MM) if artery.start is None else position(artery.start)
        length = float(np.linalg.norm(position(str(artery.end)) - start))
        line = np.linspace(start, position(str(artery.end)), max(3, round(length / 0.4)))
        radii = np.full(len(line), diameter(artery.code) / 2.0)
        wide = diameter(artery.code)
        measures = ArteryMeasures(length, 1.0, wide, wide, wide, length * np.pi * wide**2 / 4.0)
        traces.append(ArteryTrace(artery.code, state, "", 0.9, line, radii, measures))
        tubes.append(capsules_of_polyline(line, radii, np.ones(len(line)), artery.label))
    drawn = rasterise(joined(tubes), grid, torch.device("cpu"), with_labels=True).label
    assert drawn is not None
    given = tuple(landmarks() if points is None else points)
    return ArteryMap(tuple(traces), drawn.numpy(), (0, 0, 0), grid, "The circle is complete.", given)


def drawn_detection(arteries: ArteryMap) -> Detection:
    """A detection with the landmarks of an artery map."""
    return Detection("tubes", Modality.MRA, None, (), arteries.landmarks, np.eye(4))
