"""A label scheme on phantoms: `--labels` against the exact lumens, and landmarks from exact labels.

    python Testing/Benchmarks/label_schemes.py --seed 1 --cases 12 --enrich 3

The label maps are made from arteries traced between the true landmarks (without their flags "by rule"), and compared
with the exact lumens in the same classes and region. For the other direction the exact label maps, within the region,
are turned into landmarks as `cowlandmarks-train import labels` does. A phantom is a phantom: these are no figures of
clinical accuracy.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "CoWLandmarks"), str(ROOT / "CoWLandmarksTraining"), str(ROOT / "Testing")]

from CoWLandmarksLib.arteries.continued_labels import label_volume  # noqa: E402
from CoWLandmarksLib.arteries.tracer import ArteryTracer  # noqa: E402
from CoWLandmarksLib.core.anatomy import default_anatomy, without_side  # noqa: E402
from CoWLandmarksLib.core.label_scheme import LabelScheme, read_label_scheme  # noqa: E402
from CoWLandmarksLib.core.volume import Modality  # noqa: E402
from CoWLandmarksTrainingLib.cohort.label_landmarks import landmarks_from_labels  # noqa: E402
from CoWLandmarksTrainingLib.phantom.phantom_cohort import PhantomCase, make_case  # noqa: E402
from phantom_option import add_phantom_version  # noqa: E402
from scheme_phantoms import true_labels  # noqa: E402

ANATOMY = default_anatomy()
Figures = dict[tuple[str, str], list[float]]


def main() -> int:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cases", type=int, default=12, help="cases of each modality")
    parser.add_argument("--enrich", type=float, default=1.0, help="uncommon variants so many times as likely")
    parser.add_argument("--scheme", default="topcow")
    add_phantom_version(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scheme = read_label_scheme(arguments.scheme)
    dice: Figures = defaultdict(list)
    errors: Figures = defaultdict(list)
    states: Figures = defaultdict(list)
    for index in range(arguments.cases):
        for modality in Modality:
            case = make_case(
                arguments.seed, index, modality, enrichment=arguments.enrich, version=arguments.phantom_version
            )
            compare_labels(case, scheme, dice)
            compare_landmarks(case, scheme, errors, states)
            print(case.name, file=sys.stderr, flush=True)
    print(dice_table(dice, scheme))
    print(f"\n{error_table(errors, states)}")
    return 0


def compare_labels(case: PhantomCase, scheme: LabelScheme, dice: Figures) -> None:
    """Add the Dice of every class of a case."""
    modality = case.volume.modality or Modality.MRA
    landmarks = tuple(replace(estimate, by_rule=False) for estimate in case.truth)
    traced = ArteryTracer(case.volume, modality, ANATOMY).trace(landmarks)
    found = label_volume(case.volume, modality, traced, scheme, ANATOMY).voxels
    truth = true_labels(case, scheme).voxels
    for one in scheme.classes:
        own, true = found == one.label, truth == one.label
        if own.any() or true.any():
            value = 2.0 * float((own & true).sum()) / float(own.sum() + true.sum())
            dice[modality.value, without_side(one.name)].append(value)
            dice[modality.value, "all classes"].append(value)
    either = 2.0 * float(((found > 0) & (truth > 0)).sum()) / max(float((found > 0).sum() + (truth > 0).sum()), 1.0)
    dice[modality.value, "vessel or not"].append(either)


def compare_landmarks(case: PhantomCase, scheme: LabelScheme, errors: Figures, states: Figures) -> None:
    """Add the error of every landmark of a case that is derived from its exact labels, and whether its state is right.

    A landmark that the true label map cannot tell (not derived) has neither.
    """
    truth = {estimate.code: estimate for estimate in case.truth}
    for estimate in landmarks_from_labels(true_labels(case, scheme), scheme, ANATOMY):
        true = truth[estimate.code]
        name = without_side(estimate.code)
        states[name, "all"].append(float(estimate.state is true.state))
        if estimate.position is not None and true.position is not None:
            error = float(np.linalg.norm(np.subtract(estimate.position, true.position)))
            errors[name, "by rule" if estimate.by_rule else "from contact"].append(error)
            errors["all", "all"].append(error)


def dice_table(dice: Figures, scheme: LabelScheme) -> str:
    """Markdown: Dice by class, both sides together; a class that only one of the two maps has counts as 0."""
    names = list(dict.fromkeys(without_side(one.name) for one in scheme.classes))
    lines = ["| class | MRA n | mean / median | CTA n | mean / median |", "|---|---|---|---|---|"]
    for name in [*names, "all classes", "vessel or not"]:
        cells = []
        for modality in Modality:
            values = dice.get((modality.value, name), [])
            middle = f"{np.mean(values):.2f} / {np.median(values):.2f}" if values else "-"
            cells.append(f"{len(values)} | {middle}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def error_table(errors: Figures, states: Figures) -> str:
    """Markdown: error of landmarks from labels in mm, and the share whose state is right."""
    lines = [
        "| landmark | | n | median mm | 90th percentile | largest | state right |",
        "|---|---|---|---|---|---|---|",
    ]
    for (name, how), values in sorted(errors.items()):
        right = states.get((name, "all"), [])
        share = f"{100 * np.mean(right):.0f} % of {len(right)}" if right else ""
        lines.append(
            f"| {name} | {how} | {len(values)} | {np.median(values):.2f} | {np.quantile(values, 0.9):.2f} "
            f"| {max(values):.1f} | {share} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
