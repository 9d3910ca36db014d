"""Weights of networks in 8 bits: whole numbers times one factor per output channel, half the size of fp16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_NUMBER, _FACTOR = "number", "factor"


def pack_weights(weights: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Convolution kernels (out, ...) as int8 with a float32 factor (out,); what has one axis only as fp16.

    A kernel's largest weight in a channel is 127 times its factor, so that no weight moves by more than 0.4 % of it.
    """
    return {name: _packed(value.detach().cpu().to(torch.float32)) for name, value in weights.items()}


def unpack_weights(content: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Inverse of `pack_weights`, float32 kernels; plain tensors stay as they are.

    Raises ValueError or LookupError when the content is no packed weights.
    """
    return {str(name): _unpacked(value) for name, value in content.items()}


def _packed(value: torch.Tensor) -> Any:
    if value.ndim < 2:
        return value.to(torch.float16).contiguous()
    factor = (value.flatten(1).abs().amax(dim=1) / 127.0).clamp_min(1e-12)
    number = (value / _along_channels(factor, value)).round().clamp(-127, 127).to(torch.int8)
    return {_NUMBER: number.contiguous(), _FACTOR: factor}


def _unpacked(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    number, factor = value[_NUMBER], value[_FACTOR]
    if number.dtype != torch.int8 or factor.shape != number.shape[:1]:
        raise ValueError("its weights are not packed as they should be")
    return number.to(torch.float32) * _along_channels(factor.to(torch.float32), number)


def _along_channels(factor: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return factor.reshape(-1, *[1] * (value.ndim - 1))
