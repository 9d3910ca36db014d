"""Work in processes side by side: results, failures, and nothing that goes on after its parent was killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksTrainingLib.cohort.parallel import in_processes


def squared(number: int) -> int:
    return number * number


def killed(number: int) -> int:
    os._exit(9)


def breathing(folder: str) -> None:
    """Work without end that shows on disk that it goes on."""
    heart = Path(folder) / f"{os.getpid()}"
    for beat in range(100_000):
        heart.write_text(str(beat), encoding="utf-8")
        time.sleep(0.05)


@pytest.mark.slow
def test_every_job_comes_back_with_its_own_result() -> None:
    assert sorted(in_processes(squared, [1, 2, 3, 4], 2)) == [(1, 1), (2, 4), (3, 9), (4, 16)]
    assert list(in_processes(squared, [3], 2)) == [(3, 9)]


@pytest.mark.slow
def test_a_process_that_dies_is_one_sentence() -> None:
    with pytest.raises(CoWLandmarksError, match="was killed, most likely out of memory"):
        list(in_processes(killed, [1, 2], 2))


def beats(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


@pytest.mark.slow
def test_processes_end_when_the_one_they_work_for_is_killed(tmp_path: Path) -> None:
    parent = tmp_path / "parent.py"
    parent.write_text(
        "import sys\n"
        "from CoWLandmarksTrainingLib.cohort.parallel import in_processes\n"
        "from test_parallel import breathing\n"
        "if __name__ == '__main__':\n"
        "    list(in_processes(breathing, [sys.argv[1]] * 2, 2))\n",
        encoding="utf-8",
    )
    hearts = tmp_path / "hearts"
    hearts.mkdir()
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen([sys.executable, str(parent), str(hearts)], env={**os.environ, "PYTHONPATH": path})
    try:
        patience = time.monotonic() + 120.0
        while len(beats(hearts)) < 2 and time.monotonic() < patience and process.poll() is None:
            time.sleep(0.05)
        assert len(beats(hearts)) == 2
        before = beats(hearts)
        while beats(hearts) == before and time.monotonic() < patience:
            time.sleep(0.05)
        assert beats(hearts) != before, "the work did not go on while the parent lived"
    finally:
        process.kill()
        process.wait()
    patience = time.monotonic() + 60.0
    while time.monotonic() < patience:
        before = beats(hearts)
        time.sleep(1.0)
        if beats(hearts) == before:
            return
    raise AssertionError("the processes went on after their parent was killed")
