"""The self tests of the section "Review" (Docs/slicer-checks.md)."""

from __future__ import annotations

from dataclasses import replace

import slicer
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import LandmarkState
from CoWLandmarksLib.scene.declared_arteries import declared_in
from CoWLandmarksLib.scene.nodes import detection_nodes, read_detection

from .panel_self_test_case import PanelSelfTestCase

KEYS = {
    "acceptButton": "Shift+A",
    "absentButton": "Shift+X",
    "outsideButton": "Shift+O",
    "replaceButton": "Shift+R",
    "undoButton": "Shift+Z",
    "detectedButton": "Shift+D",
    "previousButton": "Shift+P",
    "nextButton": "Shift+N",
}


class ReviewSelfTests(PanelSelfTestCase):
    """Each test does one thing that people do in a review."""

    def test_EveryKeyWorksTwice(self) -> None:
        """A key presses its button, and the button keeps it whatever its text was meanwhile."""
        markups = self.addAnnotation(self.loadSample())
        review = self.reviewOf(markups)
        ui = review.ui
        interaction = slicer.app.applicationLogic().GetInteractionNode()

        def placing() -> bool:
            return interaction.GetCurrentInteractionMode() == interaction.Place

        def press(name: str) -> None:
            button = getattr(ui, name)
            for each, key in KEYS.items():
                self.assertEqual(getattr(ui, each).shortcut.toString(), key)
            self.assertTrue(button.enabled)
            pressed: list[bool] = []

            def onClicked(checked: bool = False) -> None:
                pressed.append(checked)

            button.connect("clicked(bool)", onClicked)
            button.animateClick()  # what Qt does when the key of a button is pressed
            self.waitUntil(lambda: pressed, 10.0)
            button.disconnect("clicked(bool)", onClicked)

        for _round in range(2):
            code = review.selectedCode
            press("nextButton")
            self.assertNotEqual(review.selectedCode, code)
            press("previousButton")
            self.assertEqual(review.selectedCode, code)
            press("acceptButton")
            self.assertTrue(self.landmark(markups, code).reviewed)
            for name, state in (("absentButton", LandmarkState.ABSENT), ("outsideButton", LandmarkState.OUTSIDE)):
                code = review.selectedCode
                press(name)
                self.assertEqual(self.landmark(markups, code).state, state)
                review.select(code)
                press("detectedButton" if name == "absentButton" else "undoButton")
                self.assertEqual(self.landmark(markups, code).state, LandmarkState.FOUND)
                press("acceptButton")
            press("replaceButton")
            self.assertTrue(placing())
            press("replaceButton")
            self.assertFalse(placing())

    def test_ALandmarkIsAcceptedMovedPlacedAnewAndTakenBack(self) -> None:
        """The review, by its buttons and in the views' place mode."""
        anatomy = default_anatomy()
        markups = self.addAnnotation(self.loadSample())
        review = self.reviewOf(markups)
        self.assertEqual(review.ui.landmarkTable.rowCount, 19)
        first = review.selectedCode
        review.ui.acceptButton.click()
        self.assertTrue(self.landmark(markups, first).reviewed)
        self.assertTrue(markups.GetNthControlPointLocked(anatomy.index(first)))
        code = review.selectedCode
        self.assertNotEqual(code, first)
        start = self.landmark(markups, code)
        self.expectViewsAt(start.position)
        review.ui.replaceButton.click()
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        self.assertEqual(interaction.GetCurrentInteractionMode(), interaction.Place)
        place = [value + 3.0 for value in start.position]
        markups.SetNthControlPointPosition(anatomy.index(code), *place)
        self.assertNotEqual(interaction.GetCurrentInteractionMode(), interaction.Place)
        self.assertTrue(self.landmark(markups, code).corrected)
        review.ui.undoButton.click()
        self.assertEqual(self.landmark(markups, code), start)
        self.expectViewsAt(start.position)
        review.ui.absentButton.click()
        self.assertIsNone(self.landmark(markups, code).position)
        review.select(first)
        review.ui.reopenButton.click()
        self.assertFalse(self.landmark(markups, first).reviewed)
        review.ui.byRuleCheckBox.click()
        self.assertTrue(self.landmark(markups, first).by_rule)
        review.ui.byRuleCheckBox.click()
        review.setDetection(None)
        self.assertTrue(markups.GetLocked())

    def test_AnArteryIsDeclaredLedThroughAPointAndTakenBack(self) -> None:
        """A person's word on arteries, by the buttons and in the views' place mode."""
        anatomy = default_anatomy()
        markups = self.addAnnotation(self.loadSample())
        review = self.reviewOf(markups)
        review.arteries.onDeclared = lambda node: None
        review.arteries.select("R-ICA-C7")
        review.ui.arteryAbsentButton.click()
        self.assertFalse(declared_in(markups, anatomy)["R-ICA-C7"].present)
        review.ui.throughButton.click()
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        (point,) = slicer.util.getNodes("R-ICA-C7 waypoint").values()
        place = self.landmark(markups, "R-ICA-T").position
        point.SetNthControlPointPosition(0, *place)
        self.assertNotEqual(interaction.GetCurrentInteractionMode(), interaction.Place)
        (waypoint,) = declared_in(markups, anatomy)["R-ICA-C7"].waypoints
        self.assertAlmostEqual(sum(waypoint), sum(place), 2)
        slicer.app.processEvents()
        self.assertEqual(dict(slicer.util.getNodes("R-ICA-C7 waypoint")), {})
        review.ui.arteryUndoButton.click()
        self.assertFalse(declared_in(markups, anatomy)["R-ICA-C7"].present)

    def test_APointIsDraggedWithTheMouseAndTakenBack(self) -> None:
        """A drag is one step, written down when the mouse is let go."""
        markups = self.addAnnotation(self.loadSample())
        review = self.reviewOf(markups)
        code = default_anatomy().codes[5]
        start = self.landmark(markups, code)
        self.drag(markups, code, 4.0)
        slicer.app.processEvents()
        self.assertIn(code, review.ui.messageLabel.text)
        self.assertEqual(review.selectedCode, code)
        moved = self.landmark(markups, code)
        self.assertTrue(moved.corrected)
        self.assertAlmostEqual(moved.position[0], start.position[0] + 4.0, 3)
        review.ui.undoButton.click()  # once
        self.assertEqual(self.landmark(markups, code), start)
        self.assertFalse(review.ui.undoButton.enabled)
        self.expectViewsAt(start.position)

    def test_TheReviewGoesOnAfterSavingAndLoadingTheScene(self) -> None:
        """What was done, by whom, and what can be taken back."""
        self.openModule()
        markups = self.addAnnotation(self.loadSample())
        review = self.reviewOf(markups)
        accepted = review.selectedCode
        review.ui.acceptButton.click()
        absent = review.selectedCode
        review.ui.absentButton.click()
        moved = review.selectedCode
        start = self.landmark(markups, moved)
        self.drag(markups, moved, 3.0)
        before, progress = read_detection(markups, default_anatomy()), review.ui.progressLabel.text
        file = self.folder / "scene.mrb"
        self.assertTrue(slicer.util.saveScene(str(file)))
        slicer.mrmlScene.Clear()
        slicer.app.processEvents()
        self.assertEqual(detection_nodes(slicer.mrmlScene), [])
        slicer.util.loadScene(str(file))
        self.waitUntil(lambda: review.markupsNode is not None, 20.0)
        (markups,) = detection_nodes(slicer.mrmlScene)
        self.assertIs(review.markupsNode, markups)
        after = read_detection(markups, default_anatomy())
        for one, other in zip(before.landmarks, after.landmarks, strict=True):
            self.assertEqual(replace(one, position=other.position), other)
        self.assertEqual(review.ui.progressLabel.text, progress)
        self.assertTrue(after.landmark(accepted).reviewed)
        table = review.ui.landmarkTable
        self.assertEqual(sorted(table.item(row, 5).text() for row in range(19)), [""] * 17 + ["ST"] * 2)
        self.assertEqual(after.landmark(absent).state, LandmarkState.ABSENT)
        self.assertNotIn(review.selectedCode, (accepted, absent))
        review.select(moved)
        review.ui.undoButton.click()
        self.assertAlmostEqual(self.landmark(markups, moved).position[0], start.position[0], 2)
