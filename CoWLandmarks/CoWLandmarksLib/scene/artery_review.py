"""The review of a detection's arteries by a person: there, not there, led through a point, taken back. MRML, no Qt.

Everything is kept in the scene and survives saving it: what holds in an attribute of the point list
(declared_arteries.py), every step in its history (review_history.py). The arteries themselves change when they are
traced again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.anatomy import Anatomy
from ..core.declaration import Declaration, Position, check_waypoint, with_waypoint
from ..core.errors import AnnotationError
from .declared_arteries import declared_in, keep_declared, moved
from .nodes import read_detection, volume_from_node, volume_node_of
from .results import result_of
from .review import utc_now
from .review_history import FIRST, ArteryStep, History
from .views import expected_place


@dataclass(frozen=True)
class ArteryRow:
    """One artery as a list shows it.

    `state` and `reason` as it was traced last, empty where it was not; `declaration` is what a person says of it (None:
    nothing), with initials. `steps` counts what was said and can be taken back.
    """

    code: str
    name: str
    state: str
    reason: str
    declaration: Declaration | None
    reviewer: str
    steps: int


class ArteryReview:
    """What a person says of the arteries of one detection; all its state is in the scene.

    `initials` of the annotator are kept with what is said from now on.
    """

    def __init__(
        self, markups_node: Any, anatomy: Anatomy, initials: str = "", now: Callable[[], str] = utc_now
    ) -> None:
        self.markups = markups_node
        self.initials = initials
        self._anatomy = anatomy
        self._now = now
        self._history = History(markups_node)

    def rows(self) -> tuple[ArteryRow, ...]:
        """All arteries in the order of the anatomy; raises AnnotationError for what is not readable."""
        declared, traced = declared_in(self.markups, self._anatomy), self._traced()
        return tuple(
            self._row(artery.code, artery.name, declared.get(artery.code), *traced.get(artery.code, ("", "")))
            for artery in self._anatomy.arteries
        )

    def row(self, code: str) -> ArteryRow:
        """One artery; raises KeyError for a code that the anatomy does not have."""
        return {row.code: row for row in self.rows()}[code]

    def declare(self, code: str, present: bool) -> bool:
        """Say that an artery is there or not, without waypoints.

        Returns whether that is new, as everything below that says something does.
        """
        entry = Declaration(code, present)
        return self._do(entry.reason.removesuffix(" by a person"), code, entry)

    def lead_through(self, code: str, position: Position) -> bool:
        """Lead an artery through one more point (world RAS mm).

        Raises AnnotationError for a point outside the scan or far from the artery, VolumeError for a scan that cannot
        be read; nothing is said then.
        """
        volume_node = volume_node_of(self.markups)
        if volume_node is None:
            raise AnnotationError(f"The scan of '{self.markups.GetName()}' is not in the scene; load it first.")
        start, end = self._ends(code)
        ends = [point for point in (start, end) if point is not None]
        check_waypoint(code, position, ends, volume_from_node(volume_node, copy=False).grid)
        before = declared_in(self.markups, self._anatomy).get(code)
        waypoints = () if before is None else before.waypoints
        return self._do(
            "led through a point", code, Declaration(code, True, with_waypoint(waypoints, position, start, end))
        )

    def leave_to_program(self, code: str) -> bool:
        """Say nothing of an artery any more."""
        return self._do("left to the program", code, None)

    def revert_to_previous(self, code: str) -> bool:
        """Take back what was said last of an artery; False where there is nothing."""
        steps = self._history.artery_steps(code)
        if len(steps) < 2:
            return False
        self._history.remove_last(code)
        entry = steps[-2].declaration
        self._keep(code, None if entry is None else moved(entry, self.markups.TransformPointToWorld))
        return True

    def middle(self, code: str) -> Position:
        """Where to look for an artery (world RAS mm): between its landmarks, or where they are in most people."""
        artery, detection = self._anatomy.artery(code), read_detection(self.markups, self._anatomy)
        codes = [end for end in (artery.start, artery.end) if end is not None]
        places = [detection.landmark(end).position or expected_place(detection, end) for end in codes]
        r, a, s = (float(value) for value in np.mean(places, axis=0))
        return r, a, s

    def _row(self, code: str, name: str, declaration: Declaration | None, state: str, reason: str) -> ArteryRow:
        steps = self._history.artery_steps(code)
        reviewer = steps[-1].reviewer if steps and declaration is not None else ""
        return ArteryRow(code, name, state, reason, declaration, reviewer, max(0, len(steps) - 1))

    def _traced(self) -> dict[str, tuple[str, str]]:
        """State and reason of every artery that was traced, by code."""
        node = result_of(self.markups).table
        if node is None:
            return {}
        columns = [node.GetTable().GetColumnByName(name) for name in ("code", "state", "reason")]
        if None in columns:
            return {}
        rows = ([column.GetValue(row) for column in columns] for row in range(node.GetTable().GetNumberOfRows()))
        return {code: (state, reason) for code, state, reason in rows}

    def _ends(self, code: str) -> tuple[np.ndarray | None, np.ndarray | None]:
        artery, detection = self._anatomy.artery(code), read_detection(self.markups, self._anatomy)

        def place(end: str | None) -> np.ndarray | None:
            position = None if end is None else detection.landmark(end).position
            return None if position is None else np.array(position)

        return place(artery.start), place(artery.end)

    def _do(self, action: str, code: str, entry: Declaration | None) -> bool:
        before = declared_in(self.markups, self._anatomy).get(code)
        if before == entry:
            return False
        if not self._history.artery_steps(code):
            self._history.add_artery(ArteryStep(FIRST, code, self._in_list(before)))
        self._history.add_artery(ArteryStep(action, code, self._in_list(entry), self.initials, self._now()))
        self._keep(code, entry)
        return True

    def _keep(self, code: str, entry: Declaration | None) -> None:
        declared = declared_in(self.markups, self._anatomy)
        declared.pop(code, None)
        keep_declared(self.markups, declared if entry is None else {**declared, code: entry})

    def _in_list(self, entry: Declaration | None) -> Declaration | None:
        return None if entry is None else moved(entry, self.markups.TransformPointFromWorld)
