"""A small scan and a detection on it that has a landmark in every state; umlauts and quotes included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import Detection, LandmarkEstimate, LandmarkState, Verdict
from CoWLandmarksLib.core.volume import Modality, Volume

ANATOMY = default_anatomy()
# Turned about two axes, a little sheared, and left-handed (i runs to the left).
OBLIQUE = np.array([[-0.48, 0.05, 0.14, 31.0], [0.02, 0.5, -0.12, -22.5], [0.14, 0.11, 0.77, 8.25], [0, 0, 0, 1]])
STATES = {"L-A1-A2": LandmarkState.ABSENT, "R-A2-A3": LandmarkState.OUTSIDE, "BA-T": LandmarkState.UNCERTAIN}


def make_volume(name: str = "sub-01 Größe") -> Volume:
    voxels = np.random.default_rng(3).integers(-100, 900, (5, 6, 7)).astype(np.int16)
    return Volume(voxels, OBLIQUE, name, Modality.CTA)


def make_detection(scan: str = "sub-01 Größe") -> Detection:
    landmarks = []
    for number, code in enumerate(ANATOMY.codes):
        state = STATES.get(code, LandmarkState.FOUND)
        position = (
            None if state in (LandmarkState.ABSENT, LandmarkState.OUTSIDE) else (1.1 * number, -2.0 * number, 0.7)
        )
        note = "früh; =|: text" if code == "R-M1-M2" else ""
        landmarks.append(
            LandmarkEstimate(code, position, state, 0.125 * (number % 8), 0.3 * number, by_rule=number == 13, note=note)
        )
    return Detection(
        scan=scan,
        modality=Modality.CTA,
        verdict=Verdict.REVIEW,
        reasons=('BA-T is uncertain: "2 peaks"; 50 % each.', "Zweiter Grund <&>"),
        landmarks=tuple(landmarks),
        ras_to_reference=np.array([[0.9, 0.1, 0, 1.25], [-0.1, 0.9, 0, 2], [0, 0, 0.95, 1 / 3], [0, 0, 0, 1]]),
        warnings=("Uneven slices.",),
        provenance={"model": "größe-1", "device": "cpu", "sigma": 1.5},
    )


def assert_same_detection(one: Detection, other: Detection) -> None:
    assert replace(one, landmarks=(), ras_to_reference=None) == replace(other, landmarks=(), ras_to_reference=None)
    np.testing.assert_array_equal(one.ras_to_reference, other.ras_to_reference)
    for a, b in zip(one.landmarks, other.landmarks, strict=True):
        assert (a.code, a.by_rule, a.corrected, a.reviewed, a.note) == (
            b.code,
            b.by_rule,
            b.corrected,
            b.reviewed,
            b.note,
        )
        assert (a.confidence, a.error_mm) == pytest.approx((b.confidence, b.error_mm), abs=1e-9)
        assert a.state is b.state
        assert (a.position is None) == (b.position is None)
        assert a.position is None or a.position == pytest.approx(b.position, abs=1e-6)
