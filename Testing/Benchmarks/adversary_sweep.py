"""Which discriminator teaches anatomy? Phase 2 from one phase-1 model, once for each known cure, on validation cases.

    python Testing/Benchmarks/adversary_sweep.py ALIGNED --start MODEL.cow.pt --out DIR --steps 250 --seed 1

ALIGNED is a folder that `cowlandmarks-train align` has written, MODEL a model trained on it without discriminator,
whose network reads the whole crop (training_ablations.py keeps one). Every arm has the same steps, rates and order of
data; `generator alone` has no discriminator. "Accuracy" is that of the discriminator in the last fifth of the steps;
"cosine" is the mean, over confused points, of the cosine between what the discriminator asks for and the change that
would be right (1: exactly that, 0: something else). Finished arms are kept in DIR, stopped ones go on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining")]

ALONE = "generator alone"
ARMS: dict[str, dict[str, Any]] = {
    ALONE: {},
    "plain, logistic (paper)": {"view": "plain", "objective": "logistic", "r1": 0.0},
    "squared, least squares, R1 0.1": {"view": "squared", "objective": "lsgan", "r1": 0.1},
    "the same, gradient_share 0.2": {"view": "squared", "objective": "lsgan", "r1": 0.1, "gradient_share": 0.2},
    "squared, hinge, R1 0.1": {"view": "squared", "objective": "hinge", "r1": 0.1},
    "rendered, least squares, share 0.1, rate 5e-4": {
        "view": "rendered",
        "objective": "lsgan",
        "r1": 0.0,
        "gradient_share": 0.1,
        "learning_rate": 5e-4,
    },
}
"""Settings of [discriminator]; gradient_share is 0.05 and the rate 1e-4 where they are not named."""


def main() -> int:
    """Train the arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("aligned", type=Path)
    parser.add_argument("--start", type=Path, required=True, help="model file of phase 1")
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings and of sweep-SEED.json")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arm", action="append", choices=list(ARMS), help="only this one (can be repeated)")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"sweep-{arguments.seed}.json"
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name in arguments.arm or ARMS:
        if name not in rows:
            rows[name] = trained(arguments, name)
            path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
            print(f"{name}: {rows[name]}", flush=True)
    print(table({name: rows[name] for name in ARMS if name in rows}))
    return 0


def trained(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """Figures of one arm on all validation cases, and what its discriminator did."""
    import torch
    from CoWLandmarksLib.model import load_model
    from CoWLandmarksTrainingLib.adversary_study import run_study
    from CoWLandmarksTrainingLib.aligned import AlignedCohort
    from CoWLandmarksTrainingLib.config_file import ConfigFile
    from CoWLandmarksTrainingLib.processes import Processes
    from CoWLandmarksTrainingLib.training import CohortTraining
    from CoWLandmarksTrainingLib.training_plan import PRESETS

    began = time.process_time()
    start = load_model(arguments.start)
    tables: dict[str, dict[str, Any]] = {
        "generator": {
            "base_width": start.fine.config.base_width,
            "window": [0, 0, 0],
            "priors": False,
            "decode_with_prior": False,
            "sigma_mm": start.fine.sigma_mm,
        },
        "training": {
            "pretrain_steps": 0,
            "adversarial_steps": arguments.steps,
            "batch_size": arguments.batch,
            "learning_rate": 3e-4,
            "final_learning_rate": 3e-5,
            "warm_up_steps": 20,
            "average_decay": 0.98,
            "mixed_precision": False,
            "validate_every": 0,
            "log_every": 5,
            "checkpoint_seconds": 120.0,
            "start_from": str(arguments.start.absolute()),
            "seed": arguments.seed,
        },
        "discriminator": {"gradient_share": 0.05, **ARMS[name]},
        "coarse": {"steps": 0, "start_from": "default"},
    }
    plan = PRESETS["cpu"].with_file(ConfigFile(Path("sweep"), tables))
    out = arguments.out / f"seed-{arguments.seed}" / "".join(c if c.isalnum() else "-" for c in name)
    cohort = AlignedCohort.read(arguments.aligned, check_inputs=False)
    base = CohortTraining(cohort, plan, out, torch.device("cpu"), Processes())
    arm = "baseline" if name == ALONE else "D-MRA-CTA + coordinates and distance"
    report = run_study(base, [arguments.seed], "validation", chosen=[arm])
    [run] = report["arms"][arm]["runs"]
    logs = [json.loads(line) for line in next(out.rglob("log.jsonl")).read_text(encoding="utf-8").splitlines()]
    return {**run, **discriminator_record(logs), "processor_seconds": round(time.process_time() - began)}


def discriminator_record(logs: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy and lambda of the last fifth of a log, and the mean cosine over all confused points in it."""
    judged = [entry for entry in logs if entry.get("discriminator_accuracy") is not None]
    if not judged:
        return {"accuracy": None, "lambda_adv": None, "cosine": None, "confused": 0}
    late = judged[-max(1, len(judged) // 5) :]
    told = [entry for entry in judged if entry["cosine_to_truth"] is not None]
    confused = sum(entry["confused_points"] for entry in told)
    cosine = sum(entry["cosine_to_truth"] * entry["confused_points"] for entry in told)
    return {
        "accuracy": sum(entry["discriminator_accuracy"] for entry in late) / len(late),
        "lambda_adv": late[-1]["lambda_adv"],
        "cosine": cosine / confused if confused else None,
        "confused": confused,
    }


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The arms as a Markdown table."""
    lines = [
        "| discriminator | MRE (SD) mm | median mm | within 2 mm | within 4 mm | confusions | accuracy | cosine "
        "(confused points) | processor time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.2f}"
        cosine = "-" if row["cosine"] is None else f"{row['cosine']:.3f} ({row['confused']})"
        lines.append(
            f"| {name} | {row['mre_mm']:.2f} ({row['sd_mm']:.2f}) | {row['median_mm']:.2f} "
            f"| {100 * row['sdr_2mm']:.1f} % | {100 * row['sdr_4mm']:.1f} % | {100 * row['confusion']:.1f} % "
            f"| {accuracy} | {cosine} | {row['processor_seconds']} s |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
