"""A researcher's way with few scans, timed: check, split, align, train, evaluate, compare, detect.

    python Testing/Benchmarks/few_scans.py --work DIR                     12 scenes, trained on from the default model
    python Testing/Benchmarks/few_scans.py --work DIR --phantoms 0.5      the same with phantoms beside them
    python Testing/Benchmarks/few_scans.py --work DIR --by landmarks      the scans are aligned by their landmarks
    python Testing/Benchmarks/few_scans.py --work DIR --set coarse.steps=80 --set circle.steps=240 --set fine.steps=240

12 synthetic TOF-MRA scenes of one scanner (`--family site`; 10 to learn from, 2 for validation), saved as .mrb, 40 CTA
landmark sets without images and 48 scans for the test are made first (seeds 31, 32 and 33; not part of the times). Then
every step is one command in a process of its own, as a user would type it, preset cpu, one thread. The table tells
wall-clock seconds, processor seconds (which other work on the machine hardly changes) and memory. DIR must be empty;
scenes, models, reports and pictures are left there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the workflow and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="empty folder for everything")
    parser.add_argument("--by", choices=["template", "landmarks"], default="template", help="way of alignment")
    parser.add_argument("--phantoms", type=float, default=0.0, metavar="SHARE", help="share of phantoms beside them")
    parser.add_argument("--start-from", default="default", metavar="MODEL", help="what to begin from (or 'nothing')")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="settings of train")
    parser.add_argument("--phantom-version", default="3", help="default: 3")
    arguments = parser.parse_args()
    work: Path = arguments.work
    if work.exists() and any(work.iterdir()):
        parser.error(f"'{work}' is not empty")
    make_scenes(work, arguments.phantom_version)
    cohort = [str(work / "scenes"), str(work / "sets")]
    model, aligned = str(work / "training" / "model.cow.pt"), str(work / "aligned")
    train = ["train", aligned, "--out", str(work / "training"), "--start-from", arguments.start_from]
    train += ["--seed", str(arguments.seed), "--phantoms", str(arguments.phantoms)]
    train += ["--set", f"data.phantom_version={arguments.phantom_version}"]
    train += [argument for value in arguments.set for argument in ("--set", value)]
    shipped = ROOT / "CoWLandmarks" / "CoWLandmarksLib" / "Resources" / "Models" / "default.cow.pt"
    unseen, reports = str(work / "unseen"), (str(work / "report-shipped"), str(work / "report"))
    rows = [
        timed(["check", *cohort]),
        timed(["split", *cohort, "--validation", "0.17", "--test", "0", "--seed", "1"]),
        timed(["align", *cohort, "--out", aligned, "--by", arguments.by, "--processes", "1"]),
        timed(train),
        timed(["evaluate", model, unseen, "--out", reports[1]]),
    ]
    compared = timed(["evaluate", str(shipped), unseen, "--out", reports[0]])
    timed(["compare", *reports])
    scan = next(iter(sorted((work / "unseen").rglob("image.nii.gz"))))
    rows.append(timed(["detect", str(scan), "--model", model, "--out", str(work / "detected")], "CoWLandmarksLib"))
    print(f"\n{machine()}\n\n{table(rows)}\n")
    for name in ("report-shipped", "report"):
        report = json.loads((work / name / "evaluation.json").read_text(encoding="utf-8"))
        print(f"{name}: {json.dumps(report['figures']['subvoxel']['all'])}")
    (work / "workflow.json").write_text(json.dumps([*rows, compared], indent=1), encoding="utf-8")
    return 0


def make_scenes(work: Path, version: str) -> None:
    """`scenes/NAME.mrb` and nothing else of the scans; `sets/` landmarks alone; `unseen/` for the test."""
    phantoms = work / "phantoms"
    site = ["--family", "site", "--phantom-version", version]
    timed(["phantom", "--mra", "12", "--seed", "31", *site, "--scenes", "--out", str(phantoms)])
    timed(["phantom", "--cta", "40", "--seed", "32", *site, "--out", str(work / "sets")])
    timed(["phantom", "--mra", "48", "--seed", "33", *site, "--out", str(work / "unseen")])
    for described in sorted((work / "sets").rglob("case.json")):
        content = json.loads(described.read_text(encoding="utf-8"))
        for voxels in ("image", "vessel_mask"):
            (described.parent / str(content.pop(voxels))).unlink()
        described.write_text(json.dumps(content), encoding="utf-8")
    (work / "scenes").mkdir()
    for scene in sorted(phantoms.rglob("scene.mrb")):
        shutil.move(scene, work / "scenes" / f"{scene.parent.name}.mrb")


def timed(arguments: Sequence[str], program: str = "CoWLandmarksTrainingLib") -> dict[str, Any]:
    """Run a command; its wall-clock seconds, processor seconds and peak memory (MB), child processes included."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining"))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    name = {"CoWLandmarksTrainingLib": "cowlandmarks-train", "CoWLandmarksLib": "cowlandmarks"}[program]
    print(f"\n$ {name} {' '.join(arguments)}", flush=True)
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", program, *arguments], env=environment)
    _, status, used = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code not in (0, 2):
        raise SystemExit(f"'{arguments[0]}' ended with code {code}.")
    return {
        "command": arguments[0],
        "code": code,
        "seconds": time.monotonic() - began,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "memory_mb": used.ru_maxrss / 1024.0,
    }


def machine() -> str:
    """Processor, cores, Python and torch."""
    from detection_speed import machine as described

    return described()


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The steps as a Markdown table, with their sum."""
    lines = ["| step | wall-clock time | processor time | peak memory |", "|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['command']} | {row['seconds']:.0f} s | {row['processor_seconds']:.0f} s | "
            f"{row['memory_mb'] / 1000:.1f} GB |"
        )
    clock, processor = (sum(row[key] for row in rows) / 60.0 for key in ("seconds", "processor_seconds"))
    return "\n".join([*lines, f"| all | {clock:.0f} min | {processor:.1f} min | |"])


if __name__ == "__main__":
    sys.exit(main())
