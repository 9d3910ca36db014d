"""What each option beyond the paper is worth in a short training of the fine network, phase 1 only.

    python Testing/Benchmarks/training_ablations.py ALIGNED --out DIR   every arm, 400 steps from nothing
    python Testing/Benchmarks/training_ablations.py ALIGNED --out DIR --arm "no mirroring" --seed 2

ALIGNED is a folder that `cowlandmarks-train align` has written. All arms have the same data order, steps and first
weights and differ in one option; they are compared on the crops of the validation cases. One seed tells little:
differences below the spread between seeds mean nothing. Weights averaged over steps (EMA) and those of the last step
come from the same training. "Presence" is the share of pairs of an absent and a present landmark in which the present
one has the higher heatmap (area under the ROC curve). The model of the common setting is kept for adversary_sweep.py.
Finished arms are kept in DIR, stopped ones go on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("CoWLandmarks", "CoWLandmarksTraining")]

if TYPE_CHECKING:
    from CoWLandmarksLib.generator import Generator
    from CoWLandmarksTrainingLib.training import CohortTraining

COMMON = "common setting"
ARMS: dict[str, dict[str, dict[str, Any]]] = {
    COMMON: {},
    "no mirroring": {"augmentation": {"mirror": False}},
    "no rotation, scale, elastic": {"augmentation": {"rotation_deg": 0.0, "scale": 0.0, "elastic_mm": 0.0}},
    "no gain, gamma, noise": {"augmentation": {"gain": 0.0, "gamma": 0.0, "noise": 0.0}},
    "translations of 2 mm only (paper)": {
        "augmentation": {
            "translation_mm": 2.0,
            "mirror": False,
            **dict.fromkeys(("rotation_deg", "scale", "elastic_mm", "gain", "gamma", "noise"), 0.0),
        }
    },
    "targets on voxels": {"generator": {"subvoxel_targets": False}},
    "deep supervision, 2 levels": {"training": {"deep_supervision": 2}},
    "absent landmarks do not count": {"generator": {"learn_absence": False}},
}
"""What each arm changes in the common setting."""


def main() -> int:
    """Train the arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("aligned", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings and of ablations.json")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--width", type=int, default=16, help="channels of the first level")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--arm", action="append", choices=list(ARMS), help="only this one (can be repeated)")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    chosen = arguments.arm or list(ARMS)
    path = arguments.out / f"ablations-{arguments.seed}.json"
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name in chosen:
        if name in rows:
            continue
        rows[name] = trained(arguments, ARMS[name])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        print(f"{name}: {rows[name]['averaged']}", flush=True)
    print(table({name: rows[name] for name in ARMS if name in rows}))
    return 0


def trained(arguments: argparse.Namespace, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of one arm, of its averaged and of its last weights."""
    import torch
    from CoWLandmarksLib.model import save_model
    from CoWLandmarksTrainingLib.aligned import AlignedCohort
    from CoWLandmarksTrainingLib.processes import Processes
    from CoWLandmarksTrainingLib.training import CohortTraining
    from CoWLandmarksTrainingLib.training_plan import PRESETS

    began = time.process_time()
    plan = PRESETS["cpu"].with_values(
        generator={
            "base_width": arguments.width,
            "window": (0, 0, 0),
            "priors": False,
            "decode_with_prior": False,
            "sigma_mm": 2.5,
        },
        training={
            "pretrain_steps": arguments.steps,
            "adversarial_steps": 0,
            "prior": "none",
            "learning_rate": 1e-3,
            "final_learning_rate": 1e-4,
            "average_decay": 0.98,
            "batch_size": arguments.batch,
            "mixed_precision": False,
            "validate_every": 0,
            "checkpoint_seconds": 120.0,
            "seed": arguments.seed,
        },
    )
    name = "-".join(f"{key}-{value}" for part in changes.values() for key, value in part.items()) or "common"
    out = arguments.out / f"seed-{arguments.seed}" / name[:80]
    cohort = AlignedCohort.read(arguments.aligned, check_inputs=False)
    training = CohortTraining(cohort, plan.with_values(**changes), out, torch.device("cpu"), Processes())
    trainer = training.fine_trainer()
    trainer.resume()
    trainer.run()
    if not changes:
        save_model(training.model(training.coarse_trainer(), trainer), training.model_file)
    averaged = figures(training, trainer.averaged_generator())
    last = figures(training, trainer.generator.eval())
    return {"averaged": averaged, "last": last, "processor_seconds": round(time.process_time() - began)}


def figures(training: CohortTraining, generator: Generator) -> dict[str, Any]:
    """Errors on the crops of the validation cases, and how well peaks tell present landmarks from absent ones."""
    import torch
    from CoWLandmarksTrainingLib.aligned import ABSENT, INSIDE
    from CoWLandmarksTrainingLib.crop_validation import FineValidation

    coarse = training.coarse_trainer()  # of which only the form is needed
    fine = training.fine_trainer()
    validation = FineValidation(
        training.model(coarse, fine), training.validation_cases, training.device, training.out / "pictures"
    )
    row = validation(generator, training.plan.training.pretrain_steps)
    present, absent = [], []
    with torch.inference_mode():
        for case in training.validation_cases:
            image = torch.from_numpy(np.asarray(case.crop(), np.float32))[None, None]
            peaks = generator(image)[0].flatten(1).amax(dim=1).numpy()
            present += peaks[case.status == INSIDE].tolist()
            absent += peaks[case.status == ABSENT].tolist()
    higher = np.array(present)[:, None] > np.array(absent)[None]
    return {**row, "absent": len(absent), "presence": float(higher.mean()) if absent else None}


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The arms as a Markdown table."""
    lines = [
        "| | MRE (SD) mm | median mm | within 2 mm | within 4 mm | confusions | presence | processor time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        lines.append(_line(name, row["averaged"], f"{row['processor_seconds']} s"))
        if name == COMMON:
            lines.append(_line("weights of the last step, not averaged", row["last"], "same training"))
    return "\n".join(lines)


def _line(name: str, row: Mapping[str, Any], seconds: str) -> str:
    presence = "-" if row["presence"] is None else f"{row['presence']:.2f} ({row['absent']} absent)"
    return (
        f"| {name} | {row['mre_mm']:.2f} ({row['sd_mm']:.2f}) | {row['median_mm']:.2f} | {100 * row['sdr_2mm']:.1f} % "
        f"| {100 * row['sdr_4mm']:.1f} % | {100 * row['confusion']:.1f} % | {presence} | {seconds} |"
    )


if __name__ == "__main__":
    sys.exit(main())
