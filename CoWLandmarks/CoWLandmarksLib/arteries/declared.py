"""Arteries of which a person says that they are there or not: how that changes what is traced.

An artery declared absent is not looked for; of one declared present the best path is kept, and others keep out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryState, ArteryTrace
from ..core.declaration import Declaration, Declarations, check_waypoint
from ..core.detection import LandmarkEstimate
from ..core.volume import Grid
from .ends import Ends, Way, ends_of
from .lumen import CrossSections
from .measures import counterpart_codes
from .presence import SHARED, shared_part


def declared_ends(
    ends: Mapping[str, Ends],
    declared: Declarations,
    landmarks: Mapping[str, LandmarkEstimate],
    positions: Mapping[str, np.ndarray],
    anatomy: Anatomy,
) -> dict[str, Ends]:
    """The ends of all arteries with what a person says of each; those declared absent are not traced."""
    result = dict(ends)
    for code, entry in declared.items():
        own = ends[code]
        if entry.present:
            result[code] = replace(own, declared=entry)
            continue
        result[code] = Ends(Way.NONE, state=ArteryState.ABSENT, reason=entry.reason, declared=entry)
        if own.way is Way.ACROSS:  # without it the other one of the pair is not fed across either
            for artery in anatomy.arteries:
                if artery.code not in declared and ends[artery.code] == own:
                    result[artery.code] = ends_of(artery, landmarks, positions)
    return result


def as_declared(trace: ArteryTrace, declared: Declarations) -> ArteryTrace:
    """The artery with what a person says of it as (a part of) its reason; one declared present is never absent."""
    entry = declared.get(trace.code)
    if entry is None:
        return trace
    if trace.traced or not entry.present:
        reasons = [trace.reason] if entry.reason in trace.reason else [trace.reason, entry.reason]
        return replace(trace, reason="; ".join(filter(None, reasons)), confidence=1.0)
    state = ArteryState.UNKNOWN if trace.state is ArteryState.ABSENT else trace.state
    reason = trace.reason if entry.reason in trace.reason else f"{entry.reason}, but {trace.reason}"
    return replace(trace, state=state, reason=reason)


def concerned(before: Declarations, now: Declarations, anatomy: Anatomy) -> set[str]:
    """Codes of the arteries that are traced anew: those whose declaration changed, and what adjoins them."""
    changed = {code for code in {*before, *now} if before.get(code) != now.get(code)}
    counterparts = counterpart_codes(anatomy)
    found = changed | {counterparts[code] for code in changed if code in counterparts}
    for code in changed:
        ends = anatomy.artery(code).ends
        found |= {other.code for other in anatomy.arteries if ends & other.ends}
    return found


def check_waypoints(declared: Declarations, positions: Mapping[str, np.ndarray], anatomy: Anatomy, grid: Grid) -> None:
    """Raise AnnotationError for a waypoint outside the scan, or far from its artery."""
    for code, entry in declared.items():
        artery = anatomy.artery(code)
        ends = [positions[str(end)] for end in (artery.start, artery.end) if end in positions]
        for point in entry.waypoints:
            check_waypoint(code, point, ends, grid)


def waypoints_by_name(declared: Declarations) -> dict[str, np.ndarray]:
    """RAS mm (3,) of all waypoints under names of their own."""
    return {
        f"{code} waypoint {number}": np.array(point, float)
        for code, entry in declared.items()
        for number, point in enumerate(entry.waypoints, start=1)
    }


def joined(one: Declaration | None, other: Declaration | None) -> Declaration | None:
    """The declaration of two arteries that are traced as one path: through the waypoints of both."""
    if one is None or other is None:
        return one or other
    return replace(one, waypoints=(*one.waypoints, *other.waypoints))


def keep_out(
    anatomy: Anatomy,
    renewed: Iterable[str],
    ends: Mapping[str, Ends],
    sections: dict[str, CrossSections],
    find: Callable[[str, list[CrossSections]], CrossSections | None],
) -> None:
    """Let those of the `renewed` arteries that run in a declared artery's lumen keep out of it, if they can.

    Counterparts in one vessel are parted later (arteries/pairs.py).
    """
    counterparts = counterpart_codes(anatomy)
    declared = {code: own for code, own in sections.items() if ends[code].surely_present}
    for code in renewed:
        if code not in sections or code in declared:
            continue
        own = sections[code]
        others = [other for name, other in declared.items() if name != counterparts.get(code)]
        taken = [other for other in others if shared_part(own, other) > SHARED]
        if taken and (found := find(code, taken)) is not None:
            sections[code] = found
