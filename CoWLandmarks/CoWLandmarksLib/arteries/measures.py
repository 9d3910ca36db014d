"""Measures of traced arteries: length, tortuosity, diameters, volume, ratio of the sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMeasures, ArteryTrace
from .lumen import CrossSections, arc_length


def measured(sections: CrossSections, own: np.ndarray, voxels: int, voxel_mm3: float) -> ArteryMeasures:
    """Measures of one artery; diameters over its `own` part (n,), outside the lumens of the arteries that it joins.

    Where nothing of it lies outside them, its narrowest place counts.

    `voxels` is the number of its voxels in the label map.
    """
    length = float(arc_length(sections.points)[-1])
    chord = float(np.linalg.norm(sections.points[-1] - sections.points[0]))
    diameters = 2.0 * (sections.radius[own] if own.any() else sections.radius.min(keepdims=True))
    return ArteryMeasures(
        length_mm=length,
        tortuosity=length / max(chord, 1e-6),
        diameter_mean_mm=float(diameters.mean()),
        diameter_min_mm=float(diameters.min()),
        diameter_max_mm=float(diameters.max()),
        volume_mm3=voxels * voxel_mm3,
    )


def with_side_ratios(traces: Sequence[ArteryTrace], anatomy: Anatomy) -> tuple[ArteryTrace, ...]:
    """The traces with the ratio of their mean diameter to that of their counterpart, where both were measured."""
    by_code = {trace.code: trace for trace in traces}
    counterparts = counterpart_codes(anatomy)
    result = []
    for trace in traces:
        other = by_code.get(counterparts.get(trace.code, ""))
        if trace.measures is None:
            result.append(trace)
            continue
        ratio = None
        if other is not None and other.measures is not None:
            ratio = trace.measures.diameter_mean_mm / max(other.measures.diameter_mean_mm, 1e-6)
        result.append(replace(trace, measures=replace(trace.measures, side_ratio=ratio)))
    return tuple(result)


def counterpart_codes(anatomy: Anatomy) -> Mapping[str, str]:
    """Code of the artery between the mirrored landmarks, for every artery that is not its own mirror image."""
    mirror = {landmark.code: landmark.mirror for landmark in anatomy.landmarks}
    ends = {frozenset((artery.start, artery.end)): artery.code for artery in anatomy.arteries}
    pairs = {}
    for artery in anatomy.arteries:
        other = ends.get(frozenset(mirror.get(code, code) if code else None for code in (artery.start, artery.end)))
        if other is not None and other != artery.code:
            pairs[artery.code] = other
    return pairs
