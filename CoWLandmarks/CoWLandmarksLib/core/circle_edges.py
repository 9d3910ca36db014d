"""The variant of the anterior and of the posterior circle by which of its edges exist.

The scheme is that of the graph task of the TopCoW challenge (Yang et al., arXiv:2312.17670,
https://topcow24.grand-challenge.org): four edges in front, L-A1, Acom, 3rd-A2 and R-A1, and four behind, L-Pcom, L-P1,
R-P1 and R-Pcom, each 1 (there) or 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .artery_map import ArteryState, ArteryTrace

SOURCE = "Yang et al., arXiv:2312.17670 (TopCoW challenge, graph edges)"
ANTERIOR: Mapping[str, str | None] = {"L-A1": "L-ACA-A1", "Acom": "ACoA", "3rd-A2": None, "R-A1": "R-ACA-A1"}
POSTERIOR: Mapping[str, str | None] = {
    "L-Pcom": "L-PCoA",
    "L-P1": "L-PCA-P1",
    "R-P1": "R-PCA-P1",
    "R-Pcom": "R-PCoA",
}
"""Edges of the scheme in its order, and the codes of our arteries; None for what is not among them."""
HALVES: Mapping[str, Mapping[str, str | None]] = {"anterior": ANTERIOR, "posterior": POSTERIOR}
_UNKNOWN = "?"


@dataclass(frozen=True)
class HalfCircle:
    """The variant of one half: `edges` True (there), False, or None (not known) in the order of the scheme.

    `probability` in [0, 1] is that of the whole variant; None where nothing has estimated it or an edge is not known.
    """

    edges: Mapping[str, bool | None]
    probability: float | None = None

    @property
    def code(self) -> str:
        """The edges as one text, '1101'; '?' for what is not known."""
        return "".join(_UNKNOWN if there is None else str(int(there)) for there in self.edges.values())


def half_circle(
    traces: Sequence[ArteryTrace], edges: Mapping[str, str | None], probability: float | None = None
) -> HalfCircle:
    """The variant of the half with these `edges` (ANTERIOR or POSTERIOR); a hypoplastic artery is there."""
    by_code = {trace.code: trace for trace in traces}

    def there(code: str | None) -> bool | None:
        trace = by_code.get(str(code))
        if trace is None or trace.state in (ArteryState.OUTSIDE, ArteryState.UNKNOWN):
            return None
        return trace.traced

    found = {name: there(code) for name, code in edges.items()}
    known = all(found[name] is not None for name, code in edges.items() if code is not None)
    return HalfCircle(found, probability if known else None)
