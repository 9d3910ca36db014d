"""Progress: what a program, a log and a person at a terminal see."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from CoWLandmarksLib.jobs.progress import (
    PROGRESS_SCHEMA_FILE,
    Bar,
    Event,
    EventKind,
    JsonLines,
    PlainLines,
    terminal_progress,
)

EVENTS = [
    Event(EventKind.STAGE, "reading the scan", "read", 0.0, scan="größe.nii.gz"),
    Event(EventKind.PROGRESS, "reading the scan", "read", 0.1, scan="größe.nii.gz"),
    Event(EventKind.STAGE, "aligning", "align", 1 / 3, scan="größe.nii.gz"),
    Event(EventKind.WARNING, "The slices are\nuneven.", scan="größe.nii.gz"),
    Event(EventKind.RESULT, "ok; 19 found", fraction=1.0, path=Path("out") / "größe", scan="größe.nii.gz"),
]


class Terminal(io.StringIO):
    """A stream that says it is a terminal and knows what remains visible in its last line."""

    def isatty(self) -> bool:
        return True

    def visible(self) -> list[str]:
        lines = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for text in line.split("\r"):
                shown = text + shown[len(text) :]
            lines.append(shown.rstrip())
        return lines


def test_every_json_line_is_one_ascii_object_with_the_agreed_fields() -> None:
    stream = io.StringIO()
    sink = JsonLines(stream, io.StringIO())
    for event in EVENTS:
        sink(event)
    assert stream.getvalue().isascii()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["stage", "progress", "stage", "warning", "result"]
    assert {line["schema"] for line in lines} == {"cow-progress/1"}
    assert lines[2] == {
        "schema": "cow-progress/1",
        "event": "stage",
        "stage": "align",
        "fraction": 0.3333,
        "message": "aligning",
        "scan": "größe.nii.gz",
    }
    assert lines[4]["path"] == str(Path("out") / "größe")


def test_json_lines_fit_their_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="needs the package jsonschema")
    validator = jsonschema.Draft202012Validator(json.loads(PROGRESS_SCHEMA_FILE.read_text(encoding="utf-8")))
    stream = io.StringIO()
    sink = JsonLines(stream, io.StringIO())
    for event in EVENTS:
        sink(event)
    for line in stream.getvalue().splitlines():
        validator.validate(json.loads(line))
    assert not validator.is_valid({"schema": "cow-progress/1", "event": "stage", "message": "no fraction"})


def test_json_progress_repeats_trouble_as_sentences_for_the_log() -> None:
    errors = io.StringIO()
    sink = JsonLines(io.StringIO(), errors)
    for event in EVENTS:
        sink(event)
    assert errors.getvalue() == "warning: größe.nii.gz: The slices are uneven.\n"


def test_plain_lines_name_each_stage_once() -> None:
    stream = io.StringIO()
    sink = PlainLines(stream)
    for event in EVENTS:
        sink(event)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["größe.nii.gz: reading the scan", "größe.nii.gz: aligning"]
    assert lines[-1] == "größe.nii.gz: ok; 19 found"
    assert "\r" not in stream.getvalue()


def test_a_bar_is_redrawn_in_place_and_leaves_the_result_only() -> None:
    terminal = Terminal()
    bar = Bar(terminal)
    bar(EVENTS[0])
    bar(EVENTS[2])
    assert terminal.visible()[-1] == "[########................]  33%  größe.nii.gz: aligning"
    bar(EVENTS[4])
    assert terminal.visible() == ["größe.nii.gz: ok; 19 found", ""]


def test_a_bar_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    Bar(terminal)(Event(EventKind.STAGE, "m" * 200, "read", 2.0, scan="s"))
    assert len(terminal.visible()[-1]) == 39
    assert "100%" in terminal.visible()[-1]


def test_a_bar_is_not_redrawn_more_often_than_an_eye_can_follow() -> None:
    terminal = Terminal()
    bar = Bar(terminal)
    for step in range(1000):
        bar(Event(EventKind.PROGRESS, "aligning", "align", step / 1000, scan="head"))
    assert terminal.getvalue().count("\r") < 100


@pytest.mark.parametrize("sink_type", [Bar, PlainLines])
def test_an_error_is_one_sentence_with_its_scan(sink_type: type[Bar] | type[PlainLines]) -> None:
    stream = Terminal()
    sink_type(stream)(Event(EventKind.ERROR, "It cannot be read.", scan="head.nii"))
    sink_type(stream)(Event(EventKind.ERROR, "'/data/head.nii' cannot be read.", scan="head.nii"))
    assert stream.visible() == ["error: head.nii: It cannot be read.", "error: '/data/head.nii' cannot be read.", ""]


def test_a_terminal_gets_a_bar_and_a_log_gets_lines() -> None:
    assert isinstance(terminal_progress(Terminal()), Bar)
    assert isinstance(terminal_progress(io.StringIO()), PlainLines)
