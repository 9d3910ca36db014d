"""MRA or CTA of a scan that does not say which: by two readings and by the bone beside the arteries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from beads import UNITS, CoarseBeadReader, bead_model, bead_places, bead_scan
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.bone import bright_millilitres, modality_by_bone
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.given_landmarks import given_detection
from CoWLandmarksLib.core.intensity import IntensityRule
from CoWLandmarksLib.core.volume import Modality, Volume, axis_aligned_grid
from CoWLandmarksLib.detect.coarse import RoughLandmarks
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.detect.modality_trial import CLEARLY_BETTER, decided, other_modality

MRA, CTA = Modality.MRA, Modality.CTA
HEAD = axis_aligned_grid(np.zeros(3), np.ones(3), (80, 80, 80))
PLACES = np.array([[float(x), 0.0, 0.0] for x in range(-20, 21, 4)])


def head(bone_mm: int, *, bone: int = 220, arteries: int = 200) -> Volume:
    """An artery of 3 x 3 mm along R through soft tissue, and below it a cube of bone with sides of `bone_mm`."""
    voxels = np.full(HEAD.shape, 100, np.uint8)
    voxels[38:41, 38:41, :] = arteries
    voxels[20 : 20 + bone_mm, 30 : 30 + bone_mm, 30 : 30 + bone_mm] = bone
    return Volume(voxels, HEAD.ijk_to_ras, "head")


def seen(height: float) -> RoughLandmarks:
    return RoughLandmarks(PLACES, np.full(len(PLACES), height))


def test_what_is_as_bright_as_the_arteries_is_measured_near_them() -> None:
    # 53 x 3 x 3 mm of the artery lie within 25 mm (and the voxel that begins there), beside a cube of 1 ml of bone.
    assert bright_millilitres(head(0), PLACES) == pytest.approx(0.47, abs=0.02)
    assert bright_millilitres(head(10), PLACES) == pytest.approx(1.47, abs=0.02)
    assert bright_millilitres(head(10, bone=190), PLACES) == pytest.approx(0.47, abs=0.02)


def test_places_beyond_the_scan_do_not_count() -> None:
    beyond = np.vstack([PLACES, [[0.0, 0.0, 400.0]]])
    assert bright_millilitres(head(10), beyond) == bright_millilitres(head(10), PLACES)
    assert bright_millilitres(head(10), PLACES + 400.0) == 0.0


@pytest.mark.parametrize("gain", [0.2, 1.0, 40.0])
def test_a_gain_of_the_scanner_does_not_change_it(gain: float) -> None:
    scan = head(10)
    brighter = replace(scan, voxels=np.rint(scan.voxels * gain).astype(np.int16))
    assert bright_millilitres(brighter, PLACES) == bright_millilitres(scan, PLACES)


@pytest.mark.parametrize(("bone_mm", "kind"), [(0, MRA), (10, MRA), (20, CTA)])
def test_bone_makes_a_cta_where_both_readings_are_alike(bone_mm: int, kind: Modality) -> None:
    scan = head(bone_mm)
    assert modality_by_bone(bright_millilitres(scan, PLACES)) is kind
    found = decided(scan, {MRA: seen(0.70), CTA: seen(0.70 + 0.9 * CLEARLY_BETTER)})
    assert (found.modality, found.reading) == (kind, CTA)
    assert "recognised alike" in found.sentence
    assert f"guessed ({kind.value.upper()})" in found.sentence


@pytest.mark.parametrize("better", Modality)
@pytest.mark.parametrize("bone_mm", [0, 20])
def test_a_clearly_better_reading_wins_over_the_bone(better: Modality, bone_mm: int) -> None:
    found = decided(head(bone_mm), {better: seen(0.71), other_modality(better): seen(0.55)})
    assert (found.modality, found.reading) == (better, better)
    assert f"0.71 as {better.value.upper()}, 0.55 as {other_modality(better).value.upper()}" in found.sentence
    assert "--modality" in found.sentence


class TestDetector:
    """A scan without a stated modality is read as both; one whose modality is known only as that."""

    class Counting(CoarseBeadReader):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            type(self).calls += 1
            return super().forward(x)

    def detector(self, readable: Modality) -> Detector:
        """Beads that can be read with the intensity rule of one modality alone."""
        blind = IntensityRule("fixed", -0.5, 2.5, fixed_scale=1e6)
        rule = IntensityRule("fixed", -0.5, 2.5, fixed_scale=UNITS)
        rules = {readable: rule, other_modality(readable): blind}
        self.Counting.calls = 0
        return Detector(replace(bead_model(coarse=self.Counting()), intensity=rules), "cpu", mirror=False)

    grid = axis_aligned_grid(np.array([2.0, 17.0, 1.0]), np.array([1.7, 1.9, 2.1]), (44, 46, 52))

    @pytest.mark.parametrize("readable", Modality)
    def test_the_reading_that_sees_the_circle_is_taken_and_said(self, readable: Modality) -> None:
        scan = bead_scan(self.grid, bead_places(), modality=None)
        found = self.detector(readable).detect(scan)
        assert found.modality is readable
        [warning] = found.warnings
        assert f"guessed ({readable.value.upper()})" in warning
        assert "recognised better" in warning
        stated = self.detector(readable).detect(scan, modality=readable)
        assert stated.warnings == ()
        assert [e.position for e in stated.landmarks] == [e.position for e in found.landmarks]

    def test_the_second_reading_costs_one_window_where_the_first_found_the_circle(self) -> None:
        scan = bead_scan(self.grid, bead_places(), modality=None)
        self.detector(MRA).measure(scan, modality=MRA)
        once = self.Counting.calls
        self.detector(MRA).measure(scan)
        assert self.Counting.calls == once + 1


def test_given_landmarks_tell_the_modality_by_the_bone_beside_them() -> None:
    codes = default_anatomy().codes
    where = {code: PLACES[n % len(PLACES)] + [0.1 * n, 0.0, 0.0] for n, code in enumerate(codes)}
    given = tuple(
        LandmarkEstimate(code, (float(p[0]), float(p[1]), float(p[2])), LandmarkState.FOUND, 1.0, 0.0)
        for code, p in where.items()
    )
    for bone_mm, kind in ((0, MRA), (20, CTA)):
        detection = given_detection(head(bone_mm), given, default_anatomy(), None)
        assert detection.modality is kind
        assert "guessed" in detection.warnings[0]
