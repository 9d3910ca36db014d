"""Selector, chosen result and slice views go together: many scans in one scene, with real MRML nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

import slicer
from cohort_cases import bead_image
from CoWLandmarksLib.scene.batch_table import BatchRow
from CoWLandmarksLib.scene.nodes import add_detection, add_volume
from CoWLandmarksLib.scene.results import set_shown
from CoWLandmarksLib.scene.views import scan_in_views, show_scan
from example_detection import ANATOMY
from panel_desk import POINTS, make_detection


class Scans:
    """The panel and two scans: A with two results, B with one; the views show A."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.scene = application.scene
        self.widget = application.load_module("CoWLandmarks")
        self.panel = self.widget.panel
        self.a, self.b = (add_volume(self.scene, replace(bead_image(POINTS), name=name)) for name in "AB")
        show_scan(self.scene, self.a)
        self.a1, self.a2, self.b1 = (
            add_detection(self.scene, volume, make_detection(), ANATOMY).markups for volume in (self.a, self.a, self.b)
        )
        application.process_events()
        self.panel._choose(self.a2)
        application.process_events()

    def backgrounds(self) -> set[str]:
        return {composite.GetBackgroundVolumeID() for composite in self.composites()}

    def composites(self) -> list[Any]:
        return list(slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"))

    def expect(self, volume: Any, result: Any) -> None:
        """This scan in selector and views, this result chosen, and nothing else visible."""
        self.application.process_events()
        assert self.widget.ui.inputSelector.currentNode() is volume
        assert self.widget._parameterNode.inputVolume is volume
        assert self.backgrounds() == {volume.GetID()}
        assert self.panel.detection is result and self.panel.review.markupsNode is result
        assert [node for node in (self.a1, self.a2, self.b1) if node.GetDisplayVisibility()] == [result] * bool(result)


@pytest.fixture
def scans(application: Any) -> Scans:
    return Scans(application)


def test_choosing_a_result_in_the_table_switches_selector_and_views(scans: Scans) -> None:
    scans.expect(scans.a, scans.a2)
    table = scans.panel.result.ui.detectionsTable
    for row, volume, result in ((2, scans.b, scans.b1), (0, scans.a, scans.a1), (1, scans.a, scans.a2)):
        table.selectRow(row)
        scans.expect(volume, result)


def test_choosing_a_scan_in_the_selector_shows_it_with_its_latest_result(scans: Scans) -> None:
    selector = scans.widget.ui.inputSelector
    selector.setCurrentNode(scans.b)
    scans.expect(scans.b, scans.b1)
    selector.setCurrentNode(scans.a)
    scans.expect(scans.a, scans.a2)
    new = add_volume(scans.scene, replace(bead_image(POINTS), name="new"))
    scans.expect(scans.a, scans.a2)
    selector.setCurrentNode(new)
    scans.expect(new, None)
    assert scans.panel.result.ui.summaryLabel.text == "No detection yet."


def test_a_scan_that_all_views_show_is_followed(scans: Scans) -> None:
    show_scan(scans.scene, scans.b)  # as the eye in the module Data does
    scans.expect(scans.b, scans.b1)
    scans.widget.exit()
    show_scan(scans.scene, scans.a)
    scans.application.process_events()
    assert scans.b1.GetDisplayVisibility(), "while another module is open nothing is hidden"
    scans.widget.enter()
    scans.expect(scans.a, scans.a2)


def test_a_scan_that_is_loaded_and_shown_is_the_chosen_one(scans: Scans) -> None:
    from CoWLandmarksPanel.sample_data import CTA

    scans.expect(slicer.util.loadVolume(str(CTA.file)), None)


def test_what_only_one_view_shows_or_what_is_no_scan_is_not_followed(scans: Scans) -> None:
    scans.composites()[0].SetBackgroundVolumeID(scans.b.GetID())
    scans.application.process_events()
    assert scan_in_views(scans.scene) is None and scans.widget.ui.inputSelector.currentNode() is scans.a
    labels = scans.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    show_scan(scans.scene, labels)
    scans.application.process_events()
    assert scans.widget.ui.inputSelector.currentNode() is scans.a and scans.panel.detection is scans.a2
    assert scans.backgrounds() == {labels.GetID()}, "the views are the user's"
    show_scan(scans.scene, scans.a)
    scans.expect(scans.a, scans.a2)


def test_only_the_views_of_the_layout_count(scans: Scans) -> None:
    red, *others = scans.composites()
    view = next(
        view for view in slicer.util.getNodesByClass("vtkMRMLSliceNode") if view.GetLayoutName() == red.GetLayoutName()
    )
    view.SetMappedInLayout(True)
    red.SetBackgroundVolumeID(scans.b.GetID())
    scans.application.process_events()
    scans.expect(scans.b, scans.b1)
    assert others


def test_two_results_that_the_user_shows_stay_until_another_one_is_chosen(scans: Scans) -> None:
    set_shown(scans.b1, True)  # the eye in the module Data
    scans.composites()[0].SetForegroundOpacity(0.5)
    scans.panel.refresh()
    scans.widget.exit()
    scans.widget.enter()
    scans.application.process_events()
    assert scans.a2.GetDisplayVisibility() and scans.b1.GetDisplayVisibility()
    scans.panel.result.ui.detectionsTable.selectRow(0)
    scans.expect(scans.a, scans.a1)


def test_when_the_chosen_result_or_its_scan_is_removed_what_is_left_is_shown(scans: Scans) -> None:
    scans.scene.RemoveNode(scans.a2)
    scans.a2 = scans.b1
    scans.expect(scans.a, scans.a1)
    scans.scene.RemoveNode(scans.a)
    scans.application.process_events()
    assert scans.widget.ui.inputSelector.currentNode() is scans.b
    assert scans.panel.detection is scans.b1 and scans.b1.GetDisplayVisibility() and not scans.a1.GetDisplayVisibility()


def test_a_result_of_a_batch_is_shown_by_its_row_and_hidden_as_it_comes(scans: Scans) -> None:
    new = add_detection(scans.scene, scans.b, make_detection(), ANATOMY).markups
    scans.panel.batch.onResult(BatchRow("B", "ok", "", markups=new))
    assert not new.GetDisplayVisibility()
    scans.expect(scans.a, scans.a2)
    scans.panel.batch.onOpen(BatchRow("B", "ok", "", markups=new))
    scans.b1 = new
    scans.expect(scans.b, new)


def test_comparing_two_results_changes_neither_scan_nor_choice(scans: Scans) -> None:
    scans.panel.compare.ui.firstComboBox.setCurrentNode(scans.b1)
    scans.expect(scans.a, scans.a2)


def test_leaving_the_module_and_coming_back_keeps_the_older_result_and_what_was_typed(scans: Scans) -> None:
    scans.panel._choose(scans.a1)
    scans.expect(scans.a, scans.a1)
    export = scans.panel.export.ui
    export.caseEdit.text, export.consentCheckBox.checked = "case-007", True
    for step in (scans.widget.exit, scans.panel.refresh, scans.widget.enter):
        step()
        scans.application.process_events()
        assert scans.panel.review.markupsNode is scans.a1
        assert export.caseEdit.text == "case-007" and export.consentCheckBox.checked
        assert not scans.a2.GetDisplayVisibility()
    scans.widget.exit()
    scans.scene.RemoveNode(scans.a1)
    scans.application.process_events()
    assert scans.panel.review.markupsNode is None and not export.caseEdit.text


def test_views_that_went_blank_show_the_scan_that_the_selector_chose_by_itself(scans: Scans) -> None:
    scans.scene.RemoveNode(scans.a)
    for composite in scans.composites():
        if composite.GetBackgroundVolumeID() == scans.a.GetID():
            composite.SetBackgroundVolumeID(None)  # Slicer blanks them
    scans.expect(scans.b, scans.b1)
    scans.widget.exit()
    scans.scene.RemoveNode(scans.b)
    scans.application.process_events()
    other = add_volume(scans.scene, replace(bead_image(POINTS), name="other"))
    scans.application.process_events()
    assert scans.backgrounds() == {None}, "while another module is open the views are left alone"
    scans.widget.enter()
    scans.application.process_events()
    assert scans.backgrounds() == {other.GetID()} and scans.widget.ui.inputSelector.currentNode() is other
