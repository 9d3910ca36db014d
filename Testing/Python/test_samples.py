"""Training samples: sides, places, masks and priors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.alignment import REFERENCE_SPACING_MM
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.core.volume import Modality, apply_affine, axis_aligned_grid
from CoWLandmarksLib.detect.coarse import POOLED_SPACING_MM
from CoWLandmarksLib.networks.heatmap import decode_argmax, encode
from CoWLandmarksTrainingLib.augment.augmentation import jittered, mirrored
from CoWLandmarksTrainingLib.augment.earlier_errors import (
    simulated_circle_estimate,
    simulated_coarse_estimate,
    simulated_estimate,
    with_expected_places,
)
from CoWLandmarksTrainingLib.config.settings import AugmentationSettings
from CoWLandmarksTrainingLib.config.training_plan import TrainingPlan
from CoWLandmarksTrainingLib.phantom.atlas import default_atlas
from CoWLandmarksTrainingLib.phantom.case_cache import circle_case, coarse_case, fine_case
from CoWLandmarksTrainingLib.phantom.circle_cases import ABSENT_EVERY, case_grid, render_circle_case
from CoWLandmarksTrainingLib.phantom.training_cases import (
    FINE_WINDOW,
    FINE_WINDOWS_PER_CASE,
    CoarseCase,
    dequantise,
    landmark_status,
    quantise,
    value_range,
)
from CoWLandmarksTrainingLib.train import phantom_source
from CoWLandmarksTrainingLib.train.batches import Batch, stacked
from CoWLandmarksTrainingLib.train.phantom_data import phantom_frame
from CoWLandmarksTrainingLib.train.phantom_source import PhantomSource
from CoWLandmarksTrainingLib.train.samples import StageSamples
from CoWLandmarksTrainingLib.train.stages import Stage, recipe

CODES = default_anatomy().codes
PERMUTATION = default_anatomy().mirror_permutation
CIRCLE = default_atlas().shape_models["patients"].mean
ABSENT, OUTSIDE = CODES.index("L-A1-A2"), CODES.index("R-M1-M2")
COARSE_SHAPE = (30, 36, 40)
STAGES = {stage.name: stage for stage in recipe(TrainingPlan(), phantom_frame(), len(CODES), {})}
KINDS = list(STAGES)


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
    head, circle = {"modality": np.array("mra")}, {"modality": np.array("mra")}
    for part, shape, spacing, size in (
        ("coarse", COARSE_SHAPE, np.full(3, POOLED_SPACING_MM), 0.8),
        ("circle", case_grid().shape, case_grid().spacing, 0.8),
        ("fine", FINE_WINDOW, REFERENCE_SPACING_MM, 0.4),
    ):
        centre = (np.array(shape[::-1]) - 1) * spacing / 2.0
        turned = (CIRCLE - CIRCLE.mean(axis=0)) * size + centre + (1.3, 0.4, -0.2)
        turned[ABSENT] = np.nan
        image = spots(turned, shape, spacing)
        repeat = FINE_WINDOWS_PER_CASE
        if part == "circle":
            turned = turned + case_grid().ijk_to_ras[:3, 3]
            circle |= {"image": np.stack([image] * 2), "landmarks": turned.astype(np.float32), "status": status}
        elif part == "coarse":
            head |= {
                "coarse_image": np.stack([image] * 2),
                "coarse_landmarks": turned.astype(np.float32),
                "coarse_status": status,
            }
        else:
            origin = apply_affine(STAGES["fine"].grid.ijk_to_ras, np.array([20.0, 30.0, 10.0]))
            head |= {
                "fine_image": np.stack([image] * repeat),
                "fine_landmarks": np.stack([turned.astype(np.float32)] * repeat),
                "fine_status": np.stack([status] * repeat),
                "fine_origin": np.stack([origin] * repeat),
            }
    np.savez(folder / "head-1-0000000.npz", **head)
    np.savez(folder / "circle-1-0000000.npz", **circle)
    return folder


@pytest.fixture(autouse=True)
def on_target(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All windows of the coarse stage lie near the circle."""
    monkeypatch.setattr(phantom_source, "OFF_TARGET_SHARE", 0.0)
    yield


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


def samples_of(kind: str, cases: Path, seed: int = 0) -> StageSamples:
    source = PhantomSource(cases, 1, 1, 4)
    return StageSamples(STAGES[kind], ((source, 1.0),), PERMUTATION, AugmentationSettings(), seed)


def two(kind: str, cases: Path, seed: int) -> tuple[Batch, torch.Tensor, torch.Tensor]:
    """A batch of two samples, what the network reads of it and the heatmaps that it is to give."""
    samples, method = samples_of(kind, cases, seed), STAGES[kind].method
    batch = stacked([samples[0], samples[1]])
    return batch, method.inputs(batch), method.targets(batch.landmarks)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_every_target_lies_on_its_bright_spot(cases: Path, kind: str, seed: int) -> None:
    batch, inputs, every = two(kind, cases, seed)
    assert inputs.shape[0] == every.shape[0] == 2
    assert inputs.shape[1] == (20 if kind == "fine" else 2)
    assert every.shape[2:] == inputs.shape[2:] == STAGES[kind].shape
    grid = axis_aligned_grid(np.zeros(3), np.ones(3), STAGES[kind].shape)
    judged = 0
    for image, heatmaps in zip(batch.image, every, strict=True):
        positions, peaks = decode_argmax(heatmaps, grid)
        ijk = np.rint(positions - grid.ijk_to_ras[:3, 3]).astype(int)
        inside = (ijk > 0).all(axis=1) & (ijk < grid.size - 1).all(axis=1) & (peaks > 0.5)
        for i, j, k in ijk[inside]:
            assert float(image[0, k, j, i]) > 1.0
        judged += int(inside.sum())
    assert judged > 20


@pytest.mark.parametrize("kind", KINDS)
def test_absent_landmarks_are_taught_empty_and_outside_ones_are_not_judged(cases: Path, kind: str) -> None:
    seen = set()
    for seed in range(4):
        batch, _, every = two(kind, cases, seed)
        for heatmaps, mask in zip(every, batch.channel_mask, strict=True):
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
    batch, inputs, _ = two("fine", cases, 0)
    for image, mask in zip(inputs, batch.channel_mask, strict=True):
        absent = ABSENT if float(mask[OUTSIDE]) == 0.0 else PERMUTATION[ABSENT]
        assert float(image[1 + absent].max()) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_depends_on_its_number_and_the_seed_alone(cases: Path, kind: str) -> None:
    torch.manual_seed(1)
    one = samples_of(kind, cases)[7]
    torch.manual_seed(2)
    samples = samples_of(kind, cases)
    _ = samples[8], samples[6]
    other = samples[7]
    assert torch.equal(one.image, other.image)
    torch.testing.assert_close(one.landmarks, other.landmarks, rtol=0.0, atol=0.0, equal_nan=True)
    for another in (samples[8], samples_of(kind, cases, seed=1)[7]):
        assert not torch.equal(one.image, another.image)


def test_stages_draw_different_numbers(cases: Path) -> None:
    circle = samples_of("circle", cases)
    renamed = replace(circle, stage=replace(STAGES["circle"], name="fine"))
    assert not torch.equal(renamed[0].image, circle[0].image)


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


def test_where_a_circle_stage_stands_before_the_fine_one_its_errors_are_drawn_more_often_than_not() -> None:
    rng = np.random.default_rng(5)

    def medians(with_circle: bool) -> np.ndarray:
        made = [simulated_estimate(CIRCLE, rng, CIRCLE, with_circle=with_circle) - CIRCLE for _ in range(400)]
        return np.median(np.linalg.norm(made, axis=2), axis=1)

    assert (medians(False) < 1.7).mean() < 0.1
    assert 0.5 < (medians(True) < 1.7).mean() < 0.75


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
    for version, image in ((3, values), (4, values), (4, 0.2 * values)):
        low, high = value_range(image, rule, version)
        again = dequantise(torch.from_numpy(quantise(image, (low, high))), (low, high))
        assert float((again - image).abs().max()) <= (high - low) / 510 + 1e-5


def test_a_ct_of_eight_bits_keeps_all_its_grey_levels_in_the_cache() -> None:
    rule = DEFAULT_INTENSITY_RULES[Modality.CTA]
    image = torch.arange(256.0) / rule.fixed_scale  # what the detector reads of such a file
    by_rule = quantise(image, value_range(image, rule, 3))
    by_image = quantise(image, value_range(image, rule, 4))
    assert len(np.unique(by_rule)) < 64
    assert len(np.unique(by_image)) == 256


def test_a_landmark_within_two_millimetres_of_the_edge_is_outside() -> None:
    grid = axis_aligned_grid(np.zeros(3), np.ones(3), (20, 20, 20))
    points = np.array([(0, 0, 0), (7.9, 0, 0), (8.1, 0, 0), (0, -8.1, 0), (0, 0, 99), (np.nan,) * 3], float)
    assert landmark_status(points, grid).tolist() == [1, 1, -1, -1, -1, 0]


def test_cached_cases_are_read_back(cases: Path) -> None:
    coarse, fine, circle = coarse_case(cases, 1, 0), fine_case(cases, 1, 0, 2), circle_case(cases, 1, 0)
    assert (coarse.modality, fine.modality, circle.modality) == ("mra", "mra", "mra")
    assert coarse.image.shape == (2, *COARSE_SHAPE)
    assert fine.image.shape == FINE_WINDOW
    assert circle.image.shape == (2, *case_grid().shape)
    assert fine.status[OUTSIDE] == -1


class TestPhantomsOnDemand:
    """Which phantoms a training sees, and how they come to be."""

    @pytest.fixture
    def drawn(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Numbers of the phantoms that were asked for; nothing is rendered."""
        numbers: list[int] = []

        def case(folder: Path, seed: int, index: int, version: int) -> CoarseCase:
            numbers.append(index)
            status = np.ones(len(CODES), np.int8)
            landmarks = (CIRCLE - CIRCLE.min(axis=0)).astype(np.float32)
            image = np.zeros((2, *COARSE_SHAPE), np.uint8)
            return CoarseCase(image, landmarks, status, ("mra", "cta")[index % 2], (0.0, 1.6))

        monkeypatch.setattr(phantom_source, "coarse_case", case)
        return numbers

    def draw(self, source: PhantomSource, positions: range) -> None:
        for position in positions:
            source.case(STAGES["coarse"], position, np.random.default_rng(position))

    def test_they_join_as_the_training_goes_on(self, drawn: list[int], tmp_path: Path) -> None:
        source = PhantomSource(tmp_path, 1, 40, reuse=4)
        seen: dict[int, int] = {}
        for position in range(600):
            self.draw(source, range(position, position + 1))
            seen.setdefault(drawn[-1], position)
        assert set(seen) == set(range(40))  # all of them in the end, and no more
        assert all(position >= 4 * number for number, position in seen.items() if number >= 8)
        assert max(number for number, position in seen.items() if position < 32) < 8
        assert 25 < len(set(drawn[:160])) <= 40  # one joins every four samples

    def test_there_are_never_more_than_wanted(self, drawn: list[int], tmp_path: Path) -> None:
        self.draw(PhantomSource(tmp_path, 1, 3, reuse=1), range(60))
        assert set(drawn) == {0, 1, 2}

    @pytest.mark.parametrize(("modality", "parity"), [(Modality.MRA, 0), (Modality.CTA, 1)])
    def test_those_of_one_modality_alone_can_be_wanted(
        self, drawn: list[int], tmp_path: Path, modality: Modality, parity: int
    ) -> None:
        self.draw(PhantomSource(tmp_path, 1, 20, reuse=1, modalities=(modality,)), range(200))
        assert {number % 2 for number in drawn} == {parity}
        assert len(set(drawn)) == 20  # as many as wanted, all of this modality

    def test_windows_that_phantoms_are_not_rendered_in_are_reported(self, tmp_path: Path) -> None:
        stage: Stage = replace(STAGES["fine"], shape=(48, 64, 80))
        with pytest.raises(ConfigurationError, match=r"windows of 64 x 64 x 48 voxels .* data\.phantom_share = 0\.$"):
            PhantomSource(tmp_path, 1, 1, 1).case(stage, 0, np.random.default_rng(1))

    @pytest.mark.slow
    def test_two_processes_that_render_the_same_phantom_leave_one_whole_file(self, tmp_path: Path) -> None:
        probe = (
            "import sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
            "from CoWLandmarksTrainingLib.phantom.case_cache import circle_case\n"
            "print(circle_case(Path(sys.argv[1]), 5, 3).image.sum())"
        )
        arguments = [sys.executable, "-c", probe]
        both = [
            subprocess.Popen([*arguments, str(tmp_path / "shared")], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        sums = {process.communicate()[0] for process in both}
        assert [process.returncode for process in both] == [0, 0]
        assert [path.name for path in (tmp_path / "shared").iterdir()] == ["circle-5-0000003.npz"]
        shared, alone = circle_case(tmp_path / "shared", 5, 3), circle_case(tmp_path / "alone", 5, 3)
        np.testing.assert_array_equal(shared.image, alone.image)
        np.testing.assert_array_equal(shared.landmarks, alone.landmarks)
        np.testing.assert_array_equal(shared.status, alone.status)
        assert sums == {f"{alone.image.sum()}\n"}

    @pytest.mark.skipif(not Path("/proc").exists(), reason="needs a folder that cannot be made")
    def test_a_phantom_that_cannot_be_kept_is_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        case = render_circle_case(5, 3, torch.device("cpu"))
        monkeypatch.setattr("CoWLandmarksTrainingLib.phantom.case_cache.render_circle_case", lambda *_: case)
        with pytest.raises(OutputError, match=r"circle-5-0000003\.npz' cannot be written .*; make room on the disk\.$"):
            circle_case(Path("/proc/none"), 5, 3)


@pytest.mark.parametrize("index", [2 * ABSENT_EVERY - 2, 2 * ABSENT_EVERY - 1])
def test_every_tenth_circle_case_of_a_modality_lacks_a_landmark(index: int) -> None:
    case = render_circle_case(7, index, torch.device("cpu"))
    assert case.modality == ("mra", "cta")[index % 2]
    assert not np.isfinite(case.landmarks).all()
    np.testing.assert_array_equal(np.isfinite(case.landmarks).all(axis=1), case.status != 0)


@pytest.mark.slow
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
