"""What the traced arteries tell of each landmark, as plain values for the file that decides states."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.anatomy import Anatomy, Artery
from ..core.artery_map import ArteryMap
from ..core.mean_landmarks import BASILAR_JUNCTION_MM, mean_landmark
from ..core.volume import apply_affine
from ..detect.states import TracedEvidence
from .presence import PathEvidence

LEAST_HEIGHT_MM = 2.0
"""An artery that is traced over so much of the height of a vessel shows that vessels are seen at its level."""


def landmark_evidence(
    found: ArteryMap, paths: Mapping[str, PathEvidence], ras_to_reference: np.ndarray, anatomy: Anatomy
) -> dict[str, TracedEvidence]:
    """Evidence by code of landmark; `paths` by artery are those of the tracer, `ras_to_reference` (4, 4) the scan's."""
    states = {trace.code: trace.state.value for trace in found.arteries}
    levels = {
        trace.code: apply_affine(ras_to_reference, trace.centerline)[:, 2] for trace in found.arteries if trace.traced
    }
    evidence = {}
    for code in anatomy.codes:
        adjoining = [artery for artery in anatomy.arteries if code in artery.ends]
        vessel = _vessel_of(code, anatomy)
        low, high = _level_of(vessel)
        evidence[code] = TracedEvidence(
            trunk={artery.code: states[artery.code] for artery in adjoining if not artery.optional},
            branches={artery.code: states[artery.code] for artery in adjoining if artery.optional},
            contrast={artery.code: paths[artery.code].contrast for artery in adjoining if artery.code in paths},
            vessel={artery.code: states[artery.code] for artery in vessel},
            same_level=tuple(
                other
                for other, level in levels.items()
                if other not in {artery.code for artery in vessel}
                and min(level.max(), high) - max(level.min(), low) >= LEAST_HEIGHT_MM
            ),
        )
    return evidence


def _vessel_of(code: str, anatomy: Anatomy) -> list[Artery]:
    """All segments of the vessel that a landmark lies on: its arteries of the same name (ICA-C5, -C6, -C7) and side."""
    names = {_name_of(artery) for artery in anatomy.arteries if code in artery.ends and not artery.optional}
    first = [name for name in names if name.endswith("ICA")] or sorted(names)
    return [artery for artery in anatomy.arteries if _name_of(artery) in first]


def _name_of(segment: Artery) -> str:
    """Side and name of the vessel that an artery is a segment of."""
    return segment.code.rpartition("-")[0] or segment.code


def _level_of(vessel: list[Artery]) -> tuple[float, float]:
    """Lowest and highest place (S, mm in the reference frame) of the mean ends of a vessel."""
    heights = [mean_landmark(str(code))[2] for artery in vessel for code in (artery.start, artery.end) if code]
    heights += [BASILAR_JUNCTION_MM[2] for artery in vessel if artery.start is None]
    return (float(min(heights)), float(max(heights))) if heights else (0.0, 0.0)
