"""The persistent worker and its client: real child processes, real detections, cancelling at any moment."""

from __future__ import annotations

import io
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from bad_models import sound_model
from CoWLandmarksLib import worker
from CoWLandmarksLib.core.errors import JobError
from CoWLandmarksLib.jobs.child_process import JobEvent, Worker, parsed
from CoWLandmarksLib.jobs.progress import END, PROGRESS_SCHEMA_FILE, EventKind
from fixed_detector import write_scan

FAST = ["--no-scene", "--no-pictures", "--no-arteries", "--device", "cpu"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests look at processes the POSIX way"),
]


@pytest.fixture(scope="module")
def shared() -> Iterator[Worker]:
    with Worker(environment={"OMP_NUM_THREADS": "1"}) as running:
        yield running


def untrained(folder: Path) -> list[str]:
    """A small scan, and a model of untrained networks that reads it quickly."""
    (folder / "tiny.cow.pt").write_bytes(sound_model())
    return [str(write_scan(folder / "head.nii.gz")), "--model", str(folder / "tiny.cow.pt")]


def alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_two_detections_run_in_one_process_and_give_the_same_files(
    shared: Worker, quick_model: Path, tmp_path: Path
) -> None:
    arguments = ["detect", "--sample", "--model", str(quick_model), *FAST]
    jobs = [shared.submit([*arguments, "--out", str(tmp_path / name)]) for name in "ab"]
    first = shared.wait(jobs[0])
    process = shared.process_id
    second = shared.wait(jobs[1])
    assert process is not None
    assert shared.process_id == process
    assert not shared.busy
    for job in jobs:
        mine = [event for event in first + second if event.job == job]
        assert [event.ends for event in mine] == [False] * (len(mine) - 1) + [True]
        assert mine[-1].code == 0
        assert mine[-1].event.kind is EventKind.RESULT
        assert mine[-1].event.stage == END
        stages = [event.event.stage for event in mine if event.event.kind is EventKind.STAGE]
        # What takes long before the work is reported, once.
        before = ["start", "model"] if job == jobs[0] else []
        assert stages[: len(before) + 1] == [*before, "read"]
        assert {"localise", "refine", "judge", "write"} <= set(stages)
    for name in ("landmarks.mrk.json", "landmarks.csv"):
        one, other = (next((tmp_path / folder).glob(f"*/{name}")).read_bytes() for folder in "ab")
        assert one == other


def test_a_failed_job_ends_with_its_sentence_and_the_worker_goes_on(shared: Worker, tmp_path: Path) -> None:
    missing = tmp_path / "nothing.nii.gz"
    job = shared.submit(["detect", str(missing), "--out", str(tmp_path / "out"), *FAST])
    last = shared.wait(job)[-1]
    assert (last.code, last.event.kind) == (1, EventKind.ERROR)
    assert "nothing.nii.gz" in last.event.message
    wrong = shared.wait(shared.submit(["detect", "--no-such-option"]))[-1]
    assert wrong.code == 1
    assert "Wrong usage" in wrong.event.message
    assert shared.wait(shared.warm(["detect", "--out", "x", "--device", "cpu"]))[-1].code == 0


def test_what_the_worker_writes_follows_the_schema_and_odd_requests_are_reported() -> None:
    answers, errors = io.StringIO(), io.StringIO()
    requests = io.StringIO(
        'no json\n\n{"job": 3, "arguments": ["detect", "nothing.nii", "--out", "x", "--hint", "no"]}\n'
    )
    worker.serve(requests, answers, errors)
    lines = [json.loads(line) for line in answers.getvalue().splitlines()]
    schema = json.loads(PROGRESS_SCHEMA_FILE.read_text(encoding="utf-8"))
    for line in lines:
        jsonschema.validate(line, schema)
        assert line["job"] == 3
    assert [line["event"] for line in lines if line["event"] != "stage"] == ["error", "error"]
    assert lines[-1]["code"] == 1
    assert "not readable" in errors.getvalue()


def test_cancelling_at_any_moment_leaves_neither_results_nor_a_process(tmp_path: Path) -> None:
    moments = random.Random(4)
    running = Worker(environment={"OMP_NUM_THREADS": "1"})
    for number in range(5):
        out = tmp_path / str(number)
        job = running.submit(["detect", "--sample", "--out", str(out), *FAST])
        process = running.process_id
        assert process is not None
        time.sleep(moments.uniform(0.0, 3.0))
        ended = any(event.ends for event in running.events())
        running.cancel()
        assert not alive(process)
        assert not running.busy
        assert running.events() == []
        whole = list(out.glob("sample*/detection.json"))
        assert ended or not whole or (out / "sample_mra" / "landmarks.csv").is_file()
        assert [path.name for path in out.glob(".*")] == []
        with pytest.raises(JobError, match="cancelled"):
            running.wait(job)


def test_a_worker_that_dies_says_so_and_another_takes_its_place(tmp_path: Path) -> None:
    with Worker(environment={"OMP_NUM_THREADS": "1"}) as running:
        job = running.submit(["detect", "--sample", "--out", str(tmp_path), *FAST])
        process = running.process_id
        assert process is not None
        os.kill(process, 9)
        last = running.wait(job, 60)[-1]
        assert last.code == 1
        assert "ended unexpectedly" in last.event.message
        again = running.submit(["detect", str(tmp_path / "nothing.nii"), "--out", str(tmp_path)])
        assert running.process_id not in (None, process)
        assert running.wait(again, 60)[-1].code == 1


def test_closing_ends_a_worker_that_waits() -> None:
    running = Worker()
    running.wait(running.submit(["detect"]), 60)
    process = running.process_id
    assert process is not None
    running.close()
    running.close()
    assert not alive(process)


def test_a_python_that_is_none_is_reported() -> None:
    with pytest.raises(JobError, match="cannot be started"):
        Worker(python="/no/such/python").submit(["detect"])


def test_asking_for_events_never_waits(shared: Worker, tmp_path: Path) -> None:
    job = shared.submit(["detect", *untrained(tmp_path), "--out", str(tmp_path / "out"), *FAST])
    seen: list[JobEvent] = []
    empty = 0
    while not any(event.job == job and event.ends for event in seen):
        fresh = shared.events()
        empty += not fresh
        seen += fresh
        time.sleep(0.0005)
    assert empty > 50


def test_a_line_that_is_no_event_is_passed_over() -> None:
    assert parsed("Traceback (most recent call last):") is None
    assert parsed('{"event": "dance", "message": "", "job": 1}') is None
    assert parsed("[1, 2]") is None
    event = parsed('{"event": "result", "message": "m", "job": 2, "code": 3, "stage": "end", "path": "a/b"}')
    assert event is not None
    assert (event.job, event.code, event.event.path, event.ends) == (2, 3, Path("a/b"), True)
