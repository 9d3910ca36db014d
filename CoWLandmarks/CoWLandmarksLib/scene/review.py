"""The review of a detection by a person: accept, move, re-place, mark absent, take back. MRML, no Qt.

Everything is kept in the scene and survives saving it: states, reviewer and time of review in the table of the
detection, every step in its history table (`review_history.py`), initials and whether all landmarks are reviewed as
attributes of the point list, where a training cohort reads them too.

A point that a person placed is `found` and `corrected`; its confidence becomes 1 and its expected error that of two
annotators, because the program's own figures were about another place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from ..core.anatomy import Anatomy
from ..core.detection import NOT_PLACED, Detection, LandmarkEstimate, LandmarkState
from ..core.errors import AnnotationError
from .nodes import ATTRIBUTE, STATES_ROLE, detected_positions, read_detection, show_estimate
from .review_history import FIRST, History, Step
from .state_table import MOVED_MM, REVIEWED_AT, REVIEWER, fill_states, state_rows, write_state

Position = tuple[float, float, float]
LIFTED = ATTRIBUTE + "lifted"
"""Attribute of the point list: the landmark that waits for the click that places it anew."""
ANNOTATOR, REVIEWED, TIME = ATTRIBUTE + "annotator", ATTRIBUTE + "reviewed", ATTRIBUTE + "reviewed_at"
"""Attributes of the point list: initials of all reviewers, whether every landmark is reviewed, time of the last."""
_DOUBT = (LandmarkState.UNCERTAIN, LandmarkState.ABSENT, LandmarkState.OUTSIDE, LandmarkState.FOUND)


def utc_now() -> str:
    """Time of review as it is written: UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class ReviewRow:
    """One landmark as a list shows it: `estimate` as it is now, `first` as it was before the review.

    `steps` counts what was done to it and can be taken back.
    """

    name: str
    estimate: LandmarkEstimate
    first: LandmarkEstimate
    reviewer: str
    reviewed_at: str
    steps: int

    @property
    def code(self) -> str:
        """Code of the landmark."""
        return self.estimate.code

    @property
    def doubt(self) -> tuple[int, float, float]:
        """Sorts the doubtful first: by state, then the least confident, then the largest expected error.

        It is the doubt before the review, so that rows stay in their places while a person works.
        """
        return _DOUBT.index(self.first.state), self.first.confidence, -self.first.error_mm


class Review:
    """The review of one detection; all its state is in the scene, so any number of these may be made.

    `initials` of the annotator are kept with what is done from now on. Raises AnnotationError for a point list that
    holds no detection or has lost a landmark.
    """

    def __init__(
        self, markups_node: Any, anatomy: Anatomy, initials: str = "", now: Callable[[], str] = utc_now
    ) -> None:
        self.markups = markups_node
        self.initials = initials
        self.changing = False
        """True while this object itself changes the points: events about them are its own."""
        self._anatomy = anatomy
        self._now = now
        self._history = History(markups_node)
        detection = read_detection(markups_node, anatomy)
        if markups_node.GetNodeReference(STATES_ROLE) is None:
            states = markups_node.GetScene().AddNewNodeByClass("vtkMRMLTableNode", f"{detection.scan} states")
            fill_states(states, detection, anatomy)
            markups_node.SetNodeReferenceID(STATES_ROLE, states.GetID())

    def rows(self) -> tuple[ReviewRow, ...]:
        """All landmarks, the doubtful first; ties in the anatomy's order."""
        cells = self._cells()
        rows = (self._row(estimate, cells[estimate.code]) for estimate in self.detection().landmarks)
        return tuple(sorted(rows, key=lambda row: row.doubt))

    def row(self, code: str) -> ReviewRow:
        """One landmark; raises KeyError for a code that the anatomy does not have."""
        return self._row(self._estimate(code), self._cells()[code])

    def detection(self) -> Detection:
        """The detection as it is now; a landmark that waits for its click is where it was."""
        detection = read_detection(self.markups, self._anatomy)
        lifted = self.markups.GetAttribute(LIFTED)
        if lifted not in self._anatomy.codes:
            return detection
        now, cells = detection.landmark(lifted), self._cells()[lifted]
        if now.position is not None:
            return detection
        return detection.with_landmark(self._recorded(now, cells, detected_positions(self.markups).get(lifted)))

    def progress(self) -> tuple[int, int]:
        """How many landmarks are reviewed, and of how many."""
        landmarks = self.detection().landmarks
        return sum(estimate.reviewed for estimate in landmarks), len(landmarks)

    def next_open(self, after: str) -> str | None:
        """The next landmark in the order of `rows` that is not reviewed, going round; None when all are."""
        rows = self.rows()
        start = [row.code for row in rows].index(after) + 1
        return next((row.code for row in rows[start:] + rows[:start] if not row.estimate.reviewed), None)

    def open(self) -> None:
        """Let the points that are not reviewed be moved with the mouse."""
        lifted = self.markups.GetAttribute(LIFTED)
        if lifted in self._anatomy.codes:  # the scene was saved before the click
            self.restore_position(lifted)
        reviewed = {estimate.code: estimate.reviewed for estimate in self.detection().landmarks}
        with self._own_changes():
            self.markups.SetLocked(False)
            for code in self._anatomy.codes:
                self.markups.SetNthControlPointLocked(self.index(code), reviewed[code])

    def close(self) -> None:
        """Lock all points against accidental drags."""
        with self._own_changes():
            self.markups.SetLocked(True)

    def accept(self, code: str) -> bool:
        """Say that a landmark is right as it is, and lock it; an uncertain one is found from now on.

        Returns whether its state or position changed, as everything below that changes a landmark does.
        """
        before = self._noticed(code)
        state = LandmarkState.FOUND if before.position is not None else before.state
        return self._do("accepted", before, replace(before, state=state, reviewed=True))

    def reopen(self, code: str) -> bool:
        """Take the acceptance back, so that the point can be moved again."""
        before = self._noticed(code)
        return self._do("reopened", before, replace(before, reviewed=False))

    def mark_absent(self, code: str) -> bool:
        """Say that neither definition nor fallback gives a point here, and lock it."""
        return self._without_position(code, LandmarkState.ABSENT, "marked absent")

    def mark_outside(self, code: str) -> bool:
        """Say that the landmark lies beyond the field of view, and lock it."""
        return self._without_position(code, LandmarkState.OUTSIDE, "marked outside")

    def place(self, code: str, position: Position) -> bool:
        """Put a landmark at `position` (world RAS mm)."""
        before = self._noticed(code)
        return self._do("placed", before, self._placed(before, position))

    def set_by_rule(self, code: str, by_rule: bool) -> bool:
        """Say whether the point was placed by the fallback of its definition."""
        before = self._noticed(code)
        return self._do("by rule" if by_rule else "by definition", before, replace(before, by_rule=by_rule))

    def moved(self) -> tuple[str, ...]:
        """Landmarks that were moved, placed or removed in the scene and are not written down yet."""
        cells, detected = self._cells(), detected_positions(self.markups)
        return tuple(
            now.code
            for now in self.detection().landmarks
            if _differ(self._recorded(now, cells[now.code], detected.get(now.code)), now)
        )

    def record_moves(self) -> tuple[str, ...]:
        """Write `moved` landmarks down: found and corrected, or absent; returns their codes."""
        codes = self.moved()
        for code in codes:
            self._noticed(code)
        return codes

    def lift(self, code: str) -> None:
        """Take a point off its place for a moment, without a step, so that it can be placed anew."""
        self._noticed(code)
        with self._own_changes():
            index = self.index(code)
            self.markups.SetLocked(False)
            self.markups.SetNthControlPointLocked(index, False)
            self.markups.UnsetNthControlPointPosition(index)
            self.markups.SetAttribute(LIFTED, code)

    def settle(self) -> tuple[str, ...]:
        """The click came: write down where the point is now, as `record_moves` does."""
        self.markups.RemoveAttribute(LIFTED)
        return self.record_moves()

    def restore_position(self, code: str) -> None:
        """Put a point back where it was recorded last, without a step: its placement was broken off."""
        with self._own_changes():
            self.markups.RemoveAttribute(LIFTED)
            recorded, index = self._recorded_now(code), self.index(code)
            show_estimate(self.markups, index, recorded)
            self.markups.SetNthControlPointLocked(index, recorded.reviewed)

    def revert_to_previous(self, code: str) -> bool:
        """Take back the last step of a landmark; False where there is none."""
        before = self._noticed(code)
        steps = self._history.steps(code)
        if len(steps) < 2:
            return False
        self._history.remove_last(code)
        return self._restore(before, steps[-2])

    def revert_to_detected(self, code: str) -> bool:
        """Put a landmark back as it was before the review; can itself be taken back."""
        before = self._noticed(code)
        steps = self._history.steps(code)
        if not steps:
            return False
        first = steps[0]
        self._history.add(replace(first, action="reverted", reviewer=self.initials, time=self._now()))
        return self._restore(before, first)

    def index(self, code: str) -> int:
        """Index of the control point of a landmark; raises AnnotationError where it is gone."""
        for index in range(self.markups.GetNumberOfControlPoints()):
            if self.markups.GetNthControlPointLabel(index).strip() == code:
                return index
        raise AnnotationError(
            f"The point list '{self.markups.GetName()}' has lost the landmark {code}; run the detection again."
        )

    def _row(self, estimate: LandmarkEstimate, cells: dict[str, Any]) -> ReviewRow:
        steps = self._history.steps(estimate.code)
        return ReviewRow(
            name=self._anatomy.landmark(estimate.code).name,
            estimate=estimate,
            first=steps[0].estimate if steps else estimate,
            reviewer=cells.get(REVIEWER, ""),
            reviewed_at=cells.get(REVIEWED_AT, ""),
            steps=max(0, len(steps) - 1),
        )

    def _estimate(self, code: str) -> LandmarkEstimate:
        return self.detection().landmark(code)

    def _cells(self) -> dict[str, dict[str, Any]]:
        return state_rows(self.markups.GetNodeReference(STATES_ROLE))

    def _recorded_now(self, code: str) -> LandmarkEstimate:
        return self._recorded(self._estimate(code), self._cells()[code], detected_positions(self.markups).get(code))

    def _recorded(self, now: LandmarkEstimate, cells: dict[str, Any], position: Position | None) -> LandmarkEstimate:
        """The landmark as the last step left it, or as it was detected at `position` (world RAS mm)."""
        steps = self._history.steps(now.code)
        if steps:
            return replace(self._in_world(steps[-1].estimate), note=now.note)
        state = LandmarkState(cells["state"])
        if (position is None) == (state in (LandmarkState.FOUND, LandmarkState.UNCERTAIN)):
            return now  # an older scene, which does not tell where the points were
        corrected = bool(cells["corrected"])
        return replace(now, position=position, state=state, corrected=corrected)

    def _placed(self, before: LandmarkEstimate, position: Position) -> LandmarkEstimate:
        return replace(
            before,
            position=position,
            state=LandmarkState.FOUND,
            confidence=1.0,
            error_mm=self._anatomy.landmark(before.code).expected_two_annotator_mm,
            corrected=True,
            reviewed=False,
            note="" if before.note == NOT_PLACED else before.note,
        )

    def _without_position(self, code: str, state: LandmarkState, action: str) -> bool:
        before = self._noticed(code)
        after = replace(
            before,
            position=None,
            state=state,
            confidence=1.0,
            error_mm=0.0,
            by_rule=False,
            corrected=before.corrected or before.state is not state,
            reviewed=True,
            note="" if before.note == NOT_PLACED else before.note,
        )
        return self._do(action, before, after)

    def _noticed(self, code: str) -> LandmarkEstimate:
        """The landmark as it is, after a move that nobody wrote down yet became a step."""
        recorded, now = self._recorded_now(code), self._estimate(code)
        if not _differ(recorded, now):
            return now
        if now.position is not None:
            self._do("moved", recorded, self._placed(now, now.position))
        else:
            self._do("removed", recorded, replace(now, corrected=True, reviewed=False))
        return self._estimate(code)

    def _do(self, action: str, before: LandmarkEstimate, after: LandmarkEstimate) -> bool:
        """Write a step down and show it; returns whether state or position changed."""
        code = before.code
        if not self._history.steps(code):
            cells = self.row(code)
            self._history.add(Step(FIRST, self._in_list(before), cells.reviewer, cells.reviewed_at))
        step = Step(action, self._in_list(after), self.initials, self._now())
        self._history.add(step)
        self._show(after, step)
        return _differ(before, after)

    def _restore(self, before: LandmarkEstimate, step: Step) -> bool:
        after = replace(self._in_world(step.estimate), note=before.note)
        self._show(after, step)
        return _differ(before, after)

    def _show(self, estimate: LandmarkEstimate, step: Step) -> None:
        """Bring point, table and attributes in line with a landmark."""
        reviewer, time = (step.reviewer, step.time) if estimate.reviewed else ("", "")
        index = self.index(estimate.code)
        states = self.markups.GetNodeReference(STATES_ROLE)
        with self._own_changes():
            show_estimate(self.markups, index, estimate)
            self.markups.SetNthControlPointLocked(index, estimate.reviewed)
            write_state(states, estimate, reviewer, time)
            cells = [row for row in state_rows(states).values() if row["reviewed"]]
            self.markups.SetAttribute(ANNOTATOR, ", ".join(sorted({row[REVIEWER] for row in cells if row[REVIEWER]})))
            self.markups.SetAttribute(TIME, max((row[REVIEWED_AT] for row in cells), default=""))
            self.markups.SetAttribute(REVIEWED, str(int(len(cells) == len(self._anatomy))))

    def _in_world(self, estimate: LandmarkEstimate) -> LandmarkEstimate:
        return _at(estimate, self.markups.TransformPointToWorld)

    def _in_list(self, estimate: LandmarkEstimate) -> LandmarkEstimate:
        return _at(estimate, self.markups.TransformPointFromWorld)

    @contextmanager
    def _own_changes(self) -> Iterator[None]:
        outer, self.changing = self.changing, True
        try:
            yield
        finally:
            self.changing = outer


def _at(estimate: LandmarkEstimate, transform: Callable[[list[float], list[float]], None]) -> LandmarkEstimate:
    if estimate.position is None:
        return estimate
    moved = [0.0, 0.0, 0.0]
    transform(list(estimate.position), moved)
    return replace(estimate, position=(moved[0], moved[1], moved[2]))


def _differ(one: LandmarkEstimate, other: LandmarkEstimate) -> bool:
    """Whether two landmarks stand at other places, or in other states."""
    if one.position is None or other.position is None or one.state is not other.state:
        return one.state is not other.state
    return math.dist(one.position, other.position) > MOVED_MM
