"""Scans that hold no circle of Willis, or far more than the head: what a detector has to doubt, or to search.

Simple shapes with arteries, bones and soft tissue of about the right size and brightness; no anatomy lessons.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid, Modality, Volume, apply_affine, axis_aligned_grid
from CoWLandmarksTrainingLib.phantom.appearance import Family, Masking, Tissue
from CoWLandmarksTrainingLib.phantom.fields import gaussian_blur, smooth_noise
from CoWLandmarksTrainingLib.phantom.phantom_cohort import TOF_UNITS
from CoWLandmarksTrainingLib.phantom.render import Scene, render
from CoWLandmarksTrainingLib.phantom.training_cases import sample_scene
from CoWLandmarksTrainingLib.phantom.tubes import Capsules, rasterise

CPU = torch.device("cpu")
AIR, FAT, MUSCLE, MARROW, BONE = -1000.0, -90.0, 55.0, 300.0, 1100.0
Tube = tuple[list[tuple[float, float, float]], float]
"""Points (R, A, S) mm of a tube and its radius in mm."""


def knee(seed: int, *, contrast: float = 350.0) -> Volume:
    """CT of a knee with a contrast-filled popliteal artery and its division."""
    grid = axis_aligned_grid(np.zeros(3), np.full(3, 1.3), (120, 110, 110))
    rng, generator = _random(seed)
    image = _column(grid, 62.0, 62.0, generator)
    bend = rng.uniform(-8, 8)
    image = _with(image, grid, [([(0, 5, 6), (bend, 8, 90)], 15.0), ([(-20, 4, 8), (20, 4, 8)], 17.0)], MARROW)
    image = _with(image, grid, [([(0, 3, -8), (-bend, 0, -90)], 13.0), ([(-18, 3, -10), (18, 3, -10)], 15.0)], MARROW)
    image = _with(image, grid, [([(0, 38, 2), (0, 38, 8)], 14.0), ([(-28, -8, -20), (-30, -10, -90)], 6.0)], BONE)
    stem = [(3, -22, 90), (0, -20, 30), (-2, -18, 0), (-3, -20, -30)]
    legs = [[stem[-1], (-12, -14, -45), (-16, 4, -90)], [stem[-1], (6, -22, -90)], [(-2, -18, 0), (20, -10, 2)]]
    small: list[Tube] = [([(-2, -18, 3), (-24, -4, 6)], 1.0), ([(0, -20, 30), (22, 0, 34), (26, 14, 30)], 1.0)]
    image = _with(image, grid, [(stem, 3.2), *((leg, 2.1) for leg in legs), *small], contrast)
    return _scanned(image, grid, generator, "knee")


def abdomen(seed: int) -> Volume:
    """CT of an abdomen: aorta with its branches and division, kidneys, liver, spine, bowel gas."""
    grid = axis_aligned_grid(np.zeros(3), np.array([1.6, 1.6, 1.8]), (150, 150, 210))
    rng, generator = _random(seed)
    image = _column(grid, 160.0, 110.0, generator)
    image = _with(image, grid, [([(-80, 20, 90), (-60, 20, 60)], 45.0)], 105.0)
    image = _with(image, grid, [([(s * 62, -38, 40), (s * 55, -40, -20)], 24.0) for s in (-1, 1)], 190.0)
    image = _with(image, grid, [([(0, -62, 135), (0, -58, -135)], 20.0)], MARROW)
    image = _with(image, grid, [([(0, -62, z), (0, -62, z + 3)], 22.0) for z in range(-130, 130, 34)], BONE)
    bowel = [(rng.uniform(-90, 90), rng.uniform(20, 70), rng.uniform(-120, 60)) for _ in range(9)]
    image = _with(image, grid, [([p, (p[0] + 20, p[1], p[2])], 11.0) for p in bowel], AIR)
    split = (4.0, -30.0, -70.0)
    tubes: list[Tube] = [([(6, -32, 135), split], 9.0)]
    for s in (-1.0, 1.0):
        tubes += [([split, (s * 38, -28, -135)], 5.5), ([(6, -32, 22), (s * 45, -38, 14)], 3.0)]
        tubes += [([(s * 45, -38, 14), (s * 60, -40, 24 - 20 * n)], 1.4) for n in range(3)]
    tubes += [([(6, -26, 60), (6, -2, 55), (-50, 8, 70)], 3.2), ([(6, -2, 55), (50, 6, 68)], 3.0)]
    tubes += [([(6, -26, 40), (4, 4, 10), (-10, 20, -50)], 3.4)]
    tubes += [([(4, 4, 10 - 15 * n), (60 - 40 * n, 30, -20 * n)], 1.2) for n in range(4)]
    image = _with(image, grid, tubes, 330.0)
    return _scanned(image, grid, generator, "abdomen")


def head_without_arteries(seed: int, modality: Modality, *, t1: bool = False) -> Volume:
    """A head whose arteries and veins do not shine; with `t1`, an MRI with the contrast of T1 instead of TOF."""
    scene = _plain_scene(seed, modality)
    kinds = {vessel.kind: vessel for vessel in scene.phantom.vessels}
    nothing = [replace(vessel, points=vessel.points + 1e4) for vessel in kinds.values()]
    tissue = scene.appearance.tissue
    if t1:
        tissue = {Tissue.AIR: 0.02, Tissue.CSF: 0.12, Tissue.GREY: 0.55, Tissue.WHITE: 0.8, Tissue.CORTICAL_BONE: 0.04}
        tissue |= {Tissue.MARROW: 0.8, Tissue.FAT: 1.05, Tissue.MUSCLE: 0.4}
    scene = replace(
        scene,
        phantom=replace(scene.phantom, vessels=nothing),
        appearance=replace(scene.appearance, tissue=tissue, plaque=0.0, metal=False),
    )
    grid = axis_aligned_grid(_middle(scene), np.array([0.9, 0.9, 1.0]), (110, 190, 170))
    units = TOF_UNITS if modality is Modality.MRA else 1.0
    image = render(scene, grid, CPU).image * units
    return Volume(image.round().to(torch.int16).numpy(), grid.ijk_to_ras, "head", modality)


def noise(seed: int, modality: Modality) -> Volume:
    """Nothing but correlated noise."""
    grid = axis_aligned_grid(np.zeros(3), np.full(3, 0.8), (110, 180, 180))
    _, generator = _random(seed)
    field = gaussian_blur(torch.randn(grid.shape, generator=generator), 0.8)
    image = field * 600.0 if modality is Modality.CTA else field.abs() * 300.0
    return Volume(image.round().to(torch.int16).numpy(), grid.ijk_to_ras, "noise", modality)


def vessel_tree(seed: int, modality: Modality) -> Volume:
    """Arteries that are not those of a head: random crooked tubes in soft tissue."""
    grid = axis_aligned_grid(np.zeros(3), np.full(3, 0.8), (110, 150, 150))
    rng, generator = _random(seed)
    image = _column(grid, 75.0, 75.0, generator)
    for _ in range(26):
        steps = rng.normal(0, 9, (9, 3)) + rng.normal(0, 6, 3)
        points = [(float(p[0]), float(p[1]), float(p[2])) for p in rng.uniform(-45, 45, 3) + np.cumsum(steps, axis=0)]
        image = _with(image, grid, [(points, float(rng.uniform(0.5, 2.6)))], 360.0)
    scan = _scanned(image, grid, generator, "tree")
    if modality is Modality.CTA:
        return scan
    return replace(scan, voxels=np.maximum(scan.voxels + 100, 0).astype(np.int16), modality=modality)


def head_and_neck(seed: int, spacing: tuple[float, float, float] = (1.2, 1.2, 1.2)) -> tuple[Volume, np.ndarray]:
    """CTA from the aortic arch to the vertex (400 mm high, shoulders cut off at the sides) and its landmarks.

    Returns the scan and (n, 3) RAS mm, NaN where an artery is absent.
    """
    scene = _plain_scene(seed, Modality.CTA)
    places = apply_affine(scene.pose, scene.phantom.landmarks)
    middle = np.nanmean(places, axis=0)
    size = np.ceil(np.array([230.0, 230.0, 400.0]) / spacing).astype(int)
    centre = middle + np.array([0.0, -10.0, -120.0])
    grid = axis_aligned_grid(centre, np.array(spacing), (int(size[2]), int(size[1]), int(size[0])))
    image = render(scene, grid, CPU).image
    _, generator = _random(seed)
    rows = int((middle[2] - 45.0 - grid.corners()[:, 2].min()) / spacing[2])
    below = grid.window((0, 0, 0), (rows, *grid.shape[1:]))
    neck = _with(
        torch.full(below.shape, AIR), below, [(_points(middle, [(0, -25, -40), (0, -25, -180)]), 60.0)], MUSCLE
    )
    neck = _with(neck, below, [(_points(middle, [(-110, -20, -190), (110, -20, -190)]), 70.0)], MUSCLE)
    neck = _with(neck, below, [(_points(middle, [(-80, -20, -280), (80, -20, -280)]), 90.0)], MUSCLE)
    neck = _with(
        neck, below, [(_points(middle, [(s * 60, -20, -250), (s * 70, -20, -320)]), 45.0) for s in (-1, 1)], -850.0
    )
    neck = _with(neck, below, [(_points(middle, [(0, -45, -40), (0, -60, -320)]), 14.0)], MARROW)
    neck = _with(neck, below, [(_points(middle, [(s * 20, 20, -205), (s * 110, 5, -190)]), 7.0) for s in (-1, 1)], BONE)
    neck = _with(neck, below, [(_points(middle, [(0, 5, -100), (0, -5, -320)]), 9.0)], AIR)
    tubes: list[Tube] = [(_points(middle, [(15, 25, -320), (15, 20, -265), (-5, 0, -255), (-15, -35, -265)]), 13.0)]
    for s in (-1.0, 1.0):
        tubes += [(_points(middle, [(s * 10, 10, -258), (s * 30, 0, -160), (s * 28, -8, -120)]), 3.4)]
        tubes += [(_points(middle, [(s * 28, -8, -120), (s * 24, -10, -40)]), 2.5)]
        tubes += [(_points(middle, [(s * 28, -8, -120), (s * 36, 5, -80), (s * 45, -10, -45)]), 2.0)]
        tubes += [(_points(middle, [(s * 35, -10, -225), (s * 18, -38, -190), (s * 18, -38, -50)]), 1.8)]
        tubes += [(_points(middle, [(s * 22, 5, -250), (s * 45, -5, -215), (s * 110, -10, -215)]), 4.0)]
    neck = _with(neck, below, tubes, scene.appearance.artery)
    neck = _with(neck, below, [(_points(middle, [(s * 38, -5, -45), (s * 38, 2, -230)]), 6.0) for s in (-1, 1)], 180.0)
    neck = gaussian_blur(neck, 0.6) + scene.appearance.noise * torch.randn(neck.shape, generator=generator)
    image[:rows] = torch.maximum(image[:rows], neck) if rows else image[:rows]
    voxels = image.round().clamp(-1024, 3000).to(torch.int16).numpy()
    return Volume(voxels, grid.ijk_to_ras, "head-and-neck", Modality.CTA), places


def _plain_scene(seed: int, modality: Modality) -> Scene:
    """A phantom of the training family as acquired: not masked, thresholded or otherwise processed."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 77]))
    scene = sample_scene(rng, modality, Family.TRAINING, "clinical", version=3)
    return replace(scene, appearance=replace(scene.appearance, masking=Masking.NONE, metal=False, eight_bit=False))


def _middle(scene: Scene) -> np.ndarray:
    return np.nanmean(apply_affine(scene.pose, scene.phantom.landmarks), axis=0)


def _points(middle: np.ndarray, points: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    moved = middle + np.array(points)
    return [(float(p[0]), float(p[1]), float(p[2])) for p in moved]


def _random(seed: int) -> tuple[np.random.Generator, torch.Generator]:
    return np.random.Generator(np.random.Philox(key=[seed, 78])), torch.Generator().manual_seed(seed)


def _column(grid: Grid, half_r: float, half_a: float, generator: torch.Generator) -> torch.Tensor:
    """Soft tissue in a cylinder along S with fat under the skin, air outside."""
    k, j, i = np.indices(grid.shape)
    ras = apply_affine(grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
    depth = torch.from_numpy(1.0 - np.hypot(ras[..., 0] / half_r, ras[..., 1] / half_a)).to(torch.float32)
    depth = depth + 0.03 * smooth_noise(grid, 40.0, generator)
    texture = smooth_noise(grid, 6.0, generator)
    image = torch.full(grid.shape, AIR)
    image[depth > 0] = FAT
    return torch.where(
        depth > 0.12, torch.where(texture > 1.0, torch.full_like(image, FAT), MUSCLE + 8 * texture), image
    )


def _with(image: torch.Tensor, grid: Grid, tubes: list[Tube], value: float) -> torch.Tensor:
    """The image with tubes of one value painted over it."""
    start, end, radius = [], [], []
    for points, r in tubes:
        for a, b in itertools.pairwise(points):
            steps = max(1, int(np.ceil(np.linalg.norm(np.subtract(b, a)) / max(4.0, r))))
            line = np.linspace(a, b, steps + 1)
            start += list(line[:-1])
            end += list(line[1:])
            radius += [r] * steps
    ones = np.ones(len(start))
    capsules = Capsules(np.array(start), np.array(end), ones * radius, ones * radius, ones, ones.astype(np.int64))
    return torch.lerp(image, torch.full_like(image, value), rasterise(capsules, grid, CPU).coverage)


def _scanned(image: torch.Tensor, grid: Grid, generator: torch.Generator, name: str) -> Volume:
    image = gaussian_blur(image, 0.6) + 14.0 * torch.randn(image.shape, generator=generator)
    return Volume(image.round().to(torch.int16).numpy(), grid.ijk_to_ras, name, Modality.CTA)
