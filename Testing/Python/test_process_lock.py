"""A lock that one process holds and that a killed one leaves open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from CoWLandmarksLib.jobs.process_lock import process_lock

HOLD = """
import sys, time
from pathlib import Path
from CoWLandmarksLib.jobs.process_lock import process_lock
with process_lock(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_only_one_holds_it_and_a_killed_process_does_not(tmp_path: Path) -> None:
    path = tmp_path / "shard.lock"
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "True\n"
    with process_lock(path) as mine:
        assert not mine
    other.kill()
    other.communicate()
    assert path.exists(), "a killed process removes nothing"
    with process_lock(path) as mine, process_lock(path) as twice:
        assert mine and not twice
    assert not path.exists()


def test_where_no_lock_can_be_made_work_goes_on(tmp_path: Path) -> None:
    with process_lock(tmp_path / "no folder" / "shard.lock") as mine:
        assert mine
