"""The variant of the circle: which of the arteries that may be absent are there, chosen together for either half.

Every combination of the arteries of a half is a hypothesis, if those that a person declared present are in it. Its
score is the log odds of a vessel along the part of each artery that no other one owns, and what is known of how
arteries feed each other. The weights were fitted so that the exponentials of the scores are as the probabilities of the
hypotheses (Docs/use/arteries.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ..core.anatomy import Anatomy, Artery
from ..core.artery_map import ArteryState
from ..core.circle_edges import HALVES
from .ends import Ends, Way
from .lumen import CrossSections
from .presence import SHARED, PathEvidence, judge, log_odds, shared_part

UNFED = -4.0
"""Of the arteries that lead to the beginning of another one (A2, P2A) at least one is there."""
NARROW, NARROW_RATIO = -2.6, 0.9
"""The widest of them is about as wide as that one: per unit of the logarithm of what it lacks."""
WIDE, WIDE_RATIO = -4.1, 1.2
"""None of them is much wider, or its path runs in another vessel; an A1 may be, because it can feed both A2."""

FED_ACROSS = 0.8
"""So often the ACoA and an A2 fed across are found where an A1-A2 is absent (33 of 40 phantoms)."""
OVERTURNED = 3.0
"""What is settled stays, unless the logarithm of the odds of another variant against it is greater."""

Paths = Mapping[str, CrossSections]
Find = Callable[[str, Sequence[CrossSections]], CrossSections | None]
Evidence = Callable[[str, CrossSections, Paths], PathEvidence]


@dataclass(frozen=True)
class Variant:
    """One half of the circle: paths of the arteries that are there, and the best ones of those that are not.

    `presence` is the probability of each artery, `probability` that of the whole; `score` is the logarithm of the
    latter but for a constant.
    """

    present: Paths
    absent: Paths
    presence: Mapping[str, float]
    probability: float
    score: float


class Hypotheses:
    """All variants of one half of the circle; `codes` are its arteries that may be absent and have a known way.

    `find` gives the path of an artery that keeps out of the lumens given, `evidence` what speaks for a vessel along it
    beside other arteries. `fixed` are the arteries that are hardly ever absent, `kept` those of `codes` that were
    traced before and stay as they were.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        codes: Iterable[str],
        ends: Mapping[str, Ends],
        fixed: Paths,
        kept: Paths,
        find: Find,
        evidence: Evidence,
    ) -> None:
        self._anatomy = anatomy
        self._ends = ends
        self._fixed = fixed
        self._kept = kept
        self._find = find
        self._measure = evidence
        self._paths: dict[tuple[str, frozenset[int]], CrossSections | None] = {}
        self._evidence: dict[tuple[int, frozenset[int]], PathEvidence] = {}
        alone = {code: path for code in codes if (path := self._path(code, ())) is not None}
        odds = {code: self._log_odds(code, {code: path}) for code, path in alone.items()}
        self._codes = sorted(alone, key=lambda code: (code not in kept, -odds[code]))
        self._fed = self._fed_arteries()
        declared = {code for code in self._codes if ends[code].surely_present}
        possible = [
            paths
            for count in range(len(self._codes) + 1)
            for chosen in combinations(self._codes, count)
            if declared <= set(chosen) and (paths := self._together(chosen)) is not None
        ]
        self._hypotheses: list[Paths] = possible or [{code: alone[code] for code in declared}]
        self._scores = np.array([self._score(paths) for paths in self._hypotheses])

    @property
    def best_score(self) -> float:
        """The score of the best hypothesis of all."""
        return float(self._scores.max())

    def best(self, settled: Mapping[str, bool]) -> Variant:
        """The hypothesis with the best score in which the `settled` arteries are there, or not, as they say."""
        fits = np.array(
            [all((c in paths) is settled.get(c, c in paths) for c in self._codes) for paths in self._hypotheses]
        )
        chosen = int(np.where(fits if fits.any() else True, self._scores, -np.inf).argmax())
        weights = np.exp(self._scores - self._scores.max())
        weights /= weights.sum()
        paths = self._hypotheses[chosen]
        presence = {code: float(weights[[code in there for there in self._hypotheses]].sum()) for code in self._codes}
        absent = {code: self._beside(code, paths) for code in self._codes if code not in paths}
        return Variant(paths, absent, presence, float(weights[chosen]), float(self._scores[chosen]))

    def _together(self, codes: Sequence[str]) -> Paths | None:
        """Paths if just these arteries are there, the surest first; None where one finds no way beside the others."""
        paths: dict[str, CrossSections] = {}
        for code in codes:
            own = self._path(code, self._in_the_way(code, paths))
            if own is None:
                return None
            paths[code] = own
        return paths

    def _beside(self, code: str, paths: Paths) -> CrossSections:
        """The best path of an artery beside others; through them where there is none."""
        found = self._path(code, self._in_the_way(code, paths)) or self._path(code, ())
        assert found is not None
        return found

    def _in_the_way(self, code: str, paths: Paths) -> list[CrossSections]:
        own = self._path(code, ())
        assert own is not None
        return [other for other in paths.values() if shared_part(own, other, 1.0) > SHARED]

    def _path(self, code: str, taken: Sequence[CrossSections]) -> CrossSections | None:
        """Path of an artery that keeps out of the fixed ones and of `taken`; looked for once."""
        if code in self._kept:
            return self._kept[code]
        key = code, frozenset(id(one) for one in taken)
        if key not in self._paths:
            self._paths[key] = self._find(code, [*self._fixed.values(), *taken])
        return self._paths[key]

    def _evidence_of(self, code: str, paths: Paths) -> PathEvidence:
        key = id(paths[code]), frozenset(id(path) for path in paths.values())
        if key not in self._evidence:
            self._evidence[key] = self._measure(code, paths[code], {**self._fixed, **paths})
        return self._evidence[key]

    def _log_odds(self, code: str, paths: Paths) -> float:
        return log_odds(self._evidence_of(code, paths), code, unseen=self._ends[code].by_rule)

    def _score(self, paths: Paths) -> float:
        fed = sum(self._feeding(artery, leading, paths) for artery, leading in self._fed)
        return sum(self._log_odds(code, paths) for code in paths) + fed

    def _fed_arteries(self) -> list[tuple[Artery, list[Artery]]]:
        """Arteries that are there and begin where only arteries judged here lead to, with those."""
        result = []
        for artery in self._anatomy.arteries:
            if artery.code not in self._fixed:
                continue
            leading = [a for a in self._anatomy.arteries if a is not artery and artery.start in (a.start, a.end)]
            judged = any(a.code in self._codes for a in leading)
            if judged and all(a.optional and self._known(a.code) for a in leading):
                found = self._measure(artery.code, self._fixed[artery.code], self._fixed)
                if judge(found).present:
                    result.append((artery, leading))
        return result

    def _feeding(self, fed: Artery, leading: Sequence[Artery], paths: Paths) -> float:
        """What speaks against these arteries because of how they feed another one."""
        width = float(np.median(self._fixed[fed.code].radius))
        radii = [self._radius(a.code, paths) for a in leading if a.code in paths]
        if not radii:
            return UNFED
        score = NARROW * max(0.0, float(np.log(NARROW_RATIO * width / max(radii))))
        if not any(a.side == "midline" for a in leading):
            score += WIDE * sum(max(0.0, float(np.log(radius / (WIDE_RATIO * width)))) for radius in radii)
        return score

    def _known(self, code: str) -> bool:
        """Whether an artery is judged here, or cannot feed the artery of its side anyhow."""
        ends = self._ends[code]
        return code in self._codes or ends.way is Way.ACROSS or ends.state is ArteryState.ABSENT

    def _radius(self, code: str, paths: Paths) -> float:
        """Radius in mm outside all others; the least one where nothing is outside."""
        radius, own = paths[code].radius, self._evidence_of(code, paths).own
        return float(np.median(radius[own]) if own.any() else radius.min())


def chosen_variants(
    anatomy: Anatomy,
    ends: Mapping[str, Ends],
    sections: Paths,
    settled: Mapping[str, bool],
    find: Find,
    evidence: Evidence,
) -> dict[str, Variant] | None:
    """The best variant of each half of the circle in which not all arteries are settled.

    `sections` are the arteries that are hardly ever absent and those that are settled; `settled` says of an artery
    whether it is there. None where another variant is clearly better than the best one in which it is so.
    """
    optional = [artery.code for artery in anatomy.arteries if artery.optional]
    fixed = {code: path for code, path in sections.items() if code not in optional}
    variants = {}
    for half, edges in HALVES.items():
        codes = [c for c in optional if c in edges.values() and ends[c].way not in (Way.NONE, Way.ACROSS)]
        if all(code in settled for code in codes):
            continue
        kept = {code: sections[code] for code in codes if code in sections}
        hypotheses = Hypotheses(anatomy, codes, ends, fixed, kept, find, evidence)
        variants[half] = hypotheses.best(settled)
        if hypotheses.best_score - variants[half].score > OVERTURNED:
            return None
        if any(ends[code].way is Way.ACROSS for code in edges.values() if code in optional):
            variants[half] = replace(variants[half], probability=FED_ACROSS * variants[half].probability)
    return variants
