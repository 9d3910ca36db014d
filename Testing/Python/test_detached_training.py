"""A training that goes on by itself: found again by its heartbeat, stopped by a file, resumed; ends are reported."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from aligned_beads import write_bead_cohort
from CoWLandmarksLib.core.errors import JobError
from CoWLandmarksLib.detect.model import load_model
from CoWLandmarksTrainingLib.jobs.detached_job import start_job
from CoWLandmarksTrainingLib.jobs.job_files import (
    HEARTBEAT_FILE,
    JOB_FILE,
    OUTPUT_FILE,
    STALE_SECONDS,
    TrainingJob,
    TrainingJobState,
    beat,
    read_job,
    request_stop,
    stop_requested,
    write_job,
)
from CoWLandmarksTrainingLib.jobs.job_process import LastLine
from CoWLandmarksTrainingLib.panel.log_following import FollowedTraining, begun_plan, planned_parts
from CoWLandmarksTrainingLib.panel.training_command import resuming_arguments
from tiny_training import state_of, tiny_arguments, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aligned")
    write_bead_cohort(folder, mra=2, sets=2)
    return folder


def test_a_training_is_started_stopped_with_a_checkpoint_and_resumed_to_its_end(aligned: Path, tmp_path: Path) -> None:
    out = tmp_path / "a training with blanks"
    arguments = tiny_arguments(aligned, out, pretrain=20000)
    started = start_job(out, arguments)
    assert started.pid != os.getpid()
    with pytest.raises(JobError, match="already"):
        start_job(out, arguments)
    log = FollowedTraining(out)
    wait_for(lambda: log.update() and bool(log.logs["fine"].entries))
    assert state_of(out) is TrainingJobState.RUNNING
    request_stop(out)
    assert state_of(out) in (TrainingJobState.STOPPING, TrainingJobState.STOPPED)
    wait_for(lambda: not state_of(out).active)
    job = read_job(out)
    assert job is not None
    assert (job.state, job.code) == (TrainingJobState.STOPPED, 75)
    assert "--resume" in job.message
    assert (out / "fine" / "checkpoint.pt").exists()
    with pytest.raises(JobError, match="nothing to stop"):
        request_stop(out)

    log.update()
    reached = log.logs["fine"].entries[-1]["step"]
    resumed = start_job(out, resuming_arguments(job.arguments))
    assert resumed.token != job.token
    wait_for(
        lambda: log.update() and log.logs["fine"].entries[-1:] != [] and log.logs["fine"].entries[-1]["step"] > reached
    )
    assert state_of(out) is TrainingJobState.RUNNING, "the stop of the first start does not stop the second"
    steps = [entry["step"] for entry in log.logs["fine"].entries if "loss" in entry]
    assert steps == list(range(1, len(steps) + 1)), "no step is missing and none is there twice"
    request_stop(out)
    wait_for(lambda: not state_of(out).active)


def test_a_finished_training_leaves_its_model_and_says_so(aligned: Path, tmp_path: Path) -> None:
    start_job(tmp_path, tiny_arguments(aligned, tmp_path, pretrain=2))
    wait_for(lambda: not state_of(tmp_path).active)
    job = read_job(tmp_path)
    assert job is not None
    assert (job.state, job.code, job.message) == (TrainingJobState.FINISHED, 0, "")
    assert load_model(tmp_path / "model.cow.pt").provenance["fine"]["steps"] == 4
    plan = begun_plan(tmp_path)
    assert plan is not None
    planned = planned_parts(plan)
    steps = [(part.stage, part.phase, part.before, part.steps) for part in planned]
    assert steps == [("coarse", 1, 0, 2), ("fine", 1, 0, 2), ("fine", 2, 2, 2)]
    log = FollowedTraining(tmp_path)
    log.update()
    progress = log.progress(planned)
    assert [part.done for part in progress] == [True] * 3
    assert "discriminator_accuracy" in progress[-1].figures


def test_a_training_that_fails_tells_its_reason(tmp_path: Path) -> None:
    start_job(tmp_path, ["train", str(tmp_path / "nowhere"), "--out", str(tmp_path)])
    wait_for(lambda: not state_of(tmp_path).active)
    job = read_job(tmp_path)
    assert job is not None
    assert (job.state, job.code) == (TrainingJobState.FAILED, 1)
    assert "nowhere" in job.message
    assert "nowhere" in (tmp_path / OUTPUT_FILE).read_text(encoding="utf-8")


def test_a_python_that_does_not_exist_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no-such-python"):
        start_job(tmp_path, ["train"], python=str(tmp_path / "no-such-python"))
    assert state_of(tmp_path) is TrainingJobState.FAILED


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_training_is_noticed_and_can_be_started_again(aligned: Path, tmp_path: Path) -> None:
    start_job(tmp_path, tiny_arguments(aligned, tmp_path, pretrain=20000))
    wait_for(lambda: state_of(tmp_path) is TrainingJobState.RUNNING)
    job = read_job(tmp_path)
    assert job is not None
    os.kill(job.pid, signal.SIGKILL)
    wait_for(lambda: not state_of(tmp_path).active)
    assert state_of(tmp_path) is TrainingJobState.FAILED


class TestHeartbeat:
    """What the files mean, whoever reads them."""

    def test_a_running_job_whose_heart_stands_still_is_lost(self, tmp_path: Path) -> None:
        write_job(tmp_path, TrainingJob("one", ("train",), started=time.time(), state=TrainingJobState.RUNNING, pid=1))
        beat(tmp_path, "one")
        assert state_of(tmp_path) is TrainingJobState.RUNNING
        later = read_job(tmp_path, now=time.time() + STALE_SECONDS + 1)
        assert later is not None
        assert later.state is TrainingJobState.LOST

    def test_a_job_is_kept_under_the_keys_of_its_schema(self, tmp_path: Path) -> None:
        write_job(tmp_path, TrainingJob("one", ("train", "aligned"), started=1.0))
        kept = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))
        assert (kept["schema"], kept["words"]) == ("cow-job/1", ["train", "aligned"])
        assert set(kept) == {"schema", "token", "words", "started", "state", "pid", "ended", "code", "message"}

    def test_the_heartbeat_of_an_earlier_job_does_not_count(self, tmp_path: Path) -> None:
        old = time.time() - 1000.0
        write_job(tmp_path, TrainingJob("two", ("train",), started=old, state=TrainingJobState.RUNNING, pid=1))
        beat(tmp_path, "one")
        assert state_of(tmp_path) is TrainingJobState.LOST

    def test_a_job_whose_folder_was_taken_over_stops(self, tmp_path: Path) -> None:
        job = TrainingJob("one", ("train",), started=time.time())
        write_job(tmp_path, job)
        assert not stop_requested(tmp_path, "one")
        write_job(tmp_path, replace(job, token="two"))
        assert stop_requested(tmp_path, "one")
        assert not stop_requested(tmp_path, "two")

    def test_nothing_is_found_where_nothing_was_started(self, tmp_path: Path) -> None:
        assert read_job(tmp_path) is None
        assert read_job(tmp_path / "no folder") is None

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "cow-job/1", "token": 3}', "\x00"])
    def test_a_damaged_job_file_is_one_sentence(self, tmp_path: Path, content: str) -> None:
        (tmp_path / JOB_FILE).write_text(content, encoding="utf-8")
        with pytest.raises(JobError, match="damaged"):
            read_job(tmp_path)

    def test_a_heartbeat_that_is_being_written_is_no_error(self, tmp_path: Path) -> None:
        write_job(tmp_path, TrainingJob("one", ("train",), started=time.time(), state=TrainingJobState.RUNNING, pid=1))
        (tmp_path / HEARTBEAT_FILE).write_text('{"to', encoding="utf-8")
        assert state_of(tmp_path) is TrainingJobState.RUNNING


def test_the_last_line_of_a_stream_is_remembered() -> None:
    class Sink:
        text = ""

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

        def flush(self) -> None: ...

    sink = Sink()
    stream = LastLine(sink)  # type: ignore[arg-type]
    for chunk in ("a warning\nerr", "or: no room\n", "\n"):
        stream.write(chunk)
    assert stream.text == "error: no room"
    assert sink.text == "a warning\nerror: no room\n\n"
