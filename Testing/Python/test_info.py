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
    values = rows(written)
    assert values["kind"] == "model 'tiny', format version 2"
    assert values["file"] == f"{path.stat().st_size / 1e6:.1f} MB"
    assert values["trained"] == "on   synthetic phantoms (cases: 1200)"
    assert values["preset"] == "gpu"
    assert values["steps"] == "coarse 4000, circle not recorded, fine 9000"
    assert values["calibration"] == "48 scans"
    assert values["licence"] == "Apache-2.0"
    assert written.strip().endswith("Reads beads; for tests.")


def test_what_was_not_recorded_is_said() -> None:
    values = rows(describe_model(replace(tiny_model(), provenance={"fine": "many"}), 2_500_000))
    assert values["file"] == "2.5 MB"
    assert values["preset"] == "not recorded"
    assert values["steps"] == "coarse not recorded, circle not recorded, fine not recorded"
