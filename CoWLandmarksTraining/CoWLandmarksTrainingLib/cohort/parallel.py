"""The same work for many cases in processes side by side, one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import wait
from typing import TypeVar

from CoWLandmarksLib.core.errors import CoWLandmarksError

Job = TypeVar("Job")
Result = TypeVar("Result")

_ORPHANED = 1


def in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], processes: int = 0
) -> Iterator[tuple[Job, Result]]:
    """Yield (job, work(job)) as they get done; `processes` 0 means one for each processor core.

    With one process, or one job, everything runs here. `work` and the jobs must be picklable. What `work` raises is
    raised here and the other jobs are given up; a process that dies (out of memory) raises CoWLandmarksError. If this
    process is killed, those that work for it end as well.
    """
    count = min(len(jobs), processes or os.cpu_count() or 1)
    if count <= 1:
        for job in jobs:
            yield job, work(job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin) as pool:
        waiting = {pool.submit(work, job): job for job in jobs}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BrokenProcessPool as error:
            raise CoWLandmarksError(
                "A process was killed, most likely out of memory; use fewer (--processes 1)."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def end_with_parent() -> None:
    """Watch the process that started this one, and end at once when it is gone.

    A parent that is killed (kill -9, out of memory) cannot tell; without this its children would finish their work for
    nobody. Does nothing in a process that multiprocessing did not start.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True, name="end with parent").start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])  # a handle on Windows, a pipe elsewhere: ready once the parent is gone, however it went
    os._exit(_ORPHANED)


def begin_worker(number: int = 0) -> None:
    """Settings of a process that makes batches beside a training: one thread, and who stops the training with all that
    belongs to it (Ctrl-C, the panel) stops the training alone, which ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    _begin()


def _begin() -> None:
    import torch  # start-up time

    end_with_parent()
    torch.set_num_threads(1)
    with suppress(ImportError):  # training of the default model does without SimpleITK
        import SimpleITK as sitk  # optional

        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
