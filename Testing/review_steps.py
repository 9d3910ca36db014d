"""Random steps of a review with their arteries, as `cowlandmarks arteries --previous` makes them, and what has to hold.

A step moves a landmark by up to 10 mm, says that it is absent or outside, or puts it back to where it was at first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from CoWLandmarksLib.arteries.measures import counterpart_codes
from CoWLandmarksLib.core.anatomy import Artery, default_anatomy
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState, ArteryTrace
from CoWLandmarksLib.core.circle_variant import summary_of
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.volume import Modality, Volume, apply_affine
from CoWLandmarksLib.pipeline.correction import retraced
from CoWLandmarksLib.pipeline.delivery import Delivery
from CoWLandmarksLib.pipeline.scan_memory import ScanMemory
from scipy.spatial import cKDTree

ANATOMY = default_anatomy()
FARTHEST_MM = 10.0
KINDS = {"moved": 0.6, "absent": 0.12, "outside": 0.12, "back": 0.16}
ONE_PLACE_MM = 0.6
THIN_MM = 1.0
ROUNDED_MM = 2e-3
EDGE_MM = 2.5
SNAPPED_ERRORS, SNAPPED_MM = 1.25, 1.0
"""A landmark is moved to the centre of its vessel by at most so many of its expected errors, or so much."""
ONE_VESSEL = 0.5


@dataclass(frozen=True)
class Step:
    """What a person did to one landmark, and all landmarks after it."""

    code: str
    kind: str
    landmarks: tuple[LandmarkEstimate, ...]

    def __str__(self) -> str:
        place = next(point.position for point in self.landmarks if point.code == self.code)
        return f"{self.code} {self.kind}" + ("" if place is None else " to {:.1f} {:.1f} {:.1f}".format(*place))


def random_steps(first: Sequence[LandmarkEstimate], count: int, seed: int) -> Iterator[Step]:
    """`count` steps from the landmarks `first`."""
    random = np.random.default_rng(seed)
    now = {point.code: point for point in first}
    original = dict(now)
    for _ in range(count):
        kind = str(random.choice(list(KINDS), p=list(KINDS.values())))
        changed = [code for code in now if now[code] != original[code]]
        if kind == "back" and not changed:
            kind = "moved"
        code = str(random.choice(changed if kind == "back" else list(now)))
        if kind == "back":
            now[code] = original[code]
        elif kind == "moved":
            start = now[code].position or original[code].position or (0.0, 0.0, 0.0)
            direction = random.normal(size=3)
            shift = direction / np.linalg.norm(direction) * random.uniform(0.0, FARTHEST_MM)
            now[code] = placed(code, np.add(start, shift))
        else:
            now[code] = LandmarkEstimate(code, None, LandmarkState(kind), 1.0, 0.0, corrected=True, reviewed=True)
        yield Step(code, kind, tuple(now.values()))


def placed(code: str, place: np.ndarray) -> LandmarkEstimate:
    """A landmark as a person's click leaves it."""
    r, a, s = (round(float(v), 3) for v in place)
    error = ANATOMY.landmark(code).expected_two_annotator_mm
    return LandmarkEstimate(code, (r, a, s), LandmarkState.FOUND, 1.0, error, corrected=True, reviewed=True)


class ReviewWalk:
    """The results of one scan, each made from the files of the one before, with what a persistent worker keeps."""

    def __init__(self, volume: Volume, modality: Modality, first: Sequence[LandmarkEstimate], folder: Path) -> None:
        self._volume = volume
        self._modality = modality
        self._folder = folder
        self._count = 0
        self._memory = ScanMemory()
        self._delivery = Delivery(ANATOMY, pictures=False, scene=False)
        self.arteries = self._traced(tuple(first), None)

    def another(self, folder: Path) -> ReviewWalk:
        """A walk of its own that begins where this one stands; `folder` is for its results."""
        copied = copy(self)
        copied._folder = folder
        copied._memory = copy(self._memory)
        shutil.copytree(self._folder / f"{self._count - 1}", folder / f"{self._count - 1}")
        return copied

    def problems_after(self, step: Step) -> list[str]:
        """Take a step; returns the rules that its result breaks."""
        before = self.arteries
        self.arteries = self._traced(step.landmarks, self._folder / f"{self._count - 1}")
        return broken_rules(self.arteries) + changed_without_cause(before, self.arteries)

    def _traced(self, landmarks: tuple[LandmarkEstimate, ...], previous: Path | None) -> ArteryMap:
        detection, found = retraced(self._volume, landmarks, ANATOMY, self._modality, previous, self._memory)
        folder = self._folder / f"{self._count}"
        folder.mkdir()
        self._delivery.write(folder, self._volume, detection, None, found)
        self._count += 1
        return found


def broken_rules(found: ArteryMap) -> list[str]:
    """What is wrong with the arteries of a scan (Docs/use/arteries.md, Docs/use/conventions.md)."""
    points = _Points(found)
    problems = [
        f"{artery.code}: {message}"
        for artery, trace in zip(ANATOMY.arteries, found.arteries, strict=True)
        for message in (*_state(artery, trace, points), *_ends(artery, trace, points), *_voxels(artery, trace, found))
    ]
    by_code = {trace.code: trace for trace in found.arteries}
    for code, other in counterpart_codes(ANATOMY).items():
        one, two = by_code[code], by_code[other]
        if code < other and one.traced and two.traced and min(_shared(one, two), _shared(two, one)) > ONE_VESSEL:
            problems.append(f"{code} and {other} run along the same vessel")
    for bridge, fed in points.fed_across():
        if by_code[bridge].traced and not by_code[fed].traced:
            problems.append(f"{bridge} is there, but not {fed}, which it feeds")
    if found.summary != summary_of(found.arteries):
        problems.append(f"the summary says '{found.summary}'")
    return problems


def changed_without_cause(before: ArteryMap, after: ArteryMap) -> list[str]:
    """Arteries that hang on no changed landmark and yet are not as they were, to the voxel.

    None of them counts where the result says that all were traced anew for another variant of the circle.
    """
    if after.renewed:
        return []
    old, new = _Points(before), _Points(after)
    changed = {code for code in ANATOMY.codes if not old.same(new, code)}
    problems = []
    voxels = [found.label_volume("arteries").voxels for found in (before, after)]
    for artery, was, now in zip(ANATOMY.arteries, before.arteries, after.arteries, strict=True):
        if (old.hangs_on(artery) | new.hangs_on(artery)) & changed:
            continue
        if was.state is ArteryState.UNKNOWN and changed:
            continue  # it could not be distinguished from a neighbour, which may have been traced anew
        same_line = was.centerline.shape == now.centerline.shape and np.allclose(
            was.centerline, now.centerline, atol=ROUNDED_MM
        )
        if (was.state, was.reason) != (now.state, now.reason) or not same_line:
            problems.append(f"{artery.code} was kept but is not as before: {was.state.value} -> {now.state.value}")
        if not np.array_equal(voxels[0] == artery.label, voxels[1] == artery.label):
            problems.append(f"{artery.code} was kept but its voxels are not")
    return problems


class _Points:
    """The landmarks that arteries were traced between, inside the scan."""

    def __init__(self, found: ArteryMap) -> None:
        self.grid = found.scan_grid
        self.estimates: Mapping[str, LandmarkEstimate] = {point.code: point for point in found.landmarks}
        self.positions = {
            code: np.array(point.position)
            for code, point in self.estimates.items()
            if point.position is not None and self.depth(np.array(point.position)) >= 0.0
        }

    def depth(self, place: np.ndarray) -> float:
        return float(self.grid.depth_mm(place[None])[0])

    def absent(self, code: str) -> bool:
        return self.estimates[code].state is LandmarkState.ABSENT

    def same(self, other: _Points, code: str) -> bool:
        here, there = self.positions.get(code), other.positions.get(code)
        if here is None or there is None:
            return here is there and self.absent(code) == other.absent(code)
        return bool(np.array_equal(here, there))

    def fed_across(self) -> list[tuple[str, str]]:
        """ACoA and A2 (codes) where the A1-A2 landmark of that A2 is absent and the other side feeds it."""
        return [
            (bridge.code, fed.code)
            for bridge in ANATOMY.arteries
            if bridge.side == "midline" and bridge.start is not None
            for lost, other in ((bridge.start, bridge.end), (bridge.end, bridge.start))
            for fed in ANATOMY.arteries
            if fed.start == lost and fed is not bridge and not fed.optional
            if self.absent(str(lost)) and other in self.positions and not self.absent(str(fed.end))
        ]

    def hangs_on(self, artery: Artery) -> set[str]:
        """Codes of the landmarks on which an artery depends."""
        codes = {artery.start, artery.end} - {None}
        for pair in self.fed_across():
            if artery.code in pair:
                codes |= {code for a in pair for code in (ANATOMY.artery(a).start, ANATOMY.artery(a).end)}
        return {str(code) for code in codes}


def _state(artery: Artery, trace: ArteryTrace, points: _Points) -> Iterator[str]:
    if trace.code != artery.code:
        yield f"in its place stands {trace.code}"
    if not 0.0 <= trace.confidence <= 1.0:
        yield f"a confidence of {trace.confidence}"
    if not trace.traced == (trace.measures is not None) == (len(trace.centerline) > 1):
        yield f"{trace.state.value}, but measures or centreline do not fit"
    if not trace.traced and not trace.reason:
        yield f"{trace.state.value} without a reason"
    if any(artery.code in pair for pair in points.fed_across()):
        return
    codes = [code for code in (artery.start, artery.end) if code is not None]
    missing = [code for code in codes if code not in points.positions]
    if any(points.absent(code) for code in missing):
        if trace.state is not ArteryState.ABSENT:
            yield f"{trace.state.value}, though one of its landmarks is absent"
    elif len(missing) == len(codes):
        if trace.state is not ArteryState.OUTSIDE:
            yield f"{trace.state.value}, though it lies beyond the scan"
    elif trace.state is ArteryState.OUTSIDE:
        yield "outside, though one of its ends lies in the scan"
    elif not missing and len(codes) == 2:
        apart = np.linalg.norm(points.positions[codes[0]] - points.positions[codes[1]])
        if apart < ONE_PLACE_MM and trace.traced:
            yield "traced between two landmarks at one place"


def _ends(artery: Artery, trace: ArteryTrace, points: _Points) -> Iterator[str]:
    if not trace.traced:
        return
    for code, place in ((artery.start, trace.centerline[0]), (artery.end, trace.centerline[-1])):
        if code in points.positions:
            off = float(np.linalg.norm(place - points.positions[code]))
            if off > max(SNAPPED_ERRORS * points.estimates[code].error_mm, SNAPPED_MM) + ROUNDED_MM:
                yield f"ends {off:.1f} mm from {code}"
        elif code is not None and not points.absent(code) and points.depth(place) > EDGE_MM:
            yield f"ends {points.depth(place):.1f} mm before the edge of the scan, beyond which {code} lies"


def _voxels(artery: Artery, trace: ArteryTrace, found: ArteryMap) -> Iterator[str]:
    voxels = np.argwhere(found.labels == artery.label)[:, ::-1] + np.array(found.start)
    if not trace.traced:
        if len(voxels):
            yield f"{trace.state.value}, but has {len(voxels)} voxels"
        return
    measures = trace.measures
    assert measures is not None
    if not len(voxels):
        yield "traced, but has no voxels"
        return
    grid = found.scan_grid
    if abs(measures.volume_mm3 - len(voxels) * float(np.prod(grid.spacing))) > 0.01:
        yield f"a volume of {measures.volume_mm3:.1f} mm3 does not fit {len(voxels)} voxels"
    if not 0.0 < measures.diameter_min_mm <= measures.diameter_mean_mm <= measures.diameter_max_mm:
        yield "its diameters contradict each other"
    if measures.tortuosity < 1.0 - 1e-3 or not np.isfinite(measures.length_mm):
        yield f"a length of {measures.length_mm:.1f} mm with a tortuosity of {measures.tortuosity:.3f}"
    if (trace.state is ArteryState.HYPOPLASTIC) != (measures.diameter_mean_mm < THIN_MM):
        yield f"{trace.state.value} with a mean diameter of {measures.diameter_mean_mm:.2f} mm"
    away, _ = cKDTree(trace.centerline).query(apply_affine(grid.ijk_to_ras, voxels))
    farthest = 1.5 * float(trace.radii.max()) + float(np.linalg.norm(grid.spacing))
    if away.max() > farthest:
        yield f"a voxel lies {away.max():.1f} mm from its centreline"


def _shared(one: ArteryTrace, other: ArteryTrace) -> float:
    """Share of a centreline in the inner part of the other lumen."""
    away, nearest = cKDTree(other.centerline).query(one.centerline)
    return float((away < 0.6 * other.radii[nearest]).mean())


def as_detected(points: Sequence[LandmarkEstimate]) -> list[LandmarkEstimate]:
    """True landmarks of a phantom as a detector would give them: without the note that they stand there by rule."""
    return [replace(point, by_rule=False) for point in points]
