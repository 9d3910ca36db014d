"""The heatmap generator: a 3-D U-Net of residual blocks (Tan et al. 2023, section 2.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ..core.errors import ModelError


@dataclass(frozen=True)
class GeneratorConfig:
    """Size of a generator. The paper gives neither depth, width nor normalisation; these are our choice.

    `fold` > 1 folds blocks of fold^3 voxels into channels before the first convolution and unfolds the
    output again (space-to-depth), for speed on coarse tasks.
    """

    method: ClassVar[str] = "heatmaps"
    in_channels: int = 1
    out_channels: int = 19
    base_width: int = 16
    levels: int = 4
    max_width: int = 256
    fold: int = 1

    @property
    def multiple(self) -> int:
        """Every side of the input must be a multiple of this."""
        return self.fold * 2 ** (self.levels - 1)

    @property
    def largest_width(self) -> int:
        """Most channels of a layer."""
        return max(self.base_width, self.max_width)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a model file."""
        return asdict(self)

    def build(self) -> Generator:
        """The network, with random weights."""
        return Generator(self)


class ResidualBlock(nn.Module):
    """Two 3 x 3 x 3 convolutions with group normalisation and a shortcut: (B, C, K, J, I) -> (B, C', K, J, I)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(in_channels, out_channels, 3, padding=1, bias=False)
        self.first_norm = nn.GroupNorm(max(1, out_channels // 8), out_channels)
        self.second = nn.Conv3d(out_channels, out_channels, 3, padding=1, bias=False)
        self.second_norm = nn.GroupNorm(max(1, out_channels // 8), out_channels)
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape-preserving up to the number of channels."""
        y = functional.relu(self.first_norm(self.first(x)), inplace=True)
        y = self.second_norm(self.second(y))
        return functional.relu(y + self.shortcut(x), inplace=True)


class Generator(nn.Module):
    """Residual U-Net: (B, in, K, J, I) -> (B, out, K, J, I), linear output (heatmaps, no sigmoid).

    K, J and I must be multiples of `multiple`. With `checkpoint_activations` the blocks compute their activations
    again in the backward pass instead of keeping them: half the memory or less for a third more arithmetic.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_activations = False
        folded = config.fold**3
        widths = self.widths
        self.stem = nn.Conv3d(config.in_channels * folded, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(ResidualBlock(widths[max(0, n - 1)], widths[n]) for n in range(config.levels))
        self.decoders = nn.ModuleList(
            ResidualBlock(widths[n] + widths[n + 1], widths[n]) for n in reversed(range(config.levels - 1))
        )
        self.head = nn.Conv3d(widths[0], config.out_channels * folded, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """Every side of the input must be a multiple of this."""
        return self.config.multiple

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every level, finest first."""
        return tuple(min(self.config.base_width * 2**n, self.config.max_width) for n in range(self.config.levels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Heatmaps of an image (and its extra channels)."""
        return self.read(self.features(x)[-1])

    def read(self, finest: torch.Tensor) -> torch.Tensor:
        """Heatmaps of the last of `features`."""
        with torch.autocast(finest.device.type, enabled=False):  # bf16 would let neighbouring peaks tie
            heatmaps = self.head(finest.float())
        return depth_to_space(heatmaps, self.config.fold)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Output of the deepest encoder and of every decoder, coarse to fine; level n has side / (fold 2^n)."""
        if any(side % self.multiple for side in x.shape[2:]):
            raise ModelError(
                f"The generator needs sides that are multiples of {self.multiple}, not {tuple(x.shape[2:])}."
            )
        x = self._run(self.stem, space_to_depth(x, self.config.fold))
        skips = []
        for level, encoder in enumerate(self.encoders):
            x = self._run(encoder, x if level == 0 else functional.max_pool3d(x, 2))
            skips.append(x)
        outputs = [skips.pop()]
        for decoder in self.decoders:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = self._run(decoder, torch.cat([x, skips.pop()], dim=1))
            outputs.append(x)
        return outputs

    def _run(self, block: nn.Module, x: torch.Tensor) -> torch.Tensor:
        with sound_autocast(x.device, x.shape[2]) as exact:
            x = x.float() if exact else x
            if self.checkpoint_activations and torch.is_grad_enabled():
                return checkpoint(block, x, use_reentrant=False)
            return block(x)


@contextmanager
def sound_autocast(device: torch.device, depth: int) -> Iterator[bool]:
    """No autocast where it would be wrong for an image `depth` voxels deep (K); whether that is so.

    For a whole network `depth` is that of its coarsest level, no less than 2.

    On processors, torch 2.13 gives wrong gradients (up to infinite) of bf16 weights where the depth is 2.
    """
    exact = device.type == "cpu" and depth == 2
    with torch.autocast(device.type, enabled=False) if exact else nullcontext():
        yield exact


def predict(network: nn.Module, x: torch.Tensor, *, quick: bool = False) -> torch.Tensor:
    """Heatmaps for inference: float32, no gradients; `quick`: bf16 arithmetic where the device gains by it.

    bf16 moves most points by some micrometres, but one in a hundred by tenths of a millimetre
    (Testing/Benchmarks/detection_speed.py --precision), so readings that place points do without it.
    """
    bf16 = quick and bf16_pays(x.device)
    with torch.inference_mode(), torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
        return network(x.contiguous(memory_format=torch.channels_last_3d)).float()


@dataclass(frozen=True)
class MirroredPair:
    """A network that also reads the left-right mirror image and averages the two readings.

    `permutation` exchanges the left and right output channels; the last input channels, as many, are priors that
    are exchanged as well when `with_priors`. The mirror runs along i, which must be the patient's R axis.
    """

    network: nn.Module
    permutation: tuple[int, ...]
    with_priors: bool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Averaged heatmaps, float32: (B, C, K, J, I) -> (B, n, K, J, I)."""
        order = list(self.permutation)
        images = x.shape[1] - (len(order) if self.with_priors else 0)
        channels = [*range(images), *(images + n for n in order[: x.shape[1] - images])]
        # Both in one batch: with a single sample torch leaves oneDNN for a convolution that is half as fast.
        both = predict(self.network, torch.cat([x, torch.flip(x, dims=(4,))[:, channels]]))
        plain, mirrored = both.chunk(2)
        return (plain + torch.flip(mirrored, dims=(4,))[:, order]) / 2.0


@dataclass(frozen=True)
class SingleReading:
    """A network that reads the image once; `quick`: in bf16 where that is faster."""

    network: nn.Module
    quick: bool = False

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Heatmaps, float32: (B, C, K, J, I) -> (B, n, K, J, I)."""
        return predict(self.network, x, quick=self.quick)


HeatmapReader = Callable[[torch.Tensor], torch.Tensor]
"""Takes network input (B, C, K, J, I) to heatmaps (B, n, K, J, I), float32."""


def bf16_pays(device: torch.device) -> bool:
    """Whether convolutions in bf16 are faster than in fp32 on this device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def space_to_depth(x: torch.Tensor, fold: int) -> torch.Tensor:
    """(B, C, K, J, I) -> (B, C * fold^3, K / fold, J / fold, I / fold)."""
    if fold == 1:
        return x
    b, c, k, j, i = x.shape
    x = x.reshape(b, c, k // fold, fold, j // fold, fold, i // fold, fold)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, c * fold**3, k // fold, j // fold, i // fold)


def depth_to_space(x: torch.Tensor, fold: int) -> torch.Tensor:
    """Inverse of `space_to_depth`."""
    if fold == 1:
        return x
    b, c, k, j, i = x.shape
    x = x.reshape(b, c // fold**3, fold, fold, fold, k, j, i)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // fold**3, k * fold, j * fold, i * fold)
