"""A Detection: every landmark of a scan with position, state, confidence and expected error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from .errors import AnnotationError
from .volume import Modality, Volume

NOT_PLACED = "not placed"
"""Note of a landmark that counts as outside because an annotation does not place it."""
GIVEN = "landmarks given"
"""What stands as the model in the provenance of landmarks that a file gave."""
NOT_JUDGED = "from a file, not judged"
"""What is said of landmarks that a file gave in place of a verdict."""


class LandmarkState(str, Enum):
    """What is known of a landmark (Docs/use/conventions.md)."""

    FOUND = "found"
    UNCERTAIN = "uncertain"
    ABSENT = "absent"
    OUTSIDE = "outside"


class Verdict(str, Enum):
    """What is known of a whole scan; shown before anything else."""

    OK = "ok"
    REVIEW = "review"
    DO_NOT_TRUST = "do not trust"

    @property
    def headline(self) -> str:
        """The verdict as a sentence, for people."""
        return _HEADLINES[self]


_HEADLINES = {
    Verdict.OK: "No problem noticed - every point still needs a look",
    Verdict.REVIEW: "To be reviewed - some points are uncertain",
    Verdict.DO_NOT_TRUST: "Do not trust this result",
}


def verdict_label(verdict: Verdict | None) -> str:
    """The verdict as tables show it; None is that of landmarks that a file gave."""
    return NOT_JUDGED if verdict is None else verdict.value


def verdict_headline(verdict: Verdict | None) -> str:
    """The verdict as a sentence, for people; None is that of landmarks that a file gave."""
    return NOT_JUDGED.capitalize() if verdict is None else verdict.headline


def read_verdict(text: str | None, provenance: Mapping[str, Any]) -> Verdict | None:
    """The verdict that a file or a scene keeps; raises ValueError for another value.

    Earlier versions wrote one for landmarks that a file gave, although nothing had judged them: it does not count.
    """
    given = provenance.get("model") == GIVEN or "landmarks" in provenance
    return None if text is None or given else Verdict(text)


@dataclass(frozen=True)
class LandmarkEstimate:
    """One landmark of one scan.

    `position` is (R, A, S) in mm, None exactly when the state is ABSENT or OUTSIDE; `confidence` lies in
    [0, 1]; `error_mm` is the expected error; `by_rule` marks a point placed by the definition's fallback.
    """

    code: str
    position: tuple[float, float, float] | None
    state: LandmarkState
    confidence: float
    error_mm: float
    by_rule: bool = False
    corrected: bool = False
    reviewed: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        placed = self.state in (LandmarkState.FOUND, LandmarkState.UNCERTAIN)
        if placed != (self.position is not None):
            raise AnnotationError(
                f"Landmark '{self.code}' is {self.state.value}, which does not fit its position {self.position}."
            )

    def description(self) -> str:
        """State as the one-line text kept in a markups control point; inverse: `parse_description`."""
        text = (
            f"state={self.state.value}; by_rule={int(self.by_rule)}; confidence={self.confidence:.2f}; "
            f"error_mm={self.error_mm:.1f}; corrected={int(self.corrected)}; reviewed={int(self.reviewed)}"
        )
        return f"{text} | {self.note}" if self.note else text


def parse_description(code: str, text: str, position: tuple[float, float, float] | None) -> LandmarkEstimate:
    """Read a control point's description; a foreign or empty text makes a plain found (or outside) landmark.

    A position wins over a state that contradicts it: the person who moved the point knows better.
    """
    fields = _fields(text)
    _, separator, note = text.partition("|")
    if "state" not in fields:
        state = LandmarkState.OUTSIDE if position is None else LandmarkState.FOUND
        return LandmarkEstimate(code, position, state, 0.0 if position is None else 1.0, 0.0, note=text.strip())
    try:
        state = LandmarkState(fields["state"])
        placed = state in (LandmarkState.FOUND, LandmarkState.UNCERTAIN)
        if placed and position is None:
            state = LandmarkState.OUTSIDE
        elif not placed and position is not None:
            state = LandmarkState.FOUND
        return LandmarkEstimate(
            code=code,
            position=position,
            state=state,
            confidence=float(fields.get("confidence", "0")),
            error_mm=float(fields.get("error_mm", "0")),
            by_rule=fields.get("by_rule", "0") == "1",
            corrected=fields.get("corrected", "0") == "1",
            reviewed=fields.get("reviewed", "0") == "1",
            note=note.strip() if separator else "",
        )
    except ValueError as error:
        raise AnnotationError(f"The description of landmark '{code}' is not readable: '{text}' ({error}).") from error


def described_state(text: str) -> str | None:
    """State that a control point's description names; None for a text that this program did not write."""
    return _fields(text).get("state")


def _fields(text: str) -> dict[str, str]:
    parts = (part.partition("=") for part in text.partition("|")[0].split(";"))
    return {key.strip(): value.strip() for key, equals, value in parts if equals}


@dataclass(frozen=True)
class Detection:
    """All landmarks of one scan, in the order of the anatomy.

    `ras_to_reference` (4, 4) takes RAS mm of the scan to the AC-PC-like reference frame (similarity
    transform). `verdict` is None where the landmarks come from a file and nothing judged them. `reasons` are the
    sentences behind the verdict; `provenance` says which model, device and decoding made it and holds no patient data.
    `heatmaps` are what the network saw round the uncertain landmarks, named by their codes, `not_seen` the codes of
    landmarks that the networks did not see in a recognised circle; both are only there right after a detection.
    """

    scan: str
    modality: Modality
    verdict: Verdict | None
    reasons: tuple[str, ...]
    landmarks: tuple[LandmarkEstimate, ...]
    ras_to_reference: np.ndarray
    warnings: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    heatmaps: tuple[Volume, ...] = field(default=(), compare=False, repr=False)
    not_seen: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def verdict_label(self) -> str:
        """The verdict as tables show it."""
        return verdict_label(self.verdict)

    @property
    def headline(self) -> str:
        """The verdict as a sentence, for people."""
        return verdict_headline(self.verdict)

    def landmark(self, code: str) -> LandmarkEstimate:
        """Estimate with this code; raises KeyError."""
        for estimate in self.landmarks:
            if estimate.code == code:
                return estimate
        raise KeyError(code)

    def with_landmark(self, estimate: LandmarkEstimate) -> Detection:
        """Copy in which the estimate of the same code is replaced."""
        return replace(self, landmarks=tuple(estimate if old.code == estimate.code else old for old in self.landmarks))

    def count(self, state: LandmarkState) -> int:
        """Number of landmarks in this state."""
        return sum(estimate.state is state for estimate in self.landmarks)
