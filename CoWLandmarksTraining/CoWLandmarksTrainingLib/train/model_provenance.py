"""What a model records of its training: provenance and description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from CoWLandmarksLib import PROGRAM

if TYPE_CHECKING:
    from .training import Training


def model_provenance(training: Training, steps: Mapping[str, Any]) -> dict[str, Any]:
    """What the file of a model says of its making; `steps` by stage. Numbers only, no names of cases or patients."""
    return {
        **training.data.provenance(),
        "program": PROGRAM,
        "preset": training.plan.name,
        "seed": training.plan.training.seed,
        **({"case_seeds": [training.phantom_seed]} if training.data.uses_phantoms else {}),
        **steps,
        **(
            {}
            if training.start is None
            else {"started_from": {"model": training.start.name, **_without_cohort(training.start.provenance)}}
        ),
        "plan": _plan_without_paths(training),
    }


def model_description(training: Training) -> str:
    """A few sentences for people."""
    trained = [f"{stage.name} {stage.settings.all_steps}" for stage in training.stages if not stage.fixed]
    sentences = [
        training.description,
        f"Trained with {PROGRAM} on {training.data.description()}; steps: {', '.join(trained)}.",
        *training.data.frame.notes,
        "Research use only; not a medical device; its accuracy on patients is not established. Check every point.",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def known_seeds(recorded: Any, *, are_seeds: bool = False) -> Iterator[int]:
    """Seeds in a model's provenance: its own, its networks', those of their cases and of the models before it.

    A provenance is free in form; what is no whole number is passed over. `are_seeds`: all numbers in it are.
    """
    if isinstance(recorded, Mapping):
        for key, value in recorded.items():
            if key not in ("calibration", "plan"):
                yield from known_seeds(value, are_seeds=are_seeds or key in ("seed", "case_seeds"))
    elif isinstance(recorded, (list, tuple)):
        for value in recorded:
            yield from known_seeds(value, are_seeds=are_seeds)
    elif are_seeds and isinstance(recorded, int) and not isinstance(recorded, bool):
        yield recorded


def _plan_without_paths(training: Training) -> dict[str, Any]:
    plan = training.plan.to_dict()
    plan["training"]["start_from"] = Path(plan["training"]["start_from"]).name
    return plan


def _without_cohort(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A provenance without the settings of its training, which would grow with every training on."""
    return {key: value for key, value in provenance.items() if key != "plan"}
