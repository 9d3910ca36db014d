"""Render a phantom as a TOF-MRA or CTA on any grid, with its exact label map.

Steps: background tissue on a coarse grid, tubes at voxel scale with partial volume, inflow, acquisition
(blur, bias, slabs, noise, artefacts), then what people do to scans (thresholding, masking, 8 bit).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid, Modality, apply_affine
from torch.nn import functional

from .acquisition import Acquisition, doubled, sharpened, slab_gain, stored
from .appearance import Appearance, Masking
from .fields import gaussian_blur, smooth_noise
from .head import HeadShape, tissue_image
from .siphon_surroundings import SiphonSurroundings, surroundings
from .skull_base import bones_of
from .tubes import Capsules, TubeImage, capsules_of_polyline, joined, rasterise
from .vessel import Phantom, Vessel, VesselKind

_CAPSULE_STEP_MM = 1.0
_TISSUE_SPACING_MM = 1.6
_TISSUE_SPACING_OF_SMALL_MM = 1.0
_SMALL_MM3 = 3e5
"""Grids up to this size (fine windows) get sharper tissue."""
_SINUS_FILLING = (0.1, 0.95)
"""Contrast of the cavernous sinus on CTA, as a share of the arteries': it may fill early."""
_MASKED_BELOW = 0.6
_PLAQUE_SITES = ("ICA-C4", "ICA-C5", "ICA-C6", "ICA-C7", "VA")


@dataclass(frozen=True)
class RenderedScan:
    """`image` float32 [k, j, i] (TOF: fresh blood about 1; CTA: HU); `labels` uint8 [k, j, i] or None."""

    image: torch.Tensor
    grid: Grid
    labels: torch.Tensor | None


@dataclass(frozen=True)
class Scene:
    """One case before rendering: anatomy, head, appearance and `pose` (4, 4), reference frame to scan RAS."""

    phantom: Phantom
    head: HeadShape
    appearance: Appearance
    pose: np.ndarray

    @cached_property
    def vessels(self) -> tuple[Capsules, Capsules]:
        """Arteries and veins in scan RAS, which all grids of a scene have in common."""
        return _vessel_capsules(self)

    @cached_property
    def bones(self) -> Capsules:
        """Bones of the skull base in scan RAS; from version 4 on without those of `surroundings`."""
        near = self.appearance.acquisition is None
        return bones_of(self.phantom, self.head.skull_base, self.pose, near=near)

    @cached_property
    def surroundings(self) -> SiphonSurroundings:
        """What lies against the siphon and in it (from version 4 on)."""
        return surroundings(self.phantom, self.head.skull_base, self.appearance, self.pose)

    @cached_property
    def landmarks(self) -> np.ndarray:
        """Landmarks (n, 3) in scan RAS."""
        return apply_affine(self.pose, self.phantom.landmarks)


def render(scene: Scene, grid: Grid, device: torch.device, *, with_labels: bool = False) -> RenderedScan:
    """Render `scene` on `grid` (scan RAS). Random fields depend on the appearance's seed and on the grid."""
    appearance = scene.appearance
    generator = torch.Generator(device=device)
    generator.manual_seed(appearance.seed)
    arteries, veins = scene.vessels
    tubes = rasterise(arteries, grid, device, with_labels=with_labels)
    venous = rasterise(veins, grid, device)
    image, brain = _background(scene, grid, arteries, generator, device)
    acquisition = appearance.acquisition
    if acquisition:
        _paint_locally(image, scene.surroundings.cortex, grid)
        _paint_locally(image, scene.surroundings.marrow, grid)
    image = _painted(image, venous)
    if acquisition:
        _paint_locally(image, scene.surroundings.sinuses, grid)
    image = _painted(image, tubes)
    if acquisition:
        _paint_locally(image, scene.surroundings.voids, grid, lost=True)
    if appearance.metal:
        image = _with_metal(image, scene, grid, generator)
    if acquisition and acquisition.motion:
        image = _with_motion(image, scene, acquisition, grid)
    image = gaussian_blur(image, appearance.blur_voxels)
    image = _acquired(image, scene, grid, generator)
    visible = tubes.coverage
    if appearance.masking_level >= 0.5:  # a mask drawn by brightness loses the fainter arteries
        visible = (tubes.content / (_MASKED_BELOW * appearance.artery)).clamp_max(1.0)
    image = _masked(image, visible, brain, appearance, generator)
    if appearance.eight_bit:
        image = _eight_bit(image, appearance)
    if acquisition:
        image = stored(image, acquisition)
    return RenderedScan(image, grid, tubes.label)


def _painted(image: torch.Tensor, tubes: TubeImage) -> torch.Tensor:
    """The image with tubes in it, by their share of each voxel."""
    return torch.lerp(image, tubes.content / tubes.coverage.clamp_min(1e-3), tubes.coverage)


def _paint_locally(image: torch.Tensor, capsules: Capsules, grid: Grid, *, lost: bool = False) -> None:
    """Paint capsules that fill a small part of the grid, in place; `lost`: their signal is the share that is lost."""
    ends = np.concatenate([capsules.start, capsules.end])
    if not len(ends):
        return
    reach = max(capsules.start_radius.max(), capsules.end_radius.max()) + grid.spacing.max()
    places = apply_affine(grid.ras_to_ijk, ends)
    low = np.maximum(np.floor(places.min(axis=0) - reach / grid.spacing).astype(int), 0)
    high = np.minimum(np.ceil(places.max(axis=0) + reach / grid.spacing).astype(int) + 1, grid.size.astype(int))
    if (high <= low).any():
        return
    i, j, k = (int(n) for n in low)
    shape = (int(high[2] - k), int(high[1] - j), int(high[0] - i))
    tubes = rasterise(capsules, grid.window((i, j, k), shape), image.device)
    part = image[k : k + shape[0], j : j + shape[1], i : i + shape[2]]
    part.copy_(part * (1.0 - tubes.content) if lost else _painted(part, tubes))


def _vessel_capsules(scene: Scene) -> tuple[Capsules, Capsules]:
    """Arterial and venous capsules in scan RAS with their signal."""
    appearance = scene.appearance
    rng = np.random.Generator(np.random.Philox(appearance.seed))
    scale = float(np.cbrt(np.linalg.det(scene.pose[:3, :3])))
    arteries: list[Capsules] = []
    veins: list[Capsules] = []
    for vessel in scene.phantom.vessels:
        points, radii, path = _thinned(vessel)
        if vessel.kind is VesselKind.BRANCH and radii.max() < appearance.smallest_mm and "OphA" not in vessel.name:
            continue  # the ophthalmic artery defines a landmark
        if vessel.kind is VesselKind.VEIN:
            filling = appearance.vein * rng.uniform(0.7, 1.1)
            if vessel.name.endswith("CavernousSinus") and appearance.modality is Modality.CTA:
                filling = appearance.artery * rng.uniform(*_SINUS_FILLING)
            signal = np.full(len(points), filling)
        else:
            signal = _arterial_signal(radii, path, appearance, rng)
        part = capsules_of_polyline(apply_affine(scene.pose, points), radii * scale, signal, vessel.label)
        (veins if vessel.kind is VesselKind.VEIN else arteries).append(part)
        if appearance.plaque and vessel.name.endswith(_PLAQUE_SITES):
            arteries.append(_plaque(part, appearance, rng))
    return joined(arteries), joined(veins)


def _thinned(vessel: Vessel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points about 1 mm apart (both ends kept): enough for capsules."""
    length = float(np.linalg.norm(np.diff(vessel.points, axis=0), axis=1).sum())
    count = max(2, int(np.ceil(length / _CAPSULE_STEP_MM)) + 1)
    if count >= len(vessel.points):
        return vessel.points, vessel.radii, vessel.path_mm
    index = np.unique(np.rint(np.linspace(0, len(vessel.points) - 1, count)).astype(int))
    return vessel.points[index], vessel.radii[index], vessel.path_mm[index]


def _arterial_signal(
    radii: np.ndarray, path: np.ndarray, appearance: Appearance, rng: np.random.Generator
) -> np.ndarray:
    """Signal along an artery: inflow saturation with the path, fading of slow small vessels, flow voids."""
    floor = appearance.inflow_floor
    inflow = floor + (1.0 - floor) * np.exp(-path / appearance.inflow_length_mm)
    slow = 1.0 - appearance.small_vessel_fade * np.clip(1.0 - radii / 1.1, 0.0, 1.0)
    signal = appearance.artery * inflow * slow * rng.uniform(0.94, 1.06)
    if appearance.flow_void and rng.random() < 0.3:
        centre = rng.uniform(0, len(path))
        signal = signal * (1.0 - appearance.flow_void * np.exp(-0.5 * ((np.arange(len(path)) - centre) / 2.0) ** 2))
    return signal


def _plaque(part: Capsules, appearance: Appearance, rng: np.random.Generator) -> Capsules:
    """Calcified plates in the wall: each runs some millimetres along one side of the artery."""
    count = len(part.start)
    along = part.end - part.start
    tangent = along / np.linalg.norm(along, axis=1, keepdims=True).clip(1e-6)
    plates: list[Capsules] = []
    for _ in range(int(rng.poisson(count / 8.0 * appearance.plaque))):
        first = int(rng.integers(count))
        segments = np.arange(first, min(count, first + int(rng.integers(1, 9))))
        side = rng.normal(size=3)
        for angle in np.arange(int(rng.integers(1, 4))) * 0.5:
            across = side - (tangent[segments] @ side)[:, None] * tangent[segments]
            across /= np.linalg.norm(across, axis=1, keepdims=True).clip(1e-6)
            turned = np.cos(angle) * across + np.sin(angle) * np.cross(tangent[segments], across)
            shift = turned * part.start_radius[segments, None]
            radius = np.full(len(segments), rng.uniform(0.25, 0.8))
            signal = np.full(len(segments), rng.uniform(1.2, 3.5) * appearance.artery)
            empty = np.zeros(len(segments), dtype=np.int64)
            plates.append(
                Capsules(part.start[segments] + shift, part.end[segments] + shift, radius, radius, signal, empty)
            )
    return joined(plates) if plates else replace(part, **{f.name: getattr(part, f.name)[:0] for f in fields(part)})


def _background(
    scene: Scene, grid: Grid, arteries: Capsules, generator: torch.Generator, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tissue image and brain mask on `grid`, made on a coarser grid and interpolated."""
    small = float(np.prod(grid.size * grid.spacing)) < _SMALL_MM3
    spacing = np.maximum(grid.spacing, _TISSUE_SPACING_OF_SMALL_MM if small else _TISSUE_SPACING_MM)
    size = np.maximum(2, np.ceil((grid.size - 1) * grid.spacing / spacing).astype(int) + 1)
    matrix = grid.ijk_to_ras.copy()
    # Both grids begin and end on the same voxel centres, so that plain interpolation joins them.
    matrix[:3, :3] = grid.ijk_to_ras[:3, :3] * ((grid.size - 1) / (size - 1))
    coarse = Grid((int(size[2]), int(size[1]), int(size[0])), matrix)
    to_reference = np.linalg.inv(scene.pose) @ coarse.ijk_to_ras
    ranges = [torch.arange(n, dtype=torch.float32, device=device) for n in coarse.shape]
    k, j, i = torch.meshgrid(*ranges, indexing="ij")
    rows = torch.from_numpy(to_reference).to(device, torch.float32)
    reference = torch.stack([rows[r, 0] * i + rows[r, 1] * j + rows[r, 2] * k + rows[r, 3] for r in range(3)])
    large = arteries.start_radius > 0.8
    trunk = Capsules(
        *(getattr(arteries, n)[large] for n in ("start", "end", "start_radius", "end_radius", "signal", "label"))
    )
    covered = rasterise(trunk, coarse, device).coverage
    near = gaussian_blur(covered, tuple(scene.appearance.cistern_mm / coarse.spacing[::-1] / 1.5))
    bone = rasterise(scene.bones, coarse, device).coverage
    canal = gaussian_blur(covered, 0.5)
    bone = bone * (1.0 - 2.0 * canal).clamp(0.0, 1.0)
    image, brain = tissue_image(coarse, reference, scene.head, scene.appearance, bone, near, generator)
    stacked = functional.interpolate(
        torch.stack([image, brain.float()])[None], size=grid.shape, mode="trilinear", align_corners=True
    )[0]
    return stacked[0], stacked[1] > 0.5


def _with_motion(image: torch.Tensor, scene: Scene, acquisition: Acquisition, grid: Grid) -> torch.Tensor:
    """Double contours in a range of slices."""
    motion = acquisition.motion
    assert motion is not None
    heights = _heights(grid) - float(np.nanmean(scene.landmarks[:, 2]))
    where = torch.from_numpy(((heights > motion.low_mm) & (heights < motion.high_mm)).astype(np.float32))
    along_j, along_i = np.array(motion.shift_mm) / grid.spacing[[1, 0]]
    return doubled(image, motion.share, (float(along_j), float(along_i)), where.to(image.device))


def _heights(grid: Grid) -> np.ndarray:
    """Height (mm, scan RAS) of the middle of each slice."""
    middle = np.array([(grid.size[0] - 1) / 2, (grid.size[1] - 1) / 2, 0.0])
    slices = np.repeat(middle[None], grid.shape[0], axis=0)
    slices[:, 2] = np.arange(grid.shape[0])
    return apply_affine(grid.ijk_to_ras, slices)[:, 2]


def _acquired(image: torch.Tensor, scene: Scene, grid: Grid, generator: torch.Generator) -> torch.Tensor:
    """Bias field, slab steps, ghosting, noise and the kernel."""
    appearance = scene.appearance
    acquisition = appearance.acquisition
    if acquisition and acquisition.slabs:
        begin = scene.landmarks[acquisition.slabs.junction, 2]
        begin = float(begin if np.isfinite(begin) else np.nanmean(scene.landmarks[:, 2]))
        gain = slab_gain(_heights(grid), acquisition.slabs, begin, appearance.seed)
        image = image * torch.from_numpy(gain.astype(np.float32)).to(image.device)[:, None, None]
    image = _with_noise(image, grid, appearance, generator)
    if acquisition and acquisition.sharpening:
        in_plane = acquisition.sharpening_mm / float(grid.spacing[0])
        image = sharpened(image, acquisition.sharpening, (0.0, in_plane, in_plane))
        if appearance.modality is Modality.MRA:
            image = image.clamp_min(0.0)
    return image


def _with_noise(image: torch.Tensor, grid: Grid, appearance: Appearance, generator: torch.Generator) -> torch.Tensor:
    """Bias field, slab drop, ghosting and noise."""
    if appearance.modality is Modality.MRA:
        if appearance.bias:
            image = image * (1.0 + appearance.bias * smooth_noise(grid, 70.0, generator) / 1.6).clamp(0.4, 1.8)
        if appearance.slab_drop:
            heights = torch.arange(grid.shape[0], dtype=torch.float32, device=image.device) * float(grid.spacing[2])
            image = image * (1.0 - appearance.slab_drop * ((heights / appearance.slab_mm) % 1.0) ** 2)[:, None, None]
        if appearance.ghosting:
            image = image + appearance.ghosting * torch.roll(image, max(1, grid.shape[1] // 5), dims=1)
        real = image + appearance.noise * _noise(image, appearance, generator)
        return (real * real + (appearance.noise * _noise(image, appearance, generator)) ** 2).sqrt()
    return image + appearance.noise * _noise(image, appearance, generator)


def _noise(image: torch.Tensor, appearance: Appearance, generator: torch.Generator) -> torch.Tensor:
    """White or correlated noise of unit variance."""
    noise = torch.randn(image.shape, generator=generator, device=image.device)
    if appearance.noise_correlation_voxels > 0.3:
        noise = gaussian_blur(noise, appearance.noise_correlation_voxels)
        noise = noise / noise.std().clamp_min(1e-6)
    return noise


def _with_metal(image: torch.Tensor, scene: Scene, grid: Grid, generator: torch.Generator) -> torch.Tensor:
    """A clip or coil near an artery: signal void (TOF) or a very bright spot (CTA), from version 4 on with streaks."""
    places = np.concatenate([v.points for v in scene.phantom.vessels if v.label])
    pick = int(torch.randint(len(places), (1,), generator=generator, device=generator.device))
    radius = np.array([3.0])
    tof = scene.appearance.modality is Modality.MRA
    if scene.appearance.acquisition:  # the same clip on every grid
        rng = np.random.Generator(np.random.Philox(key=[scene.appearance.seed, 2]))
        pick = int(rng.integers(len(places)))
        radius = np.array([rng.uniform(3.0, 7.0) if tof else rng.uniform(1.5, 3.5)])
    spot = apply_affine(scene.pose, places[pick : pick + 1])
    one = np.ones(1)
    covered = rasterise(
        Capsules(spot, spot + 0.1, radius, radius, one, one.astype(np.int64)), grid, image.device
    ).coverage
    if scene.appearance.acquisition and not tof:
        image = image + streaks(grid, spot[0], float(radius[0]), rng).to(image.device)
    value = 0.0 if tof else 2500.0
    return torch.lerp(image, torch.full_like(image, value), covered)


def streaks(grid: Grid, spot: np.ndarray, radius: float, rng: np.random.Generator) -> torch.Tensor:
    """HU that metal at `spot` adds: bright and dark rays in the slices through it, fainter with the distance."""
    place = apply_affine(grid.ras_to_ijk, spot[None])[0]
    j, i = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in grid.shape[1:]), indexing="ij")
    y, x = (j - float(place[1])) * float(grid.spacing[1]), (i - float(place[0])) * float(grid.spacing[0])
    angle, distance = torch.atan2(y, x), (x * x + y * y).sqrt()
    rays = torch.zeros_like(angle)
    for _ in range(int(rng.integers(8, 16))):
        off = torch.remainder(angle - float(rng.uniform(-np.pi, np.pi)) + np.pi / 2, np.pi) - np.pi / 2
        rays += float(rng.normal(0, 250)) * torch.exp(-0.5 * (off / float(rng.uniform(0.03, 0.12))) ** 2)
    rays = rays / (1.0 + distance / 12.0) * torch.exp(-distance / 40.0)
    beyond = (np.abs(_heights(grid) - float(spot[2])) - radius).clip(0.0)
    return torch.from_numpy(np.exp(-beyond / 0.7).astype(np.float32))[:, None, None] * rays


def _masked(
    image: torch.Tensor, coverage: torch.Tensor, brain: torch.Tensor, appearance: Appearance, generator: torch.Generator
) -> torch.Tensor:
    """Processing that users apply before they hand a scan over."""
    kind, level = appearance.masking, appearance.masking_level
    tof = appearance.modality is Modality.MRA
    empty = 0.0 if tof else (-1024.0 if level < 0.5 else 0.0)
    if kind is Masking.NONE:
        return image
    if kind is Masking.SKULL_STRIPPED:
        return torch.where(brain, image, torch.full_like(image, empty))
    if kind is Masking.THRESHOLDED:
        threshold = (0.3 + 0.25 * level) if tof else appearance.artery * (0.35 + 0.3 * level)
        return torch.where(image > threshold, image, torch.full_like(image, empty))
    if kind is Masking.ENHANCED:
        enhanced = (gaussian_blur(image, 0.6) - gaussian_blur(image, 3.0 + 3.0 * level)).clamp_min(0.0)
        return enhanced * (1.5 if tof else 1.0)
    shape = gaussian_blur(coverage, 0.4)
    if kind is Masking.VESSELS_ONLY:
        return torch.where(shape > 0.15 + 0.3 * level, image, torch.full_like(image, empty))
    return (shape > 0.3 + 0.3 * level).to(image.dtype) * (1.0 if tof else appearance.artery)


def _eight_bit(image: torch.Tensor, appearance: Appearance) -> torch.Tensor:
    """Quantise to 256 grey levels with clipped highlights."""
    low, high = (0.0, 0.9) if appearance.modality is Modality.MRA else (-100.0, 700.0)
    return (image.clamp(low, high) - low).div(high - low).mul(255).round().div(255).mul(high - low) + low
