"""What the worker keeps of the last scan: corrections made with it are those of a fresh process, to the byte."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from beads import bead_model, bead_places, bead_scan
from CoWLandmarksLib import worker
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.arteries.costs import CostMap
from CoWLandmarksLib.arteries.minimal_path import corridor_between
from CoWLandmarksLib.arteries.surroundings import anchors_at, surroundings_of
from CoWLandmarksLib.arteries.tracer import ArteryTracer
from CoWLandmarksLib.core import volume as volume_module
from CoWLandmarksLib.core.detection import LandmarkEstimate
from CoWLandmarksLib.core.volume import Modality, Volume, axis_aligned_grid
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksLib.pipeline import scan_memory
from CoWLandmarksLib.pipeline.scan_memory import ScanMemory
from tube_circle import ANATOMY, landmarks, position, tube_scan

FILES = ("arteries.seg.nrrd", "arteries.csv", "landmarks.mrk.json", "landmarks.csv")


@pytest.fixture(scope="module")
def scan() -> Volume:
    return tube_scan(spacing=(0.8, 0.8, 0.9))


def moved(points: list[LandmarkEstimate], code: str, shift: float) -> list[LandmarkEstimate]:
    """The points, one of them moved along S."""
    r, a, s = points[ANATOMY.index(code)].position or (0.0, 0.0, 0.0)
    return [replace(p, position=(r, a, s + shift)) if p.code == code else p for p in points]


@pytest.mark.slow
def test_corrections_in_the_worker_are_those_of_fresh_processes_and_tell_their_progress(
    scan: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "head.nrrd"
    write_volume(scan, file, compress=False)
    steps = [landmarks()]
    steps.append(moved(steps[0], "L-P2A-P2P", 3.5))
    steps.append(moved(steps[1], "R-A2-A3", -5.0))
    made: list[object] = []
    original = surroundings_of

    def counted(*given: object) -> object:
        made.append(original(*given))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr("CoWLandmarksLib.arteries.tracer.surroundings_of", counted)
    requests = []
    for number, points in enumerate(steps):
        write_annotation(tmp_path / f"{number}.mrk.json", points, ANATOMY)
        arguments = [
            "arteries",
            str(file),
            str(tmp_path / f"{number}.mrk.json"),
            "--no-scene",
            "--no-pictures",
            "--out",
        ]
        warm, cold = ([*arguments, str(tmp_path / kind / str(number))] for kind in ("warm", "cold"))
        if number:
            warm += ["--previous", str(tmp_path / "warm" / str(number - 1) / "head")]
            cold += ["--previous", str(tmp_path / "cold" / str(number - 1) / "head")]
        requests.append(json.dumps({"job": number, "arguments": warm}))
        assert main(cold) == 0
    assert len(made) == 3
    answers = io.StringIO()
    worker.serve(io.StringIO("\n".join(requests)), answers, io.StringIO())
    assert len(made) == 4
    events = [json.loads(line) for line in answers.getvalue().splitlines()]
    for number in range(3):
        mine = [event for event in events if event["job"] == number]
        assert [event["stage"] for event in mine if event["event"] == "stage"] == ["read", "arteries", "write"]
        assert mine[-1]["code"] == 0
        for name in FILES:
            one, other = (tmp_path / kind / str(number) / "head" / name for kind in ("warm", "cold"))
            assert one.read_bytes() == other.read_bytes(), (number, name)
        one, other = (
            json.loads((tmp_path / kind / str(number) / "head" / "detection.json").read_text(encoding="utf-8"))
            for kind in ("warm", "cold")
        )
        assert one["arteries"] == other["arteries"]


def test_a_scan_is_read_anew_when_its_file_has_changed(
    scan: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "head.nii"
    write_volume(scan, file)
    memory = ScanMemory()
    first = memory.read(file)
    assert memory.read(file) is first
    memory.surroundings = surroundings_of(
        first, Modality.MRA, ANATOMY, anchors_at({code: position(code) for code in ("R-ICA-T", "R-M1-M2")})
    )
    write_volume(replace(scan, voxels=scan.voxels + 1.0), file)
    os.utime(file, ns=(1, 1))
    second = memory.read(file)
    assert float(second.voxels.mean() - first.voxels.mean()) == pytest.approx(1.0, abs=1e-2)
    assert memory.surroundings is None
    for other in (ScanMemory(keeps=False), memory):
        monkeypatch.setattr(scan_memory, "_WHOLE_SCANS", ())
        assert other.read(file) is not other.read(file)


@pytest.mark.slow
def test_the_cost_map_is_the_same_in_whatever_order_it_was_looked_at(scan: Volume) -> None:
    tracer = ArteryTracer(scan, Modality.MRA, ANATOMY)
    tracer.trace(landmarks())
    assert tracer.surroundings is not None
    region, grid = tracer.surroundings.region, tracer.surroundings.costs.grid
    ends = [(position("R-ICA-T"), position("R-M1-M2")), (position("BA-T"), position("L-P2A-P2P"))]
    placed = np.array([position(code) for code in ANATOMY.codes])
    corridors = [corridor_between(grid, first, last, 4.0) for first, last in ends]
    at_once = CostMap(region, placed, corridors, grid)
    bit_by_bit = CostMap(region, placed, corridors[:1], grid)
    bit_by_bit.snapped(ends[1][0], 3.0)
    bit_by_bit.ways(corridors[1], *ends[1])
    assert np.count_nonzero(at_once.vesselness) > 1000
    for corridor in corridors:
        k, j, i = (slice(f, f + n) for f, n in zip(corridor.first, corridor.inside.shape, strict=True))
        one, other = (m.vesselness[k, j, i][corridor.inside] for m in (at_once, bit_by_bit))
        np.testing.assert_array_equal(one, other)


def test_a_scan_is_checked_once_on_its_way_from_the_file_to_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    check = volume_module._check_geometry

    def counted(matrix: np.ndarray, shape: tuple[int, ...], name: str) -> None:
        checked.append(name)
        check(matrix, shape, name)

    monkeypatch.setattr(volume_module, "_check_geometry", counted)
    grid = axis_aligned_grid(np.array([2.0, 17.0, 1.0]), np.array([1.7, 1.9, 2.1]), (44, 46, 52))
    write_volume(bead_scan(grid, bead_places()), tmp_path / "head.nrrd")
    detector = Detector(bead_model(), "cpu", mirror=False)
    few = ["--no-scene", "--no-pictures", "--no-arteries", "--out", str(tmp_path / "out")]
    assert main(["detect", str(tmp_path / "head.nrrd"), *few], lambda _: (detector, detector.model.anatomy)) == 0
    assert checked == ["head"]
