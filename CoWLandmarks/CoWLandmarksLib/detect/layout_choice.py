"""Which peak of each heatmap is the landmark: the choice that fits best together, by a layout model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.layout_model import LayoutModel
from ..networks.heatmap_peaks import HeatmapPeaks

LEFT_OUT = -1
_KEPT = 64
"""Choices that the beam search keeps."""
_LEAST_GAIN = 1e-9


@dataclass(frozen=True)
class ChosenLayout:
    """The choice for n landmarks.

    `candidates` (n,) index of the chosen peak, LEFT_OUT where none is plausible or there is none; `positions` (n, 3) mm
    of the chosen peaks, else the conditional mean given these, NaN for absent landmarks; `distances` (n,) Mahalanobis
    distance in SD of a chosen peak from its conditional mean given the other chosen ones, NaN where none was chosen;
    `sd_mm` (n,) standard deviation per coordinate about the conditional mean; `cost` as in `chosen_layout`.
    """

    candidates: np.ndarray
    positions: np.ndarray
    distances: np.ndarray
    sd_mm: np.ndarray
    cost: float


def chosen_layout(
    peaks: HeatmapPeaks,
    model: LayoutModel,
    weight: float,
    *,
    absent: np.ndarray | None = None,
    cost_left_out: float = np.inf,
    limit_sd: float = np.inf,
) -> ChosenLayout:
    """The layout of lowest cost: the energy of the chosen peaks less `weight` times the sum of their log heights.

    `peaks` of n landmarks in mm of the reference frame (R, A, S). A landmark without peaks is left out, that is, it is
    missing in the layout. So is one that is better left out at `cost_left_out` (infinite: none is), and one whose
    chosen peak lies more than `limit_sd` from its conditional mean, given the others: the farthest first, after which
    the others are chosen again, as if it had no peaks. `absent` (n,) landmarks known not to exist, whose peaks are not
    considered, or None.

    Beam search, then coordinate descent from its choice and from that of the highest peaks; deterministic. The cost is
    the lowest of all where there are at most 64 choices, and nearly always otherwise. Raises ValueError where peaks and
    model differ in the number of landmarks.
    """
    absent = None if absent is None else np.asarray(absent, bool)
    if len(peaks.heights) != len(model):
        raise ValueError(f"peaks of {len(peaks.heights)} landmarks do not fit a layout model of {len(model)}")
    search = _LayoutSearch(peaks, model, weight, cost_left_out, absent)
    choice = search.best()
    while (farthest := _farthest(search.distances(choice), limit_sd)) is not None:
        search.usable[farthest] = False
        choice = search.best()
    positions = search.positions_of(choice)
    expected = [model.conditional(positions, index, absent) for index in range(len(model))]
    filled = np.where((choice == LEFT_OUT)[:, None], [place.mean for place in expected], positions)
    if absent is not None:
        filled[absent] = np.nan
    sd_mm = np.array([place.sd_mm for place in expected])
    return ChosenLayout(choice, filled, search.distances(choice), sd_mm, search.cost(choice))


def _farthest(distances: np.ndarray, limit_sd: float) -> int | None:
    """Index of the largest of `distances` (n,), some NaN, if it is beyond the limit."""
    beyond = np.where(np.nan_to_num(distances) > limit_sd, distances, 0.0)
    return int(np.argmax(beyond)) if beyond.any() else None


class _LayoutSearch:
    """Costs of choices and their descent; a choice is the (n,) index of each landmark's peak, or LEFT_OUT."""

    def __init__(
        self, peaks: HeatmapPeaks, model: LayoutModel, weight: float, cost_left_out: float, absent: np.ndarray | None
    ) -> None:
        self.model = model
        self.absent = absent
        self.usable = (peaks.heights > 0.0) & np.isfinite(peaks.positions).all(axis=2)
        if absent is not None:
            self.usable[absent] = False
        n = len(model)
        # The last column stands for a landmark that is left out, so that LEFT_OUT is its index.
        self._positions = np.concatenate([peaks.positions, np.full((n, 1, 3), np.nan)], axis=1)
        self._heights = peaks.heights
        costs = -weight * np.log(np.where(self.usable, peaks.heights, 1.0))
        self._costs = np.concatenate([costs, np.full((n, 1), cost_left_out)], axis=1)

    def options(self, index: int) -> list[int]:
        """Peaks among which a landmark may be chosen, and LEFT_OUT if that has a finite cost or there is no other."""
        found = [int(option) for option in np.nonzero(self.usable[index])[0]]
        return found if found and np.isinf(self._costs[index, LEFT_OUT]) else [*found, LEFT_OUT]

    def positions_of(self, choices: np.ndarray) -> np.ndarray:
        """(..., n, 3) mm of choices (..., n), NaN where left out."""
        return self._positions[np.arange(len(self.model)), choices]

    def costs(self, choices: np.ndarray) -> np.ndarray:
        """(m,) costs of choices (m, n); leaving out costs nothing where there is nothing to choose."""
        paid = np.where(self.usable.any(axis=1), self._costs[np.arange(len(self.model)), choices], 0.0)
        return self._energies(choices) + paid.sum(axis=1)

    def _energies(self, choices: np.ndarray) -> np.ndarray:
        absent = None if self.absent is None else np.broadcast_to(self.absent, choices.shape)
        return self.model.energies(self.positions_of(choices), absent)

    def cost(self, choice: np.ndarray) -> float:
        """Of one choice (n,)."""
        return float(self.costs(choice[None])[0])

    def best(self) -> np.ndarray:
        """The choice (n,) of lowest cost that is found."""
        choices = [self.descended(start) for start in (self.grown(), self.highest())]
        return choices[int(np.argmin([self.cost(choice) for choice in choices]))]

    def highest(self) -> np.ndarray:
        """The choice (n,) of the highest peaks."""
        heights = np.where(self.usable, self._heights, 0.0)
        return np.where(self.usable.any(axis=1), np.argmax(heights, axis=1), LEFT_OUT)

    def grown(self) -> np.ndarray:
        """A choice (n,) by beam search: landmark after landmark, those first whose highest peaks stand out most.

        After each, the choices of lowest cost are kept, of the landmarks chosen so far alone.
        """
        heights = np.sort(np.where(self.usable, self._heights, 0.0), axis=1)[:, ::-1]
        lead = heights[:, 0] - (heights[:, 1] if heights.shape[1] > 1 else 0.0)
        choices, paid = np.full((1, len(heights)), LEFT_OUT), np.zeros(1)
        for index in np.argsort(-lead, kind="stable"):
            options = np.array(self.options(index))
            if len(options) > 1 or options[0] != LEFT_OUT:
                trials = np.repeat(choices, len(options), axis=0)
                trials[:, index] = np.tile(options, len(choices))
                paid = np.repeat(paid, len(options)) + self._costs[index, trials[:, index]]
                best = np.argsort(self._energies(trials) + paid, kind="stable")[:_KEPT]
                choices, paid = trials[best], paid[best]
        return choices[0]

    def descended(self, choice: np.ndarray) -> np.ndarray:
        """A choice (n,) that no change of a single landmark improves, by coordinate descent."""
        choice, cost, improved = choice.copy(), self.cost(choice), True
        while improved:
            improved = False
            for index in range(len(choice)):
                options = self.options(index)
                trials = np.repeat(choice[None], len(options), axis=0)
                trials[:, index] = options
                costs = self.costs(trials)
                best = int(np.argmin(costs))
                if costs[best] < cost - _LEAST_GAIN:
                    choice, cost, improved = trials[best], float(costs[best]), True
        return choice

    def distances(self, choice: np.ndarray) -> np.ndarray:
        """(n,) SD of each chosen peak from its conditional mean; NaN where left out."""
        positions = self.positions_of(choice)
        return np.array(
            [
                np.nan
                if choice[index] == LEFT_OUT
                else self.model.conditional(positions, index, self.absent).distance(p)
                for index, p in enumerate(positions)
            ]
        )
