"""DICOM in the panel: the check box in Export, the question before highdicom is installed, reports to review."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

import slicer
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState, ArteryTrace, cropped_labels
from CoWLandmarksLib.core.detection import Detection, LandmarkState, Verdict
from CoWLandmarksLib.files.dicom_source import highdicom_installed
from CoWLandmarksLib.io.dicom import read_dicom
from CoWLandmarksLib.scene.annotation_export import annotation_of
from CoWLandmarksLib.scene.artery_nodes import add_arteries
from CoWLandmarksLib.scene.nodes import add_detection, add_volume, read_detection
from CoWLandmarksLib.scene.results import result_of
from CoWLandmarksPanel import dicom_setup
from dicom_files import FRAME_OF_REFERENCE, IN_A_FRAME, axial_positions, write_series
from example_detection import ANATOMY
from fixed_detector import FixedDetector
from panel_desk import Desk

COUNT = 24
with_highdicom = pytest.mark.skipif(not highdicom_installed(), reason="needs highdicom (pip install highdicom)")


def add_dicom_scan(desk: Desk, folder: Path) -> Any:
    """A result on a series, as Slicer's DICOM module loads it; its point list."""
    files = write_series(folder, axial_positions(COUNT), tags=IN_A_FRAME)
    scan = read_dicom(folder)
    node = add_volume(desk.scene, scan)
    uids = [pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
    node.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
    slicer.dicomDatabase._files.update(zip(uids, map(str, files), strict=True))
    landmarks = list(FixedDetector(ANATOMY).detect(scan).landmarks)
    landmarks[3] = replace(landmarks[3], position=None, state=LandmarkState.ABSENT)
    detection = Detection(scan.name, scan.modality, Verdict.OK, (), tuple(landmarks), np.eye(4))
    nodes = add_detection(desk.scene, node, detection, ANATOMY)
    labels = np.zeros(scan.voxels.shape, np.uint8)
    labels[5:9, 4:8, 6:20] = ANATOMY.arteries[0].label
    labels[10, 12, 6:20] = ANATOMY.arteries[19].label
    part, start = cropped_labels(labels)
    traces = tuple(ArteryTrace(artery.code, ArteryState.PRESENT, "made up", 0.5) for artery in ANATOMY.arteries)
    add_arteries(desk.scene, node, ArteryMap(traces, part, start, scan.grid, ""), ANATOMY, nodes.folder)
    return nodes.markups


def choose(desk: Desk, markups: Any, folder: Path) -> Any:
    """DICOM files alone of this result into this folder; returns the widgets."""
    desk.export.setDetection(markups)
    ui = desk.export.ui
    ui.folderEdit.currentPath, ui.fileNameEdit.text = str(folder), "case-7"
    for box in (ui.landmarksCheckBox, ui.tablesCheckBox, ui.segmentationCheckBox):
        box.checked = False
    ui.dicomCheckBox.checked = True
    return ui


def load_for_review(desk: Desk, markups: Any, report: Path) -> list[Any]:
    """Load a report for the scan of a result; the point lists that came of it."""
    added: list[Any] = []
    desk.review.onDetectionAdded = added.append
    desk.ui.loadGroupBox.collapsed = False
    desk.ui.loadVolumeComboBox.setCurrentNode(markups.GetNodeReference("CoWLandmarks.volume"))
    desk.ui.loadFileEdit.currentPath = str(report)
    desk.ui.loadButton.click()
    return added


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """highdicom is not installed; what is asked to be installed."""
    installed: list[str] = []
    monkeypatch.setattr(dicom_setup, "highdicomInstalled", lambda: bool(installed))

    def pip_ensure(requirements: Any, *, prompt_install: bool = True, requester: str | None = None) -> None:
        assert not prompt_install, "the question was asked already"
        installed.append(requirements)

    monkeypatch.setattr(slicer.packaging, "pip_ensure", pip_ensure)
    yield installed


def test_dicom_can_be_chosen_only_for_scans_from_dicom_and_for_one_scan(desk: Desk, tmp_path: Path) -> None:
    ui = desk.export.ui
    desk.export.setDetection(desk.markups)
    assert not ui.dicomCheckBox.enabled and not ui.dicomCheckBox.checked
    markups = add_dicom_scan(desk, tmp_path / "scan")
    ui = choose(desk, markups, tmp_path / "out")
    assert ui.dicomCheckBox.enabled and ui.dicomCheckBox.checked and ui.filesButton.enabled
    desk.export.setDetection(desk.markups)
    assert not ui.dicomCheckBox.enabled and not ui.dicomCheckBox.checked and not ui.filesButton.enabled


def test_without_consent_nothing_is_installed_or_written(desk: Desk, tmp_path: Path, missing: list[str]) -> None:
    markups = add_dicom_scan(desk, tmp_path / "scan")
    ui = choose(desk, markups, tmp_path / "out")
    desk.application.answer(False)
    ui.filesButton.click()
    assert "highdicom" in desk.application.asked[-1] and missing == []
    assert "Nothing was written" in ui.exportMessageLabel.text and not (tmp_path / "out").exists()


def test_an_installation_that_fails_is_one_sentence_with_the_way_out(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: list[str]
) -> None:
    def offline(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("no route to host")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", offline)
    markups = add_dicom_scan(desk, tmp_path / "scan")
    ui = choose(desk, markups, tmp_path / "out")
    desk.application.answer(True)
    ui.filesButton.click()
    assert "no route to host" in ui.exportMessageLabel.text and "--find-links" in ui.exportMessageLabel.text
    assert not (tmp_path / "out").exists() and not desk.export.running


def test_highdicom_is_installed_once_after_one_question(missing: list[str], application: Any) -> None:
    application.answer(True)
    assert dicom_setup.ensureHighdicom() and missing == [dicom_setup.REQUIREMENT]
    assert dicom_setup.ensureHighdicom() and len(missing) == 1


@pytest.mark.parametrize("gone", ["images", "database"])
def test_source_files_that_are_gone_are_one_sentence(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    markups = add_dicom_scan(desk, tmp_path / "scan")
    if gone == "database":
        monkeypatch.setattr(slicer, "dicomDatabase", None)
    else:
        for file in list((tmp_path / "scan").iterdir())[:3]:
            file.unlink()
    ui = choose(desk, markups, tmp_path / "out")
    ui.filesButton.click()
    lacking = COUNT if gone == "database" else 3
    assert f"lacks {lacking} of the {COUNT} images of 'MR-series5'" in ui.exportMessageLabel.text
    assert not (tmp_path / "out").exists()


@with_highdicom
def test_a_scan_that_was_moved_is_refused_before_any_file_is_written(desk: Desk, tmp_path: Path) -> None:
    markups = add_dicom_scan(desk, tmp_path / "scan")
    volume = markups.GetNodeReference("CoWLandmarks.volume")
    r, a, s = volume.GetOrigin()
    volume.SetOrigin(r + 3.0, a, s)
    ui = choose(desk, markups, tmp_path / "out")
    ui.landmarksCheckBox.checked = True
    ui.filesButton.click()
    desk.finish(lambda: desk.export.running)
    assert "moved, cropped or resampled" in ui.exportMessageLabel.text and not (tmp_path / "out").exists()


@with_highdicom
def test_a_place_that_cannot_be_written_is_one_sentence(desk: Desk, tmp_path: Path) -> None:
    markups = add_dicom_scan(desk, tmp_path / "scan")
    (tmp_path / "file").write_text("in the way")
    ui = choose(desk, markups, tmp_path / "file")
    ui.filesButton.click()
    desk.finish(lambda: desk.export.running)
    assert "cannot be written" in ui.exportMessageLabel.text


@with_highdicom
def test_what_is_exported_names_the_series_and_opens_again_as_a_review_with_its_arteries(
    desk: Desk, tmp_path: Path
) -> None:
    markups = add_dicom_scan(desk, tmp_path / "scan")
    ui = choose(desk, markups, tmp_path / "out")
    ui.filesButton.click()
    desk.finish(lambda: desk.export.running)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"case-7.sr.dcm", "case-7-arteries.seg.dcm"}
    assert "name the patient" in ui.exportMessageLabel.text
    for file in (tmp_path / "out").iterdir():
        dataset = pydicom.dcmread(file)
        assert (dataset.StudyInstanceUID, str(dataset.PatientName)) == ("1.2.3", "Doe^Jane")
    assert pydicom.dcmread(tmp_path / "out" / "case-7-arteries.seg.dcm").FrameOfReferenceUID == FRAME_OF_REFERENCE

    added = load_for_review(desk, markups, tmp_path / "out" / "case-7.sr.dcm")
    assert "can be reviewed now" in desk.ui.loadMessageLabel.text
    before, after = read_detection(markups, ANATOMY), read_detection(added[0], ANATOMY)
    for one, other in zip(before.landmarks, after.landmarks, strict=True):
        assert (one.code, one.state) == (other.code, other.state)
        assert other.position == (None if one.position is None else pytest.approx(one.position, abs=1e-3))
    assert after.verdict is None and result_of(added[0]).segmentation is not None
    exported, loaded = (annotation_of(node, ANATOMY).arteries for node in (markups, added[0]))
    assert exported is not None and loaded is not None
    np.testing.assert_array_equal(exported.label_volume("").voxels, loaded.label_volume("").voxels)
    assert [trace.code for trace in loaded.arteries if trace.traced] == [
        ANATOMY.arteries[0].code,
        ANATOMY.arteries[19].code,
    ]


@with_highdicom
def test_arteries_that_cannot_be_read_are_left_out_with_a_sentence(desk: Desk, tmp_path: Path) -> None:
    markups = add_dicom_scan(desk, tmp_path / "scan")
    choose(desk, markups, tmp_path / "out").filesButton.click()
    desk.finish(lambda: desk.export.running)
    (tmp_path / "out" / "case-7-arteries.seg.dcm").write_bytes(b"cut off")
    added = load_for_review(desk, markups, tmp_path / "out" / "case-7.sr.dcm")
    assert "The arteries were left out" in desk.ui.loadMessageLabel.text
    assert len(added) == 1 and result_of(added[0]).segmentation is None
