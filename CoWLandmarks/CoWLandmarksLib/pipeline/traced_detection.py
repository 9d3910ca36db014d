"""A detection and its arteries: the landmarks' states are decided once more with what was traced."""

from __future__ import annotations

from dataclasses import replace

from ..arteries.landmark_evidence import landmark_evidence
from ..arteries.tracer import ArteryTracer
from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap
from ..core.detection import Detection, LandmarkState
from ..core.volume import Volume
from ..detect.states import after_tracing
from ..detect.verdict import verdict_after_tracing
from .scan_memory import ScanMemory


def traced_detection(
    volume: Volume, detection: Detection, anatomy: Anatomy, memory: ScanMemory
) -> tuple[Detection, ArteryMap]:
    """The detection with its states and verdict after tracing, and the arteries between its landmarks.

    `memory`, from which the volume was read, makes that quicker and changes nothing else.
    """
    tracer = ArteryTracer(volume, detection.modality, anatomy, surroundings=memory.surroundings)
    found = tracer.trace(detection.landmarks)
    evidence = landmark_evidence(found, tracer.evidence, detection.ras_to_reference, anatomy)
    landmarks = after_tracing(detection.landmarks, evidence, detection.not_seen)
    if any(new.state is not old.state for new, old in zip(landmarks, detection.landmarks, strict=True)):
        found = tracer.trace(landmarks)
    memory.surroundings = tracer.surroundings
    verdict, reasons = verdict_after_tracing(detection.verdict, detection.reasons, volume.sides, landmarks)
    absent = {estimate.code for estimate in landmarks if estimate.state is LandmarkState.ABSENT}
    decided = replace(
        detection,
        verdict=verdict,
        reasons=reasons,
        landmarks=landmarks,
        heatmaps=tuple(heatmap for heatmap in detection.heatmaps if heatmap.name not in absent),
    )
    return decided, replace(found, landmarks=landmarks)
