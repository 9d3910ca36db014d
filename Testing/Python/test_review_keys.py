"""The keys of the section Review: each presses its button, in every state of the panel."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("SlicerStandIn", reason="needs slicer-core and PySide6", exc_type=ImportError)

from CoWLandmarksLib.core.detection import LandmarkState
from example_detection import ANATOMY
from panel_desk import ABSENT, ARTERY_BUTTONS, BUTTONS, OUTSIDE, UNCERTAIN, Desk, nothing_selected, press

DOCS = Path(__file__).resolve().parent.parent.parent / "Docs" / "use"


def keys_of_the_document() -> dict[str, str]:
    """The buttons and their keys as Docs/use/review.md lists them."""
    text = (DOCS / "review.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (Shift\+[^|]+) \|", text, re.MULTILINE)
    return {
        name: key
        for names, keys in rows
        for name, key in zip(names.split(", "), re.findall(r"Shift\+\w", keys), strict=True)
    }


def test_every_key_is_documented_and_named_in_a_tooltip(desk: Desk) -> None:
    documented = keys_of_the_document()
    buttons = BUTTONS | ARTERY_BUTTONS
    assert set(documented) == set(buttons)
    for name, key in documented.items():
        button = getattr(desk.ui, buttons[name])
        assert button.text == name and button.shortcut.toString() == key
        assert f"({key})" in button.toolTip


def a_found_one(desk: Desk) -> None:
    desk.review.select("R-M1-M2")


def a_reviewed_one(desk: Desk) -> None:
    desk.review.select("R-M1-M2")
    desk.ui.acceptButton.click()
    desk.review.select("R-M1-M2")


def a_moved_one(desk: Desk) -> None:
    desk.markups.SetNthControlPointPosition(ANATOMY.index("R-M1-M2"), 1.0, 2.0, 3.0)


def an_absent_one(desk: Desk) -> None:
    desk.review.select(ABSENT)


def waiting_for_a_click(desk: Desk) -> None:
    desk.ui.replaceButton.click()


def broken_off(desk: Desk) -> None:
    desk.ui.replaceButton.click()
    desk.ui.replaceButton.click()


def all_reviewed(desk: Desk) -> None:
    for _ in range(19):
        desk.ui.acceptButton.click()


STATES = (
    nothing_selected,
    a_found_one,
    a_reviewed_one,
    a_moved_one,
    an_absent_one,
    waiting_for_a_click,
    broken_off,
    all_reviewed,
)
FOCUS = ("landmarkTable", "definitionEdit", "acceptButton", "byRuleCheckBox", "loadVolumeComboBox")


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_every_key_presses_its_button_in_every_state_of_the_panel(desk: Desk, state: Callable[[Desk], None]) -> None:
    desk.start_review()
    state(desk)
    pressed: list[str] = []
    keys = keys_of_the_document()
    for name in BUTTONS:
        key, button = keys[name], getattr(desk.ui, BUTTONS[name])
        button.connect("clicked(bool)", lambda checked=False, name=name: pressed.append(name))
        for focus in (FOCUS[len(pressed) % len(FOCUS)], FOCUS[(len(pressed) + 1) % len(FOCUS)]):
            before, able = len(pressed), button.enabled
            press(desk, key, focus)
            assert pressed[before:] == ([name] if able else []), (name, focus)


def test_keys_do_what_their_buttons_do(desk: Desk) -> None:
    desk.start_review()
    press(desk, "Shift+N")
    assert desk.review.selectedCode == ABSENT
    press(desk, "Shift+P")
    press(desk, "Shift+A")
    assert desk.landmark(UNCERTAIN).reviewed and desk.review.selectedCode == ABSENT
    press(desk, "Shift+O")
    assert desk.landmark(ABSENT).state is LandmarkState.OUTSIDE and desk.review.selectedCode == OUTSIDE
    press(desk, "Shift+X")
    assert desk.landmark(OUTSIDE).state is LandmarkState.ABSENT
    desk.review.select(ABSENT)
    press(desk, "Shift+Z")
    assert desk.landmark(ABSENT).state is LandmarkState.ABSENT
    desk.review.select(OUTSIDE)
    press(desk, "Shift+D")
    assert desk.landmark(OUTSIDE).state is LandmarkState.OUTSIDE
    for _ in range(2):
        press(desk, "Shift+R")
        assert desk.interaction.GetCurrentInteractionMode() == desk.interaction.Place
        press(desk, "Shift+R")
        assert desk.interaction.GetCurrentInteractionMode() != desk.interaction.Place
    press(desk, "Shift+A", "initialsEdit")
    assert desk.ui.initialsEdit.text.upper() == "ABA" and not desk.landmark(OUTSIDE).reviewed  # typed, no command


def test_escape_ends_placing_wherever_the_focus_is_and_does_nothing_else(desk: Desk) -> None:
    from PySide6 import QtCore

    desk.start_review()
    reached: list[int] = []

    class Watch(QtCore.QObject):
        def eventFilter(self, watched: object, event: QtCore.QEvent) -> bool:  # noqa: N802 - Qt's name
            if event.type() == QtCore.QEvent.KeyPress:
                reached.append(event.key())
            return False

    watch = Watch()
    desk.ui.landmarkTable.installEventFilter(watch)
    for focus in (*FOCUS, "initialsEdit"):
        before = desk.landmark(UNCERTAIN)
        desk.ui.replaceButton.click()
        press(desk, "Esc", focus)
        assert desk.interaction.GetCurrentInteractionMode() != desk.interaction.Place, focus
        assert desk.ui.replaceButton.text == "Re-place" and desk.landmark(UNCERTAIN) == before
    assert reached == []
    press(desk, "Esc")
    assert reached == [QtCore.Qt.Key_Escape]  # nothing is placed: it is left to whoever else wants it
    desk.ui.replaceButton.click()
    desk.scene.RemoveNode(desk.markups)
    press(desk, "Esc")
    assert len(reached) == 2
