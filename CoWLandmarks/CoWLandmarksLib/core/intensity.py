"""From scanner units to network units, and distinguishing MRA from CTA."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .volume import Modality

if TYPE_CHECKING:
    import torch

_SAMPLE_VOXELS = 2_000_000
_STORED_OFFSET = 1024.0


@dataclass(frozen=True)
class IntensityRule:
    """How voxel values become network input: (value - offset) / scale, clipped to [low, high].

    MRA (`reference` = "brightest"): scale is the value that the brightest `brightest_ml` of the field of
    view exceed (at most `brightest_share` of it). It depends on the vessels, not on the background, so
    background-zeroed, skull-stripped and vessel-enhanced scans come out alike.
    CTA (`reference` = "fixed"): scale is `fixed_scale` HU.
    """

    reference: str
    low: float
    high: float
    brightest_ml: float = 5.0
    brightest_share: float = 0.015
    fixed_scale: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a model file."""
        return asdict(self)

    def scale(self, voxels: np.ndarray, voxel_mm3: float) -> float:
        """The scale of a scan; `voxels` any shape, `voxel_mm3` volume of one voxel."""
        if self.reference == "fixed":
            return self.fixed_scale
        stride = max(1, voxels.size // _SAMPLE_VOXELS)
        values = np.asarray(voxels).reshape(-1)[::stride]
        share = min(self.brightest_share, self.brightest_ml * 1000.0 / (voxels.size * voxel_mm3))
        rank = max(1, round(share * values.size))
        scale = float(np.partition(values, values.size - rank)[values.size - rank])
        return scale if scale > 0 else max(float(values.max()), 1e-6)

    def apply(self, voxels: torch.Tensor, scale: float) -> torch.Tensor:
        """Network input of voxels whose scan has this scale."""
        return (voxels.float() / scale).clamp_(self.low, self.high)

    def padding(self) -> float:
        """Network value of what lies beyond the scan."""
        return 0.0


DEFAULT_INTENSITY_RULES: dict[Modality, IntensityRule] = {
    Modality.MRA: IntensityRule("brightest", 0.0, 1.6),
    Modality.CTA: IntensityRule("fixed", -0.5, 2.5, fixed_scale=400.0),
}


def recognise_modality(voxels: np.ndarray) -> tuple[Modality, bool]:
    """MRA or CTA, and whether that is certain, from the distribution of the values.

    CT values are signed HU: air near -1000, soft tissue between 0 and 100, contrast and bone beyond 150. Only a scan
    with all of these is certain to be a CT. No values make an MRA certain: a CTA that was exported through a window,
    clipped or shifted has any range. What was masked (zero) or clipped (the least value) does not count.
    """
    values = _sampled(voxels)
    low = float(np.quantile(values, 0.001))
    if low < -300.0:
        soft, bright = np.mean((values > 0.0) & (values < 100.0)), np.mean(values > 150.0)
        return Modality.CTA, bool(soft > 0.1 and bright > 0.005)
    if low < -20.0 or hounsfield_offset(voxels):
        return Modality.CTA, False
    kept = values[(values != 0.0) & (values > values.min())]
    if kept.size == 0:
        return Modality.MRA, False
    contrast = float(np.mean((kept > 150) & (kept < 600)))
    soft_with_contrast = np.mean((kept > 0) & (kept < 110)) > 0.5 and 0.002 < contrast < 0.25
    bone = soft_with_contrast and np.mean(kept > 700) > 0.002
    return (Modality.CTA if bone else Modality.MRA), False


def hounsfield_offset(voxels: np.ndarray) -> float:
    """What has to be subtracted from CT values to get HU: 1024 where air lies near 0 and soft tissue near 1060, else 0.

    In MR the values of tissue never crowd so near one place, far from the background and with little between.
    """
    values = _sampled(voxels)
    tissue = values[values > 200.0]
    if np.quantile(values, 0.001) < -200.0 or not 0.05 < tissue.size / values.size < 0.995:
        return 0.0
    soft = np.mean((tissue > 950) & (tissue < 1150))
    between = np.mean(tissue < 850)
    brighter = np.mean(tissue > 1174)
    return _STORED_OFFSET if soft > 0.4 and between < 0.15 and brighter > 0.002 else 0.0


def _sampled(voxels: np.ndarray) -> np.ndarray:
    stride = max(1, voxels.size // _SAMPLE_VOXELS)
    return np.asarray(voxels).reshape(-1)[::stride].astype(np.float32)
