"""A simple head around the arteries: brain, cisterns, ventricles, skull, skull base, scalp, air.

Shapes are hand-placed from general anatomy in the reference frame (RAS mm, basilar tip at the origin) and
varied at random; they serve as background, not as anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Grid

from .appearance import Appearance, Tissue
from .fields import smooth_noise
from .skull_base import SkullBase, sample_skull_base


@dataclass(frozen=True)
class HeadShape:
    """Random proportions of one head, in mm."""

    radii: tuple[float, float, float]
    skull_mm: float
    scalp_mm: float
    ventricle: float
    atrophy_mm: float
    base_shift: float
    sinus_air: float
    roughness_mm: float
    skull_base: SkullBase


def sample_head(rng: np.random.Generator) -> HeadShape:
    """Draw the proportions of a head."""
    u = rng.uniform
    return HeadShape(
        radii=(u(60, 70), u(76, 90), u(50, 64)),
        skull_mm=u(4, 9),
        scalp_mm=u(3, 10),
        ventricle=u(0.6, 1.6),
        atrophy_mm=u(0.5, 4.0),
        base_shift=u(-3, 3),
        sinus_air=u(0.5, 1.4),
        roughness_mm=u(1.0, 4.0),
        skull_base=sample_skull_base(rng),
    )


def tissue_image(
    grid: Grid,
    reference: torch.Tensor,
    shape: HeadShape,
    appearance: Appearance,
    bone: torch.Tensor,
    near_artery: torch.Tensor,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Background image and brain mask, both [k, j, i] on `grid`.

    `reference` [3, k, j, i] holds the reference-frame coordinates of the voxels, `bone` the coverage of the
    skull-base bones, `near_artery` a blurred coverage of the large arteries, where the cisterns lie.
    """
    wobble = smooth_noise(grid, 18.0, generator) * shape.roughness_mm
    fine = smooth_noise(grid, appearance.texture_mm, generator)
    folds = smooth_noise(grid, 5.0, generator)
    x, y, z = reference[0], reference[1], reference[2]
    side = x.abs()
    rx, ry, rz = shape.radii
    mean_radius = (rx + ry + rz) / 3.0
    dome = ((x / rx) ** 2 + ((y + 8.0) / ry) ** 2 + ((z - 24.0) / torch.where(z > 24.0, rz, rz * 1.25)) ** 2).sqrt()
    dome = (dome - 1.0) * mean_radius + wobble
    base = z - _base_height(side, y, shape, oblique=appearance.acquisition is not None) - 0.5 * wobble
    brain_depth = torch.maximum(dome, -base)
    head = (
        torch.maximum(
            ((x / (rx + 14)) ** 2 + ((y + 8.0) / (ry + 14)) ** 2).sqrt() * mean_radius - mean_radius, dome - 30.0
        )
        + wobble
    )

    tissue = torch.full(grid.shape, int(Tissue.AIR), dtype=torch.uint8, device=reference.device)

    def paint(where: torch.Tensor, what: Tissue) -> None:
        tissue[where] = int(what)

    below = (head < 0) & (base < 0) & (z < 20)
    paint(below & (fine > -0.6), Tissue.MUSCLE)
    paint(below & (fine <= -0.6), Tissue.FAT)
    paint(below & (base > -6.0) & (folds > -0.2), Tissue.MARROW)
    paint(below & (base > -3.0), Tissue.CORTICAL_BONE)
    if appearance.acquisition:  # the bony wall of the sphenoid sinus
        wall = below & (side < 14.3) & (y > 8.7) & (y < 28.3) & (z > -35.3) & (z < -17.7)
        paint(wall & (folds < shape.sinus_air - 0.2), Tissue.CORTICAL_BONE)
    paint(
        below & (side < 13) & (y > 10) & (y < 27) & (z > -34) & (z < -19) & (folds < shape.sinus_air - 0.4), Tissue.AIR
    )
    paint(below & (side < 28) & (y > 30) & (z > -45) & (z < -14) & (folds < shape.sinus_air - 0.9), Tissue.AIR)
    eye = ((side - 32) ** 2 + (y - 58) ** 2 + (z + 12) ** 2).sqrt()
    paint((eye < 19) & (y < 68), Tissue.FAT)
    paint(eye < 12, Tissue.CSF)
    shell = (brain_depth >= 0) & (base > 0)
    paint(shell & (brain_depth < shape.skull_mm + shape.scalp_mm), Tissue.FAT)
    paint(shell & (brain_depth < shape.skull_mm + 0.35 * shape.scalp_mm), Tissue.MUSCLE)
    paint(shell & (brain_depth < shape.skull_mm), Tissue.CORTICAL_BONE)
    paint(shell & (brain_depth < shape.skull_mm - 1.5) & (brain_depth > 1.5), Tissue.MARROW)
    brain = brain_depth < 0
    paint(brain, Tissue.WHITE)
    paint(brain & ((brain_depth > -9) & (folds > -0.3) | (fine > 1.3)), Tissue.GREY)
    paint(brain & (brain_depth > -1.0 - shape.atrophy_mm) & (folds > 0.2), Tissue.CSF)
    ventricle = ((side - 9) / 6.0) ** 2 + ((y + 4) / 26.0) ** 2 + ((z - 24 - 0.1 * y) / 9.0) ** 2
    third = (side / 2.5) ** 2 + ((y - 2) / 10.0) ** 2 + ((z - 12) / 9.0) ** 2
    paint(brain & ((ventricle < shape.ventricle) | (third < shape.ventricle)), Tissue.CSF)
    fissure = 1.0 + 0.3 * shape.atrophy_mm if appearance.acquisition is None else 0.4 + 0.3 * shape.atrophy_mm
    paint(brain & (side < fissure) & ((y > 24) | (z > 45)), Tissue.CSF)
    paint(brain & (near_artery * (1.0 + 0.6 * folds) > 0.02 + 0.01 * (5.0 - appearance.cistern_mm)), Tissue.CSF)
    paint((bone > 0.35) & (folds < 0.8), Tissue.MARROW)
    paint((bone > 0.02) & (bone <= 0.6), Tissue.CORTICAL_BONE)

    levels = torch.tensor([appearance.tissue[t] for t in Tissue], dtype=torch.float32, device=reference.device)
    image = levels[tissue.long()]
    varied = 1.0 + appearance.texture * (fine * 0.7 + folds * 0.5)
    image = (
        image * varied.clamp(0.2, 2.0)
        if appearance.modality.value == "mra"
        else _textured_hu(image, tissue, fine, folds)
    )
    return image, brain


def _base_height(side: torch.Tensor, y: torch.Tensor, shape: HeadShape, *, oblique: bool) -> torch.Tensor:
    """Height (mm) of the skull base under the brain at lateral distance `side` and antero-posterior `y`.

    `oblique` (version 4): the temporal poles reach forward beside the siphon, and the petrous ridges run backwards.
    """
    anterior, posterior = torch.sigmoid((y - 22.0) / 2.5), torch.sigmoid((-8.0 - y) / 3.0)
    if oblique:
        outward = ((side - 14.0) / 30.0).clamp(0.0, 1.0)
        anterior = torch.sigmoid((y - 22.0 - 11.0 * outward) / 2.5)
        posterior = torch.sigmoid((2.0 - 26.0 * outward - y) / 3.0)
    lateral = torch.sigmoid((side - 15.0) / 2.0)
    middle = -10.0 * (1 - lateral) - 27.0 * lateral
    height = anterior * (-5.0 + 0.12 * side) + posterior * -46.0 + (1 - anterior - posterior) * middle
    return height + shape.base_shift


def _textured_hu(image: torch.Tensor, tissue: torch.Tensor, fine: torch.Tensor, folds: torch.Tensor) -> torch.Tensor:
    """HU with trabecular variation in bone and faint texture elsewhere."""
    bone = (tissue == int(Tissue.CORTICAL_BONE)) | (tissue == int(Tissue.MARROW))
    soft = (tissue != int(Tissue.AIR)) & ~bone
    image = torch.where(bone, image * (1.0 + 0.3 * folds + 0.2 * fine).clamp(0.3, 1.8), image)
    return torch.where(soft, image + 4.0 * fine + 3.0 * folds, image)
