"""Damaged scans of every format, hundreds of them: a usable volume or one sentence, in bounded memory."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.files.markups import read_annotation
from fuzzed_files import FORMATS
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 40


@pytest.mark.slow
def test_damaged_scans_are_read_or_refused_but_nothing_worse(tmp_path: Path) -> None:
    places = [ROOT / "CoWLandmarks", ROOT / "Testing"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "Testing" / "fuzzed_files.py"), str(tmp_path), "0", str(SEEDS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert set(results) == set(FORMATS)
    for name, counts in results.items():
        assert sum(ast.literal_eval(counts).values()) == SEEDS, name


texts = st.sampled_from(["BA-T", "R-ICA-T", "LPS", "RAS", "Fiducial", "defined", "missing", "mm", "state=found", ""])
values = st.none() | st.booleans() | st.integers() | st.floats() | texts
points = st.dictionaries(
    st.sampled_from(["label", "position", "positionStatus", "description", "id"]),
    values | st.lists(values, max_size=4) | st.lists(st.floats(-500, 500), min_size=3, max_size=3),
)
markups = st.fixed_dictionaries(
    {"type": st.just("Fiducial") | values},
    optional={
        "controlPoints": st.lists(points | values, max_size=4) | values,
        "coordinateSystem": values,
        "coordinateUnits": values | st.lists(values),
    },
)


@settings(max_examples=150, deadline=None)
@given(content=st.fixed_dictionaries({"markups": st.lists(markups | values, max_size=2) | values}) | values)
def test_any_json_is_an_annotation_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mrk.json"
    write_json(path, content)
    try:
        for estimate in read_annotation(path, default_anatomy(), []):
            assert estimate.code in default_anatomy().codes
    except AnnotationError as error:
        assert "any.mrk.json" in str(error)
        assert "\n" not in str(error)
