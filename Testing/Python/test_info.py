"""What `cowlandmarks info` tells of a model file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from beads import tiny_model
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.cli.description import describe_model
from CoWLandmarksLib.detect.model import save_model

PROVENANCE: dict[str, Any] = {
    "training_data": "synthetic phantoms",
    "preset": "gpu",
    "cases": 1200,
    "coarse": {"steps": 4000},
    "fine": {"steps": 9000},
    "calibration": {"seed": 1, "scans": 48},
}


def rows(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in text.split("\n\n")[0].splitlines())


def test_a_model_tells_where_it_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.cow.pt"
    save_model(replace(tiny_model(), provenance=PROVENANCE), path)
    assert main(["info", str(path)]) == 0
    written = capsys.readouterr().out
    told = rows(written)
    assert told["kind"] == "model 'tiny', format version 2"
    assert told["file"] == f"{path.stat().st_size / 1e6:.1f} MB"
    assert told["trained"] == "on   synthetic phantoms (cases: 1200)"
    assert told["preset"] == "gpu"
    assert told["steps"] == "coarse 4000, circle not recorded, fine 9000"
    assert told["calibration"] == "48 scans"
    assert told["licence"] == "Apache-2.0"
    assert written.strip().endswith("Reads beads; for tests.")


def test_what_was_not_recorded_is_said() -> None:
    told = rows(describe_model(replace(tiny_model(), provenance={"fine": "many"}), 2_500_000))
    assert told["file"] == "2.5 MB"
    assert told["preset"] == "not recorded"
    assert told["steps"] == "coarse not recorded, circle not recorded, fine not recorded"
