"""The road of a user with few scans, timed: scenes -> check -> split -> align -> train -> evaluate -> detect.

    python Testing/Benchmarks/users_road.py --work DIR                 training begins from the model that ships
    python Testing/Benchmarks/users_road.py --work DIR --by landmarks  the scans are aligned by their landmarks
    python Testing/Benchmarks/users_road.py --work DIR --from-nothing  both networks of the preset from nothing

12 synthetic TOF-MRA scenes, saved as .mrb, and 40 CTA landmark sets without images are made first (seeds 5 and 6; not
part of the times). Then every step is one command in a process of its own, as a user would type it, preset cpu, one
thread. The table tells seconds by the clock, processor seconds (which other work on the machine hardly changes) and
memory. DIR must be empty; scenes, models, reports and pictures are left there.
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
FEW_SCANS = {
    "training.start_from": "default",
    "coarse.start_from": "default",
    "coarse.steps": 0,
    "training.pretrain_steps": 120,
    "training.adversarial_steps": 40,
    "training.learning_rate": 2e-4,
    "training.alpha": 10.0,
}
"""Begin from the model that ships: its coarse network as it is, the fine one trained on for a few minutes."""


def main() -> int:
    """Go the road and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="empty folder for everything")
    parser.add_argument("--by", choices=["template", "landmarks"], default="template", help="way of alignment")
    parser.add_argument("--from-nothing", action="store_true", help="the preset as it is")
    arguments = parser.parse_args()
    work: Path = arguments.work
    if work.exists() and any(work.iterdir()):
        parser.error(f"'{work}' is not empty")
    make_scenes(work)
    cohort = [str(work / "scenes"), str(work / "sets")]
    model, aligned = str(work / "training" / "model.cow.pt"), str(work / "aligned")
    changes = {} if arguments.from_nothing else FEW_SCANS
    train = ["train", aligned, "--out", str(work / "training"), "--preset", "cpu"]
    train += [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
    rows = [
        timed(["check", *cohort]),
        timed(["split", *cohort]),
        timed(["align", *cohort, "--out", aligned, "--by", arguments.by, "--processes", "1"]),
        timed(train),
        timed(["evaluate", model, *cohort, "--split", "test", "--out", str(work / "report")]),
    ]
    shipped = ROOT / "CoWLandmarks" / "CoWLandmarksLib" / "Resources" / "Models" / "default.cow.pt"
    compared = timed(["evaluate", str(shipped), *cohort, "--split", "test", "--out", str(work / "report-shipped")])
    scan = scan_of_a_test_case(work)
    rows.append(timed(["detect", str(scan), "--model", model, "--out", str(work / "detected")], "CoWLandmarksLib"))
    print(f"\n{machine()}\n\n{table(rows)}\n")
    for name in ("report", "report-shipped"):
        report = json.loads((work / name / "evaluation.json").read_text(encoding="utf-8"))
        print(f"{name}: {json.dumps(report['figures']['subvoxel']['all'])}")
    (work / "road.json").write_text(json.dumps([*rows, compared], indent=1), encoding="utf-8")
    return 0


def make_scenes(work: Path) -> None:
    """`scenes/NAME.mrb` and nothing else of the scans; `sets/` landmarks alone; the scans themselves in `phantoms/`."""
    phantoms = work / "phantoms"
    timed(["phantom", "--mra", "12", "--seed", "5", "--scenes", "--out", str(phantoms)])
    timed(["phantom", "--cta", "40", "--seed", "6", "--out", str(work / "sets")])
    for described in sorted((work / "sets").rglob("case.json")):
        content = json.loads(described.read_text(encoding="utf-8"))
        for voxels in ("image", "vessel_mask"):
            (described.parent / str(content.pop(voxels))).unlink()
        described.write_text(json.dumps(content), encoding="utf-8")
    (work / "scenes").mkdir()
    for scene in sorted(phantoms.rglob("scene.mrb")):
        shutil.move(scene, work / "scenes" / f"{scene.parent.name}.mrb")


def scan_of_a_test_case(work: Path) -> Path:
    """The image of the first test patient's scan."""
    splits = json.loads((work / "scenes" / "splits.json").read_text(encoding="utf-8"))
    patients = set(splits["patients"]["test"])
    for described in sorted((work / "phantoms").rglob("case.json")):
        content = json.loads(described.read_text(encoding="utf-8"))
        if content.get("patient", content["case"]) in patients:
            return described.parent / str(content["image"])
    raise SystemExit("No test case was found.")


def timed(words: Sequence[str], program: str = "CoWLandmarksTrainingLib") -> dict[str, Any]:
    """Run a command; its seconds by the clock, processor seconds and peak memory (MB), child processes included."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining"))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    name = {"CoWLandmarksTrainingLib": "cowlandmarks-train", "CoWLandmarksLib": "cowlandmarks"}[program]
    print(f"\n$ {name} {' '.join(words)}", flush=True)
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", program, *words], env=environment)
    _, status, used = os.wait4(process.pid, 0)
    code = process.returncode = os.waitstatus_to_exitcode(status)
    if code not in (0, 2):
        raise SystemExit(f"'{words[0]}' ended with code {code}.")
    return {
        "command": words[0],
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
    lines = ["| step | by the clock | processor time | peak memory |", "|---|---|---|---|"]
    for row in rows:
        lines.append(
            f"| {row['command']} | {row['seconds']:.0f} s | {row['processor_seconds']:.0f} s | "
            f"{row['memory_mb'] / 1000:.1f} GB |"
        )
    clock, processor = (sum(row[key] for row in rows) / 60.0 for key in ("seconds", "processor_seconds"))
    return "\n".join([*lines, f"| all | {clock:.0f} min | {processor:.1f} min | |"])


if __name__ == "__main__":
    sys.exit(main())
