"""Subgroups of a cohort: what a case belongs to, and figures for each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.volume import Modality, Volume, axis_aligned_grid
from CoWLandmarksTrainingLib.evaluate.evaluation import CaseResult, figures_by_trait
from CoWLandmarksTrainingLib.evaluate.subgroups import subgroups_of
from CoWLandmarksTrainingLib.phantom.phantom_cohort import make_case


def scan(spacing: tuple[float, float, float]) -> Volume:
    grid = axis_aligned_grid(np.zeros(3), np.array(spacing), (4, 5, 6))
    return Volume(np.zeros(grid.shape, np.int16), grid.ijk_to_ras, "scan")


def truth(*states: LandmarkState) -> list[LandmarkEstimate]:
    return [LandmarkEstimate(str(n), None, state, 1.0, 0.0) for n, state in enumerate(states)]


def test_a_real_case_has_only_what_its_image_and_annotation_tell() -> None:
    traits = subgroups_of(Modality.MRA, {}, scan((0.4, 0.4, 0.8)), truth(LandmarkState.ABSENT))
    assert traits == {"in-plane voxel": "up to 0.52 mm", "slice": "above 0.75 mm", "coverage": "whole circle"}
    coarse = subgroups_of(Modality.MRA, {}, scan((0.7, 0.6, 0.6)), truth(LandmarkState.OUTSIDE))
    assert coarse == {"in-plane voxel": "above 0.52 mm", "slice": "up to 0.75 mm", "coverage": "cut"}


@pytest.mark.parametrize(
    ("changes", "trait", "value"),
    [
        ({}, "posterior circle", "complete"),
        ({"R-PCoA": "absent"}, "posterior circle", "PCoA absent"),
        ({"R-PCoA": "absent", "L-PCoA": "fetal-full"}, "posterior circle", "fetal type"),
        ({}, "anterior circle", "complete"),
        ({"L-A1": "hypoplastic"}, "anterior circle", "variant"),
        ({"ACoA": "absent"}, "anterior circle", "variant"),
        ({"R-MCA": "early"}, "M1 division", "early, three trunks or single"),
        ({"disease": "aneurysm ACoA 5.0 mm"}, "disease", "stenosis, occlusion or aneurysm"),
        ({}, "disease", "none"),
        ({}, "noise", "low"),
    ],
)
def test_a_phantom_case_tells_its_variants(changes: dict[str, str], trait: str, value: str) -> None:
    variants = {"ACoA": "single", "A2": "paired", "disease": "none"}
    for side in "RL":
        variants |= {f"{side}-PCoA": "normal", f"{side}-A1": "normal", f"{side}-MCA": "bifurcation"}
    record: dict[str, Any] = {"variants": variants | changes, "masking": "none", "appearance": {"noise": 10.0}}
    traits = subgroups_of(Modality.CTA, record, scan((0.5, 0.5, 0.5)), [])
    assert traits[trait] == value
    assert traits["processing"] == "as scanned"


@pytest.mark.parametrize("version", [3, 5])
def test_the_record_of_a_phantom_is_understood(version: int) -> None:
    case = make_case(3, 0, Modality.CTA, version=version)
    traits = subgroups_of(Modality.CTA, case.record, case.volume, case.truth)
    assert set(traits) > {"disease", "posterior circle", "anterior circle", "M1 division", "noise", "population"}
    assert (set(traits) > {"A2", "early branches of M1", "callosomarginal artery"}) == (version >= 4)
    assert "None" not in traits.values()


def test_every_subgroup_has_its_figures() -> None:
    places = np.array([[0.0, 0.0, 0.0], [30.0, 0.0, 0.0]])
    off = places + np.array([0.0, 3.0, 0.0])
    plain = CaseResult(
        "scan", "mra", places, np.zeros(2, bool), places, places, places, np.ones(2), places, np.ones(2),
        ("found",) * 2, "ok", places, {"noise": "low", "coverage": "cut"},
    )  # fmt: skip
    wrong = replace(plain, subvoxel=off, traits={"noise": "high", "coverage": "cut"})
    table = figures_by_trait([plain, wrong], "subvoxel")
    assert {name: (row["scans"], row["mre_mm"]) for name, row in table.items()} == {
        "coverage: cut": (2, 1.5),
        "noise: high": (1, 3.0),
        "noise: low": (1, 0.0),
    }
