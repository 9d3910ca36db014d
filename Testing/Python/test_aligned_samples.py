"""Samples from an aligned cohort: targets on their beads, epochs, sharing, and what does not count."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from aligned_beads import GRID, write_bead_cohort
from CoWLandmarksLib.errors import ConfigurationError
from CoWLandmarksLib.heatmap import decode_argmax, decode_subvoxel
from CoWLandmarksLib.localizer import WINDOW
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.volume import Grid, axis_aligned_grid
from CoWLandmarksTrainingLib.aligned import AlignedCase, AlignedCohort
from CoWLandmarksTrainingLib.aligned_samples import (
    AlignedCoarseSampler,
    AlignedFineSampler,
    CoarsePose,
    FineTask,
    RealSampler,
    usable,
)
from CoWLandmarksTrainingLib.augmentation import ONLY_TRANSLATIONS, AugmentationConfig
from CoWLandmarksTrainingLib.processes import Processes

AUGMENTATION = AugmentationConfig(elastic_mm=0.8, noise=0.0)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> AlignedCohort:
    return write_bead_cohort(tmp_path_factory.mktemp("aligned"), mra=3, sets=2)


@pytest.fixture
def cases(cohort: AlignedCohort) -> tuple[AlignedCase, ...]:
    return cohort.cases("train", Modality.MRA, has_image=True)


def task(cohort: AlignedCohort, **changes: object) -> FineTask:
    whole = FineTask(cohort.frame, cohort.anatomy.mirror_permutation, GRID.shape, 2.5, None)
    return replace(whole, **changes)  # type: ignore[arg-type]


def window_grid(origin: np.ndarray, shape: tuple[int, int, int]) -> Grid:
    matrix = GRID.ijk_to_ras.copy()
    matrix[:3, 3] = origin
    return Grid(shape, matrix)


def brightness_at(image: torch.Tensor, heatmaps: torch.Tensor) -> list[float]:
    return [float(image[0].flatten()[int(heatmap.argmax())]) for heatmap in heatmaps]


@pytest.mark.parametrize("window", [GRID.shape, (16, 24, 24)])
@pytest.mark.parametrize("augmentation", [AUGMENTATION, ONLY_TRANSLATIONS])
def test_every_target_lies_on_its_bead(
    cohort: AlignedCohort, window: tuple[int, int, int], augmentation: AugmentationConfig
) -> None:
    cases = cohort.cases("train", Modality.MRA, has_image=True)
    plain = replace(augmentation, gain=0.0, gamma=0.0)
    sampler = AlignedFineSampler(cases, task(cohort, window=window), plain, 6, seed=3)
    batch = sampler(np.random.Generator(np.random.Philox(5)))
    seen = 0
    for image, heatmaps, mask in zip(batch.image, batch.heatmaps, batch.channel_mask, strict=True):
        peaks = heatmaps.flatten(1).amax(dim=1)
        for channel, value in enumerate(brightness_at(image, heatmaps)):
            if mask[channel] > 0 and peaks[channel] > 0.85:
                assert 0.7 < value / float(peaks[channel]) / (0.5 + channel / len(peaks)) < 1.25, channel
                seen += 1
    assert seen > 40 or window != GRID.shape
    assert seen > 5


def test_mirror_images_have_their_sides_exchanged(cohort: AlignedCohort, cases: tuple[AlignedCase, ...]) -> None:
    with_mirror = replace(ONLY_TRANSLATIONS, mirror=True, translation_mm=0.0)
    flipped = [
        AlignedFineSampler(cases[:1], task(cohort), with_mirror, 1)(np.random.Generator(np.random.Philox(n)))
        for n in range(8)
    ]
    codes = cohort.anatomy.codes
    for batch in flipped:
        found, _ = decode_argmax(batch.heatmaps[0], GRID)
        assert found[codes.index("R-ICA-T")][0] > 0 > found[codes.index("L-ICA-T")][0]
    images = {float(batch.image[0, 0, 12, 20, 10]) for batch in flipped}
    assert len(images) == 2


def test_the_network_sees_one_channel_or_priors_too(cohort: AlignedCohort, cases: tuple[AlignedCase, ...]) -> None:
    rng = np.random.Generator(np.random.Philox(1))
    alone = AlignedFineSampler(cases, task(cohort), AUGMENTATION, 2)(rng)
    guided = AlignedFineSampler(cases, task(cohort, prior_sigma_mm=5.0), AUGMENTATION, 2)(rng)
    assert alone.image.shape == (2, 1, *GRID.shape)
    assert guided.image.shape == (2, 20, *GRID.shape)
    priors, _ = decode_subvoxel(guided.image[0, 1:], GRID, 5.0)
    truth, _ = decode_subvoxel(guided.heatmaps[0], GRID, 2.5)
    assert 1.0 < np.median(np.linalg.norm(priors - truth, axis=1)) < 8.0


def test_targets_of_whole_voxels_have_their_peak_on_one(cohort: AlignedCohort, cases: tuple[AlignedCase, ...]) -> None:
    batch = AlignedFineSampler(cases, task(cohort, subvoxel=False), AUGMENTATION, 2)(np.random.default_rng(2))
    whole = batch.heatmaps.flatten(2).amax(dim=2)[batch.channel_mask > 0]
    torch.testing.assert_close(whole, torch.ones_like(whole))


def test_unknown_landmarks_do_not_count_and_absent_ones_are_taught_empty_or_do_not_count_either(
    cohort: AlignedCohort, cases: tuple[AlignedCase, ...]
) -> None:
    landmarks, status = cases[0].landmarks.copy(), cases[0].status.copy()
    landmarks[[2, 5]], status[2], status[5] = np.nan, -1, 0
    landmarks[7] = GRID.centre + np.array([0.0, 0.0, 60.0])  # inside the scan, beyond the crop
    case = replace(cases[0], landmarks=landmarks, status=status)
    batch = AlignedFineSampler([case], task(cohort), ONLY_TRANSLATIONS, 1)(np.random.default_rng(2))
    assert batch.channel_mask[0].tolist() == [0.0 if n in (2, 7) else 1.0 for n in range(19)]
    assert float(batch.heatmaps[0, 5].max()) == 0.0
    assert float(batch.heatmaps[0, 2].max()) == 0.0
    masked = task(cohort, learn_absence=False)
    batch = AlignedFineSampler([case], masked, ONLY_TRANSLATIONS, 1)(np.random.default_rng(2))
    assert batch.channel_mask[0].tolist() == [0.0 if n in (2, 5, 7) else 1.0 for n in range(19)]


def test_every_case_comes_once_in_an_epoch_and_the_order_changes(
    cohort: AlignedCohort, cases: tuple[AlignedCase, ...]
) -> None:
    sampler = AlignedFineSampler(cases, task(cohort, window=(8, 8, 8)), ONLY_TRANSLATIONS, 1, seed=1)
    rng = np.random.default_rng(2)
    names = [sampler(rng).names[0] for _ in range(30)]
    epochs = [tuple(names[n : n + 3]) for n in range(0, 30, 3)]
    assert all(Counter(epoch) == Counter(case.name for case in cases) for epoch in epochs)
    assert len(set(epochs)) > 1
    again = AlignedFineSampler(cases, task(cohort, window=(8, 8, 8)), ONLY_TRANSLATIONS, 1, seed=1)
    again.position = 17
    assert again(rng).names[0] == names[17]


@pytest.mark.parametrize("kind", ["fine", "coarse", "real"])
def test_two_processes_share_the_very_batch_of_one(
    cohort: AlignedCohort, cases: tuple[AlignedCase, ...], kind: str
) -> None:
    def images(processes: Processes) -> torch.Tensor:
        rng = np.random.Generator(np.random.Philox(9))
        small = task(cohort, window=(8, 16, 16))
        if kind == "fine":
            return AlignedFineSampler(cases, small, AUGMENTATION, 4, processes=processes)(rng).image
        if kind == "real":
            return RealSampler(cohort.cases("train"), small, AUGMENTATION, 4, processes)(rng).heatmaps
        permutation = cohort.anatomy.mirror_permutation
        coarse = AlignedCoarseSampler(cases, permutation, 4.0, 4, CoarsePose(), AUGMENTATION, processes=processes)
        return coarse(rng).image

    parts = [images(Processes(rank, 2)) for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), images(Processes()))


def test_real_sets_are_heatmaps_of_annotations_in_their_window(cohort: AlignedCohort) -> None:
    sets = cohort.cases("train", Modality.CTA, has_image=False)
    assert len(sets) == 2
    plain = replace(ONLY_TRANSLATIONS, translation_mm=0.0)
    real = RealSampler(sets[:1], task(cohort), plain, 3, Processes())(np.random.default_rng(1))
    assert real.origin_mm is not None
    for heatmaps, origin in zip(real.heatmaps, real.origin_mm, strict=True):
        found, _ = decode_subvoxel(heatmaps, window_grid(origin.numpy(), GRID.shape), 2.5)
        np.testing.assert_allclose(found, sets[0].landmarks, atol=0.1)


def test_a_mirrored_window_knows_its_place(cohort: AlignedCohort) -> None:
    [case] = cohort.cases("train", Modality.CTA, has_image=False)[:1]
    plain = replace(ONLY_TRANSLATIONS, translation_mm=0.0, mirror=True)
    permutation = list(cohort.anatomy.mirror_permutation)
    mirrored = case.landmarks[permutation] * (-1.0, 1.0, 1.0)
    real = RealSampler((case,), task(cohort, window=(16, 24, 24)), plain, 12, Processes())(np.random.default_rng(1))
    assert real.origin_mm is not None
    kinds = set()
    for heatmaps, origin in zip(real.heatmaps, real.origin_mm, strict=True):
        window = window_grid(origin.numpy(), (16, 24, 24))
        found, peaks = decode_subvoxel(heatmaps, window, 2.5)
        near = (peaks > 0.8) & (window.depth_mm(found) > 8.0)
        gaps = [float(np.abs((found - other)[near]).max()) for other in (case.landmarks, mirrored)]
        assert min(gaps) < 0.3
        kinds.add(int(np.argmin(gaps)))
    assert kinds == {0, 1}


def test_the_coarse_network_sees_beads_under_its_targets(cohort: AlignedCohort, cases: tuple[AlignedCase, ...]) -> None:
    plain = replace(AUGMENTATION, gain=0.0, gamma=0.0)
    sampler = AlignedCoarseSampler(
        cases, cohort.anatomy.mirror_permutation, 4.0, 6, CoarsePose(off_target_share=0.0), plain
    )
    batch = sampler(np.random.Generator(np.random.Philox(3)))
    assert batch.image.shape == (6, 2, *WINDOW)
    seen = 0
    for image, heatmaps in zip(batch.image, batch.heatmaps, strict=True):
        for channel, heatmap in enumerate(heatmaps):
            if float(heatmap.max()) > 0.95:
                value = float(image[1].flatten()[int(heatmap.argmax())])
                assert value == pytest.approx(0.5 + channel / 19, abs=0.3)
                seen += 1
    assert seen > 50


def test_a_case_with_fewer_than_three_points_cannot_be_used(cases: tuple[AlignedCase, ...]) -> None:
    status = np.full(19, -1)
    status[:2] = 1
    assert usable([cases[0], replace(cases[1], status=status)]) == (cases[0],)


def test_no_case_and_a_batch_that_cannot_be_shared_are_told(
    cohort: AlignedCohort, cases: tuple[AlignedCase, ...], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="no training case with an image"):
        AlignedFineSampler([], task(cohort), AUGMENTATION, 2)
    with pytest.raises(ConfigurationError, match=r"batch of 3 cannot be shared by 2 processes"):
        AlignedFineSampler(cases, task(cohort), AUGMENTATION, 3, processes=Processes(0, 2))


def test_the_grid_of_the_tests_holds_the_circle(cohort: AlignedCohort) -> None:
    assert GRID.depth_mm(cohort.frame.mean_landmarks).min() > 4.0
    assert axis_aligned_grid(GRID.centre, GRID.spacing, GRID.shape).shape == GRID.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics card")
def test_samples_made_on_a_graphics_card_are_those_of_the_processor(
    cohort: AlignedCohort, cases: tuple[AlignedCase, ...]
) -> None:
    batches = [
        AlignedFineSampler(cases, task(cohort, device=torch.device(name)), AUGMENTATION, 2)(np.random.default_rng(3))
        for name in ("cpu", "cuda")
    ]
    for name in ("image", "heatmaps", "channel_mask"):
        assert getattr(batches[1], name).is_cuda
        torch.testing.assert_close(getattr(batches[1], name).cpu(), getattr(batches[0], name), rtol=1e-4, atol=1e-4)
