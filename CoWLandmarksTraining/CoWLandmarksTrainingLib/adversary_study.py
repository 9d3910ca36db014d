"""Does the discriminator help? The rows of Table 1 of Tan et al. 2023 on one aligned cohort, over several seeds.

Every arm has the same generator, the same number of steps and the same data order; only the discriminator differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from CoWLandmarksLib.errors import ConfigurationError
from CoWLandmarksLib.files import write_json, write_text
from CoWLandmarksLib.model import Model

from .aligned import AlignedCase
from .aligned_samples import usable
from .crop_validation import FineValidation
from .trainer import LogSink
from .training import CohortTraining, check_cohort, claim
from .training_plan import TrainingPlan


@dataclass(frozen=True)
class Arm:
    """One row: `prior` as in [training] (None: no discriminator), and whether it sees coordinates and distance."""

    prior: str | None
    layout: bool = False

    def plan(self, plan: TrainingPlan, seed: int) -> TrainingPlan:
        """The plan of this arm; a baseline spends the adversarial steps on the generator alone."""
        own = plan.training
        if self.prior is None:
            steps = own.pretrain_steps + own.adversarial_steps
            changed = {"pretrain_steps": steps, "adversarial_steps": 0, "seed": seed, "prior": "none"}
            return plan.with_values(training=changed)
        return plan.with_values(
            training={"prior": self.prior, "seed": seed},
            discriminator={"coordinates": self.layout, "distance": self.layout},
        )


def arms_of(plan: TrainingPlan) -> dict[str, Arm]:
    """The rows of the table for the image modality of a plan; the other modality is the prior."""
    images = plan.training.image_modality
    if images == "both":
        raise ConfigurationError("The study needs one image modality; choose --image-modality mra or cta.")
    other = "cta" if images == "mra" else "mra"
    own, pair = f"D-{images.upper()}", f"D-{images.upper()}-{other.upper()}"
    return {
        "baseline": Arm(None),
        own: Arm("none"),
        f"{own} + coordinates and distance": Arm("none", layout=True),
        pair: Arm(other),
        f"{pair} + coordinates and distance": Arm(other, layout=True),
    }


def run_study(
    base: CohortTraining,
    seeds: Sequence[int],
    split: str,
    *,
    chosen: Sequence[str] | None = None,
    on_log: LogSink | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train the fine network of every arm and seed, and read the crops of a split with it.

    Finished trainings are kept, stopped ones go on. `chosen`: only these arms. Writes study.json and study.md into
    the folder of `base`; raises what a training raises.
    """
    check_cohort(base)
    arms = {name: arm for name, arm in arms_of(base.plan).items() if chosen is None or name in chosen}
    if not arms:
        raise ConfigurationError(f"There is no such arm; use one of {', '.join(arms_of(base.plan))}.")
    cases = usable(base.cohort.cases(split, base.plan.training.image_modalities[0], has_image=True))
    if not cases:
        raise ConfigurationError(f"The split '{split}' has no scan to compare the arms on.")
    tell = on_log or (lambda entry: None)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for seed in seeds:
        for name, arm in arms.items():
            folder = base.out / f"seed-{seed}" / name.replace(" + coordinates and distance", "-layout")
            training = replace(base, plan=arm.plan(base.plan, seed), out=folder)
            result = _trained(training, cases, name, tell, should_stop)
            rows[name].append({"seed": seed, **result})
    report = {
        "schema": "cow-adversary-study/1",
        "split": split,
        "scans": len(cases),
        "plan": base.plan.to_dict(),
        "arms": {name: {"runs": runs, "mean": _mean(runs)} for name, runs in rows.items()},
    }
    write_json(base.out / "study.json", report)
    write_text(base.out / "study.md", study_table(report))
    return report


def _trained(
    training: CohortTraining,
    cases: tuple[AlignedCase, ...],
    name: str,
    tell: LogSink,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    claim(training, resume=True)
    trainer = training.fine_trainer()
    trainer.resume()
    model: Model = training.model(training.coarse_trainer(), trainer)  # whose coarse network is not read here
    trainer.run(lambda entry: tell({"network": name, **entry}), should_stop, training.fine_validation(model))
    validation = FineValidation(model, cases, training.device, training.out / "pictures")
    return validation(trainer.averaged_generator().to(training.device), trainer.step)


def _mean(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and SD over seeds of every figure."""
    keys = ("mre_mm", "median_mm", "sdr_2mm", "sdr_4mm", "confusion")
    return {
        key: {"mean": float(np.mean([run[key] for run in runs])), "sd": float(np.std([run[key] for run in runs]))}
        for key in keys
        if all(key in run for run in runs)
    }


def study_table(report: Mapping[str, Any]) -> str:
    """The arms as a Markdown table, mean (SD over seeds)."""
    lines = [
        f"{report['scans']} scans of the split '{report['split']}', read on aligned crops; mean (SD) over seeds.",
        "",
        "| arm | seeds | MRE mm | median mm | SDR 2 mm % | SDR 4 mm % | confusions % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, arm in report["arms"].items():
        cells = []
        for key, factor in (("mre_mm", 1), ("median_mm", 1), ("sdr_2mm", 100), ("sdr_4mm", 100), ("confusion", 100)):
            figure = arm["mean"].get(key)
            cells.append("-" if figure is None else f"{factor * figure['mean']:.2f} ({factor * figure['sd']:.2f})")
        lines.append(f"| {name} | {len(arm['runs'])} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
