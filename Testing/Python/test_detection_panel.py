"""The panel of CoW Landmarks driven through its widgets, with real MRML nodes and real child processes."""

from __future__ import annotations

import gc
import json
import logging
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")
pytest.importorskip("SlicerStandIn", reason="needs PySide6-Essentials")

import qt
import slicer
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.errors import ConfigurationError, VolumeError
from CoWLandmarksLib.core.volume import Volume
from CoWLandmarksLib.jobs.scan_handover import ScanHandover
from CoWLandmarksLib.jobs.temporary_folders import OWNER_FILE
from CoWLandmarksLib.scene.nodes import add_volume, landmarks_from_node
from CoWLandmarksLib.scene.results import result_of
from CoWLandmarksLib.scene.state_table import state_rows
from CoWLandmarksLib.scene.views import scan_in_views
from CoWLandmarksPanel import script_runs
from CoWLandmarksPanel.machine_settings import MachineSettings
from CoWLandmarksPanel.sample_data import CTA, MRA
from detection_widget import alive, application_without_leftovers, detect, load_sample, nodes, spin_until, start
from SlicerStandIn import Application

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests look at processes the POSIX way"),
]


@pytest.fixture
def application(tmp_path: Path, quick_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with application_without_leftovers(tmp_path / "application") as started:
        MachineSettings().modelFile = quick_model
        yield started


@pytest.fixture
def widget(application: Application) -> Any:
    return application.load_module("CoWLandmarks")


def test_an_empty_scene_offers_a_sample_and_nothing_else(widget: Any) -> None:
    assert not widget.ui.detectButton.enabled
    assert not widget.ui.emptyFrame.isHidden()
    assert widget.panel.result.ui.summaryLabel.text == "No detection yet."
    widget.ui.sampleCtaButton.click()
    assert widget.ui.inputSelector.currentNode().GetName() == CTA.name
    assert widget.ui.detectButton.enabled and widget.ui.detectButton.text == "Detect landmarks"


def test_one_click_adds_points_arteries_and_table_beside_the_scan(widget: Any) -> None:
    volume = load_sample(widget)
    texts: set[str] = set()
    start(widget)
    assert widget.ui.detectButton.text == "Cancel"
    assert not widget.panel.batch.ui.batchButton.enabled
    while widget.panel.detecting:
        time.sleep(0.005)
        texts.add(widget.ui.stageLabel.text)
        slicer.app.processEvents()
    assert {
        "Handing over the scan...",
        "Starting PyTorch (the first time about 10 s)...",
        "Loading the model (the first time some seconds)...",
    } <= texts
    assert {"Looking for the circle of Willis...", "Placing the landmarks...", "Tracing the arteries..."} <= texts
    found = result_of(widget.panel.detection)
    assert found.markups.GetNumberOfControlPoints() == 19
    assert found.segmentation.GetSegmentation().GetNumberOfSegments() == 20
    assert found.table.GetNumberOfRows() == 20
    closed = found.segmentation.GetSegmentation().GetSegment("BA").GetRepresentation("Closed surface")
    assert closed.GetNumberOfPoints() > 100, "made by the child process"
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folders = {
        hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
        for node in (found.markups, found.states, found.segmentation, found.table, found.regions)
    }
    assert len(folders) == 1
    assert hierarchy.GetItemParent(folders.pop()) == hierarchy.GetItemParent(hierarchy.GetItemByDataNode(volume))
    arguments = widget.panel.result.ui
    assert arguments.verdictLabel.text == "No problem noticed - every point still needs a look"
    assert arguments.summaryLabel.text.startswith("19 found")
    assert widget.ui.detectButton.text == "Detect landmarks"


def test_a_second_detection_stands_beside_the_first_and_either_can_be_chosen(widget: Any) -> None:
    load_sample(widget)
    widget.panel.advanced.ui.arteriesCheckBox.click()
    first, second = detect(widget), detect(widget)
    table = widget.panel.result.ui.detectionsTable
    assert table.rowCount == 2 and first.GetName() != second.GetName()
    assert second.GetDisplayVisibility() and not first.GetDisplayVisibility()
    table.selectRow(0)
    assert widget.panel.detection is first
    assert first.GetDisplayVisibility() and not second.GetDisplayVisibility()
    table.item(1, 0).setCheckState(qt.Qt.Checked)
    assert first.GetDisplayVisibility() and second.GetDisplayVisibility()
    assert widget.panel.review.markupsNode is first


def test_cancelling_at_twenty_random_moments_leaves_the_scene_and_no_process(widget: Any) -> None:
    MachineSettings().modelFile = None  # with the quick one a fast computer might be done before the last moment
    load_sample(widget)
    before = nodes()
    moments = random.Random(7)
    for _ in range(20):
        process = start(widget, moments.uniform(0.0, 2.5))
        if not widget.panel.detecting:
            pytest.fail("the detection was quicker than the test")
        widget.ui.detectButton.click()
        spin_until(lambda: not widget.panel.detecting, 10.0)
        assert nodes() == before
        assert not alive(process)
        assert widget.ui.messageLabel.text == "Cancelled. The scene is as it was before."
        assert widget.ui.detectButton.text == "Detect landmarks" and widget.ui.detectButton.enabled


def test_a_scan_that_is_removed_ends_its_detection(widget: Any) -> None:
    volume = load_sample(widget)
    process = start(widget, 1.0)
    slicer.mrmlScene.RemoveNode(volume)
    spin_until(lambda: not widget.panel.detecting, 10.0)
    assert not alive(process)
    assert "its scan was removed" in widget.ui.messageLabel.text
    assert not widget.ui.detectButton.enabled


def test_the_temporary_file_of_a_scan_goes_when_it_leaves_the_scene(widget: Any, application: Application) -> None:
    temporary = Path(slicer.app.temporaryPath)
    volume = load_sample(widget)
    widget.logic.runs._handedOver(volume)
    application.process_events()
    assert len(list(temporary.glob("cow-landmarks-*"))) == 1
    slicer.mrmlScene.RemoveNode(volume)
    application.process_events()
    assert list(temporary.glob("cow-landmarks-*")) == []
    volume = load_sample(widget)
    start(widget, 0.5)
    assert len(list(temporary.glob("cow-landmarks-*"))) == 1
    slicer.mrmlScene.RemoveNode(volume)
    spin_until(lambda: not widget.logic.runs.busy, 10.0)
    assert list(temporary.glob("cow-landmarks-*")) == []


def test_closing_the_scene_ends_the_detection(widget: Any) -> None:
    load_sample(widget)
    process = start(widget, 1.0)
    slicer.mrmlScene.Clear()
    spin_until(lambda: not widget.logic.runs.busy, 10.0)
    assert not alive(process)
    assert widget.panel.detection is None
    load_sample(widget)
    assert widget.ui.detectButton.enabled


def test_reloading_the_module_ends_the_detection_and_the_new_panel_works(widget: Any) -> None:
    load_sample(widget)
    process = start(widget, 1.0)
    widget.onReload()
    assert not alive(process)
    again = slicer.util.getModuleWidget("CoWLandmarks")
    assert again is not widget
    assert again.ui.detectButton.enabled and again.ui.detectButton.text == "Detect landmarks"
    process = start(again, 0.5)
    again.ui.detectButton.click()
    spin_until(lambda: not again.panel.detecting, 10.0)
    assert not alive(process)


def test_quitting_ends_the_detection(widget: Any, application: Application) -> None:
    load_sample(widget)
    process = start(widget, 1.0)
    application.quit()
    assert not alive(process)


def test_a_scan_that_a_killed_application_left_behind_goes_with_the_next_start(application: Application) -> None:
    left = ScanHandover(Volume(np.zeros((4, 4, 4), np.int16), np.eye(4), "patient"), Path(slicer.app.temporaryPath))
    owner = left.folder / OWNER_FILE
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "started": "before the last start"}))
    application.load_module("CoWLandmarks")
    assert not left.folder.exists()


def test_a_scan_that_is_none_is_reported_in_one_sentence(widget: Any) -> None:
    voxels = np.zeros((40, 40, 40), np.int16)
    add_volume(slicer.mrmlScene, Volume(voxels, np.eye(4), "empty image"))
    before = nodes()
    start(widget)
    spin_until(lambda: not widget.panel.detecting)
    assert widget.ui.messageLabel.text == (
        "'empty image' has the same value everywhere; give a scan with an image in it."
    )
    assert nodes() == before


def test_where_the_result_is_not_to_be_trusted_points_can_be_placed_for_another_try(widget: Any) -> None:
    load_sample(widget)
    widget.panel.advanced.ui.arteriesCheckBox.click()
    first = detect(widget)
    places = {e.code: e.position for e in landmarks_from_node(first, default_anatomy())}
    ui = widget.panel.result.ui
    assert not widget.panel.result.hintOffered
    first.SetAttribute("CoWLandmarks.verdict", "do not trust")
    widget.panel.refresh()
    assert ui.verdictLabel.text == "Do not trust this result"
    assert "place 3-4 points and try again" in ui.hintLabel.text
    ui.placeHintButton.click()
    hint = widget.panel.result.hint.node
    assert "0 of 4 placed" in ui.hintLabel.text and not ui.tryAgainButton.enabled
    for index in range(3):
        hint.SetNthControlPointPositionWorld(index, *places[hint.GetNthControlPointLabel(index)])
    assert "3 of 4 placed" in ui.hintLabel.text and ui.tryAgainButton.enabled
    ui.tryAgainButton.click()
    spin_until(lambda: not widget.panel.detecting)
    second = widget.panel.detection
    assert second is not first, widget.ui.messageLabel.text
    assert '"hinted": ["BA-T", "L-ICA-T", "R-ICA-T"]' in second.GetAttribute("CoWLandmarks.provenance")


def test_arteries_follow_the_newest_correction_in_the_same_nodes(widget: Any) -> None:
    load_sample(widget)
    points = detect(widget)
    found = result_of(points)
    index = default_anatomy().index("R-M1-M2")
    place = np.zeros(3)
    points.GetNthControlPointPositionWorld(index, place)
    said = widget.ui.messageLabel.text
    before = found.table.GetTable().GetColumnByName("length_mm").GetValue(6)
    for shift in (6.0, 3.0, -2.5):
        points.SetNthControlPointPositionWorld(index, place[0] + shift, place[1], place[2])
        widget.panel.onLandmarksChanged(points, ("R-M1-M2",))
    spin_until(lambda: not widget.logic.runs.busy)
    assert result_of(points) == found
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == [found.segmentation]
    assert widget.ui.messageLabel.text == said
    length = found.table.GetTable().GetColumnByName("length_mm").GetValue(6)
    assert length < before - 1.0, "the artery ends at the last place"
    widget.panel.onLandmarksChanged(points, ("R-M1-M2",))
    assert not widget.logic.runs.busy, "an accepted point does not trace anything"


def test_what_is_declared_of_an_artery_is_traced_by_the_child_process_and_stays_said(widget: Any) -> None:
    load_sample(widget)
    points = detect(widget)
    arteries = widget.panel.review.arteries

    def traced(code: str) -> tuple[str, str]:
        row = next(row for row in arteries._review.rows() if row.code == code)
        return row.state, row.reason

    first, said = traced("L-ACA-A1"), widget.ui.messageLabel.text
    assert first[0] == "present"
    arteries.select("L-ACA-A1")
    widget.panel.review.ui.arteryAbsentButton.click()
    spin_until(lambda: not widget.logic.runs.busy)
    assert traced("L-ACA-A1") == ("absent", "declared absent by a person")
    assert "left A1" in widget.panel.result.ui.summaryLabel.text
    latest = widget.logic.runs._latest[points.GetID()]
    content = json.loads((latest / "detection.json").read_text(encoding="utf-8"))
    assert content["arteries"]["declared"] == [{"code": "L-ACA-A1", "presence": "absent", "waypoints": []}]
    index = default_anatomy().index("L-ICA-T")
    place = np.zeros(3)
    points.GetNthControlPointPositionWorld(index, place)
    points.SetNthControlPointPositionWorld(index, place[0] + 1.0, place[1], place[2])
    spin_until(lambda: not widget.logic.runs.busy)
    assert traced("L-ACA-A1")[0] == "absent"  # the artery ends at the point that was moved
    arteries.select("L-ACA-A1")
    widget.panel.review.ui.programButton.click()
    spin_until(lambda: not widget.logic.runs.busy)
    assert traced("L-ACA-A1") == first and widget.ui.messageLabel.text == said


def test_a_failed_update_of_the_arteries_says_what_to_do_until_a_later_one_succeeds(
    widget: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "CoWLandmarksLib.jobs.child_process")
    load_sample(widget)
    points = detect(widget)
    earlier = widget.logic.runs._latest[points.GetID()] / "detection.json"
    right = earlier.read_text(encoding="utf-8")
    content = json.loads(right)
    kept = next(segment for segment in content["arteries"]["segments"] if segment["code"] == "L-MCA-M1")
    kept["centerline"] = kept["centerline"][:1]  # nobody foresaw this: the child process stops with a traceback
    earlier.write_text(json.dumps(content), encoding="utf-8")

    def move(shift: float) -> str:
        index, place = default_anatomy().index("R-M1-M2"), np.zeros(3)
        points.GetNthControlPointPositionWorld(index, place)
        points.SetNthControlPointPositionWorld(index, place[0] + shift, place[1], place[2])
        widget.panel.onLandmarksChanged(points, ("R-M1-M2",))
        spin_until(lambda: not widget.logic.runs.busy)
        return str(widget.ui.messageLabel.text)

    message = move(-1.0)
    assert message.startswith("The arteries could not be updated: An unexpected problem")
    assert "--debug" not in message and "Help > Report a Bug" in message
    widget.logic.runs.queue.close()
    assert "Traceback" in caplog.text and "tracer.py" in caplog.text
    assert move(0.5) == message, "it stays as long as it is true"
    earlier.write_text(right, encoding="utf-8")
    assert move(0.5) == ""
    assert widget.ui.messageLabel.isHidden()


def test_all_volumes_of_the_scene_are_detected_and_failures_listed(widget: Any) -> None:
    volume = load_sample(widget)
    widget.panel.advanced.ui.arteriesCheckBox.click()
    empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "no voxels")
    widget.ui.inputSelector.setCurrentNode(empty)
    assert scan_in_views(slicer.mrmlScene) is empty
    batch = widget.panel.batch
    batch.ui.batchButton.click()
    assert batch.running and batch.ui.batchButton.text == "Cancel" and not widget.ui.detectButton.enabled
    spin_until(lambda: not batch.running)
    assert batch.ui.batchLabel.text == "1 of 2 scans done; 1 failed (no voxels)."
    assert [batch.ui.batchTable.item(row, 1).text() for row in range(2)] == ["ok", "failed"]
    table = slicer.mrmlScene.GetFirstNodeByName("CoW Landmarks batch").GetTable()
    assert table.GetNumberOfRows() == 2
    assert widget.ui.detectButton.enabled
    assert widget.panel.detection is batch._batch.rows[0].markups, "the last result is the chosen one"
    assert widget.ui.inputSelector.currentNode() is volume and scan_in_views(slicer.mrmlScene) is volume


def test_a_folder_is_detected_and_a_result_opens_by_double_click(widget: Any, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    shutil.copy(MRA.file, scans / "a.nii.gz")
    (scans / "b.nii").write_bytes(b"no scan" * 99)
    batch = widget.panel.batch
    assert not batch.ui.batchButton.enabled and batch.ui.batchButton.toolTip == "Load a brain angiogram first."
    batch.ui.folderRadioButton.click()
    assert not batch.ui.batchButton.enabled
    assert batch.ui.batchButton.toolTip == "Choose a folder of scans and a folder for the results."
    batch.ui.scanFolderEdit.currentPath = str(tmp_path / "missing")
    batch.ui.resultFolderEdit.currentPath = str(scans / "out")
    assert batch.ui.batchButton.enabled and batch.ui.batchButton.toolTip == ""
    batch.ui.batchButton.click()
    assert "does not exist" in batch.ui.batchLabel.text
    batch.ui.scanFolderEdit.currentPath = str(scans)
    batch.ui.batchButton.click()
    spin_until(lambda: not batch.running)
    assert batch.ui.batchLabel.text == "1 of 2 scans done; 1 failed (b.nii)."
    assert (scans / "out" / "a" / "arteries.seg.nrrd").is_file()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    batch.openRow(0)
    assert widget.panel.detection is None, "the surfaces are made in turns of their own"
    batch.openRow(0)  # a second double click, meanwhile
    spin_until(lambda: widget.panel.detection is not None)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    segmentation = result_of(widget.panel.detection).segmentation
    assert segmentation.GetSegmentation().ContainsRepresentation("Closed surface")
    batch.openRow(1)


def test_the_description_of_the_model_is_shown_and_a_missing_file_reported(widget: Any) -> None:
    advanced = widget.panel.advanced
    widget.ui.advancedCollapsibleButton.collapsed = False
    spin_until(lambda: "licence" in advanced.ui.modelDescriptionText.plainText)
    advanced.ui.modelFileEdit.currentPath = "/no/such/model.cow.pt"
    assert "does not exist" in advanced.ui.modelDescriptionText.plainText
    assert MachineSettings().modelFile == Path("/no/such/model.cow.pt")
    advanced.ui.defaultModelButton.click()
    assert MachineSettings().modelFile is None
    assert "default" in advanced.ui.modelNameLabel.text


def test_heatmaps_of_doubtful_points_are_kept_when_asked_for(widget: Any) -> None:
    voxels = slicer.util.arrayFromVolume(load_sample(widget))
    rng = np.random.default_rng(3)
    voxels[:] = np.clip(voxels + rng.normal(0.0, 0.8 * np.quantile(voxels, 0.999), voxels.shape), 0, None)
    widget.panel.advanced.ui.arteriesCheckBox.click()
    widget.panel.advanced.ui.heatmapsCheckBox.click()
    rows = state_rows(result_of(detect(widget)).states)
    doubtful = [code for code, row in rows.items() if row["state"] == "uncertain"]
    assert 0 < len(doubtful) < len(rows)
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert sorted(names)[1:] == sorted(f"{MRA.name} heatmap {code}" for code in doubtful)
    assert widget.ui.inputSelector.currentNode().GetName() == MRA.name


class TestFromAScript:
    """CoWLandmarksLogic without a panel."""

    def test_a_blocking_detection_returns_its_nodes(self, widget: Any) -> None:
        volume = load_sample(widget)
        fractions: list[float] = []
        run = widget.logic.detect(volume, arteries=False, onProgress=lambda run: fractions.append(run.fraction))
        assert run.markupsNode.GetNumberOfControlPoints() == 19
        assert run.segmentationNode is None
        assert run.detection.scan == MRA.name and run.summary.startswith("19 found")
        assert fractions == sorted(fractions) and fractions[-1] > 0.9

    def test_wrong_arguments_are_reported_before_anything_starts(
        self, widget: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        volume = load_sample(widget)
        for wrong in ({"modality": "mri"}, {"device": "gpu"}, {"decoding": "best"}):
            with pytest.raises(ConfigurationError, match="use one of"):
                widget.logic.detect(volume, **wrong)
        with pytest.raises(ConfigurationError, match="no volume"):
            widget.logic.detect(None)
        with pytest.raises(VolumeError, match="no voxels"):
            widget.logic.detect(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))
        monkeypatch.setattr(script_runs, "torchInstalled", lambda: False)
        with pytest.raises(ConfigurationError, match="PyTorch"):
            widget.logic.detect(volume)
        assert not widget.logic.runs.busy


def test_a_logic_that_a_script_drops_leaves_no_process(application: Application) -> None:
    # Without a panel: PySide keeps the tracebacks of attributes that its widgets lack, and with them our frames.
    import CoWLandmarks

    volume = slicer.util.loadVolume(str(MRA.file))

    def detected() -> tuple[Any, int | None]:
        logic = CoWLandmarks.CoWLandmarksLogic()
        run = logic.detect(volume, arteries=False)
        process: int | None = logic.runs.queue.worker_process_id
        assert alive(process)
        return run, process

    run, process = detected()
    gc.collect()
    assert not alive(process)
    assert run.markupsNode.GetNumberOfControlPoints() == 19


def test_no_work_of_a_job_runs_in_the_applications_process() -> None:
    benchmark = Path(__file__).parents[1] / "Benchmarks" / "gui_thread.py"
    arguments = [sys.executable, str(benchmark), "--size", "160", "180", "84", "--json"]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=600)
    measured = json.loads(ran.stdout.splitlines()[-1])
    assert measured["loaded"] == [], "torch, SimpleITK and scipy belong to the child process"
    assert measured["detection_s"] > 1.0
