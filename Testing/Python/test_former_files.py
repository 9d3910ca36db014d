"""Files that version 0.1.0 wrote (Testing/Fixtures/version-0.1.0): they open for good, or are refused in one sentence
that says what to do."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from aligned_beads import write_bead_cohort
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.circle_variant import summary_line
from CoWLandmarksLib.core.detection import Detection, LandmarkState, Verdict
from CoWLandmarksLib.core.volume import Modality, Volume
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.detect.model import load_model
from CoWLandmarksLib.files.delivered import read_delivered
from CoWLandmarksLib.io.volume_io import read_volume
from CoWLandmarksTrainingLib.__main__ import main as training_main
from CoWLandmarksTrainingLib.cohort.reading import read_cohort
from CoWLandmarksTrainingLib.panel.log_following import begun_plan
from CoWLandmarksTrainingLib.records.aligned_folder import SCHEMA, AlignedCohort
from CoWLandmarksTrainingLib.records.evaluation_file import read_evaluation
from tiny_training import tiny_arguments

FORMER = Path(__file__).resolve().parent.parent / "Fixtures" / "version-0.1.0"
ANATOMY = default_anatomy()
OUTSIDE = ("R-A2-A3", "L-A2-A3")
MARKED_ABSENT = ("R-C6-C7", "L-C6-C7", "R-C5-C6")
"""What the reviewer of the scene marked absent."""
MOVED, NOT_REVIEWED = "L-M1-M2", "BA-T"


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """A copy that may be written to."""
    return Path(shutil.copytree(FORMER, tmp_path / "former"))


@pytest.fixture(scope="module")
def scan() -> Volume:
    return read_volume(FORMER / "cohort" / "case-001" / "scan.nrrd")


def the_only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on standard error."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, lines
    return lines[0]


def written_positions() -> dict[str, np.ndarray]:
    """Positions as version 0.1.0 wrote them into the table of the result folder."""
    with (FORMER / "results" / "scan-mra" / "landmarks.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["code"]: np.array([float(row[axis]) for axis in "RAS"])
            for row in csv.DictReader(file)
            if row["state"] == "found"
        }


class TestTheScene:
    """A detection of the sample, reviewed by AB: one landmark moved, three marked absent, one left open."""

    @pytest.fixture(autouse=True)
    def _needs_mrml(self) -> None:
        pytest.importorskip("slicer", reason="needs slicer-core")

    def test_it_opens_as_a_review_with_every_state(self) -> None:
        from CoWLandmarksLib.scene.nodes import detection_nodes
        from CoWLandmarksLib.scene.results import result_of
        from CoWLandmarksLib.scene.review import Review
        from CoWLandmarksLib.scene.scene_files import load_scene

        scene = load_scene(FORMER / "reviewed.mrb")
        (markups,) = detection_nodes(scene)
        review = Review(markups, ANATOMY, "CD")
        detection = review.detection()
        assert (detection.scan, detection.modality, detection.verdict) == ("scan-mra", Modality.MRA, Verdict.OK)
        assert review.progress() == (18, 19)
        for row in review.rows():
            reviewed = row.code != NOT_REVIEWED
            assert row.estimate.reviewed is reviewed and row.reviewer == ("AB" if reviewed else "")
            expected = LandmarkState.FOUND
            if row.code in OUTSIDE:
                expected = LandmarkState.OUTSIDE
            elif row.code in MARKED_ABSENT:
                expected = LandmarkState.ABSENT
            assert row.estimate.state is expected, row.code
            if row.estimate.position is not None:
                moved = np.array(row.estimate.position) - written_positions()[row.code]
                assert np.allclose(moved, (-1.5, 0.0, 1.0) if row.code == MOVED else 0.0, atol=2e-3), row.code
        nodes = result_of(markups)
        assert nodes.segmentation.GetSegmentation().GetNumberOfSegments() == nodes.table.GetNumberOfRows() == 20
        assert nodes.regions is not None

    def test_the_review_goes_on_and_can_be_taken_back(self) -> None:
        from CoWLandmarksLib.scene.nodes import detection_nodes
        from CoWLandmarksLib.scene.review import Review
        from CoWLandmarksLib.scene.scene_files import load_scene

        scene = load_scene(FORMER / "reviewed.mrb")
        review = Review(detection_nodes(scene)[0], ANATOMY, "CD")
        review.accept(NOT_REVIEWED)
        assert review.progress() == (19, 19)
        for code in (MOVED, MARKED_ABSENT[0]):
            assert review.revert_to_detected(code)
            position = review.detection().landmark(code).position
            assert position is not None and np.allclose(position, written_positions()[code], atol=2e-3)

    def test_it_is_exported_as_the_case_that_version_wrote(self, tmp_path: Path) -> None:
        assert main(["export", str(FORMER / "reviewed.mrb"), "--to", str(tmp_path)]) == 0
        for name in ("case.json", "landmarks.mrk.json"):
            now, before = (
                json.loads((folder / "case-001" / name).read_text(encoding="utf-8"))
                for folder in (tmp_path, FORMER / "cohort")
            )
            assert now == before
        for name in ("scan.nrrd", "vessels.nrrd"):
            now, before = (read_volume(folder / "case-001" / name) for folder in (tmp_path, FORMER / "cohort"))
            assert np.array_equal(now.voxels, before.voxels) and np.allclose(now.ijk_to_ras, before.ijk_to_ras)


class TestTheResultFolder:
    """Landmarks and arteries that the model of that version found in the same scan."""

    FOLDER = FORMER / "results" / "scan-mra"

    def test_it_is_read_back(self, scan: Volume) -> None:
        delivered = read_delivered(self.FOLDER, scan.grid, ANATOMY)
        assert delivered.detection.verdict is Verdict.OK
        assert delivered.detection.provenance["program"] == "CoW Landmarks 0.1.0"
        for estimate in delivered.detection.landmarks:
            if estimate.code in OUTSIDE:
                assert estimate.state is LandmarkState.OUTSIDE and estimate.position is None
            else:
                assert estimate.state is LandmarkState.FOUND
                assert np.allclose(estimate.position, written_positions()[estimate.code], atol=1e-3)
        arteries = delivered.arteries
        assert arteries is not None and len(arteries.arteries) == 20
        lengths = {trace.code: trace.measures.length_mm for trace in arteries.arteries if trace.measures is not None}
        assert lengths == pytest.approx(self.written_lengths(), abs=5e-3)
        assert len(np.unique(arteries.labels)) - 1 == len(lengths) == 15
        assert summary_line(delivered.detection.landmarks).startswith("17 found")

    def written_lengths(self) -> dict[str, float]:
        with (self.FOLDER / "arteries.csv").open(encoding="utf-8", newline="") as file:
            return {row["code"]: float(row["length_mm"]) for row in csv.DictReader(file) if row["length_mm"]}

    def test_its_arteries_are_kept_where_no_landmark_has_moved(self, former: Path, tmp_path: Path) -> None:
        image = shutil.copy(former / "cohort" / "case-001" / "scan.nrrd", tmp_path / "scan-mra.nrrd")
        folder = former / "results" / "scan-mra"
        options = ["--previous", str(folder), "--no-pictures", "--no-scene", "--out", str(tmp_path / "again")]
        assert main(["arteries", str(image), str(folder / "landmarks.mrk.json"), *options]) == 0
        now, before = (read_volume(path / "arteries.seg.nrrd") for path in (tmp_path / "again" / "scan-mra", folder))
        assert np.array_equal(now.voxels, before.voxels) and np.allclose(now.ijk_to_ras, before.ijk_to_ras)


class TestTheModel:
    """Coarse and fine network of a training on the two cases (no circle network, whole grid, no prior heatmaps)."""

    def test_it_finds_the_landmarks_that_it_was_trained_on(self, scan: Volume) -> None:
        detection = self.detect(scan)
        assert detection.verdict is not Verdict.DO_NOT_TRUST
        written, near = written_positions(), 0
        for estimate in detection.landmarks:
            if estimate.code not in OUTSIDE:
                assert estimate.position is not None
                near += bool(np.linalg.norm(np.array(estimate.position) - written[estimate.code]) < 3.0)
        assert near >= 14  # of 17; three were marked absent when it was trained

    def detect(self, scan: Volume) -> Detection:
        model = load_model(FORMER / "model.cow.pt")
        assert model.circle is None and model.anatomy == ANATOMY
        return Detector(model, "cpu").detect(scan)

    def test_its_description_is_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["info", str(FORMER / "model.cow.pt")]) == 0
        shown = capsys.readouterr().out
        assert "coarse 300, fine 300" in shown and "Trained with CoW Landmarks 0.1.0 on 2 annotated scans" in shown


class TestTheCohort:
    """Two exported cases."""

    def test_it_is_read_without_a_problem(self) -> None:
        cohort = read_cohort([FORMER / "cohort"], ANATOMY)
        assert not cohort.problems
        assert [(case.name, case.patient, case.modality) for case in cohort.scans] == [
            ("case-001", "case-001", Modality.MRA),
            ("case-002", "case-002", Modality.CTA),
        ]
        assert [case.annotator for case in cohort.scans] == ["AB", "AB"]
        placed = [sum(landmark.position is not None for landmark in case.landmarks) for case in cohort.scans]
        assert placed == [14, 19]
        assert [case.read_volume().grid.shape for case in cohort.scans] == [(34, 44, 44)] * 2


class TestTheAlignedFolder:
    def test_it_is_refused_and_made_anew_in_its_place(self, former: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert training_main(["train", str(former / "aligned"), "--out", str(former / "new")]) == 1
        assert "run cowlandmarks-train align again" in the_only_line(capsys)
        align = ["align", str(former / "cohort"), "--by", "landmarks", "--out", str(former / "aligned")]
        assert training_main([*align, "--processes", "1"]) == 0
        content = json.loads((former / "aligned" / "aligned.json").read_text(encoding="utf-8"))
        assert content["schema"] == SCHEMA
        assert len(AlignedCohort.read(former / "aligned").cases(has_image=True)) == 2


class TestTheTraining:
    """Configuration, plan and logs of the training that made the model."""

    @pytest.mark.parametrize("command", ["check", "run"])
    def test_its_configuration_is_refused(self, former: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        file = str(former / "training.toml")
        assert training_main(["check", file] if command == "check" else ["run", "--config", file]) == 1
        sentence = the_only_line(capsys)
        assert "training.toml" in sentence and "write a new one with cowlandmarks-train init" in sentence

    def test_it_cannot_be_resumed(self, former: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_bead_cohort(tmp_path / "beads", mra=1, sets=0, validation=0)
        arguments = tiny_arguments(tmp_path / "beads", former / "training", 1, 0)
        assert training_main([*arguments, "--resume"]) == 1
        sentence = the_only_line(capsys)
        assert "begun by an earlier version" in sentence and "choose another --out" in sentence

    def test_the_panel_shows_no_settings_of_it(self) -> None:
        assert begun_plan(FORMER / "training") is None


class TestTheEvaluation:
    def test_the_panel_shows_it(self) -> None:
        shown = read_evaluation(FORMER / "evaluation")
        assert shown is not None and not shown.failed
        assert [(row.group, row.scans) for row in shown.rows] == [("all", 2), ("cta", 1), ("mra", 1)]
        assert shown.rows[0].mre_mm == pytest.approx(1.249, abs=1e-3)
        assert set(shown.per_landmark) == set(ANATOMY.codes)

    def test_it_is_refused_for_a_comparison(self, capsys: pytest.CaptureFixture[str]) -> None:
        report = str(FORMER / "evaluation")
        assert training_main(["compare", report, report]) == 1
        assert "of an earlier version); run evaluate again" in the_only_line(capsys)


def test_the_files_are_small_and_name_no_place_of_the_computer_they_were_written_on() -> None:
    files = [path for path in FORMER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 500_000
    for path in files:
        contents = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as bundle:
                contents = [bundle.read(name) for name in bundle.namelist()]
        for content in contents:
            assert not any(place in content for place in (b"/tmp/", b"/home/", b"/root/", b"/work/")), path
