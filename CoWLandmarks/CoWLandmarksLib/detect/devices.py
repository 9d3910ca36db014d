"""The device that networks run on."""

from __future__ import annotations

import torch

from ..core.errors import ConfigurationError

GPU_FULL = "The graphics card has too little memory; the CPU was used."


def choose_device(name: str) -> torch.device:
    """Device for "auto", "cpu", "cuda" or "mps"; raises ConfigurationError when it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("There is no usable CUDA device here; use --device cpu or auto.")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigurationError("There is no usable Apple GPU here; use --device cpu or auto.")
    if name not in ("cpu", "cuda", "mps"):
        raise ConfigurationError(f"'{name}' is no device; use auto, cpu, cuda or mps.")
    return torch.device(name)
