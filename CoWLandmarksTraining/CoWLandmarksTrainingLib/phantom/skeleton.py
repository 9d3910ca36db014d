"""Centrelines and landmarks of one head before they get lumens."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .head_shape import point_index


@dataclass(frozen=True)
class Offshoot:
    """A vessel whose calibre is given as a ratio: its diameter 5 mm beyond the origin to that of what runs on there.

    The origin lies `at_mm` along the vessel `parent`, which `continuing` vessels continue. `taper` is what its calibre
    has left at the end; with `funnel` it widens towards the parent; where it `narrows` the parent, that goes on as thin
    as a division leaves it. `label` is that of label maps.
    """

    points: np.ndarray
    parent: str
    at_mm: float
    ratio: float
    continuing: tuple[str, ...] = ()
    taper: float = 0.7
    funnel: bool = True
    narrows: bool = False
    label: int = 0


@dataclass(frozen=True)
class Candidate:
    """A place that could be taken for a landmark: a vertex of the vessel `vessel`, and why."""

    vessel: str
    position: np.ndarray
    reason: str


@dataclass
class Skeleton:
    """Centrelines by name (artery codes, and ICA-C4, MCA-M2a.., ACA-A3, PCA-P2P, VA beyond them) and the landmarks.

    Version 4 adds `offshoots`, in an order in which parents come first; `factors`, by which calibres of `curves` are
    multiplied; and `candidates`, the runners-up of each landmark code, the likeliest first.
    """

    curves: dict[str, np.ndarray] = field(default_factory=dict)
    landmarks: np.ndarray = field(default_factory=lambda: np.full((19, 3), np.nan))
    by_rule: np.ndarray = field(default_factory=lambda: np.zeros(19, dtype=bool))
    offshoots: dict[str, Offshoot] = field(default_factory=dict)
    factors: dict[str, float] = field(default_factory=dict)
    candidates: dict[str, list[Candidate]] = field(default_factory=dict)

    def put(self, code: str, point: np.ndarray, by_rule: bool = False) -> None:
        """Set a landmark."""
        self.landmarks[point_index(code)] = point
        self.by_rule[point_index(code)] = by_rule

    def lose(self, code: str) -> None:
        """Make a landmark absent."""
        self.landmarks[point_index(code)] = np.nan
        self.by_rule[point_index(code)] = False

    def suggest(self, code: str, vessel: str, position: np.ndarray, reason: str) -> None:
        """Add a place that could be taken for a landmark."""
        self.candidates.setdefault(code, []).append(Candidate(vessel, np.array(position), reason))
