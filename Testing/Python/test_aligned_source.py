"""Samples from an aligned cohort: targets on their beads, epochs, sharing, and what does not count."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from aligned_beads import GRID, write_bead_cohort
from CoWLandmarksLib.core.alignment import CIRCLE_SHAPE
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Grid, Modality, axis_aligned_grid
from CoWLandmarksLib.detect.coarse import WINDOW
from CoWLandmarksLib.networks.heatmap import decode_argmax, decode_subvoxel
from CoWLandmarksTrainingLib.config.settings import ONLY_TRANSLATIONS, AugmentationSettings
from CoWLandmarksTrainingLib.config.training_plan import TrainingPlan
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedCase, AlignedCohort
from CoWLandmarksTrainingLib.train import aligned_source
from CoWLandmarksTrainingLib.train.aligned_source import AlignedLandmarkSets, AlignedSource, drawn_deformation, usable
from CoWLandmarksTrainingLib.train.batches import Batch, RealSets, stacked
from CoWLandmarksTrainingLib.train.processes import Processes
from CoWLandmarksTrainingLib.train.samples import RealSetSampler, StageSamples, batches
from CoWLandmarksTrainingLib.train.stages import Stage, recipe

AUGMENTATION = AugmentationSettings(elastic_mm=0.8, noise=0.0, intensity=False)
Cases = tuple[AlignedCase, ...]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> AlignedCohort:
    return write_bead_cohort(tmp_path_factory.mktemp("aligned"), mra=3, sets=2)


@pytest.fixture
def cases(cohort: AlignedCohort) -> Cases:
    return cohort.cases("train", Modality.MRA, has_image=True)


def stage_of(cohort: AlignedCohort, name: str = "fine", **changes: Any) -> Stage:
    """A stage; the fine one reads the whole grid without priors unless `changes` say otherwise."""
    fine = {"base_width": 8, "levels": 2, "window": (0, 0, 0), "priors": False, "sigma_mm": 2.5}
    plan = TrainingPlan().with_values(fine={**fine, **changes} if name == "fine" else fine)
    return next(stage for stage in recipe(plan, cohort.frame, len(cohort.anatomy), {}) if stage.name == name)


def samples_of(
    cohort: AlignedCohort, cases: Cases, stage: Stage, augmentation: AugmentationSettings, seed: int = 0
) -> StageSamples:
    source = AlignedSource(cases, cohort.frame, TrainingPlan().coarse, augmentation, seed)
    middle = float(GRID.centre[0])
    return StageSamples(stage, ((source, 1.0),), cohort.anatomy.mirror_permutation, augmentation, seed, middle)


def batch_of(
    cohort: AlignedCohort, cases: Cases, stage: Stage, augmentation: AugmentationSettings, size: int, seed: int = 0
) -> Batch:
    samples = samples_of(cohort, cases, stage, augmentation, seed)
    return stacked([samples[number] for number in range(size)])


def real_sets(
    cohort: AlignedCohort, cases: Cases, stage: Stage, augmentation: AugmentationSettings, size: int, seed: int = 1
) -> RealSets:
    return sampler_of(cohort, cases, stage, augmentation, size)(np.random.default_rng(seed))


def sampler_of(
    cohort: AlignedCohort,
    cases: Cases,
    stage: Stage,
    augmentation: AugmentationSettings,
    size: int,
    processes: Processes | None = None,
) -> RealSetSampler:
    return RealSetSampler(
        AlignedLandmarkSets(cases),
        stage,
        cohort.frame,
        cohort.anatomy.mirror_permutation,
        augmentation,
        float(GRID.centre[0]),
        size,
        processes or Processes(),
    )


def window_grid(origin: np.ndarray, shape: tuple[int, int, int]) -> Grid:
    matrix = GRID.ijk_to_ras.copy()
    matrix[:3, 3] = origin
    return Grid(shape, matrix)


def brightness_at(image: torch.Tensor, heatmaps: torch.Tensor) -> list[float]:
    return [float(image.flatten()[int(heatmap.argmax())]) for heatmap in heatmaps]


@pytest.mark.slow
@pytest.mark.parametrize("window", [GRID.shape, (16, 24, 24)])
@pytest.mark.parametrize("augmentation", [AUGMENTATION, ONLY_TRANSLATIONS])
def test_every_target_lies_on_its_bead(
    cohort: AlignedCohort, cases: Cases, window: tuple[int, int, int], augmentation: AugmentationSettings
) -> None:
    plain = replace(augmentation, gain=0.0, gamma=0.0)
    stage = stage_of(cohort, window=window)
    batch = batch_of(cohort, cases, stage, plain, 6, seed=3)
    seen = 0
    every = stage.method.targets(batch.landmarks)
    for image, heatmaps, mask in zip(batch.image, every, batch.channel_mask, strict=True):
        peaks = heatmaps.flatten(1).amax(dim=1)
        for channel, value in enumerate(brightness_at(image[0], heatmaps)):
            if mask[channel] > 0 and peaks[channel] > 0.85:
                assert 0.7 < value / float(peaks[channel]) / (0.5 + channel / len(peaks)) < 1.25, channel
                seen += 1
    assert seen > 40 or window != GRID.shape
    assert seen > 5


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", [AUGMENTATION, ONLY_TRANSLATIONS])
def test_the_circle_network_sees_beads_under_its_targets(
    cohort: AlignedCohort, cases: Cases, augmentation: AugmentationSettings
) -> None:
    plain, stage = replace(augmentation, gain=0.0, gamma=0.0), stage_of(cohort, "circle")
    batch = batch_of(cohort, cases, stage, plain, 6)
    assert batch.image.shape == (6, 2, *CIRCLE_SHAPE)
    seen = 0
    for image, heatmaps, mask in zip(
        batch.image, stage.method.targets(batch.landmarks), batch.channel_mask, strict=True
    ):
        assert bool((image[1] >= image[0]).all())
        for channel, heatmap in enumerate(heatmaps):
            if mask[channel] > 0 and float(heatmap.max()) > 0.95:
                value = float(image[1].flatten()[int(heatmap.argmax())])
                assert 0.65 < value / (0.5 + channel / 19) < 1.1, channel  # a bead is flattened by voxels of 2 mm
                seen += 1
    assert seen > 90


@pytest.mark.slow
def test_cases_of_the_circle_stage_are_turned_and_scaled_like_an_alignment_by_the_coarse_one(
    cohort: AlignedCohort, cases: Cases
) -> None:
    stage, plain = stage_of(cohort, "circle"), replace(AUGMENTATION, elastic_mm=0.0, mirror=False)
    source = AlignedSource(cases[:1], cohort.frame, TrainingPlan().coarse, plain)
    known = cases[0].landmarks - cases[0].landmarks.mean(axis=0)
    turns, sizes = [], []
    for number in range(100):
        own, rng = cases[0], np.random.default_rng(number)
        pose = drawn_deformation(rng, stage, source.augmentation, source.frame, own.landmarks, own.status)
        found = pose.moved(own.landmarks)
        found = found - found.mean(axis=0)
        left, values, right = np.linalg.svd(found.T @ known)
        rotation = left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right
        turns.append(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0))))
        sizes.append(values.sum() / (known**2).sum())
    assert 2.0 < np.median(turns) < 8.0  # three axes of 3 degrees each, now and then 8, and the noise of the fit
    assert 0.015 < np.std(np.log(sizes)) < 0.06


def test_mirror_images_have_their_sides_exchanged(cohort: AlignedCohort, cases: Cases) -> None:
    with_mirror, stage = replace(ONLY_TRANSLATIONS, mirror=True, translation_mm=0.0), stage_of(cohort)
    samples = samples_of(cohort, cases[:1], stage, with_mirror)
    flipped = [stacked([samples[number]]) for number in range(8)]
    codes = cohort.anatomy.codes
    for batch in flipped:
        found, _ = decode_argmax(stage.method.targets(batch.landmarks)[0], GRID)
        assert found[codes.index("R-ICA-T")][0] > 0 > found[codes.index("L-ICA-T")][0]
    images = {float(batch.image[0, 0, 12, 20, 10]) for batch in flipped}
    assert len(images) == 2


def test_the_network_sees_one_channel_or_priors_too(cohort: AlignedCohort, cases: Cases) -> None:
    alone, guided = stage_of(cohort), replace(stage_of(cohort, priors=True), after_circle=False)
    batch = batch_of(cohort, cases, alone, AUGMENTATION, 2)
    assert batch.expected is None
    assert alone.method.inputs(batch).shape == (2, 1, *GRID.shape)
    guided_batch = batch_of(cohort, cases, guided, AUGMENTATION, 2)
    inputs = guided.method.inputs(guided_batch)
    assert inputs.shape == (2, 20, *GRID.shape)
    priors, _ = decode_subvoxel(inputs[0, 1:], GRID, 5.0)
    truth, _ = decode_subvoxel(guided.method.targets(guided_batch.landmarks)[0], GRID, 2.5)
    assert 1.0 < np.median(np.linalg.norm(priors - truth, axis=1)) < 8.0


def test_expected_places_are_turned_and_bent_with_the_head(
    cohort: AlignedCohort, cases: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A doubtful point is expected where it usually lies in a head, which turns with the head."""
    monkeypatch.setattr(aligned_source, "simulated_estimate", lambda landmarks, rng, mean, with_circle: mean)
    usual = tuple(replace(case, landmarks=cohort.frame.mean_landmarks) for case in cases)
    strong = replace(AUGMENTATION, rotation_deg=20.0, scale=0.1)
    batch = batch_of(cohort, usual, stage_of(cohort, priors=True), strong, 6)
    assert batch.expected is not None
    torch.testing.assert_close(batch.expected, batch.landmarks)


def test_targets_of_whole_voxels_have_their_peak_on_one(cohort: AlignedCohort, cases: Cases) -> None:
    stage = stage_of(cohort, subvoxel_targets=False)
    batch = batch_of(cohort, cases, stage, AUGMENTATION, 2)
    whole = stage.method.targets(batch.landmarks).flatten(2).amax(dim=2)[batch.channel_mask > 0]
    torch.testing.assert_close(whole, torch.ones_like(whole))


def test_unknown_landmarks_do_not_count_and_absent_ones_are_taught_empty_or_do_not_count_either(
    cohort: AlignedCohort, cases: Cases
) -> None:
    landmarks, status = cases[0].landmarks.copy(), cases[0].status.copy()
    landmarks[[2, 5]], status[2], status[5] = np.nan, -1, 0
    landmarks[7] = GRID.centre + np.array([0.0, 0.0, 60.0])  # inside the scan, beyond the crop
    case = replace(cases[0], landmarks=landmarks, status=status)
    for stage in (stage_of(cohort), stage_of(cohort, "circle")):
        batch = batch_of(cohort, (case,), stage, ONLY_TRANSLATIONS, 1)
        heatmaps = stage.method.targets(batch.landmarks)
        assert batch.channel_mask[0].tolist() == [0.0 if n in (2, 7) else 1.0 for n in range(19)]
        assert float(heatmaps[0, 5].max()) == 0.0
        assert float(heatmaps[0, 2].max()) == 0.0
    batch = batch_of(cohort, (case,), stage_of(cohort, learn_absence=False), ONLY_TRANSLATIONS, 1)
    assert batch.channel_mask[0].tolist() == [0.0 if n in (2, 5, 7) else 1.0 for n in range(19)]


def test_every_case_comes_once_in_an_epoch_and_the_order_changes(cohort: AlignedCohort, cases: Cases) -> None:
    samples = samples_of(cohort, cases, stage_of(cohort, window=(8, 8, 8)), ONLY_TRANSLATIONS, seed=1)
    names = [samples[number].name for number in range(30)]
    epochs = [tuple(names[n : n + 3]) for n in range(0, 30, 3)]
    assert all(Counter(epoch) == Counter(case.name for case in cases) for epoch in epochs)
    assert len(set(epochs)) > 1
    again = samples_of(cohort, cases, stage_of(cohort, window=(8, 8, 8)), ONLY_TRANSLATIONS, seed=1)
    assert again[17].name == names[17]


def test_cases_of_a_cohort_change_their_look_as_phantoms_do(cohort: AlignedCohort, cases: Cases) -> None:
    still = replace(ONLY_TRANSLATIONS, translation_mm=0.0)
    plain = samples_of(cohort, cases[:1], stage_of(cohort), still)
    varied = samples_of(cohort, cases[:1], stage_of(cohort), replace(still, intensity=True))
    variants = [varied[number] for number in range(8)]
    torch.testing.assert_close(plain[0].image, plain[1].image)
    assert sum(not torch.allclose(variant.image, plain[0].image, atol=0.02) for variant in variants) >= 6
    for variant in variants:
        torch.testing.assert_close(variant.landmarks, plain[0].landmarks)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coarse", "circle", "fine", "real"])
def test_two_processes_share_the_very_batch_of_one(cohort: AlignedCohort, cases: Cases, kind: str) -> None:
    def images(processes: Processes) -> torch.Tensor:
        small = stage_of(cohort, window=(8, 16, 16))
        if kind == "real":
            sampler = sampler_of(cohort, cohort.cases("train"), small, AUGMENTATION, 4, processes)
            return sampler(np.random.Generator(np.random.Philox(9))).landmarks
        stage = small if kind == "fine" else stage_of(cohort, kind)
        samples = samples_of(cohort, cases, stage, AUGMENTATION)
        return next(batches(samples, 4, first=8, processes=processes)).image

    parts = [images(Processes(rank, 2)) for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), images(Processes()))


def test_real_sets_are_heatmaps_of_annotations_in_their_window(cohort: AlignedCohort) -> None:
    sets = cohort.cases("train", Modality.CTA, has_image=False)
    assert len(sets) == 2
    plain = replace(ONLY_TRANSLATIONS, translation_mm=0.0)
    stage = stage_of(cohort)
    real = real_sets(cohort, sets[:1], stage, plain, 3)
    assert real.origin_mm is not None
    for heatmaps, origin in zip(stage.method.targets(real.landmarks), real.origin_mm, strict=True):
        found, _ = decode_subvoxel(heatmaps, window_grid(origin.numpy(), GRID.shape), 2.5)
        np.testing.assert_allclose(found, sets[0].landmarks, atol=0.1)


def test_a_mirrored_window_knows_its_place(cohort: AlignedCohort) -> None:
    [case] = cohort.cases("train", Modality.CTA, has_image=False)[:1]
    plain = replace(ONLY_TRANSLATIONS, translation_mm=0.0, mirror=True)
    permutation = list(cohort.anatomy.mirror_permutation)
    mirrored = case.landmarks[permutation] * (-1.0, 1.0, 1.0)
    stage = stage_of(cohort, window=(16, 24, 24))
    real = real_sets(cohort, (case,), stage, plain, 12)
    assert real.origin_mm is not None
    kinds = set()
    for heatmaps, origin in zip(stage.method.targets(real.landmarks), real.origin_mm, strict=True):
        window = window_grid(origin.numpy(), (16, 24, 24))
        found, peaks = decode_subvoxel(heatmaps, window, 2.5)
        near = (peaks > 0.8) & (window.depth_mm(found) > 8.0)
        gaps = [float(np.abs((found - other)[near]).max()) for other in (case.landmarks, mirrored)]
        assert min(gaps) < 0.3
        kinds.add(int(np.argmin(gaps)))
    assert kinds == {0, 1}


def test_the_coarse_network_sees_beads_under_its_targets(
    cohort: AlignedCohort, cases: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aligned_source, "OFF_TARGET_SHARE", 0.0)
    stage = stage_of(cohort, "coarse")
    batch = batch_of(cohort, cases, stage, replace(AUGMENTATION, gain=0.0, gamma=0.0), 6)
    assert batch.image.shape == (6, 2, *WINDOW)
    seen = 0
    for image, heatmaps in zip(batch.image, stage.method.targets(batch.landmarks), strict=True):
        for channel, heatmap in enumerate(heatmaps):
            if float(heatmap.max()) > 0.95:
                value = float(image[1].flatten()[int(heatmap.argmax())])
                assert value == pytest.approx(0.5 + channel / 19, abs=0.3)
                seen += 1
    assert seen > 50


def test_a_case_with_fewer_than_three_points_cannot_be_used(cases: Cases) -> None:
    status = np.full(19, -1)
    status[:2] = 1
    assert usable([cases[0], replace(cases[1], status=status)]) == (cases[0],)


def test_no_case_and_a_batch_that_cannot_be_shared_are_reported(cohort: AlignedCohort, cases: Cases) -> None:
    with pytest.raises(ConfigurationError, match="no training case with an image"):
        samples_of(cohort, (), stage_of(cohort), AUGMENTATION)
    with pytest.raises(ConfigurationError, match=r"batch of 3 cannot be shared by 2 processes"):
        batches(samples_of(cohort, cases, stage_of(cohort), AUGMENTATION), 3, processes=Processes(0, 2))


def test_the_grid_of_the_tests_holds_the_circle(cohort: AlignedCohort) -> None:
    assert GRID.depth_mm(cohort.frame.mean_landmarks).min() > 4.0
    assert axis_aligned_grid(GRID.centre, GRID.spacing, GRID.shape).shape == GRID.shape
