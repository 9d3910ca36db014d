"""Memory of a training: how much it used, and what to do where there is too little."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from CoWLandmarksLib.core.errors import ConfigurationError, is_out_of_memory

MEMORY_ADVICE = (
    "raise {stage}.accumulate, or use training.checkpoint_activations, training.mixed_precision, a smaller "
    "{stage}.batch_size or {stage}.base_width"
)


@contextmanager
def enough_memory(what: str, advice: str = "use a smaller batch_size or base_width") -> Iterator[None]:
    """ConfigurationError in place of torch's message when there is too little memory for `what` happens inside."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ConfigurationError(f"There is too little memory for {what}; {advice}.") from error


def memory_mb(device: torch.device) -> float | None:
    """Largest memory used so far in MB: of the graphics card, or of this process where the system tells it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024.0
    return None
