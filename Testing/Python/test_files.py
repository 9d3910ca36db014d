"""Files appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.core.atomic_files import atomic_path, plain, write_json, write_text
from CoWLandmarksLib.core.errors import OutputError


def test_the_file_appears_only_when_the_block_is_done(tmp_path: Path) -> None:
    target = tmp_path / "new folder" / "scan.nii.gz"
    with atomic_path(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == target.parent and temporary.name.endswith(".nii.gz")
    assert [path.name for path in target.parent.iterdir()] == ["scan.nii.gz"]


def test_a_failure_keeps_the_old_file_and_leaves_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"a\.json' cannot be written"):
        write_json(tmp_path / "file" / "a.json", {})


def test_numpy_values_and_nan_become_json(tmp_path: Path) -> None:
    content = {"a": np.float32(0.5), "b": np.arange(3), "c": (1, float("nan")), "d": Path("x"), 5: np.bool_(True)}
    write_json(tmp_path / "a.json", content)
    expected = {"a": 0.5, "b": [0, 1, 2], "c": [1, None], "d": "x", "5": True}
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == expected == plain(content)
