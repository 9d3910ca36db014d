"""`arteries.graph.json`: landmarks as nodes, arteries as edges, angles, and the variant of the circle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap, ArteryTrace
from ..core.atomic_files import write_json
from ..core.branch_angles import branch_angles
from ..core.circle_edges import HALVES, SOURCE, HalfCircle, half_circle
from ..core.circle_variant import fetal_sides
from ..core.declaration import Declaration
from ..core.detection import Detection, LandmarkEstimate

GRAPH_SCHEMA_FILE = Path(__file__).parent.parent / "Resources" / "Schemas" / "arteries.graph.schema.json"
SCHEMA = "cow-arteries-graph/1"


def write_artery_graph(
    path: str | PathLike[str],
    detection: Detection,
    arteries: ArteryMap,
    anatomy: Anatomy,
) -> None:
    """Write the graph, as `Resources/Schemas/arteries.graph.schema.json` describes it. Raises OutputError."""
    write_json(path, artery_graph(detection, arteries, anatomy))


def artery_graph(detection: Detection, arteries: ArteryMap, anatomy: Anatomy) -> dict[str, Any]:
    """The graph as plain values; positions are RAS mm of the scan, lengths mm, volumes mm^3, angles degrees."""
    traces = arteries.arteries
    halves = {name: half_circle(traces, edges, arteries.probabilities.get(name)) for name, edges in HALVES.items()}
    return {
        "schema": SCHEMA,
        "scan": detection.scan,
        "coordinates": "RAS mm",
        "nodes": [_node(estimate) for estimate in detection.landmarks],
        "edges": [_edge(trace, anatomy, arteries.declared.get(trace.code)) for trace in traces],
        "bifurcations": [
            {"node": angle.node, "arteries": list(angle.arteries), "degrees": round(angle.degrees, 1)}
            for angle in branch_angles(traces, anatomy)
        ],
        "variant": {
            "scheme": SOURCE,
            "summary": arteries.summary,
            **{name: _half(half) for name, half in halves.items()},
            "fetal": list(fetal_sides(traces)),
        },
    }


def _node(estimate: LandmarkEstimate) -> dict[str, Any]:
    return {
        "code": estimate.code,
        "position": None if estimate.position is None else _rounded(estimate.position),
        "state": estimate.state.value,
        "by_rule": estimate.by_rule,
        "confidence": round(float(estimate.confidence), 4),
        "error_mm": round(float(estimate.error_mm), 3),
        "alternatives": [],
    }


def _edge(trace: ArteryTrace, anatomy: Anatomy, declared: Declaration | None) -> dict[str, Any]:
    artery = anatomy.artery(trace.code)
    measures = {} if trace.measures is None else asdict(trace.measures)
    return {
        "code": trace.code,
        "name": artery.name,
        "start": artery.start,
        "end": artery.end,
        "state": trace.state.value,
        "reason": trace.reason,
        "confidence": round(float(trace.confidence), 4),
        **({} if declared is None else {"declared": declared.text}),
        "measures": {name: None if value is None else round(float(value), 4) for name, value in measures.items()},
        "centerline": [_rounded(point) for point in trace.centerline],
        "radius": _rounded(trace.radii),
    }


def _half(half: HalfCircle) -> dict[str, Any]:
    probability = None if half.probability is None else round(float(half.probability), 4)
    return {"code": half.code, "edges": dict(half.edges), "probability": probability}


def _rounded(values: Sequence[float] | np.ndarray) -> list[float]:
    return [round(float(value), 3) + 0.0 for value in values]
