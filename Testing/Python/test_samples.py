"""Training samples: sides, places, masks and priors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from CoWLandmarksLib.alignment import REFERENCE_SPACING_MM
from CoWLandmarksLib.anatomy import default_anatomy
from CoWLandmarksLib.errors import ConfigurationError
from CoWLandmarksLib.heatmap import decode_argmax, encode
from CoWLandmarksLib.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.localizer import POOLED_SPACING_MM
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.volume import apply_affine, axis_aligned_grid
from CoWLandmarksTrainingLib.batch import Sampler
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas
from CoWLandmarksTrainingLib.phantom.case_cache import read_coarse_case, read_fine_case
from CoWLandmarksTrainingLib.phantom.circle_cases import ABSENT_EVERY, case_grid, render_circle_case
from CoWLandmarksTrainingLib.phantom.training_cases import (
    FINE_WINDOWS_PER_CASE,
    dequantise,
    landmark_status,
    quantise,
)
from CoWLandmarksTrainingLib.samples import (
    CaseFolder,
    CircleSampler,
    CoarseSampler,
    FineSampler,
    jittered,
    mirrored,
    simulated_circle_estimate,
    simulated_coarse_estimate,
    with_expected_places,
)

CODES = default_anatomy().codes
PERMUTATION = default_anatomy().mirror_permutation
CIRCLE = default_atlas().shape_models["patients"].mean
ABSENT, OUTSIDE = CODES.index("L-A1-A2"), CODES.index("R-M1-M2")
COARSE_SHAPE, FINE_SHAPE = (30, 36, 40), (64, 80, 96)


def spots(landmarks: np.ndarray, shape: tuple[int, int, int], spacing: np.ndarray) -> np.ndarray:
    """Bytes with a bright voxel at each landmark (mm from the first voxel)."""
    image = np.zeros(shape, np.uint8)
    for point in landmarks[np.isfinite(landmarks).all(axis=1)]:
        i, j, k = np.rint(point / spacing).astype(int)
        image[max(0, k - 1) : k + 2, max(0, j - 1) : j + 2, max(0, i - 1) : i + 2] = 255
    return image


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cached case: bright spots at the landmarks, one absent, one beyond the field of view."""
    folder = tmp_path_factory.mktemp("cases")
    status = np.ones(len(CODES), np.int8)
    status[ABSENT], status[OUTSIDE] = 0, -1
    content = {"modality": np.array("mra")}
    for part, shape, spacing in (
        ("coarse", COARSE_SHAPE, np.full(3, POOLED_SPACING_MM)),
        ("circle", case_grid().shape, case_grid().spacing),
        ("fine", FINE_SHAPE, REFERENCE_SPACING_MM),
    ):
        centre = (np.array(shape[::-1]) - 1) * spacing / 2.0
        turned = (CIRCLE - CIRCLE.mean(axis=0)) * 0.8 + centre + (1.3, 0.4, -0.2)
        turned[ABSENT] = np.nan
        image = spots(turned, shape, spacing)
        repeat = FINE_WINDOWS_PER_CASE
        if part == "circle":
            turned = turned + case_grid().ijk_to_ras[:3, 3]
        content[f"{part}_image"] = np.stack([image] * (repeat if part == "fine" else 2))
        content[f"{part}_landmarks"] = np.stack([turned] * repeat) if part == "fine" else turned.astype(np.float32)
        content[f"{part}_status"] = np.stack([status] * repeat) if part == "fine" else status
    np.savez(folder / "1-0000000.npz", **content)
    return folder


def test_mirrored_heatmaps_are_the_heatmaps_of_mirrored_landmarks() -> None:
    shape, spacing = (10, 12, 15), np.array([0.9, 1.1, 1.3])
    grid = axis_aligned_grid(np.zeros(3), spacing, shape)
    landmarks = np.random.default_rng(1).uniform(0, 11, (len(CODES), 3))
    landmarks[ABSENT] = np.nan
    status = np.where(np.isnan(landmarks[:, 0]), 0, 1)
    origin = grid.ijk_to_ras[:3, 3]
    heatmaps = encode(landmarks + origin, grid, 2.0)
    width = (shape[2] - 1) * spacing[0]
    flipped, moved, states = mirrored(heatmaps, landmarks, status, width, PERMUTATION)
    torch.testing.assert_close(encode(moved + origin, grid, 2.0), flipped[list(PERMUTATION)], atol=1e-5, rtol=0)
    mirror_of_absent = PERMUTATION[ABSENT]
    assert CODES[mirror_of_absent] == "R-A1-A2"
    assert np.flatnonzero(states == 0).tolist() == [mirror_of_absent]
    assert np.flatnonzero(np.isnan(moved[:, 0])).tolist() == [mirror_of_absent]


def test_mirroring_twice_changes_nothing() -> None:
    image = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    landmarks, status = np.random.default_rng(1).uniform(0, 8, (len(CODES), 3)), np.arange(len(CODES))
    once = mirrored(image, landmarks, status, 8.0, PERMUTATION)
    image_again, landmarks_again, status_again = mirrored(*once, 8.0, PERMUTATION)
    torch.testing.assert_close(image_again, image)
    np.testing.assert_allclose(landmarks_again, landmarks)
    np.testing.assert_array_equal(status_again, status)


def sampler(kind: str, cases: Path, permutation: tuple[int, ...] = PERMUTATION) -> Sampler:
    if kind == "circle":
        return CircleSampler(CaseFolder(cases), permutation, 2.5, 2)
    if kind == "coarse":
        return CoarseSampler(CaseFolder(cases), permutation, 4.0, 2, off_target_share=0.0)
    return FineSampler(CaseFolder(cases), permutation, 1.5, 5.0, 2)


@pytest.mark.parametrize("kind", ["coarse", "circle", "fine"])
@pytest.mark.parametrize("seed", range(3))
def test_every_target_lies_on_its_bright_spot(cases: Path, kind: str, seed: int) -> None:
    batch = sampler(kind, cases)(np.random.default_rng(seed))
    assert batch.image.shape[0] == batch.heatmaps.shape[0] == 2
    assert batch.image.shape[1] == (20 if kind == "fine" else 2)
    assert batch.heatmaps.shape[2:] == batch.image.shape[2:]
    grid = axis_aligned_grid(np.zeros(3), np.ones(3), tuple(batch.heatmaps.shape[2:]))  # type: ignore[arg-type]
    judged = 0
    for image, heatmaps in zip(batch.image, batch.heatmaps, strict=True):
        positions, peaks = decode_argmax(heatmaps, grid)
        ijk = np.rint(positions - grid.ijk_to_ras[:3, 3]).astype(int)
        inside = (ijk > 0).all(axis=1) & (ijk < grid.size - 1).all(axis=1) & (peaks > 0.5)
        for i, j, k in ijk[inside]:
            assert float(image[0, k, j, i]) > 1.0
        judged += int(inside.sum())
    assert judged > 20


@pytest.mark.parametrize("kind", ["coarse", "circle", "fine"])
def test_absent_landmarks_are_taught_empty_and_outside_ones_are_not_judged(cases: Path, kind: str) -> None:
    seen = set()
    for seed in range(4):
        batch = sampler(kind, cases)(np.random.default_rng(seed))
        for heatmaps, mask in zip(batch.heatmaps, batch.channel_mask, strict=True):
            masked = np.flatnonzero(mask.numpy() == 0).tolist()
            assert len(masked) == 1
            mirror = masked[0] != OUTSIDE
            assert masked[0] == (PERMUTATION[OUTSIDE] if mirror else OUTSIDE)
            absent = PERMUTATION[ABSENT] if mirror else ABSENT
            assert float(heatmaps[absent].abs().max()) == 0.0
            assert float(mask[absent]) == 1.0
            seen.add(mirror)
    assert seen == {False, True}


def test_the_prior_does_not_give_the_absence_of_a_landmark_away(cases: Path) -> None:
    batch = sampler("fine", cases)(np.random.default_rng(0))
    for image, mask in zip(batch.image, batch.channel_mask, strict=True):
        absent = ABSENT if float(mask[OUTSIDE]) == 0.0 else PERMUTATION[ABSENT]
        assert float(image[1 + absent].max()) > 0.9


@pytest.mark.parametrize("kind", ["coarse", "circle", "fine"])
def test_the_same_random_numbers_give_the_same_batch(cases: Path, kind: str) -> None:
    torch.manual_seed(1)
    one = sampler(kind, cases)(np.random.default_rng(3))
    torch.manual_seed(2)
    other = sampler(kind, cases)(np.random.default_rng(3))
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.heatmaps, other.heatmaps)


def test_absent_landmarks_are_expected_where_the_shape_has_them() -> None:
    landmarks = CIRCLE + np.array([10.0, -5.0, 2.0])
    landmarks[ABSENT] = np.nan
    np.testing.assert_allclose(with_expected_places(landmarks, CIRCLE), CIRCLE + np.array([10.0, -5.0, 2.0]))


def test_simulated_coarse_errors_are_a_few_millimetres_and_sometimes_more() -> None:
    rng = np.random.default_rng(4)
    errors = np.array(
        [np.linalg.norm(simulated_coarse_estimate(CIRCLE, rng, CIRCLE) - CIRCLE, axis=1) for _ in range(200)]
    )
    assert 2.0 < np.median(errors) < 4.0
    assert 0.02 < (errors > 8.0).mean() < 0.12


def test_simulated_errors_of_the_circle_step_are_small_but_for_a_few() -> None:
    rng = np.random.default_rng(4)
    errors = np.array(
        [np.linalg.norm(simulated_circle_estimate(CIRCLE, rng, CIRCLE) - CIRCLE, axis=1) for _ in range(200)]
    )
    assert 0.8 < np.median(errors) < 1.6
    assert 0.02 < (errors > 3.5).mean() < 0.12


def test_jitter_changes_contrast_but_not_much_and_is_reproducible() -> None:
    image = torch.linspace(-0.5, 1.6, 1000).reshape(1, 10, 10, 10)
    for seed in range(5):
        one, other = (jittered(image, np.random.default_rng(seed)) for _ in range(2))
        assert torch.equal(one, other)
        assert not torch.equal(one, image)
        assert float(torch.corrcoef(torch.stack([one.flatten(), image.flatten()]))[0, 1]) > 0.95
        assert bool(one.isfinite().all())


@pytest.mark.parametrize("modality", Modality)
def test_bytes_keep_network_values_to_half_a_step(modality: Modality) -> None:
    rule = DEFAULT_INTENSITY_RULES[modality]
    values = torch.linspace(rule.low, rule.high, 777)
    again = dequantise(torch.from_numpy(quantise(values, rule)), rule)
    assert float((again - values).abs().max()) <= (rule.high - rule.low) / 510 + 1e-5


def test_a_landmark_within_two_millimetres_of_the_edge_is_outside() -> None:
    grid = axis_aligned_grid(np.zeros(3), np.ones(3), (20, 20, 20))
    points = np.array([(0, 0, 0), (7.9, 0, 0), (8.1, 0, 0), (0, -8.1, 0), (0, 0, 99), (np.nan,) * 3], float)
    assert landmark_status(points, grid).tolist() == [1, 1, -1, -1, -1, 0]


def test_cached_cases_are_read_back(cases: Path) -> None:
    path = cases / "1-0000000.npz"
    coarse, fine = read_coarse_case(path), read_fine_case(path, 2)
    assert (coarse.modality, fine.modality) == ("mra", "mra")
    assert coarse.image.shape == (2, *COARSE_SHAPE)
    assert fine.image.shape == FINE_SHAPE
    assert fine.status[OUTSIDE] == -1


def test_a_folder_without_cases_is_told_and_new_cases_are_noticed(tmp_path: Path) -> None:
    folder = CaseFolder(tmp_path, relist_after=1)
    with pytest.raises(ConfigurationError, match=r"no training cases in .* make them first"):
        folder.draw(np.random.default_rng(1))
    (tmp_path / "1-0000000.npz").touch()
    (tmp_path / "1-0000001.123.tmp").touch()
    assert folder.draw(np.random.default_rng(1)).name == "1-0000000.npz"


@pytest.mark.parametrize("index", [2 * ABSENT_EVERY - 2, 2 * ABSENT_EVERY - 1])
def test_every_tenth_circle_case_of_a_modality_lacks_a_landmark(index: int) -> None:
    case = render_circle_case(7, index, torch.device("cpu"))
    assert case.modality == ("mra", "cta")[index % 2]
    assert not np.isfinite(case.landmarks).all()
    np.testing.assert_array_equal(np.isfinite(case.landmarks).all(axis=1), case.status != 0)


def test_a_circle_case_shows_its_vessels_where_its_landmarks_are() -> None:
    case = render_circle_case(7, 3, torch.device("cpu"))
    again = render_circle_case(7, 3, torch.device("cpu"))
    grid = case_grid()
    assert case.image.shape == (2, *grid.shape)
    assert (case.image[1] >= case.image[0]).all()
    np.testing.assert_array_equal(case.image, again.image)
    np.testing.assert_array_equal(case.landmarks, again.landmarks)
    inside = case.status == 1
    assert inside.sum() > 5
    ijk = np.rint(apply_affine(grid.ras_to_ijk, case.landmarks[inside])).astype(int)
    near = np.array([case.image[1, k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].max() for i, j, k in ijk])
    assert np.median(near) > np.quantile(case.image[1], 0.9)
