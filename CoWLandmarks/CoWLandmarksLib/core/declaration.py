"""What a person says of an artery: that it is there, along which way, or that it is not. It wins over the tracer."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .anatomy import Anatomy
from .errors import AnnotationError
from .volume import Grid

Position = tuple[float, float, float]
PRESENT, ABSENT, UNDECLARED = "present", "absent", "auto"
BY_A_PERSON = "by a person"
WAYPOINT_DECIMALS = 3
FARTHEST_MM, FARTHEST_SHARE = 15.0, 0.75
"""A waypoint lies at most so far from the nearer end of its artery, plus this share of the distance of its ends."""


@dataclass(frozen=True)
class Declaration:
    """What a person says of the artery with this code.

    `waypoints` (R, A, S) mm, from its start to its end, are points that it leads through; an artery with one is there.
    """

    code: str
    present: bool
    waypoints: tuple[Position, ...] = ()

    def __post_init__(self) -> None:
        if self.waypoints and not self.present:
            raise AnnotationError(
                f"The artery {self.code} is declared absent, yet has a waypoint; take one of them back."
            )
        if not all(math.isfinite(value) for point in self.waypoints for value in point):
            raise AnnotationError(f"A waypoint of {self.code} is no place; give three numbers in millimetres.")

    @property
    def text(self) -> str:
        """How files and tables write it: `present` or `absent`."""
        return PRESENT if self.present else ABSENT

    @property
    def reason(self) -> str:
        """Why the artery is in its state."""
        return f"declared {self.text} {BY_A_PERSON}"


Declarations = Mapping[str, Declaration]
"""What is declared, by code of the artery; the others are left to the program."""


def artery_codes(anatomy: Anatomy) -> tuple[str, ...]:
    """Codes of the arteries of a landmark set."""
    return tuple(artery.code for artery in anatomy.arteries)


def declarations_to_list(declared: Declarations) -> list[dict[str, Any]]:
    """Declarations as plain values; waypoints are RAS mm, rounded. Inverse: `declarations_from_list`."""
    return [
        {
            "code": entry.code,
            "presence": entry.text,
            "waypoints": [[round(float(v), WAYPOINT_DECIMALS) + 0.0 for v in point] for point in entry.waypoints],
        }
        for entry in sorted(declared.values(), key=lambda entry: entry.code)
    ]


def declarations_from_list(entries: Any, known: Collection[str], source: str) -> dict[str, Declaration]:
    """What `declarations_to_list` made of arteries with `known` codes, read from `source`; raises AnnotationError."""
    declared: dict[str, Declaration] = {}
    try:
        for entry in entries:
            code, presence = str(entry["code"]), str(entry["presence"])
            if code not in known:
                raise AnnotationError(f"{source} declares '{code}', which is no artery; use one of {', '.join(known)}.")
            if presence not in (PRESENT, ABSENT) or code in declared:
                raise ValueError(f"{code} {presence}")
            points = tuple((float(r), float(a), float(s)) for r, a, s in entry.get("waypoints", ()))
            declared[code] = Declaration(code, presence == PRESENT, points)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnnotationError(
            f"{source} declares arteries in a way that is not readable ({error!r}); remove that."
        ) from error
    return declared


def with_texts(declared: Declarations, texts: Iterable[str], anatomy: Anatomy) -> dict[str, Declaration]:
    """Declarations changed by texts such as `R-PCoA=absent`, `ACoA=present`, `BA=auto` and `L-PCoA=-12.5,3,-8`.

    `auto` leaves the artery to the program; three numbers (RAS mm) add a waypoint to those that other texts give, in
    place of earlier ones. Raises AnnotationError.
    """
    result = dict(declared)
    led: set[str] = set()
    for text in texts:
        code, _, what = (part.strip() for part in text.partition("="))
        if code not in artery_codes(anatomy):
            codes = ", ".join(artery_codes(anatomy))
            raise AnnotationError(f"'{text}' declares '{code}', which is no artery; use one of {codes}.")
        if what == UNDECLARED:
            result.pop(code, None)
        elif what in (PRESENT, ABSENT):
            result[code] = Declaration(code, what == PRESENT)
        else:
            before = result[code].waypoints if code in led else ()
            result[code] = Declaration(code, True, (*before, _place(text, what)))
            led.add(code)
    return result


def _place(text: str, what: str) -> Position:
    try:
        r, a, s = (round(float(value), WAYPOINT_DECIMALS) for value in what.split(","))
    except ValueError as error:
        raise AnnotationError(
            f"'{text}' is no declaration; write CODE=present, CODE=absent, CODE=auto or CODE=R,A,S (a point in mm)."
        ) from error
    return r, a, s


def check_waypoint(code: str, point: Position, ends: Sequence[np.ndarray], grid: Grid) -> None:
    """Raise AnnotationError where an artery cannot lead through `point`; `ends` are its landmarks (RAS mm)."""
    where = "({:.1f}, {:.1f}, {:.1f})".format(*point)
    beyond = -float(grid.depth_mm(np.array([point], float))[0])
    if beyond > 0.0:
        raise AnnotationError(
            f"The waypoint {where} of {code} lies {beyond:.0f} mm outside the scan; place it on the artery."
        )
    if not ends:
        return
    away = min(float(np.linalg.norm(np.subtract(point, end))) for end in ends)
    apart = float(np.linalg.norm(ends[-1] - ends[0]))
    # An artery with one known end may be as long as any.
    limit = FARTHEST_MM + (FARTHEST_SHARE * apart if len(ends) > 1 else 2.0 * FARTHEST_MM)
    if away > limit:
        raise AnnotationError(
            f"The waypoint {where} of {code} lies {away:.0f} mm from its nearer end; place it on the artery."
        )


def with_waypoint(
    waypoints: Sequence[Position], point: Position, start: np.ndarray | None, end: np.ndarray | None
) -> tuple[Position, ...]:
    """Waypoints with one more, at the place in their order that makes the way from `start` to `end` the shortest.

    `start`, `end` (3,) RAS mm are the landmarks of the artery where they are known.
    """
    ways = [(*waypoints[:at], point, *waypoints[at:]) for at in range(len(waypoints) + 1)]

    def length(way: Sequence[Position]) -> float:
        stops = np.array([stop for stop in (start, *way, end) if stop is not None], float)
        return float(np.linalg.norm(np.diff(stops, axis=0), axis=1).sum())

    return min(ways, key=length)
