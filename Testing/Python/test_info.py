"""What `cowlandmarks info` tells of a model file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beads import tiny_model
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.cli.description import describe_model
from CoWLandmarksLib.detect.model import save_model
from fixed_detector import write_scan

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


def test_facts_of_a_model_come_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.cow.pt"
    save_model(replace(tiny_model(), provenance=PROVENANCE), path)
    assert main(["info", "--json", str(path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (facts["kind"], facts["name"], facts["file_bytes"]) == ("model", "tiny", path.stat().st_size)
    assert facts["networks"] == ["coarse", "circle", "fine"] and facts["provenance"] == PROVENANCE
    assert facts["anatomy"]["landmarks"] == list(tiny_model().anatomy.codes)


def test_facts_of_a_scan_come_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_scan(tmp_path / "head.nii.gz")
    assert main(["info", "--json", str(path)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (facts["size"], facts["spacing_mm"], facts["extent_mm"]) == ([24, 28, 20], [2, 2, 2.5], [48, 56, 50])
    assert (facts["orientation"], facts["intensities"], facts["voxel_type"]) == ("LPS", [20, 900], "int16")
    assert np.allclose(facts["ijk_to_ras"], np.diag([-2, -2, 2.5, 1]))
    assert main(["info", "--json", "--json-progress", str(path)]) == 1
    assert "not allowed with argument" in capsys.readouterr().err


def test_what_was_not_recorded_is_said() -> None:
    values = rows(describe_model(replace(tiny_model(), provenance={"fine": "many"}), 2_500_000))
    assert values["file"] == "2.5 MB"
    assert values["preset"] == "not recorded"
    assert values["steps"] == "coarse not recorded, circle not recorded, fine not recorded"
