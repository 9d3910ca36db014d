"""Deep supervision: the coarser decoder levels of a generator predict heatmaps as well while it is trained."""

from __future__ import annotations

import torch
from CoWLandmarksLib.errors import ConfigurationError
from CoWLandmarksLib.generator import Generator, depth_to_space
from torch import nn
from torch.nn import functional

_WEIGHT = 0.5


class SupervisedGenerator(nn.Module):
    """A generator with `levels` extra heads on its coarser decoders (0: none); the heads are not part of a model.

    forward: (B, C, K, J, I) -> heatmaps (B, n, K, J, I), then those of sides / 2, / 4, ... Raises
    ConfigurationError when the generator has fewer levels.
    """

    def __init__(self, generator: Generator, levels: int = 0) -> None:
        super().__init__()
        if not 0 <= levels < generator.config.levels:
            raise ConfigurationError(
                f"deep_supervision = {levels} needs a generator of more than {levels} levels, "
                f"not {generator.config.levels}."
            )
        self.generator = generator
        channels = generator.config.out_channels * generator.config.fold**3
        self.heads = nn.ModuleList(nn.Conv3d(generator.widths[level], channels, 1) for level in range(1, levels + 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Heatmaps of every supervised level, the finest first."""
        features = self.generator.features(x)
        outputs = [self.generator.read(features[-1])]
        for level, head in enumerate(self.heads, start=1):
            with torch.autocast(x.device.type, enabled=False):
                coarse = head(features[-1 - level].float())
            outputs.append(depth_to_space(coarse, self.generator.config.fold))
        return tuple(outputs)


def supervised_targets(heatmaps: torch.Tensor, levels: int) -> list[tuple[float, torch.Tensor]]:
    """Weight and target of every level: halved sides keep the highest value, so that peaks stay at 1."""
    targets = [(1.0, heatmaps)]
    for _ in range(levels):
        weight, finer = targets[-1]
        targets.append((weight * _WEIGHT, functional.max_pool3d(finer, 2)))
    return targets
