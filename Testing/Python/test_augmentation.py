"""Augmentation: image and landmarks move together, sides are exchanged, intensities change as they should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.volume import apply_affine, axis_aligned_grid
from CoWLandmarksLib.networks.heatmap import decode_subvoxel, encode
from CoWLandmarksTrainingLib.augment.augmentation import draw_deformation, jittered, sample_image
from CoWLandmarksTrainingLib.config.settings import ONLY_TRANSLATIONS, AugmentationSettings
from hypothesis import given, settings
from hypothesis import strategies as st

GRID = axis_aligned_grid(np.array([3.0, 14.0, -2.0]), np.array([0.9, 1.0, 1.3]), (36, 44, 48))
STRONG = AugmentationSettings(rotation_deg=20.0, scale=0.15, elastic_mm=2.0, elastic_spacing_mm=25.0)


def points(seed: int, count: int = 4) -> np.ndarray:
    return GRID.centre + np.random.default_rng(seed).uniform(-11, 11, (count, 3))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_moving_is_the_inverse_of_where_an_image_comes_from(seed: int) -> None:
    deformation = draw_deformation(np.random.default_rng(seed), STRONG, GRID)
    places = points(seed)
    np.testing.assert_allclose(deformation.source_of(deformation.moved(places)), places, atol=1e-3)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_every_voxel_comes_from_where_its_point_comes_from(seed: int) -> None:
    deformation = draw_deformation(np.random.default_rng(seed), STRONG, GRID)
    ijk = np.random.default_rng(seed).integers(0, GRID.size, (6, 3))
    field = deformation.source_grid(GRID).numpy()
    expected = deformation.source_of(apply_affine(GRID.ijk_to_ras, ijk))
    np.testing.assert_allclose(field[ijk[:, 2], ijk[:, 1], ijk[:, 0]], expected, atol=1e-3)


@pytest.mark.parametrize("config", [STRONG, replace(STRONG, elastic_mm=0.0), ONLY_TRANSLATIONS])
@pytest.mark.parametrize("seed", [1, 2])
def test_bright_points_lie_where_the_landmarks_are_said_to_be(config: AugmentationSettings, seed: int) -> None:
    places = points(seed, 3)
    spots = encode(places, GRID, 2.0).numpy()
    deformation = draw_deformation(np.random.default_rng(seed), config, GRID)
    window = GRID.window((3, 2, 1), (32, 40, 40))
    image = torch.stack([sample_image(spot, GRID, window, deformation) for spot in spots])
    found, _ = decode_subvoxel(image, window, 2.0)
    assert np.linalg.norm(found - deformation.moved(places), axis=1).max() < 0.25


def test_the_paper_s_translations_are_whole_voxels_and_lose_nothing() -> None:
    image = np.random.default_rng(1).random(GRID.shape).astype(np.float16)
    shifts = set()
    for seed in range(20):
        deformation = draw_deformation(np.random.default_rng(seed), ONLY_TRANSLATIONS, GRID)
        n = np.rint(deformation.shift / GRID.spacing).astype(int)
        np.testing.assert_allclose(n * GRID.spacing, deformation.shift, atol=1e-9)
        assert np.abs(deformation.shift).max() <= 2.0 + GRID.spacing.max() / 2
        shifts.add(tuple(n))
        moved = sample_image(image, GRID, GRID, deformation).numpy()
        inner = tuple(slice(4, size - 4) for size in GRID.shape)
        source = tuple(slice(4 + s, size - 4 + s) for size, s in zip(GRID.shape, n[::-1], strict=True))
        np.testing.assert_array_equal(moved[inner], image[source].astype(np.float32))
    assert len(shifts) > 5


def test_beyond_the_image_there_is_nothing() -> None:
    image = np.ones(GRID.shape, np.float16)
    deformation = draw_deformation(np.random.default_rng(1), ONLY_TRANSLATIONS, GRID)
    assert float(sample_image(image, GRID, GRID.window((100, 0, 0), (8, 8, 8)), deformation).abs().max()) == 0.0
    turned = draw_deformation(np.random.default_rng(1), STRONG, GRID)
    assert float(sample_image(image, GRID, GRID.window((300, 0, 0), (8, 8, 8)), turned).abs().max()) == 0.0


def test_landmarks_that_do_not_exist_stay_so() -> None:
    deformation = draw_deformation(np.random.default_rng(1), STRONG, GRID)
    places = points(1)
    places[1] = np.nan
    moved = deformation.moved(places)
    assert np.isnan(moved[1]).all()
    np.testing.assert_allclose(np.delete(moved, 1, 0), deformation.moved(np.delete(places, 1, 0)))


def test_the_displacement_has_about_the_configured_size() -> None:
    fields = [
        draw_deformation(np.random.default_rng(seed), replace(STRONG, rotation_deg=0.0, scale=0.0), GRID)
        for seed in range(40)
    ]
    lengths = [f.source_of(points(n)) - points(n) - f.shift for n, f in enumerate(fields)]
    assert 1.5 < np.std(lengths) < 2.5


def test_no_jitter_changes_nothing_and_noise_is_reproducible() -> None:
    image = torch.rand(1, 4, 5, 6) - 0.2
    assert torch.equal(jittered(image, np.random.default_rng(1), 0.0, 0.0, 0.0), image)
    one, two = (jittered(image, np.random.default_rng(1)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, image)


@pytest.mark.parametrize("wrong", [{"rotation_deg": -1.0}, {"elastic_mm": 5.0}, {"elastic_spacing_mm": 0.0}])
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must .*\.$"):
        AugmentationSettings(**wrong)
