"""The graph of the arteries, their angles and variant, and the centrelines for VMTK and 3D Slicer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState
from CoWLandmarksLib.core.branch_angles import branch_angles
from CoWLandmarksLib.core.circle_edges import ANTERIOR, POSTERIOR, half_circle
from CoWLandmarksLib.files.artery_graph import GRAPH_SCHEMA_FILE, write_artery_graph
from CoWLandmarksLib.files.centerline_file import write_centerlines
from drawn_arteries import drawn_arteries, drawn_detection
from tube_circle import ANATOMY, position, tube_scan

GRID = tube_scan(spacing=(1.2, 1.2, 1.2)).grid


@pytest.fixture(scope="module")
def arteries() -> ArteryMap:
    return drawn_arteries(GRID, {"R-PCoA": ArteryState.ABSENT, "L-PCA-P1": ArteryState.UNKNOWN})


def written_graph(arteries: ArteryMap, folder: Path, **probabilities: float) -> dict:  # type: ignore[type-arg]
    judged = replace(arteries, probabilities=probabilities)
    write_artery_graph(folder / "graph.json", drawn_detection(arteries), judged, ANATOMY)
    return json.loads((folder / "graph.json").read_text(encoding="utf-8"))


def test_the_graph_is_as_its_schema_says(arteries: ArteryMap, tmp_path: Path) -> None:
    graph = written_graph(arteries, tmp_path)
    schema = json.loads(GRAPH_SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(graph, schema)
    graph["variant"]["anterior"]["code"] = "12x1"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(graph, schema)


def test_nodes_and_edges_hold_what_was_traced(arteries: ArteryMap, tmp_path: Path) -> None:
    graph = written_graph(arteries, tmp_path)
    assert [node["code"] for node in graph["nodes"]] == list(ANATOMY.codes)
    assert all(node["alternatives"] == [] for node in graph["nodes"])
    edges = {edge["code"]: edge for edge in graph["edges"]}
    assert list(edges) == [artery.code for artery in ANATOMY.arteries]
    m1 = edges["R-MCA-M1"]
    assert (m1["start"], m1["end"]) == ("R-ICA-T", "R-M1-M2")
    np.testing.assert_allclose(m1["centerline"][-1], position("R-M1-M2"), atol=1e-3)
    assert len(m1["radius"]) == len(m1["centerline"]) and set(m1["radius"]) == {1.4}
    assert m1["measures"]["length_mm"] == pytest.approx(
        np.linalg.norm(position("R-M1-M2") - position("R-ICA-T")), abs=1e-3
    )
    assert edges["R-PCoA"]["centerline"] == [] and edges["R-PCoA"]["measures"] == {}


def test_the_variant_says_which_edges_are_there(arteries: ArteryMap, tmp_path: Path) -> None:
    variant = written_graph(arteries, tmp_path, anterior=0.75, posterior=0.75)["variant"]
    assert variant["anterior"]["edges"] == {"L-A1": True, "Acom": True, "3rd-A2": None, "R-A1": True}
    assert variant["anterior"]["code"] == "11?1"
    assert variant["posterior"]["code"] == "1?10"
    # Where an edge is not known, neither is the probability of the variant.
    assert variant["anterior"]["probability"] == 0.75 and variant["posterior"]["probability"] is None


@pytest.mark.parametrize(
    ("code", "anterior", "posterior"),
    [("L-ACA-A1", "01?1", "1111"), ("ACoA", "10?1", "1111"), ("R-PCA-P1", "11?1", "1101"), ("L-PCoA", "11?1", "0111")],
)
def test_an_absent_artery_is_a_nought_in_its_place(code: str, anterior: str, posterior: str) -> None:
    traces = drawn_arteries(GRID, {code: ArteryState.ABSENT}).arteries
    assert half_circle(traces, ANTERIOR).code == anterior
    assert half_circle(traces, POSTERIOR).code == posterior


def test_angles_are_those_between_the_tubes(arteries: ArteryMap) -> None:
    angles = {(angle.node, angle.arteries): angle.degrees for angle in branch_angles(arteries.arteries, ANATOMY)}
    joint = position("R-ICA-T")
    ways = [position(code) - joint for code in ("R-C6-C7", "R-M1-M2", "R-A1-A2")]
    units = [way / np.linalg.norm(way) for way in ways]
    expected = np.degrees(np.arccos([units[0] @ units[1], units[0] @ units[2], units[1] @ units[2]]))
    pairs = [("R-ICA-C7", "R-MCA-M1"), ("R-ICA-C7", "R-ACA-A1"), ("R-MCA-M1", "R-ACA-A1")]
    np.testing.assert_allclose([angles["R-ICA-T", pair] for pair in pairs], expected, atol=0.5)
    assert not any(node == "R-C6-C7" for node, _ in angles), "where two arteries meet there is no bifurcation"


def test_3d_slicer_opens_the_centrelines_where_the_arteries_are(arteries: ArteryMap, tmp_path: Path) -> None:
    slicer = pytest.importorskip("slicer", reason="needs slicer-core")
    from vtk.util.numpy_support import vtk_to_numpy

    path = tmp_path / "arteries.vtp"
    write_centerlines(path, arteries, ANATOMY)
    node, storage = slicer.vtkMRMLModelNode(), slicer.vtkMRMLModelStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    data = node.GetPolyData()
    traced = [trace for trace in arteries.arteries if trace.traced]
    assert data.GetNumberOfLines() == len(traced) == 18
    np.testing.assert_allclose(
        vtk_to_numpy(data.GetPoints().GetData()), np.concatenate([t.centerline for t in traced]), atol=1e-4
    )
    radii = np.concatenate([trace.radii for trace in traced])
    for name in ("Radius", "MaximumInscribedSphereRadius"):
        np.testing.assert_allclose(vtk_to_numpy(data.GetPointData().GetArray(name)), radii)
    codes = data.GetCellData().GetAbstractArray("ArteryCode")
    assert [codes.GetValue(index) for index in range(codes.GetNumberOfValues())] == [t.code for t in traced]


def test_the_same_centrelines_are_the_same_bytes(arteries: ArteryMap, tmp_path: Path) -> None:
    for name in ("one.vtp", "two.vtp"):
        write_centerlines(tmp_path / name, arteries, ANATOMY)
    assert (tmp_path / "one.vtp").read_bytes() == (tmp_path / "two.vtp").read_bytes()
