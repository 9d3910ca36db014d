"""Scans of bright beads, one per landmark, and networks that read them by calculation.

With them the way from a scan to a Detection can be tested without training: the beads of a scan differ in
brightness, the coarse network tells them by it, the fine network takes the bead that its prior points at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from CoWLandmarksLib.core.alignment import ShapeModel
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.calibration import UNCALIBRATED
from CoWLandmarksLib.core.intensity import IntensityRule
from CoWLandmarksLib.core.volume import Grid, Modality, Volume, apply_affine
from CoWLandmarksLib.detect.coarse import POOLED_SPACING_MM
from CoWLandmarksLib.detect.model import GridSpec, Model, NetworkPart
from CoWLandmarksLib.networks.generator import Generator, GeneratorConfig
from torch.nn import functional

SIGMA_MM = 2.5
COUNT = len(default_anatomy())
BRIGHTNESS = 0.5 * 1.08 ** np.arange(COUNT)
"""Network value at the centre of each landmark's bead."""
UNITS = 400.0
"""Scanner units per network unit."""


def bead_places() -> np.ndarray:
    """(19, 3) mm in the reference frame: an irregular lattice, at least 14 mm apart, without any symmetry."""
    lattice = np.array([[i, j, k] for k in range(3) for j in range(3) for i in range(3)], float)
    rng = np.random.default_rng(19)
    chosen = rng.permutation(lattice)[:COUNT]
    return 18.0 * (chosen - 1.0) + rng.uniform(-1.5, 1.5, (COUNT, 3)) + np.array([0.0, 14.0, 2.5])


def sided_places() -> np.ndarray:
    """(19, 3) mm: beads 16 mm apart or more, those of a pair to the right and to the left, as `check` wants them."""
    rng = np.random.default_rng(3)
    places = rng.uniform(-1.0, 1.0, (COUNT, 3))
    anatomy = default_anatomy()
    codes = list(anatomy.codes)
    rows = [(j, k) for k in (-18.0, 0.0, 18.0) for j in (-18.0, 0.0, 18.0)]
    right = [index for index, code in enumerate(codes) if code.startswith("R-")]
    for index, (j, k) in zip(right, rows, strict=True):
        places[index] += (18.0, j, k)
        places[anatomy.mirror_permutation[index]] += (-18.0, j, k)
    return places + np.array([0.0, 14.0, 2.5])


def bead_scan(
    grid: Grid,
    places: np.ndarray,
    *,
    dtype: str = "int16",
    modality: Modality | None = Modality.CTA,
    name: str = "beads",
) -> Volume:
    """A scan of beads of `SIGMA_MM` at `places` (19, 3) RAS mm; NaN rows have no bead."""
    k, j, i = np.indices(grid.shape)
    ras = apply_affine(grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
    image = np.zeros(grid.shape)
    for place, brightness in zip(places, BRIGHTNESS, strict=True):
        if np.isfinite(place).all():
            image += UNITS * brightness * np.exp(-((ras - place) ** 2).sum(axis=-1) / (2.0 * SIGMA_MM**2))
    return Volume(np.rint(image).astype(dtype), grid.ijk_to_ras, name, modality)


class CoarseBeadReader(torch.nn.Module):
    """(B, 2, K, J, I) at `spacing_mm` -> heatmaps: every whole bead goes to the channel of its brightness."""

    multiple = 1

    def __init__(self, spacing_mm: float = POOLED_SPACING_MM) -> None:
        super().__init__()
        self.spacing_mm = spacing_mm
        self.reach = round(6.0 / spacing_mm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The mean channel round each bead, divided by the brightness."""
        mean, side = x[:, :1], 2 * self.reach + 1
        out = mean.new_zeros((len(mean), COUNT, *mean.shape[2:]))
        highest = mean
        for axis in range(3):
            kernel, padding = ([n if axis == a else rest for a in range(3)] for n, rest in ((side, 1), (self.reach, 0)))
            highest = functional.max_pool3d(highest, kernel, stride=1, padding=padding)
        local_maximum = (highest == mean) & (mean > 0.1)
        share = math.erf(side * self.spacing_mm / 2.0 / SIGMA_MM / math.sqrt(2.0)) ** 3
        whole = (2.0 * math.pi) ** 1.5 * SIGMA_MM**3 * share
        for sample, _, k, j, i in local_maximum.nonzero().tolist():
            place = tuple(slice(max(0, n - self.reach), n + self.reach + 1) for n in (k, j, i))
            mass = float(mean[sample, 0][place].sum()) * self.spacing_mm**3 / whole
            gap = np.abs(np.log(max(mass, 1e-6) / BRIGHTNESS))
            channel = int(gap.argmin())
            if gap[channel] < 0.035:
                out[sample, channel][place] = mean[sample, 0][place] / BRIGHTNESS[channel]
        return out


class ConfusedBeadReader(CoarseBeadReader):
    """A coarse reader that takes two beads for each other."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__()
        self.order = list(range(COUNT))
        self.order[one], self.order[other] = other, one

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One heatmap per landmark, two of them exchanged."""
        return super().forward(x)[:, self.order]


class FineBeadReader(torch.nn.Module):
    """(B, 1 + 19, K, J, I): the image within 8 mm of where a prior of 5 mm points, divided by the brightness."""

    multiple = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One heatmap per landmark."""
        near = x[:, 1:] > math.exp(-0.5 * (8.0 / 5.0) ** 2)
        brightness = torch.from_numpy(BRIGHTNESS).to(x)[:, None, None, None]
        return torch.where(near, x[:, :1], torch.zeros_like(x[:, :1])) / brightness


@dataclass(frozen=True)
class FixedPart(NetworkPart):
    """A part of a model whose network is given instead of built from weights."""

    network: torch.nn.Module | None = None

    def build(self, device: torch.device) -> Generator:
        """The given network."""
        assert self.network is not None
        return self.network.to(device)  # type: ignore[return-value]


class WholeGridBeadReader(torch.nn.Module):
    """(B, 1, K, J, I): the image alone -> every bead in the channel of its brightness, known by its mass."""

    multiple = 1
    reach = 6

    def __init__(self, voxel_mm3: float) -> None:
        super().__init__()
        self.voxel_mm3 = voxel_mm3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """One heatmap per landmark."""
        out = x.new_zeros((len(x), COUNT, *x.shape[2:]))
        highest = functional.max_pool3d(x, 2 * self.reach + 1, stride=1, padding=self.reach)
        for sample, _, k, j, i in ((highest == x) & (x > 0.3)).nonzero().tolist():
            place = tuple(slice(max(0, n - self.reach), n + self.reach + 1) for n in (k, j, i))
            mass = float(x[sample, 0][place].sum()) * self.voxel_mm3 / ((2.0 * math.pi) ** 1.5 * SIGMA_MM**3)
            channel = int(np.abs(np.log(mass / BRIGHTNESS)).argmin())
            out[sample, channel][place] = x[sample, 0][place] / BRIGHTNESS[channel]
        return out


def whole_grid_model() -> Model:
    """A bead model whose fine network reads the whole grid from the image alone, as in the paper."""
    model = bead_model()
    config = GeneratorConfig(in_channels=1, base_width=4, levels=1)
    fine = FixedPart(
        config, {}, SIGMA_MM, model.fine.calibration, WholeGridBeadReader(float(np.prod(model.grid.spacing)))
    )
    return replace(model, fine=fine, window=model.grid.shape, decode_with_prior=False, read_mirrored=False)


def bead_model(
    coarse: torch.nn.Module | None = None, fine: torch.nn.Module | None = None, circle: torch.nn.Module | None = None
) -> Model:
    """A model whose networks read beads (or the networks given); its mean shape is `bead_places`."""
    calibration = replace(UNCALIBRATED, absent_below=0.2, uncertain_below=0.5)

    def part(network: torch.nn.Module, channels: int) -> FixedPart:
        config = GeneratorConfig(in_channels=channels, base_width=4, levels=1)
        return FixedPart(config, {}, SIGMA_MM, calibration, network)

    rule = IntensityRule("fixed", -0.5, 2.5, fixed_scale=UNITS)
    return Model(
        name="beads",
        anatomy=default_anatomy(),
        coarse=part(coarse or CoarseBeadReader(), 2),
        fine=part(fine or FineBeadReader(), 1 + COUNT),
        window=(48, 56, 56),
        prior_sigma_mm=5.0,
        shape=ShapeModel(bead_places(), 4.0 * np.eye(3 * COUNT)),
        grid=GridSpec((72, 84, 84), (1.0, 1.0, 1.2), (0.0, 14.0, 2.5)),
        intensity={Modality.MRA: rule, Modality.CTA: rule},
        provenance={"training_data": "none"},
        licence="Apache-2.0",
        description="Reads beads; for tests.",
        circle=None if circle is None else part(circle, 2),
    )


def tiny_model(seed: int = 5) -> Model:
    """A model with real but untrained networks of four channels that reads no mirror images, for tests of files."""
    torch.manual_seed(seed)

    def part(channels: int, sigma_mm: float) -> NetworkPart:
        config = GeneratorConfig(in_channels=channels, out_channels=COUNT, base_width=4, levels=2, fold=2)
        weights = {n: value.to(torch.float16).to(torch.float32) for n, value in Generator(config).state_dict().items()}
        return NetworkPart(config, weights, sigma_mm, UNCALIBRATED)

    parts = {"coarse": part(2, 4.0), "fine": part(1 + COUNT, 1.5), "circle": part(2, 2.5)}
    return replace(bead_model(), name="tiny", window=(16, 16, 16), read_mirrored=False, **parts)  # type: ignore[arg-type]
