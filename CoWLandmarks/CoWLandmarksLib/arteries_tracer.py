"""From a scan and its landmarks to the arteries between them; keeps what can be used again when a point moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy, Artery
from .arteries import ArteryMap, ArteryState, ArteryTrace
from .arteries_costs import BASILAR_BOX_MM, CostMap, cost_map
from .arteries_ends import Ends, Way, ends_of, positions_in_scan
from .arteries_frame import mean_landmark, reference_to_scan
from .arteries_labels import Tube, label_map
from .arteries_lumen import CrossSections, centred
from .arteries_measures import measured, with_side_ratios
from .arteries_presence import Evidence, evidence, judge
from .arteries_region import region_round
from .arteries_summary import summary_of
from .detection import LandmarkEstimate
from .modality import Modality
from .volume import Volume, apply_affine

HYPOPLASTIC_MM = 1.0
"""An artery with a smaller mean diameter is hypoplastic."""


@dataclass(frozen=True)
class _Course:
    """What is known of one artery before its measures: its ends, its best path and the evidence for a vessel there."""

    ends: Ends
    sections: CrossSections | None = None
    evidence: Evidence | None = None
    trace: ArteryTrace | None = None


class ArteryTracer:
    """Traces the arteries of one scan; `trace` may be called again with changed landmarks.

    The crop of the scan and its cost map are kept, and only arteries that hang on a changed landmark are traced anew.
    """

    def __init__(self, volume: Volume, modality: Modality, anatomy: Anatomy) -> None:
        self._volume = volume
        self._modality = modality
        self._anatomy = anatomy
        self._costs: CostMap | None = None

    def trace(self, landmarks: Sequence[LandmarkEstimate]) -> ArteryMap:
        """All arteries between these landmarks (RAS mm of the scan)."""
        given = {estimate.code: estimate for estimate in landmarks}
        depth = {
            code: float(self._volume.grid.depth_mm(np.array([estimate.position], float))[0])
            for code, estimate in given.items()
            if estimate.position is not None
        }
        positions = positions_in_scan(given, depth, self._anatomy)
        placed = {code: (float(p[0]), float(p[1]), float(p[2])) for code, p in positions.items()}
        ends = {artery.code: ends_of(artery, given, positions) for artery in self._anatomy.arteries}
        if not positions:
            untraced = tuple(_not_traced(code, found) for code, found in ends.items())
            nothing = np.zeros((0, 0, 0), np.uint8)
            return ArteryMap(untraced, nothing, (0, 0, 0), self._volume.grid, summary_of(untraced), placed)
        costs = self._costs = self._costs_round(positions)
        snapped = {code: costs.snapped(point) for code, point in positions.items()}
        sections: dict[str, CrossSections] = {}
        # Optional arteries come last: their paths keep out of the lumens of the others.
        for artery in sorted(self._anatomy.arteries, key=lambda artery: artery.optional):
            taken = list(sections.values()) if artery.optional else []
            path = costs.path(artery, ends[artery.code], snapped, taken)
            if path is not None:
                sections[artery.code] = centred(costs.region, path)
        self.evidence = {code: self._evidence(code, sections, costs.region.noise) for code in sections}
        judgements = {code: judge(found, self._anatomy.artery(code).optional) for code, found in self.evidence.items()}
        present = {code: sections[code] for code, judgement in judgements.items() if judgement.present}
        labels = label_map(costs.region.grid, [self._tube(code, present) for code in present])
        voxels = np.bincount(labels.reshape(-1), minlength=256)
        traces = []
        for artery in self._anatomy.arteries:
            code = artery.code
            if code not in sections:
                traces.append(_not_traced(code, ends[code]))
                continue
            judgement = judgements[code]
            if not judgement.present:
                traces.append(ArteryTrace(code, ArteryState.ABSENT, judgement.reason, judgement.confidence))
                continue
            s = sections[code]
            measures = measured(
                s, self.evidence[code].own, int(voxels[artery.label]), float(np.prod(costs.region.grid.spacing))
            )
            thin = measures.diameter_mean_mm < HYPOPLASTIC_MM
            state = ArteryState.HYPOPLASTIC if thin else ArteryState.PRESENT
            reason = f"its mean diameter is under {HYPOPLASTIC_MM:g} mm" if thin else ""
            traces.append(ArteryTrace(code, state, reason, judgement.confidence, s.points, s.radius, measures))
        final = with_side_ratios(traces, self._anatomy)
        return ArteryMap(final, labels, costs.region.start, self._volume.grid, summary_of(final), placed)

    def _evidence(self, code: str, sections: Mapping[str, CrossSections], noise: float) -> Evidence:
        artery = self._anatomy.artery(code)
        others = [found for other, found in sections.items() if other != code]
        joined = [
            sections[other.code]
            for other in self._anatomy.arteries
            if other.code in sections and other.code != code and not other.optional and _meet(artery, other)
        ]
        return evidence(sections[code], joined, others, noise)

    def _tube(self, code: str, present: Mapping[str, CrossSections]) -> Tube:
        """The artery as a tube, cut by a plane where no other present artery goes on."""
        artery = self._anatomy.artery(code)
        goes_on = {
            end
            for other in self._anatomy.arteries
            if other.code in present and other.code != code
            for end in (other.start, other.end)
        }
        return Tube(
            artery.label, present[code], artery.start not in goes_on or artery.start is None, artery.end not in goes_on
        )

    def _costs_round(self, positions: Mapping[str, np.ndarray]) -> CostMap:
        to_scan = reference_to_scan(positions)
        pairs = []
        for artery in self._anatomy.arteries:
            ends = (artery.start, artery.end)
            if None not in ends and any(code in positions for code in ends):
                first, last = (
                    positions.get(str(code), apply_affine(to_scan, mean_landmark(str(code)))) for code in ends
                )
                pairs.append((first, last))
        low = BASILAR_BOX_MM[0]
        basilar = apply_affine(to_scan, np.array([[0.0, 0.0, low[2]], [0.0, low[1] / 2, low[2]]]))
        placed = np.array(list(positions.values()))
        places = np.concatenate([placed, *(np.array(pair) for pair in pairs), basilar])
        region = region_round(self._volume, self._modality, places, placed)
        return cost_map(region, to_scan, placed, pairs)


def _not_traced(code: str, ends: Ends) -> ArteryTrace:
    if ends.way is Way.NONE:
        return ArteryTrace(code, ends.state, ends.reason, 1.0 if ends.state is ArteryState.OUTSIDE else 0.5)
    return ArteryTrace(code, ArteryState.UNKNOWN, "no path could be found between its ends", 0.0)


def _meet(first: Artery, second: Artery) -> bool:
    return bool({first.start, first.end} & {second.start, second.end} - {None})
