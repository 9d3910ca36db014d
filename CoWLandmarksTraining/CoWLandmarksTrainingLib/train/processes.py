"""Training in several processes (torchrun): rank of this one, and sums over all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

Item = TypeVar("Item")
_PATIENCE = timedelta(hours=12)
"""The others wait while the first process calibrates."""


@dataclass(frozen=True)
class Processes:
    """Process `rank` of `world`; alone, every question answers itself. All processes must ask the same questions."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of a batch."""
        part = len(items) // self.world
        return items[self.rank * part : (self.rank + 1) * part]

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Sum over all processes, elementwise."""
        if self.world > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def average_gradients(self, module: torch.nn.Module) -> None:
        """Give every process the mean gradient (for modules whose loss needs second derivatives, which
        DistributedDataParallel does not support)."""
        if self.world == 1:
            return
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        flat = self.sum(torch.cat([gradient.flatten() for gradient in gradients])) / self.world
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def agreed(self, stop: bool, seconds: float, device: torch.device) -> tuple[bool, float]:
        """Whether any process wants to stop, and the first process's clock."""
        if self.world == 1:
            return stop, seconds
        summed = self.sum(
            torch.tensor([float(stop), seconds if self.first else 0.0], dtype=torch.float64, device=device)
        )
        return bool(summed[0] > 0), float(summed[1])

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            distributed.barrier()


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """This process's place among those that torchrun started, and its device; alone when there is no torchrun."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world <= 1:
        yield Processes(), device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        us = Processes(distributed.get_rank(), distributed.get_world_size())
        yield us, device
        us.wait()  # whoever leaves first closes connections on which the others may still be working
    finally:
        distributed.destroy_process_group()
