"""The version is written in one place, and everything that shows it takes it from there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from beads import bead_model
from CoWLandmarksLib import PROGRAM, __version__
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import GIVEN
from CoWLandmarksLib.core.given_landmarks import given_detection
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.pictures.canvas import Canvas
from CoWLandmarksLib.pictures.report_picture import draw_picture
from CoWLandmarksTrainingLib.__main__ import main as training_main
from CoWLandmarksTrainingLib.evaluate.evaluation_cases import EvaluationCases
from CoWLandmarksTrainingLib.evaluate.evaluation_report import evaluation_report, markdown_report
from example_detection import make_detection, make_volume
from extension_index import tracked

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {".py", ".toml", ".txt", ".md", ".cff", ".yaml", ".ui", ".json"}


def test_the_version_is_written_in_one_file() -> None:
    paths = [path for path in tracked(ROOT) if Path(path).suffix in TEXTS]
    assert [path for path in paths if __version__ in (ROOT / path).read_text(encoding="utf-8")] == [
        "CoWLandmarks/CoWLandmarksLib/__init__.py"
    ]
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", __version__)


def test_the_package_takes_its_version_from_there() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'version = { attr = "CoWLandmarksLib.__version__" }' in text
    assert 'dynamic = ["version"]' in text


def test_the_two_command_lines_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cowlandmarks {__version__}\n"
    assert training_main(["--version"]) == 0
    assert capsys.readouterr().out == f"cowlandmarks-train {__version__}\n"


def test_landmarks_from_a_file_and_their_report_picture_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    draw_text = Canvas.text

    def text(self: Canvas, x: float, y: float, line: str, *arguments: Any, **options: Any) -> None:
        written.append(line)
        draw_text(self, x, y, line, *arguments, **options)

    monkeypatch.setattr(Canvas, "text", text)
    volume, anatomy = make_volume(), default_anatomy()
    detection = given_detection(volume, make_detection().landmarks, anatomy, None)
    assert detection.provenance == {"program": PROGRAM, "model": GIVEN}
    draw_picture(volume, detection, anatomy, 2.0)
    assert any(line.endswith(PROGRAM) for line in written)


def test_an_evaluation_says_which_version_made_it() -> None:
    cases = EvaluationCases((), (), 0)
    report = evaluation_report(Detector(bead_model(), "cpu", mirror=False), cases, "cohort")
    assert report["program"] == PROGRAM == f"CoW Landmarks {__version__}"
    assert f"Made with {PROGRAM}." in markdown_report(report).splitlines()
