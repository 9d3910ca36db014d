"""Seconds and memory of the arteries of a 512 x 512 x 160 scan, cold and after a correction in the persistent worker.

    python Testing/Benchmarks/arteries_speed.py

Cold: reading, tracing and writing in a process of its own. Warm: a worker traces once, then a landmark is moved and
`arteries --previous` runs again, five times in a row; files are compared with those of a cold process. Seconds are
of the wall clock and, because other work may share the machine, of the processor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining", "Testing")]

from CoWLandmarksLib.core.anatomy import default_anatomy  # noqa: E402
from CoWLandmarksLib.core.detection import LandmarkEstimate  # noqa: E402
from CoWLandmarksLib.core.volume import Volume  # noqa: E402
from CoWLandmarksLib.files.markups import write_annotation  # noqa: E402
from CoWLandmarksLib.files.nrrd_file import write_plain_nrrd  # noqa: E402
from CoWLandmarksLib.jobs.child_process import Worker  # noqa: E402
from detection_speed import PATHS, large_cases, machine  # noqa: E402

FILES = ("arteries.seg.nrrd", "arteries.csv", "landmarks.mrk.json", "landmarks.csv")
MOVES = (("R-C6-C7", 1.0), ("L-M1-M2", 1.5), ("BA-T", 1.0), ("R-A1-A2", -1.0), ("L-ICA-T", 1.2))
SWITCHES = ["--no-scene", "--no-pictures"]


def main() -> int:
    """Measure and print a table with the machine's name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    os.environ.update(OMP_NUM_THREADS=str(threads), PYTHONPATH=os.pathsep.join(PATHS))
    print(f"{machine()}; {threads} threads\n")
    print("| scan | what | wall-clock s | processor s | worker, MB | same files as cold |\n|---|---|---|---|---|---|")
    for name, case in large_cases().items():
        with tempfile.TemporaryDirectory() as folder:
            measure(name, Path(folder), case.volume, case.truth)
    return 0


def measure(name: str, folder: Path, volume: Volume, truth: Sequence[LandmarkEstimate]) -> None:
    """Rows of one scan."""
    anatomy = default_anatomy()
    scan, points = folder / "scan.nrrd", folder / "points.mrk.json"
    write_plain_nrrd(scan, replace(volume, name="scan"))
    write_annotation(points, truth, anatomy)
    wall, processor = cold(["arteries", str(scan), str(points), "--out", str(folder / "0"), *SWITCHES])
    print(f"| {name} | all, cold process | {wall:.1f} | {processor:.1f} | | |", flush=True)
    previous = folder / "0" / "scan"
    with Worker() as worker:
        warm = folder / "warm"
        wall, used = timed(worker, ["arteries", str(scan), str(points), "--out", str(warm), *SWITCHES])
        print(
            f"| {name} | all, first job of a worker | {wall:.1f} | {used:.1f} | {resident(worker):.0f} | |", flush=True
        )
        for number, (code, shift) in enumerate(MOVES, 1):
            truth = [moved(point, shift) if point.code == code else point for point in truth]
            write_annotation(points, truth, anatomy)
            arguments = ["arteries", str(scan), str(points), "--previous", str(previous), *SWITCHES, "--out"]
            wall, used = timed(worker, [*arguments, str(folder / f"{number}")])
            cold([*arguments, str(folder / f"cold-{number}")])
            pairs = [(folder / f"{k}" / "scan" / f for k in (number, f"cold-{number}")) for f in FILES]
            same = all(one.read_bytes() == other.read_bytes() for one, other in pairs)
            row = f"| {name} | {code} moved by {abs(shift)} mm | {wall:.2f} | {used:.2f} | {resident(worker):.0f} |"
            print(row, "yes |" if same else "NO |", flush=True)
            previous = folder / f"{number}" / "scan"


def cold(arguments: list[str]) -> tuple[float, float]:
    """Wall-clock and processor seconds of a process of its own."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "CoWLandmarksLib", *arguments], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise RuntimeError(f"{arguments} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def timed(worker: Worker, arguments: list[str]) -> tuple[float, float]:
    """Wall-clock seconds, and processor seconds of the worker, of one job."""
    before = processor_seconds(worker)
    started = time.perf_counter()
    events = worker.wait(worker.submit(arguments))
    seconds = time.perf_counter() - started
    if events[-1].code != 0:
        raise RuntimeError(events[-1].event.message)
    return seconds, processor_seconds(worker) - before


def processor_seconds(worker: Worker) -> float:
    """Processor seconds of the worker so far, from Linux."""
    if worker.process_id is None:
        return 0.0
    fields = Path(f"/proc/{worker.process_id}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(worker: Worker) -> float:
    """Highest resident memory of the worker in MB, from Linux."""
    lines = Path(f"/proc/{worker.process_id}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))


def moved(point: LandmarkEstimate, shift: float) -> LandmarkEstimate:
    """The landmark, moved along R."""
    if point.position is None:
        return point
    r, a, s = point.position
    return replace(point, position=(r + shift, a, s), corrected=True)


if __name__ == "__main__":
    sys.exit(main())
