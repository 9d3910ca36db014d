"""From a scan and its landmarks to the arteries between them; keeps what can be used again when a point moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..core.anatomy import Anatomy, Artery
from ..core.artery_map import ArteryMap, ArteryState, ArteryTrace
from ..core.circle_variant import summary_of
from ..core.declaration import Declarations
from ..core.detection import LandmarkEstimate
from ..core.volume import Modality, Volume
from ..detect.orientation import StorageAxes, seen_along_ras
from .declared import as_declared, check_waypoints, concerned, declared_ends, keep_out, waypoints_by_name
from .ends import Ends, Way, ends_across, ends_of, positions_in_scan
from .hypotheses import Paths, Variant, chosen_variants
from .label_map import Tube, label_map
from .lumen import CrossSections, arc_length, centred, cross_sections
from .measures import measured, with_side_ratios
from .pairs import ArteryPairs
from .presence import Judgement, PathEvidence, evidence, judge, own_radius, why_absent
from .region import Region
from .surroundings import Surroundings, anchors_at, holds, surroundings_of

HYPOPLASTIC_MM = 1.0
"""An artery with a smaller mean diameter is hypoplastic."""
WIDEST_ROOT = 1.25
"""Where an artery leaves a wider one, its lumen counts as at most this many times as wide as its own part."""
SHORT_WIDTHS, SAME_VESSEL = 1.5, 1.15
"""A first part shorter than so many times its width is at most so many times as wide as the next part."""
REPRESENTATIVE = 0.4
"""With a smaller share of its own, an artery that is hardly ever absent is measured over its whole length."""
CLEAR_NOISES = 5.0
"""A typical artery stands out from its surroundings by at least this many times the noise."""
SAME_POINT_MM = 1e-3
"""A landmark that moved by less has not moved (positions in files are rounded)."""


class ArteryTracer:
    """Traces the arteries of one scan; `trace` may be called again with changed landmarks.

    The crop of the scan and its cost map are kept, and only arteries that hang on a changed landmark are traced anew;
    all others stay as they were, to the voxel, unless that speaks clearly for another variant of the circle.
    `previous` is an earlier result for the same scan to start from.
    `evidence` holds what spoke for a vessel along the paths that were traced last, by artery. `surroundings` may be
    those of an earlier tracer of the same scan; they are used where they fit.
    """

    def __init__(
        self,
        volume: Volume,
        modality: Modality,
        anatomy: Anatomy,
        previous: ArteryMap | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        # All is computed on voxels along R, A, S, so that it does not matter how the scan is stored.
        self._stored, self._order = volume.grid, StorageAxes.of(volume.grid)
        self._volume = seen_along_ras(volume)
        self._modality = modality
        self._anatomy = anatomy
        self._last = None if previous is None else self._turned(previous)
        self._declared: Declarations = {} if previous is None else previous.declared
        self.surroundings = surroundings
        self._sections: dict[str, CrossSections] = {}
        self._merged: dict[str, str] = {}
        self.evidence: dict[str, PathEvidence] = {}

    def trace(self, landmarks: Sequence[LandmarkEstimate], declared: Declarations | None = None) -> ArteryMap:
        """All arteries between these landmarks (RAS mm of the scan), as a person declares them.

        Without `declared` what was declared before holds. Raises AnnotationError for a waypoint outside the scan or
        away from its artery; nothing has changed then.
        """
        declared = self._declared if declared is None else declared
        check_waypoints(declared, self._ends(landmarks, declared)[0], self._anatomy, self._volume.grid)
        self._declared = declared
        found = self._trace(landmarks)
        labels, start = self._order.turned_back(found.labels, found.start)
        return replace(found, labels=np.ascontiguousarray(labels), start=start, scan_grid=self._stored)

    def _turned(self, stored: ArteryMap) -> ArteryMap:
        labels, start = self._order.turned(stored.labels, stored.start)
        return replace(stored, labels=np.ascontiguousarray(labels), start=start, scan_grid=self._volume.grid)

    def _trace(self, landmarks: Sequence[LandmarkEstimate], *, renew: bool = False) -> ArteryMap:
        positions, ends = self._ends(landmarks, self._declared)
        before = None if renew else self._last
        hanging = self._hanging(positions, ends, before)
        if not positions:
            self._last = self._nothing_traced(landmarks, ends)
            return self._last
        surroundings = self._surroundings_of(positions, self._last)
        region, costs, router = surroundings.region, surroundings.costs, surroundings.router
        errors = {estimate.code: estimate.error_mm for estimate in landmarks}
        points = {code: costs.snapped(place, errors[code]) for code, place in positions.items()} if hanging else {}
        sections = self._kept_sections(hanging, before, region)
        kept = set(sections)

        def find(code: str, taken: Sequence[CrossSections] = ()) -> CrossSections | None:
            path = router.path(ends[code], points, taken)
            return None if path is None else centred(region, path)

        # Those that run to the edge come last: where the next one is known, they keep out of it.
        between = [artery for artery in hanging if ends[artery.code].way is not Way.ACROSS]
        for artery in sorted(between, key=lambda a: ends[a.code].beyond is not None):
            beyond = ends[artery.code].beyond is not None
            taken = list(sections.values()) if beyond else ()
            if not artery.optional and (found := find(artery.code, taken)) is not None:
                sections[artery.code] = found
        renewed = {artery.code for artery in hanging}
        earlier = () if before is None else before.arteries
        settled = {trace.code: trace.traced for trace in earlier if trace.code not in renewed}
        variants = chosen_variants(self._anatomy, ends, sections, settled, find, self._evidence)
        if variants is None:
            return replace(self._trace(landmarks, renew=True), renewed=True)
        absent = {code: path for variant in variants.values() for code, path in variant.absent.items()}
        sections |= {code: path for variant in variants.values() for code, path in variant.present.items()}
        keep_out(self._anatomy, [a.code for a in between if a.code not in absent], ends, sections, find)
        pairs = ArteryPairs(self._anatomy, region, router, ends, points)
        pairs.trace_across(hanging, sections)
        self._merged = pairs.part(sections, kept)
        there = dict(sections)
        self._sections = {code: path for code, path in absent.items() if code not in kept} | sections
        self.evidence = {
            artery.code: self._evidence(artery.code, self._sections[artery.code], there)
            for artery in hanging
            if artery.code in self._sections
        }
        self._last = self._map_of(landmarks, hanging, ends, region, before, variants)
        return self._last

    def _nothing_traced(self, landmarks: Sequence[LandmarkEstimate], ends: Mapping[str, Ends]) -> ArteryMap:
        traces = tuple(as_declared(_not_traced(code, found), self._declared) for code, found in ends.items())
        nothing, grid = np.zeros((0, 0, 0), np.uint8), self._volume.grid
        return ArteryMap(
            traces, nothing, (0, 0, 0), grid, summary_of(traces), tuple(landmarks), declared=self._declared
        )

    def _ends(
        self, landmarks: Sequence[LandmarkEstimate], declared: Declarations
    ) -> tuple[dict[str, np.ndarray], dict[str, Ends]]:
        """RAS mm of the landmarks inside the scan by code, and the ends of every artery."""
        given = {estimate.code: estimate for estimate in landmarks}
        depth = {
            code: float(self._volume.grid.depth_mm(np.array([estimate.position], float))[0])
            for code, estimate in given.items()
            if estimate.position is not None
        }
        positions = positions_in_scan(given, depth, self._anatomy)
        ends = {artery.code: ends_of(artery, given, positions) for artery in self._anatomy.arteries}
        ends = ends_across(ends, given, positions, self._anatomy)
        return positions, declared_ends(ends, declared, given, positions, self._anatomy)

    def _hanging(
        self, positions: Mapping[str, np.ndarray], ends: Mapping[str, Ends], before: ArteryMap | None
    ) -> list[Artery]:
        """Arteries that have to be traced: all at first, later those that hang on a changed landmark."""
        if before is None:
            return list(self._anatomy.arteries)
        old_positions, old_ends = self._ends(before.landmarks, before.declared)

        def moved(code: str | None) -> bool:
            here, there = positions.get(str(code)), old_positions.get(str(code))
            if here is None or there is None:
                return here is not there
            return float(np.linalg.norm(here - there)) > SAME_POINT_MM

        hanging = {
            artery.code
            for artery in self._anatomy.arteries
            if ends[artery.code] != old_ends[artery.code]
            or any(moved(code) for code in (artery.start, artery.end, ends[artery.code].start, ends[artery.code].end))
        }
        hanging |= concerned(before.declared, self._declared, self._anatomy)
        # One that could not be distinguished from its neighbours gets another try when one of them may have changed.
        if hanging:
            hanging |= {
                trace.code
                for trace in before.arteries
                if trace.state is ArteryState.UNKNOWN and ends[trace.code].way not in (Way.NONE, Way.ACROSS)
            }
        return [artery for artery in self._anatomy.arteries if artery.code in hanging]

    def _surroundings_of(self, positions: Mapping[str, np.ndarray], before: ArteryMap | None) -> Surroundings:
        """Crop, cost map and router: those for the anchors of the earlier result where they hold all landmarks.

        Which these are must not depend on what happens to be kept, or a persistent process would give other results.
        """
        anchors = {} if before is None else before.anchors or anchors_at(self._ends(before.landmarks, {})[0])
        if not holds(anchors, self._volume, self._anatomy, {**positions, **waypoints_by_name(self._declared)}):
            anchors = anchors_at(positions)
        kept = self.surroundings
        if kept is None or not kept.are_for(anchors, self._modality, self._anatomy):
            self.surroundings = None  # not two of them in memory at once
            kept = self.surroundings = surroundings_of(self._volume, self._modality, self._anatomy, anchors)
        return kept

    def _kept_sections(
        self, hanging: Sequence[Artery], before: ArteryMap | None, region: Region
    ) -> dict[str, CrossSections]:
        """Cross-sections of the arteries that stay as they were."""
        if before is None:
            return {}
        renewed = {artery.code for artery in hanging}
        return {
            trace.code: self._sections[trace.code]
            if trace.code in self._sections
            else cross_sections(region, trace.centerline)
            for trace in before.arteries
            if trace.traced and trace.code not in renewed
        }

    def _evidence(self, code: str, own: CrossSections, others: Paths) -> PathEvidence:
        assert self.surroundings is not None
        region = self.surroundings.region
        typical = max(region.vessel - region.background, CLEAR_NOISES * region.noise)
        artery = self._anatomy.artery(code)
        rest = {other: path for other, path in others.items() if path is not own}
        joined = [
            float(np.median(path.lumen - path.surroundings))
            for other, path in rest.items()
            if artery.ends & self._anatomy.artery(other).ends
        ]
        # An artery that is hardly ever absent may share much of its course with its counterpart.
        return evidence(
            own,
            rest.values(),
            typical,
            float(np.median(joined)) if joined else typical,
            region.noise,
            whole=not artery.optional,
        )

    def _judged(self, code: str, ends: Mapping[str, Ends], variants: Mapping[str, Variant]) -> Judgement:
        if ends[code].surely_present:
            return Judgement(True, 1.0, "")
        found = self.evidence[code]
        for variant in variants.values():
            if code in variant.presence:
                there, presence = code in variant.present, variant.presence[code]
                reason = "" if there else why_absent(found, code, unseen=ends[code].by_rule)
                return Judgement(there, presence if there else 1.0 - presence, reason)
        # An artery that the other side feeds shows that the midline artery is there.
        return judge(found)

    def _map_of(
        self,
        landmarks: Sequence[LandmarkEstimate],
        hanging: Sequence[Artery],
        ends: Mapping[str, Ends],
        region: Region,
        before: ArteryMap | None,
        variants: Mapping[str, Variant],
    ) -> ArteryMap:
        """States, labels and measures of the arteries traced now, with the others as they were before."""
        judgements = {code: self._judged(code, ends, variants) for code in self.evidence}
        present = {code for code, judgement in judgements.items() if judgement.present}
        # A midline artery that only feeds one across is not there without that one.
        fed = {ends[code] for code in present if self._anatomy.artery(code).side != "midline"}
        lost = {code for code in judgements if ends[code].way is Way.ACROSS and ends[code] not in fed}
        lost -= {code for code in lost if ends[code].surely_present}
        judgements = {code: judgement for code, judgement in judgements.items() if code not in lost}
        present -= lost
        kept = {trace.code: trace for trace in before.arteries} if before is not None else {}
        for artery in hanging:
            kept.pop(artery.code, None)
        present_all = present | {code for code, trace in kept.items() if trace.traced}
        for code in [code for code in self._sections if code not in present_all]:
            del self._sections[code]
        tubes = [replace(self._tube(code, present_all), claims=ends[code].surely_present) for code in sorted(present)]
        labels = label_map(region.grid, tubes)
        if before is not None:
            stay = before.labels_on(region.start, region.grid.shape, [self._anatomy.artery(c).label for c in kept])
            labels = np.where(stay > 0, stay, labels)
        counts = np.bincount(labels.reshape(-1), minlength=256)
        traces = []
        for artery in self._anatomy.arteries:
            code = artery.code
            if code in kept:
                traces.append(kept[code])
            elif code in self._merged:
                reason = f"it could not be distinguished from {self._merged[code]}, which runs along the same vessel"
                traces.append(ArteryTrace(code, ArteryState.UNKNOWN, reason, 0.5))
            elif code not in judgements:
                traces.append(_not_traced(code, ends[code]))
            elif not judgements[code].present:
                traces.append(
                    ArteryTrace(code, ArteryState.ABSENT, judgements[code].reason, judgements[code].confidence)
                )
            elif counts[artery.label] == 0:
                reason = "nearly all of its best path lies in the lumens of other arteries"
                traces.append(ArteryTrace(code, ArteryState.UNKNOWN, reason, 0.5))
            else:
                sections, own = self._as_wide_as_it_goes_on(artery), self.evidence[code].own
                if not artery.optional and own.mean() < REPRESENTATIVE:
                    own = np.ones(len(own), bool)
                voxel_mm3 = float(np.prod(region.grid.spacing))
                measures = measured(sections, own, int(counts[artery.label]), voxel_mm3)
                thin = measures.diameter_mean_mm < HYPOPLASTIC_MM
                traces.append(
                    ArteryTrace(
                        code,
                        ArteryState.HYPOPLASTIC if thin else ArteryState.PRESENT,
                        f"its mean diameter is under {HYPOPLASTIC_MM:g} mm" if thin else "",
                        judgements[code].confidence,
                        sections.points,
                        sections.radius,
                        measures,
                    )
                )
        final = with_side_ratios([as_declared(trace, self._declared) for trace in traces], self._anatomy)
        grid, summary = self._volume.grid, summary_of(final)
        anchors = {} if self.surroundings is None else self.surroundings.anchors
        probabilities = {half: variant.probability for half, variant in variants.items()}
        if before is not None:
            probabilities = dict(before.probabilities) | probabilities
        return ArteryMap(
            final, labels, region.start, grid, summary, tuple(landmarks), anchors, self._declared, probabilities
        )

    def _as_wide_as_it_goes_on(self, artery: Artery) -> CrossSections:
        """Its cross-sections; a part shorter than it is wide (C5) is little wider than the artery it goes on as.

        Its rays meet no wall where the vessel bends at both its ends.
        """
        own = self._sections[artery.code]
        if artery.optional or arc_length(own.points)[-1] > SHORT_WIDTHS * 2.0 * float(np.median(own.radius)):
            return own
        before = [other for other in self._anatomy.arteries if other.end == artery.start]
        after = [other for other in self._anatomy.arteries if other.start == artery.end and not other.optional]
        if before or len(after) != 1 or after[0].code not in self._sections:
            return own
        widest = SAME_VESSEL * float(np.median(self._sections[after[0].code].radius))
        return replace(own, radii=np.minimum(own.radii, widest))

    def _tube(self, code: str, present: Iterable[str]) -> Tube:
        """The artery as a tube, cut by a plane where no other present artery goes on."""
        artery = self._anatomy.artery(code)
        goes_on = {
            end
            for other in self._anatomy.arteries
            if other.code in present and other.code != code
            for end in other.ends
        }
        sections = self._as_wide_as_it_goes_on(artery)
        bridge = artery.optional and artery.side == "midline"
        widest = WIDEST_ROOT * own_radius(sections, self.evidence[code].own, bridge=bridge)
        return Tube(artery.label, sections, artery.start not in goes_on, artery.end not in goes_on, widest)


def _not_traced(code: str, ends: Ends) -> ArteryTrace:
    if ends.way is Way.NONE:
        return ArteryTrace(code, ends.state, ends.reason, 0.5 if ends.state is ArteryState.UNKNOWN else 1.0)
    if ends.way is Way.ACROSS:
        reason = "the junction on its side is absent, and no vessel leads from the other side to its end"
        return ArteryTrace(code, ArteryState.ABSENT, reason, 0.5)
    return ArteryTrace(code, ArteryState.UNKNOWN, "no path could be found between its ends", 0.0)
