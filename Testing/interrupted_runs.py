"""Runs the command line again and again in one process, with a real signal at a random moment of each run.

Usage: interrupted_runs.py FOLDER RUNS SEED; prints how often each exit code came, and raises AssertionError when a
result is not whole or something is left beside the results.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.files.result_folders import BATCH_FILES
from fixed_detector import make_fixed_detector, write_scan

WHOLE = {"landmarks.mrk.json", "landmarks.csv", "detection.json", "record.json"}
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def names_in(folder: Path) -> set[str]:
    """What lies in a folder, without what sums up a batch; nothing if it is not there."""
    return {entry.name for entry in folder.iterdir()} - set(BATCH_FILES) if folder.is_dir() else set()


def detect(scans: list[Path], out: Path) -> int:
    """One call, silently."""
    arguments = [
        "detect",
        *map(str, scans),
        "--out",
        str(out),
        "--no-scene",
        "--no-arteries",
        "--no-pictures",
        "--force",
    ]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as output:
        code = main(arguments, make_fixed_detector)
    assert "Traceback" not in output.getvalue()
    return code


def check(code: int, out: Path, earlier: set[str]) -> None:
    """The exit code fits what is there, and what is there is whole."""
    there = names_in(out)
    if earlier:
        assert there == earlier, there
    else:
        assert code == {0: 1, 1: 2, 2: 0}[len(there)] or (code, len(there)) == (2, 2), (code, there)
        assert there or not out.exists()
    for name in there:
        assert names_in(out / name) == WHOLE, (name, names_in(out / name))


def run(folder: Path, runs: int, seed: int) -> Counter[int]:
    """Interrupt `runs` calls, half of them over earlier results; how often each exit code came."""
    draw = random.Random(seed)
    scans = [write_scan(folder / place / "head.nii") for place in ("a", "b")]
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # between two calls
    detect(scans, folder / "earlier")
    started = time.monotonic()
    detect(scans, folder / "earlier")
    whole = time.monotonic() - started
    codes: Counter[int] = Counter()
    for number in range(runs):
        out = folder / ("earlier" if number % 2 else f"new-{number}")
        earlier = names_in(out)
        moment, kind = draw.uniform(0.0, 1.1 * whole), draw.choice(SIGNALS)
        timer = threading.Timer(moment, os.kill, (os.getpid(), kind))
        timer.start()
        code = detect(scans, out)
        timer.join()
        check(code, out, earlier)
        codes[code] += 1
    return codes


if __name__ == "__main__":
    codes = run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    print({int(code): count for code, count in codes.items()})
