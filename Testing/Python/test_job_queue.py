"""The queue of jobs that a timer advances: real child processes, cancelling, errors, and nothing left behind."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bad_models import sound_model
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.jobs.child_process import Worker
from CoWLandmarksLib.jobs.job_queue import JobQueue, WorkerJob, WorkerJobState
from fixed_detector import write_scan

FAST = ["--no-scene", "--no-pictures", "--no-arteries", "--device", "cpu"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the tests look at processes the POSIX way"),
]


def make_worker() -> Worker:
    return Worker(environment={"OMP_NUM_THREADS": "1"})


@pytest.fixture
def queue() -> Iterator[JobQueue]:
    made = JobQueue(make_worker)
    yield made
    made.close()


def run_until(queue: JobQueue, done: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        queue.advance()
        time.sleep(0.005)


def alive(process_id: int | None) -> bool:
    try:
        os.kill(process_id or 0, 0)
    except ProcessLookupError:
        return False
    return True


def detection(out: Path, **more: object) -> WorkerJob:
    """A small scan read by a model of untrained networks."""
    scan, model = write_scan(out.parent / "head.nii.gz"), out.parent / "tiny.cow.pt"
    model.write_bytes(sound_model())
    arguments = ["detect", str(scan), "--model", str(model), "--out", str(out), *FAST]
    return WorkerJob(arguments, **more)  # type: ignore[arg-type]


def test_a_job_is_prepared_and_read_in_other_threads_than_the_one_that_advances(
    queue: JobQueue, tmp_path: Path
) -> None:
    threads: list[str] = []
    stages: list[str | None] = []
    job = queue.add(
        detection(
            tmp_path / "out",
            prepare=lambda: threads.append(threading.current_thread().name),
            read=lambda path: (threads.append(threading.current_thread().name), path)[1],
            on_event=lambda event: stages.append(event.stage),
        )
    )
    assert queue.busy
    while queue.busy:
        queue.advance()
        time.sleep(0.005)
    assert job.state is WorkerJobState.DONE and job.result == tmp_path / "out" / "head"
    assert (job.result / "detection.json").is_file()
    assert {"read", "localise", "refine", "judge", "write"} <= set(stages)
    assert len(threads) == 2 and threading.main_thread().name not in threads


def test_jobs_run_in_order_in_one_process_and_one_failure_stops_nothing(queue: JobQueue, tmp_path: Path) -> None:
    ended: list[WorkerJob] = []
    missing = WorkerJob(["detect", str(tmp_path / "nothing.nii"), "--out", str(tmp_path)], on_end=ended.append)
    first, second = (queue.add(job) for job in (missing, detection(tmp_path / "b", on_end=ended.append)))
    run_until(queue, lambda: first.ended)
    process = queue.worker_process_id
    run_until(queue, lambda: second.ended)
    assert [job.state for job in ended] == [WorkerJobState.FAILED, WorkerJobState.DONE]
    assert "nothing.nii" in (first.error or "")
    assert queue.worker_process_id == process


def test_errors_of_either_thread_end_a_job_with_their_sentence(queue: JobQueue, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise AnnotationError("This cannot be read; try that.")

    def odd(*_: object) -> None:
        raise ZeroDivisionError("hm")

    jobs = [queue.add(detection(tmp_path / "a", prepare=broken)), queue.add(detection(tmp_path / "b", prepare=odd))]
    run_until(queue, lambda: not queue.busy)
    assert [job.error for job in jobs] == [
        "This cannot be read; try that.",
        "Something unexpected went wrong (ZeroDivisionError('hm')); try again.",
    ]
    assert queue.worker_process_id is None


def test_a_python_that_cannot_be_started_fails_the_job(tmp_path: Path) -> None:
    queue = JobQueue(lambda: Worker(python="/no/such/python"))
    job = queue.add(detection(tmp_path / "a"))
    run_until(queue, lambda: job.ended)
    assert job.state is WorkerJobState.FAILED and "cannot be started" in (job.error or "")


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.5, 2.0])
def test_cancelling_ends_the_process_and_the_next_job_gets_a_new_one(
    queue: JobQueue, tmp_path: Path, moment: float
) -> None:
    read: list[Path] = []
    job = queue.add(detection(tmp_path / "a", prepare=lambda: time.sleep(0.05), read=read.append))
    start = time.monotonic()
    run_until(queue, lambda: time.monotonic() - start >= moment)
    process = queue.worker_process_id
    queue.cancel(job)
    queue.cancel(job)
    run_until(queue, lambda: job.ended, 5.0)
    assert job.state is WorkerJobState.CANCELLED and read == []
    assert process is None or not alive(process)
    assert not queue.busy
    again = queue.add(WorkerJob(["detect"]))
    run_until(queue, lambda: again.ended)
    assert again.state is WorkerJobState.FAILED


def test_a_job_that_is_not_wanted_any_more_is_cancelled(queue: JobQueue, tmp_path: Path) -> None:
    wanted = True
    job = queue.add(detection(tmp_path / "a", wanted=lambda: wanted))
    run_until(queue, lambda: job.state is WorkerJobState.WORKING)
    wanted = False
    run_until(queue, lambda: job.ended, 5.0)
    assert job.state is WorkerJobState.CANCELLED
    assert queue.worker_process_id is None


def test_closing_ends_everything_and_tells_every_job(tmp_path: Path) -> None:
    ended: list[WorkerJob] = []
    queue = JobQueue(make_worker)
    jobs = [queue.add(detection(tmp_path / name, on_end=ended.append)) for name in "abc"]
    run_until(queue, lambda: jobs[0].state is WorkerJobState.WORKING)
    process = queue.worker_process_id
    assert alive(process)
    queue.close()
    queue.close()
    assert not alive(process)
    assert ended == jobs and {job.state for job in jobs} == {WorkerJobState.CANCELLED}


def test_a_worker_that_dies_fails_its_job(queue: JobQueue, tmp_path: Path) -> None:
    job = queue.add(detection(tmp_path / "a"))
    run_until(queue, lambda: job.state is WorkerJobState.WORKING)
    assert queue.worker_process_id is not None
    os.kill(queue.worker_process_id, 9)
    run_until(queue, lambda: job.ended, 10.0)
    assert job.state is WorkerJobState.FAILED and "ended unexpectedly" in (job.error or "")
