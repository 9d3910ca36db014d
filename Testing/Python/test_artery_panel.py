"""The arteries in the section Review, driven through its widgets on real MRML scenes."""

from __future__ import annotations

import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

import numpy as np
from CoWLandmarksLib.core.artery_map import ArteryState
from CoWLandmarksLib.core.declaration import Declaration
from CoWLandmarksLib.scene.artery_nodes import add_arteries
from CoWLandmarksLib.scene.declared_arteries import DECLARED, declared_in
from CoWLandmarksLib.scene.nodes import volume_from_node
from CoWLandmarksLib.scene.results import SEGMENTATION_ROLE, TABLE_ROLE
from drawn_arteries import drawn_arteries
from example_detection import ANATOMY
from panel_desk import ABSENT, ARTERY_BUTTONS, UNCERTAIN, Desk, make_detection, press
from slice_view import SliceView

PCOA = "R-PCoA"


class ArteryDesk:
    """The desk with arteries beside the detection, under review, and the lists of what was declared."""

    def __init__(self, desk: Desk) -> None:
        grid = volume_from_node(desk.volume).grid
        drawn = drawn_arteries(grid, {PCOA: ArteryState.ABSENT, "L-ACA-A2": ArteryState.UNKNOWN})
        made = add_arteries(desk.scene, desk.volume, drawn, ANATOMY)
        desk.markups.SetNodeReferenceID(SEGMENTATION_ROLE, made.segmentation.GetID())
        desk.markups.SetNodeReferenceID(TABLE_ROLE, made.table.GetID())
        self.desk, self.ui = desk, desk.ui
        self.panel = desk.review.arteries
        self.notified = 0
        self.panel.onDeclared = lambda markups: self._notify()
        desk.start_review()

    def _notify(self) -> None:
        self.notified += 1

    def row(self, code: str) -> list[str]:
        table = self.ui.arteryTable
        texts = ([table.item(row, column).text() for column in range(4)] for row in range(table.rowCount))
        return next(cells[1:] for cells in texts if cells[0] == code)

    @property
    def said(self) -> dict[str, Declaration]:
        return declared_in(self.desk.markups, ANATOMY)


@pytest.fixture
def arteries(desk: Desk) -> ArteryDesk:
    return ArteryDesk(desk)


def test_without_a_detection_no_arteries_are_shown(desk: Desk) -> None:
    assert not desk.ui.arteryGroupBox.visible and desk.review.arteries.code is None


def test_all_arteries_are_listed_and_nothing_can_be_said_before_one_is_selected(arteries: ArteryDesk) -> None:
    assert arteries.ui.arteryGroupBox.visible and arteries.ui.arteryTable.rowCount == 20
    assert arteries.row(PCOA) == ["absent", "", ""] and arteries.row("BA") == ["present", "", ""]
    assert not any(getattr(arteries.ui, name).enabled for name in ARTERY_BUTTONS.values())


def test_selecting_an_artery_brings_the_views_there_and_says_why_it_is_in_its_state(arteries: ArteryDesk) -> None:
    view = SliceView(arteries.desk.scene, (0.0, 0.0, 0.0))
    arteries.panel.select(PCOA)
    ends = [arteries.desk.landmark(code).position for code in ("R-C6-C7", "R-P1-P2A")]
    centre = [view.node.GetSliceToRAS().GetElement(row, 3) for row in range(3)]
    assert centre == pytest.approx(np.mean(ends, axis=0))
    assert arteries.ui.arteryMessageLabel.text == "R-PCoA: left out."
    assert arteries.desk.review.selectedCode == UNCERTAIN  # the landmark stays selected
    arteries.panel.select("ACoA")  # one end of it has no place: where it would be
    assert not arteries.ui.arteryMessageLabel.text


def test_an_artery_is_declared_and_that_is_taken_back(arteries: ArteryDesk) -> None:
    ui = arteries.ui
    arteries.panel.select(PCOA)
    ui.arteryPresentButton.click()
    assert arteries.said == {PCOA: Declaration(PCOA, True)} and arteries.row(PCOA) == ["absent", "present", "AB"]
    assert arteries.panel.code == PCOA and arteries.notified == 1
    ui.arteryPresentButton.click()  # a second time by accident
    assert arteries.notified == 1
    ui.arteryAbsentButton.click()
    assert arteries.row(PCOA)[1] == "absent" and arteries.notified == 2
    ui.arteryUndoButton.click()
    assert arteries.row(PCOA)[1] == "present" and arteries.notified == 3
    ui.programButton.click()
    assert arteries.said == {} and arteries.row(PCOA)[1:] == ["", ""] and arteries.notified == 4
    assert not ui.programButton.enabled and ui.arteryUndoButton.enabled


def test_one_click_in_a_view_leads_an_artery_through_a_point(arteries: ArteryDesk) -> None:
    arteries.panel.select(PCOA)
    middle = np.mean([arteries.desk.landmark(code).position for code in ("R-C6-C7", "R-P1-P2A")], axis=0)
    view = SliceView(arteries.desk.scene, tuple(middle))
    arteries.ui.throughButton.click()
    assert arteries.ui.throughButton.text == "Cancel point" and PCOA in arteries.ui.arteryMessageLabel.text
    assert arteries.desk.interaction.GetCurrentInteractionMode() == arteries.desk.interaction.Place
    view.click(tuple(middle))
    assert arteries.said[PCOA].waypoints[0] == pytest.approx(middle, abs=0.3)
    assert arteries.row(PCOA) == ["absent", "1 point", "AB"] and arteries.notified == 1
    assert arteries.ui.throughButton.text == "Through a point"
    arteries.desk.application.process_events()
    assert arteries.desk.scene.GetFirstNodeByName(f"{PCOA} waypoint") is None
    assert arteries.desk.changes == []  # no landmark has changed


def test_a_point_in_the_wrong_place_is_refused_beside_the_buttons(arteries: ArteryDesk) -> None:
    arteries.panel.select(PCOA)
    arteries.ui.throughButton.click()
    node = arteries.desk.scene.GetFirstNodeByName(f"{PCOA} waypoint")
    node.SetNthControlPointPosition(0, 900.0, 0.0, 0.0)
    assert "outside the scan; place it on the artery." in arteries.ui.arteryMessageLabel.text
    assert arteries.said == {} and arteries.notified == 0


@pytest.mark.parametrize("way", ["button", "escape", "other artery", "landmark", "other detection", "gone"])
def test_a_point_that_waits_for_its_click_is_broken_off_in_any_way(arteries: ArteryDesk, way: str) -> None:
    desk = arteries.desk
    arteries.panel.select(PCOA)
    arteries.ui.throughButton.click()
    if way == "button":
        arteries.ui.throughButton.click()
    elif way == "escape":
        press(desk, "Esc", "arteryTable")
    elif way == "other artery":
        arteries.panel.select("BA")
    elif way == "landmark":
        arteries.ui.replaceButton.click()
        assert desk.interaction.GetCurrentInteractionMode() == desk.interaction.Place
        arteries.ui.replaceButton.click()
    elif way == "gone":
        desk.scene.RemoveNode(desk.markups)
    else:
        desk.review.setDetection(None)
    desk.application.process_events()
    assert not arteries.panel.placing and arteries.ui.throughButton.text == "Through a point"
    assert desk.interaction.GetCurrentInteractionMode() != desk.interaction.Place
    assert desk.scene.GetFirstNodeByName(f"{PCOA} waypoint") is None
    assert arteries.notified == 0 and desk.changes == []


def test_placing_a_landmark_is_broken_off_by_a_waypoint(arteries: ArteryDesk) -> None:
    desk = arteries.desk
    arteries.ui.replaceButton.click()
    arteries.panel.select(PCOA)
    arteries.ui.throughButton.click()
    assert arteries.panel.placing and arteries.ui.replaceButton.text == "Re-place"
    assert desk.landmark(UNCERTAIN) == make_detection().landmark(UNCERTAIN)
    assert desk.interaction.GetCurrentInteractionMode() == desk.interaction.Place
    arteries.panel.cancelPlacing()


def test_the_keys_of_the_arteries_press_their_buttons(arteries: ArteryDesk) -> None:
    desk = arteries.desk
    arteries.panel.select(PCOA)
    for key, expected in (("Shift+Y", True), ("Shift+M", False), ("Shift+U", True)):
        press(desk, key, "arteryTable")
        assert arteries.said[PCOA].present is expected, key
    press(desk, "Shift+G", "landmarkTable")
    assert arteries.said == {}
    for waits in (True, False):
        press(desk, "Shift+T", "arteryTable")
        assert arteries.panel.placing is waits
    press(desk, "Shift+Y", "initialsEdit")
    assert arteries.said == {}  # typed, no command
    assert desk.landmark(ABSENT) == make_detection().landmark(ABSENT)


def test_the_table_fits_a_narrow_panel(arteries: ArteryDesk) -> None:
    table = arteries.ui.arteryTable
    table.window().resize(298, 900)  # what a panel of 360 leaves to its sections
    arteries.desk.application.process_events()
    assert table.horizontalScrollBar().maximum() == 0
    assert max(table.fontMetrics().horizontalAdvance(a.code) for a in ANATOMY.arteries) < table.columnWidth(0)


def test_what_somebody_damaged_is_reported_in_a_sentence(arteries: ArteryDesk) -> None:
    arteries.desk.markups.SetAttribute(DECLARED, "{")
    arteries.desk.review.refresh()
    assert DECLARED in arteries.ui.arteryMessageLabel.text and arteries.ui.arteryTable.rowCount == 0
