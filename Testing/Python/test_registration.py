"""Registration by intensity: known poses are found again, and what cannot be registered is reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from cohort_cases import places, tilted
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.errors import VolumeError
from CoWLandmarksLib.core.volume import Modality, Volume, apply_affine, axis_aligned_grid
from CoWLandmarksTrainingLib.align.registration import register
from CoWLandmarksTrainingLib.align.registration_level import SMALLEST_SHARE, RegistrationLevel
from CoWLandmarksTrainingLib.align.vessel_image import blank_of, block_averaged, vessel_image
from CoWLandmarksTrainingLib.align.vessel_masks import by_threshold
from head_images import HEAD_GRID, head_image

sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
POINTS = places(default_anatomy(), np.random.default_rng(2))


def network(pose: np.ndarray, modality: Modality = Modality.MRA, seed: int = 0) -> Volume:
    volume = head_image(POINTS, pose, modality, seed=seed)
    scale = 400.0
    return replace(volume, voxels=np.clip(volume.voxels / scale, -0.5, 2.5).astype(np.float32))


def distance_mm(found: np.ndarray, moving: np.ndarray, fixed: np.ndarray) -> float:
    """Mean distance of landmarks brought from the moving to the fixed scan to where they lie there."""
    gaps = apply_affine(found, apply_affine(moving, POINTS)) - apply_affine(fixed, POINTS)
    return float(np.linalg.norm(gaps, axis=1).mean())


@pytest.mark.slow
def test_a_tilted_and_shifted_head_is_found_again() -> None:
    fixed, moving = tilted(), tilted(pitch=24.0, roll=-6.0, yaw=5.0, scale=1.05)
    moving[:3, 3] += (6.0, -9.0, 12.0)
    found = register(network(fixed), network(moving, seed=1), pitch_starts_deg=(20.0,), finest_mm=2.5)
    assert distance_mm(found.moving_to_fixed, moving, fixed) < 2.0
    assert 0.25 < found.share <= 1.0
    assert found.score > 0.2


@pytest.mark.slow
def test_of_several_starts_the_right_one_wins_where_the_tilt_is_large() -> None:
    fixed, moving = tilted(), tilted(pitch=-40.0)
    found = register(network(fixed), network(moving), pitch_starts_deg=(40.0, -40.0), finest_mm=2.5, affine=False)
    assert distance_mm(found.moving_to_fixed, moving, fixed) < 3.0


@pytest.mark.slow
def test_masks_of_the_same_vessels_in_mra_and_cta_are_laid_onto_each_other() -> None:
    fixed, moving = tilted(pitch=-8.0), tilted(pitch=9.0, yaw=4.0)
    masks = []
    for pose, modality in ((fixed, Modality.MRA), (moving, Modality.CTA)):
        volume = network(pose, modality)
        masks.append(replace(volume, voxels=by_threshold(volume, modality, 1.0).astype(np.float32)))
    found = register(masks[0], masks[1], pitch_starts_deg=(20.0,), finest_mm=2.5, affine=False, masks=True)
    assert distance_mm(found.moving_to_fixed, moving, fixed) < 1.5
    np.testing.assert_allclose(np.linalg.det(found.moving_to_fixed[:3, :3]), 1.0, atol=1e-6)


def test_scans_that_hardly_cover_each_other_are_reported() -> None:
    grid = axis_aligned_grid(HEAD_GRID.centre, HEAD_GRID.spacing, (8, 20, 20))
    sliver = network(tilted())
    small = head_image(POINTS, tilted(), Modality.MRA, grid)
    with pytest.raises(VolumeError, match="covers too little of the template"):
        register(sliver, replace(small, voxels=small.voxels.astype(np.float32)), pitch_starts_deg=(0.0,))


def test_vessels_are_what_lies_between_brain_and_bone() -> None:
    grid = axis_aligned_grid(np.zeros(3), np.ones(3), (9, 9, 30))
    voxels = np.full(grid.shape, 0.1, np.float32)
    voxels[4, 4, 3] = 0.8  # contrast
    voxels[4, 4, 20] = 2.4  # bone
    voxels[4, 4, 22] = 0.8  # its rim
    mask = by_threshold(Volume(voxels, grid.ijk_to_ras), Modality.CTA, 0.8)
    assert np.argwhere(mask).tolist() == [[4, 4, 3]]
    voxels[:] = 0.4
    voxels[2, 3, 4] = 1.2
    assert np.argwhere(by_threshold(Volume(voxels, grid.ijk_to_ras), Modality.MRA, 1.1)).tolist() == [[2, 3, 4]]


def halves(side: int = 24) -> Volume:
    """Left half 0, right half 1."""
    voxels = np.zeros((side, side, side), np.float32)
    voxels[:, :, side // 2 :] = 1.0
    return Volume(voxels, axis_aligned_grid(np.zeros(3), np.ones(3), voxels.shape).ijk_to_ras)


def test_the_measure_of_two_halves_is_the_one_worked_out_by_hand() -> None:
    """Two equally likely values that tell each other are worth ln 2; by the share that is covered where it is less."""
    image = halves()
    level = RegistrationLevel(image, image, image, image, 1.0, None, False)
    same = level.measure(np.eye(4))
    assert (same.share, same.vessels) == (1.0, pytest.approx(1.0, abs=1e-6))
    assert same.information == pytest.approx(np.log(2.0), abs=2e-3)
    across = np.eye(4)
    across[1, 3] = 12.0  # along A, where nothing changes: half of the image is left, and as sure
    half = level.measure(across)
    assert half.share == pytest.approx(0.5, abs=0.02)
    assert half.information == pytest.approx(half.share * np.log(2.0), abs=5e-3)
    across[1, 3] = 20.0
    assert level.measure(across).share < SMALLEST_SHARE
    assert level.cost(across) == np.inf


def test_the_rim_of_a_mask_is_no_vessel_but_what_is_bright_and_thin_is() -> None:
    grid = axis_aligned_grid(np.zeros(3), np.full(3, 1.2), (30, 40, 40))
    voxels = np.full(grid.shape, 0.5, np.float32)
    voxels[:, :, :20] = 0.0  # masked away: half of the scan
    voxels[15, :, 30] = 1.0
    assert blank_of(voxels) == (0.0, 0.5)
    found = vessel_image(Volume(voxels, grid.ijk_to_ras)).voxels
    assert found[15, 20, 30] > 0.4
    assert found[15, 20, 30] > 10.0 * found[:, :, 20:26].max()
    assert not found[:, :, :20].any()


def test_block_means_lie_where_their_voxels_lay() -> None:
    grid = axis_aligned_grid(np.array([3.0, -7.0, 11.0]), np.array([0.5, 0.7, 1.0]), (13, 21, 30))
    ramp = apply_affine(grid.ijk_to_ras, np.stack(np.indices(grid.shape)[::-1], axis=-1).astype(float))
    for axis in range(3):
        means = block_averaged(Volume(ramp[..., axis].astype(np.float32), grid.ijk_to_ras), 1.5)
        places = apply_affine(means.ijk_to_ras, np.stack(np.indices(means.voxels.shape)[::-1], axis=-1).astype(float))
        np.testing.assert_allclose(means.voxels, places[..., axis], atol=1e-4)
    assert means.voxels.shape == (6, 10, 10)
