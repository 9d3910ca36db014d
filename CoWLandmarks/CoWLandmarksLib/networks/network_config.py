"""The kinds of network that a model may have, by the name of the method that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .generator import GeneratorConfig
from .global_to_local import GlobalToLocalConfig
from .spatial_configuration import SpatialConfigurationConfig

NetworkConfig = GeneratorConfig | SpatialConfigurationConfig | GlobalToLocalConfig
HEATMAPS = GeneratorConfig.method
METHODS = (HEATMAPS, SpatialConfigurationConfig.method, GlobalToLocalConfig.method)
"""Names of methods: heatmaps (Tan et al. 2023), payer (Payer et al. 2019) and noothout (Noothout et al. 2020)."""


def network_config(method: str, content: Mapping[str, Any]) -> NetworkConfig:
    """Inverse of `to_dict` of the configuration of a method's network; raises TypeError or ValueError."""
    if method == HEATMAPS:
        return GeneratorConfig(**content)
    if method == SpatialConfigurationConfig.method:
        return SpatialConfigurationConfig(**content)
    if method == GlobalToLocalConfig.method:
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in content.items()}
        return GlobalToLocalConfig(**values)
    raise ValueError(f"its method '{method}' is unknown")
