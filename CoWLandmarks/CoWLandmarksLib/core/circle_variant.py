"""A circle as text: its variant, and a whole result in one line."""

from __future__ import annotations

from collections.abc import Sequence

from .artery_map import ArteryState, ArteryTrace
from .detection import LandmarkEstimate, LandmarkState

_SIDES = {"R": "right", "L": "left"}
_RING = ("ACoA", "ACA-A1", "PCoA", "PCA-P1")
DOUBTFUL = 0.9
"""The probability of an artery of the circle, or of its absence, is told where it is less."""
FETAL_RATIO = 1.0
"""A PCoA at least this many times as wide as the P1 of its side feeds the posterior cerebral artery ("fetal")."""


def summary_line(landmarks: Sequence[LandmarkEstimate], absent_arteries: Sequence[str] = ()) -> str:
    """One line for people: '16 found; 2 to check; L-A1-A2 absent; right PCoA absent'.

    *Found* are those in that state; the uncertain ones are to check. `absent_arteries` are codes. Command line,
    progress events, panels, table of many scans and report say this of a result.
    """

    def codes(state: LandmarkState) -> list[str]:
        return [estimate.code for estimate in landmarks if estimate.state is state]

    parts = [f"{len(codes(LandmarkState.FOUND))} found"]
    if codes(LandmarkState.UNCERTAIN):
        parts.append(f"{len(codes(LandmarkState.UNCERTAIN))} to check")
    for state, meaning in ((LandmarkState.ABSENT, "absent"), (LandmarkState.OUTSIDE, "outside the scan")):
        if codes(state):
            parts.append(f"{', '.join(codes(state))} {meaning}")
    if absent_arteries:
        parts.append(f"{', '.join(spoken_name(code) for code in absent_arteries)} absent")
    return "; ".join(parts)


def summary_of(traces: Sequence[ArteryTrace]) -> str:
    """One sentence: 'The circle is complete.', or what is absent, thin, fetal, doubtful, outside or not known."""
    by_code = {trace.code: trace for trace in traces}
    ring = [trace for trace in traces if _part(trace.code)[1] in _RING]
    remarks = [f"{spoken_name(code)} fetal ({detail})" for code, detail in _fetal(by_code)]
    fetal_sides = {code.split("-")[0] for code, _ in _fetal(by_code)}
    for state, text in (
        (ArteryState.ABSENT, "absent"),
        (ArteryState.HYPOPLASTIC, "hypoplastic"),
    ):
        for trace in traces:
            side, name = _part(trace.code)
            if trace.state is state and not (name == "PCA-P1" and side in fetal_sides):
                remarks.append(_with_doubt(trace, text))
    remarks += [_with_doubt(trace, "present") for trace in ring if trace.state is ArteryState.PRESENT and _doubt(trace)]
    unseen = [trace for trace in traces if trace.state in (ArteryState.OUTSIDE, ArteryState.UNKNOWN)]
    if unseen:
        remarks.append(f"not judged: {', '.join(spoken_name(trace.code) for trace in unseen)}")
    if not ring:
        return ""
    if all(trace.traced for trace in ring):
        closed = "The circle is complete"
    elif any(trace.state is ArteryState.ABSENT for trace in ring):
        closed = "The circle is incomplete"
    else:
        closed = "The circle is not fully visible"
    return f"{closed}{': ' if remarks else ''}{'; '.join(remarks)}."


def fetal_sides(traces: Sequence[ArteryTrace]) -> tuple[str, ...]:
    """Sides ("R", "L") on which the carotid feeds the posterior cerebral artery."""
    return tuple(code.split("-")[0] for code, _ in _fetal({trace.code: trace for trace in traces}))


def _fetal(by_code: dict[str, ArteryTrace]) -> list[tuple[str, str]]:
    """Posterior cerebral arteries that the carotid feeds, with how."""
    found = []
    for side in ("R", "L"):
        pcoa, p1 = by_code.get(f"{side}-PCoA"), by_code.get(f"{side}-PCA-P1")
        if pcoa is None or p1 is None or pcoa.measures is None:
            continue
        if p1.state is ArteryState.ABSENT:
            doubt = _doubt(p1)
            found.append((f"{side}-PCA", f"P1 absent, {doubt}" if doubt else "P1 absent"))
        elif p1.measures is not None and pcoa.measures.diameter_mean_mm > FETAL_RATIO * p1.measures.diameter_mean_mm:
            found.append((f"{side}-PCA", "PCoA wider than P1"))
    return found


def _doubt(trace: ArteryTrace) -> str:
    """'82 %' where the state of an artery of the circle is doubtful."""
    doubtful = _part(trace.code)[1] in _RING and trace.confidence < DOUBTFUL
    return f"{100 * trace.confidence:.0f} %" if doubtful else ""


def _with_doubt(trace: ArteryTrace, state: str) -> str:
    """'left PCoA absent (82 %)'."""
    doubt = _doubt(trace)
    return f"{spoken_name(trace.code)} {state}" + (f" ({doubt})" if doubt else "")


def _part(code: str) -> tuple[str, str]:
    """Side ("" for the midline) and code without the side."""
    side, dash, name = code.partition("-")
    return (side, name) if dash and side in _SIDES else ("", code)


def spoken_name(code: str) -> str:
    """An artery's code written out: 'right PCoA'."""
    side, name = _part(code)
    return f"{_SIDES[side]} {name.split('-')[-1]}" if side else name
