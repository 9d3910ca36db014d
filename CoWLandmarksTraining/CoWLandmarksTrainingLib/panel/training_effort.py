"""What a training will take, roughly: time and disk space, from figures that were measured, all of them here. No torch.

The processor's are those of `Testing/Benchmarks/training_speed.py` on two quiet cores of an AMD EPYC
(Docs/use/training.md): 0.58, 1.04 and 0.54 s for the network's step of the coarse, circle and fine stage with
2, 1 and 2 samples, and 0.88 s for the fine one in phase 2, while another process makes the batches; a sample of the
circle stage takes 0.35 s there. A running training shows its own seconds per step instead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from CoWLandmarksLib.core.alignment import REFERENCE_SHAPE

from .log_following import Part, current_part, planned_parts


@dataclass(frozen=True)
class Machine:
    """Where networks were timed: seconds for one sample of a step, by stage, of 32 channels in bfloat16."""

    name: str
    network_seconds: Mapping[str, float]


PROCESSOR = Machine("two cores of an AMD EPYC", {"coarse": 0.29, "circle": 1.04, "fine": 0.27})
GPU = Machine("NVIDIA H200", {"coarse": 0.0021, "circle": 0.0050, "fine": 0.0015})
SAMPLE_SECONDS = {"coarse": 0.05, "circle": 0.35, "fine": 0.03}
"""To make one sample of a cohort, on one core of the processor."""
PHANTOM_SECONDS, PHANTOM_MB = 1.7, 2.9
"""To render one phantom for all stages, once, on one core; and its size."""
PHASE_2 = 1.6
"""The same step with the discriminator takes so many times as long."""
FULL_PRECISION = 1.8
"""The same without bfloat16."""
CHECKPOINT_MB, CHECKPOINTS, MODEL_MB = 98.0, 2, 18.0
"""Of a stage: the last and the one before; another one while it is written."""
NOOTHOUT_CHECKPOINT = 4.4
"""A checkpoint of the network of Noothout et al. (21.2 million weights, 426 MB) over the others'."""
BEGIN_SECONDS = 10.0
"""Until the processes that make batches are there."""
_MEASURED_WIDTH, _MEASURED_FOLD, _MEASURED_WINDOW = 32, 2, (48, 64, 64)
_MEASURED_STAGES = 3
PAYER_SIZE, NOOTHOUT_SIZE = 9.4, 1.4
"""Multiplications of the networks of Payer et al. and Noothout et al. over those of the fine network that was measured:
the former on a window of the same size, the latter, which averages voxels, on any."""


@dataclass(frozen=True)
class Effort:
    """Time on two cores of the processor and on a GPU, and disk space at most."""

    processor_seconds: float
    gpu_seconds: float
    disk_mb: float


def effort(plan: Mapping[str, Any]) -> Effort:
    """What a training with the settings `plan` takes."""
    parts, phantoms = planned_parts(plan), phantom_count(plan)
    sizes = [_checkpoint(plan[stage]) for stage in {part.stage for part in parts if part.steps}]
    disk = CHECKPOINT_MB * (CHECKPOINTS * sum(sizes) + max(sizes, default=1.0)) + PHANTOM_MB * phantoms
    disk += MODEL_MB * max(1.0, sum(sizes) / _MEASURED_STAGES)
    return Effort(_seconds(plan, parts, phantoms, PROCESSOR), _seconds(plan, parts, phantoms, GPU), disk)


def phantom_count(plan: Mapping[str, Any]) -> int:
    """How many phantoms are rendered; in the beginning there are few, and each is used several times."""
    data, share = plan["data"], float(plan["data"]["phantom_share"])
    if not share:
        return 0
    samples = max(plan[part.stage]["batch_size"] * (part.before + part.steps) for part in planned_parts(plan))
    there = min(data["phantom_cases"], samples // data["phantom_reuse"])
    if data["image_modality"] != "both":
        there //= 2  # those of one modality
    return math.ceil(min(there, share * samples))


def step_seconds(plan: Mapping[str, Any], part: Part, machine: Machine) -> float:
    """Of one step of a part; other processes make the batches meanwhile, where there are some."""
    own, batch = plan[part.stage], int(plan[part.stage]["batch_size"])
    network = batch * machine.network_seconds[part.stage] * _size(part.stage, own)
    network *= (PHASE_2 if part.phase == 2 else 1.0) * (1.0 if plan["training"]["mixed_precision"] else FULL_PRECISION)
    making = batch * SAMPLE_SECONDS[part.stage] / _makers(plan, machine)
    return max(network, making) if int(plan["training"]["workers"]) else network + making


def seconds_left(plan: Mapping[str, Any], parts: Sequence[Part]) -> float | None:
    """Of a running training, by its own pace as far as it is known; None before it is."""
    pace = _pace(plan, parts)
    if pace is None:
        return None
    machine, factor = pace
    return sum(part.seconds_left(part.seconds_per_step or factor * step_seconds(plan, part, machine)) for part in parts)


def first_step_seconds(plan: Mapping[str, Any], parts: Sequence[Part]) -> float:
    """From the beginning of the part at work to its first step, which waits for its batch and maybe for phantoms."""
    part = current_part(parts)
    if part is None:
        return 0.0
    machine, factor = _pace(plan, parts) or (PROCESSOR, 1.0)
    batch = plan[part.stage]["batch_size"]
    phantoms = math.ceil(batch * float(plan["data"]["phantom_share"])) * PHANTOM_SECONDS
    begin = 0.0 if part.before else BEGIN_SECONDS
    return begin + phantoms + batch * SAMPLE_SECONDS[part.stage] + factor * step_seconds(plan, part, machine)


def _seconds(plan: Mapping[str, Any], parts: Sequence[Part], phantoms: int, machine: Machine) -> float:
    steps = sum(part.seconds_left(step_seconds(plan, part, machine)) for part in parts)
    return steps + PHANTOM_SECONDS * phantoms / _makers(plan, machine)


def _pace(plan: Mapping[str, Any], parts: Sequence[Part]) -> tuple[Machine, float] | None:
    """The machine that this training is most like, and how many times as long it takes; None without figures."""
    known = [part for part in parts if part.seconds_per_step]
    if not known:
        return None
    last, seconds = known[-1], float(known[-1].seconds_per_step or 0.0)
    factors = [(machine, seconds / step_seconds(plan, last, machine)) for machine in (PROCESSOR, GPU)]
    return min(factors, key=lambda pair: abs(math.log(pair[1])))


def _makers(plan: Mapping[str, Any], machine: Machine) -> int:
    """Processes that make batches at the same time; beside the network there is room for one on the processor."""
    return max(1, int(plan["training"]["workers"])) if machine is GPU else 1


def _checkpoint(own: Mapping[str, Any]) -> float:
    """How many times as large as the others' the checkpoint of a stage is."""
    return NOOTHOUT_CHECKPOINT * (own["base_width"] / 16) ** 2 if own["method"] == "noothout" else 1.0


def _size(stage: str, own: Mapping[str, Any]) -> float:
    """How much larger the work of a network is than that of the one that was measured."""
    if own["method"] == "noothout":
        return NOOTHOUT_SIZE * (own["base_width"] / 16) ** 2
    size = (own["base_width"] / _MEASURED_WIDTH) ** 2 * (_MEASURED_FOLD / own["fold"]) ** 3
    if stage == "fine":
        window = own["window"] if min(own["window"]) else REFERENCE_SHAPE
        if own["method"] == "payer":
            size = PAYER_SIZE * (own["base_width"] / 64) ** 2
        size *= math.prod(window) / math.prod(_MEASURED_WINDOW)
    return float(size)
