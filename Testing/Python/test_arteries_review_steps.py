"""Arteries that follow a review step by step: whatever a person does to a landmark, they obey the rules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.arteries.tracer import ArteryTracer
from CoWLandmarksLib.core.artery_map import ArteryState
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.volume import Modality, Volume
from CoWLandmarksTrainingLib.phantom.phantom_cohort import make_case
from review_steps import (
    ANATOMY,
    ReviewWalk,
    Step,
    as_detected,
    broken_rules,
    changed_without_cause,
    placed,
    random_steps,
)
from tube_circle import landmarks, tube_scan

pytestmark = pytest.mark.slow

STEPS = 12


@dataclass(frozen=True)
class Phantom:
    """A scan with its landmarks, and a review of it in which nothing is changed yet."""

    volume: Volume
    landmarks: list[LandmarkEstimate]
    walk: ReviewWalk


def reviewed(volume: Volume, points: list[LandmarkEstimate], folder: Path) -> Phantom:
    return Phantom(volume, points, ReviewWalk(volume, Modality.MRA, points, folder))


@pytest.fixture(scope="module")
def tubes(tmp_path_factory: pytest.TempPathFactory) -> Phantom:
    return reviewed(tube_scan(spacing=(0.8, 0.8, 0.9)), landmarks(), tmp_path_factory.mktemp("tubes"))


@pytest.fixture(scope="module")
def close_a2(tmp_path_factory: pytest.TempPathFactory) -> Phantom:
    """A phantom whose two A2 lie close to each other."""
    case = make_case(7700, 200_001, Modality.MRA, version=3)
    return reviewed(case.volume, as_detected(case.truth), tmp_path_factory.mktemp("close_a2"))


def moved(points: list[LandmarkEstimate], code: str, shift: tuple[float, float, float]) -> Step:
    """One landmark moved by `shift` mm."""
    new = [placed(code, np.add(p.position, shift)) if p.code == code and p.position is not None else p for p in points]
    return Step(code, "moved", tuple(new))


@pytest.mark.parametrize("seed", [2, 17, 25])
@pytest.mark.parametrize("name", ["tubes", "close_a2"])
def test_after_every_step_of_a_review_the_arteries_obey_the_rules(
    name: str, seed: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    phantom: Phantom = request.getfixturevalue(name)
    walk = phantom.walk.another(tmp_path)
    assert broken_rules(walk.arteries) == []
    for number, step in enumerate(random_steps(phantom.landmarks, STEPS, seed), 1):
        assert walk.problems_after(step) == [], f"step {number}: {step}"


def test_an_a1_a2_moved_to_the_other_a2_leaves_that_one_as_it_is(close_a2: Phantom, tmp_path: Path) -> None:
    walk = close_a2.walk.another(tmp_path)
    assert walk.problems_after(moved(close_a2.landmarks, "R-A1-A2", (-7.0, 0.0, 0.0))) == []
    assert walk.arteries.artery("L-ACA-A2").state is ArteryState.PRESENT


def test_an_artery_given_up_for_its_neighbour_is_looked_for_again_when_that_one_changes() -> None:
    tracer = ArteryTracer(tube_scan(left_out=("L-ACA-A2",), spacing=(0.8, 0.8, 0.9)), Modality.MRA, ANATOMY)
    before = tracer.trace(landmarks())
    assert "could not be distinguished from R-ACA-A2" in before.artery("L-ACA-A2").reason
    after = tracer.trace(landmarks(R_A2_A3=LandmarkState.ABSENT))
    assert broken_rules(after) == []
    assert after.artery("R-ACA-A2").state is ArteryState.ABSENT
    assert after.artery("L-ACA-A2").traced, after.artery("L-ACA-A2").reason


def test_an_artery_whose_whole_lumen_belongs_to_others_is_unknown(close_a2: Phantom) -> None:
    # Both ends of C7 in the beginning of A1, as a person's slip may leave them.
    slips = {"R-C6-C7": (5.4, 9.8, 1.5), "R-ICA-T": (1.7, 9.2, 4.3)}
    points = [placed(p.code, np.array(slips[p.code])) if p.code in slips else p for p in close_a2.landmarks]
    traced = ArteryTracer(close_a2.volume, Modality.MRA, ANATOMY).trace(points)
    assert broken_rules(traced) == []
    assert traced.artery("R-ICA-C7").state is ArteryState.UNKNOWN
    assert "in the lumens of other arteries" in traced.artery("R-ICA-C7").reason


def test_without_the_a2_that_it_feeds_no_anterior_communicating_artery_is_made_up() -> None:
    scan = tube_scan(left_out=("L-ACA-A1", "L-ACA-A2", "R-ACA-A2"), spacing=(0.8, 0.8, 0.9))
    points = landmarks(L_A1_A2=LandmarkState.ABSENT, R_A2_A3=LandmarkState.ABSENT)
    traced = ArteryTracer(scan, Modality.MRA, ANATOMY).trace(points)
    assert broken_rules(traced) == []
    assert traced.artery("ACoA").state is traced.artery("L-ACA-A2").state is ArteryState.ABSENT


def test_the_rules_notice_what_breaks_them(tubes: Phantom) -> None:
    right = tubes.walk.arteries
    assert broken_rules(right) == []
    label = ANATOMY.artery("R-MCA-M1").label
    without = replace(right, labels=np.where(right.labels == label, 0, right.labels).astype(np.uint8))
    assert broken_rules(without) == ["R-MCA-M1: traced, but has no voxels"]
    assert changed_without_cause(right, without) == ["R-MCA-M1 was kept but its voxels are not"]
    elsewhere = replace(right, landmarks=moved(tubes.landmarks, "R-M1-M2", (4.0, 0.0, 0.0)).landmarks)
    assert broken_rules(elsewhere) == ["R-MCA-M1: ends 4.0 mm from R-M1-M2"]
