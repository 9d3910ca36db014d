"""Landmarks from label maps of the arteries: a folder of another data set becomes an annotated cohort."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.label_scheme import read_label_scheme
from CoWLandmarksLib.core.volume import Modality, Volume, axis_aligned_grid
from CoWLandmarksLib.files.case_description import read_case_json
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.cohort.label_landmarks import landmarks_from_labels
from CoWLandmarksTrainingLib.phantom.geometry import sample_phantom
from CoWLandmarksTrainingLib.phantom.tubes import capsules_of_polyline, joined, rasterise
from CoWLandmarksTrainingLib.phantom.variants import VariantRates, sample_variants
from scheme_phantoms import SchemeFolder, class_label
from tube_circle import ANATOMY

SCHEME = read_label_scheme("topcow")
DERIVABLE = {"BA-T"} | {f"{side}-{name}" for side in "RL" for name in ("ICA-T", "A1-A2", "P1-P2A", "C6-C7")}


@dataclass(frozen=True)
class Head:
    """Label map of a synthetic head with its true landmarks (RAS mm, NaN where absent)."""

    labels: Volume
    truth: dict[str, np.ndarray]
    by_rule: dict[str, bool]

    @property
    def scan(self) -> Volume:
        """A scan in which the labels are bright."""
        noise = np.random.default_rng(1).normal(100.0, 10.0, self.labels.voxels.shape)
        return replace(self.labels, voxels=(noise + 300.0 * (self.labels.voxels > 0)).astype(np.int16), name="head")


def head(seed: int, **chosen: object) -> Head:
    """A phantom whose variants are the usual ones but for those `chosen`, in the region of the scheme."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 77]))
    usual = {"pcoa": {"R": "normal", "L": "normal"}, "a1": {"R": "normal", "L": "normal"}, "acoa": "single"}
    usual |= {"a2": "paired", "occlusion": "", "stenosis": False, "aneurysm": False}
    variants = replace(sample_variants(rng, VariantRates()), **(usual | chosen))  # type: ignore[arg-type]
    phantom = sample_phantom(rng, variants=variants, version=3)
    grid = axis_aligned_grid(np.array([0.0, 10.0, 0.0]), np.array([0.5, 0.5, 0.6]), (80, 120, 130))
    tubes = [
        capsules_of_polyline(v.points, v.radii, np.ones(len(v.points)), class_label(v.name, SCHEME))
        for v in phantom.vessels
    ]
    drawn = rasterise(joined(tubes), grid, torch.device("cpu"), with_labels=True).label
    assert drawn is not None
    truth = dict(zip(ANATOMY.codes, phantom.landmarks, strict=True))
    start, shape = SCHEME.region_of(grid, {code: point for code, point in truth.items() if np.isfinite(point).all()})
    window = tuple(slice(first, first + n) for first, n in zip(start[::-1], shape, strict=True))
    voxels = np.zeros(grid.shape, np.uint8)
    voxels[window] = drawn.numpy()[window]
    return Head(Volume(voxels, grid.ijk_to_ras, "head"), truth, dict(zip(ANATOMY.codes, phantom.by_rule, strict=True)))


def derived(one: Head) -> dict[str, LandmarkEstimate]:
    return {estimate.code: estimate for estimate in landmarks_from_labels(one.labels, SCHEME, ANATOMY)}


def errors_mm(one: Head, found: dict[str, LandmarkEstimate]) -> list[float]:
    return [
        float(np.linalg.norm(np.array(estimate.position) - one.truth[code]))
        for code, estimate in found.items()
        if estimate.position is not None
    ]


VARIANTS = {
    "usual": {},
    "no PCoA": {"pcoa": {"R": "absent", "L": "absent"}},
    "fetal PCA": {"pcoa": {"R": "fetal-full", "L": "fetal-partial"}},
    "both PCA fetal": {"pcoa": {"R": "fetal-full", "L": "fetal-full"}},
    "no right A1": {"a1": {"R": "absent", "L": "normal"}},
    "azygos": {"a2": "azygos", "acoa": "absent"},
    "no ACoA": {"acoa": "absent"},
    "third A2": {"a2": "three"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_landmarks_lie_where_the_arteries_meet(name: str) -> None:
    one = head(11, **VARIANTS[name])
    found = derived(one)
    assert set(found) <= DERIVABLE and len(found) >= 8
    assert np.median(errors_mm(one, found)) < 1.0
    for code, estimate in found.items():
        assert (estimate.state is LandmarkState.ABSENT) == bool(np.isnan(one.truth[code]).any()), code
        assert estimate.note, "each says what it rests on"


def test_a_landmark_by_rule_says_so() -> None:
    found = derived(head(12, pcoa={"R": "absent", "L": "normal"}))
    assert found["R-C6-C7"].by_rule and found["R-P1-P2A"].by_rule
    assert not (found["L-C6-C7"].by_rule or found["L-P1-P2A"].by_rule)
    assert found["R-C6-C7"].note == "6.5 mm down R-ICA from ICA-T, no PCoA"
    assert found["BA-T"].note == "contacts of BA with R-PCA and L-PCA"


def test_an_absent_a1_makes_its_junction_absent() -> None:
    found = derived(head(13, a1={"R": "absent", "L": "normal"}))
    assert found["R-A1-A2"].state is LandmarkState.ABSENT and found["R-ICA-T"].by_rule
    assert found["L-A1-A2"].state is LandmarkState.FOUND


def test_what_a_label_map_does_not_tell_is_not_annotated() -> None:
    one = head(11)
    without = replace(one.labels, voxels=np.where(np.isin(one.labels.voxels, (1, 8)), 0, one.labels.voxels))
    found = {estimate.code for estimate in landmarks_from_labels(without, SCHEME, ANATOMY)}
    assert "BA-T" not in found and "R-P1-P2A" not in found and "L-A1-A2" in found


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans of one patient and one of another, as the data set has them."""
    folder = tmp_path_factory.mktemp("set")
    layout = SchemeFolder(folder, SCHEME)
    for name, seed in (("topcow_mr_001", 11), ("topcow_ct_001", 11), ("topcow_mr_002", 12)):
        one = head(seed)
        layout.add(name, one.scan, one.labels)
    return folder


def test_a_folder_becomes_a_cohort_that_check_understands(
    data_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = tmp_path / "cohort"
    assert main(["import", "labels", str(data_set), "--scheme", "topcow", "--out", str(cohort)]) == 0
    assert sorted(path.name for path in cohort.iterdir()) == ["topcow_ct_001", "topcow_mr_001", "topcow_mr_002"]
    described = read_case_json(cohort / "topcow_ct_001" / "case.json")
    assert (described.patient, described.modality, described.annotator) == ("topcow-001", Modality.CTA, "labels topcow")
    assert not described.reviewed
    capsys.readouterr()
    assert main(["check", str(cohort)]) == 0
    shown = capsys.readouterr().out
    assert "note: topcow_mr_002: its landmarks come from labels topcow" in shown
    assert "BA-T: contacts of BA with R-PCA and L-PCA" in shown
    assert "R-M1-M2" in next(line for line in shown.splitlines() if "topcow_mr_002" in line and "not annotated" in line)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on standard error of a call that delivers nothing."""
    assert main(["import", "labels", *arguments]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and lines[0].endswith((".", "?"))
    return lines[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [("grid", "lies on another grid"), ("class", "holds 13, which 'topcow' does not have"), ("empty", "is empty")],
)
def test_an_unusable_label_map_is_refused_and_nothing_is_left(
    change: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = head(11)
    labels = {
        "grid": replace(one.labels, voxels=one.labels.voxels[1:]),
        "class": replace(one.labels, voxels=np.where(one.labels.voxels == 1, 13, one.labels.voxels)),
        "empty": replace(one.labels, voxels=np.zeros_like(one.labels.voxels)),
    }[change]
    SchemeFolder(tmp_path / "set", SCHEME).add("topcow_mr_001", one.scan, labels)
    arguments = [str(tmp_path / "set"), "--scheme", "topcow", "--out", str(tmp_path / "cohort")]
    assert sentence in refused(arguments, capsys)
    assert not (tmp_path / "cohort").exists()


def test_a_bad_case_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, layout = head(11), SchemeFolder(tmp_path / "set", SCHEME)
    layout.add("topcow_mr_001", one.scan, replace(one.labels, voxels=np.zeros_like(one.labels.voxels)))
    layout.add("topcow_mr_002", one.scan, one.labels)
    arguments = [str(tmp_path / "set"), "--scheme", "topcow", "--out", str(tmp_path / "cohort")]
    assert main(["import", "labels", *arguments]) == 2
    assert [path.name for path in (tmp_path / "cohort").iterdir()] == ["topcow_mr_002"]
    assert "1 of 2 scans" in capsys.readouterr().out


def test_wrong_folders_and_names_are_refused(
    data_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "cohort")]
    assert "holds no scans with label maps" in refused([str(tmp_path), "--scheme", "topcow", *out], capsys)
    assert "is no folder" in refused([str(tmp_path / "none"), "--scheme", "topcow", *out], capsys)
    assert "is no label scheme" in refused([str(data_set), "--scheme", "other", *out], capsys)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    blocked = ["--out", str(tmp_path / "file" / "cohort")]
    assert "cannot be written" in refused([str(data_set), "--scheme", "topcow", *blocked], capsys)
    (tmp_path / "cohort" / "topcow_mr_001").mkdir(parents=True)
    assert "has a case 'topcow_mr_001' already" in refused([str(data_set), "--scheme", "topcow", *out], capsys)
    assert [path.name for path in (tmp_path / "cohort").iterdir()] == ["topcow_mr_001"]
