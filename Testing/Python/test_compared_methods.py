"""The methods to compare with, of Payer et al. 2019 and Noothout et al. 2020: networks, losses, decoders, trainings."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from aligned_beads import GRID, bead_image, mean_places, write_bead_cohort
from beads import bead_places, bead_scan, tiny_model
from CoWLandmarksLib.__main__ import main as detect_main
from CoWLandmarksLib.core.calibration import UNCALIBRATED
from CoWLandmarksLib.core.errors import ConfigurationError, ModelError, StoppedError
from CoWLandmarksLib.core.volume import Volume, axis_aligned_grid
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.detect.model import GridSpec, Model, NetworkPart, load_model, save_model
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksLib.networks.global_to_local import (
    GlobalToLocalConfig,
    block_centres,
    displacement,
    log_displacement,
    sub_images,
    weighted_average,
)
from CoWLandmarksLib.networks.heatmap import decode_parabola, encode
from CoWLandmarksLib.networks.network_config import NetworkConfig
from CoWLandmarksLib.networks.spatial_configuration import SpatialConfigurationConfig, target_height
from CoWLandmarksTrainingLib.__main__ import main
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.config.trainer_config import TrainerConfig
from CoWLandmarksTrainingLib.records.aligned_folder import AlignedFrame
from CoWLandmarksTrainingLib.train.batches import Sample, stacked
from CoWLandmarksTrainingLib.train.methods import Method
from CoWLandmarksTrainingLib.train.noothout import BlockRegression, block_errors
from CoWLandmarksTrainingLib.train.payer import SIGMA_RATE, SpatialConfigurationRegression, gaussian_targets
from CoWLandmarksTrainingLib.train.stages import Stage, recipe
from CoWLandmarksTrainingLib.train.trainer import Trainer
from torch.utils.data import Dataset

CPU = torch.device("cpu")
SPACING = (0.8, 1.0, 1.2)
SPEC = GridSpec((16, 16, 16), SPACING, (0.0, 0.0, 0.0))
VOXELS = torch.tensor([[4.3, 9.6, 7.2], [11.8, 5.1, 8.4]])
PAYER = SpatialConfigurationRegression(SpatialConfigurationConfig(1, 2, width=8, levels=2), SPACING)
NOOTHOUT = BlockRegression(GlobalToLocalConfig(1, 2, base_width=4, blocks=(1, 1, 1, 1)), SPEC.shape, SPACING)
WIDER_NOOTHOUT = replace(NOOTHOUT, config=replace(NOOTHOUT.config, base_width=8))
BOTH = pytest.mark.parametrize("method", [PAYER, NOOTHOUT], ids=["payer", "noothout"])
SMALL_GRID = GridSpec((32, 56, 64), (1.54, 1.54, 2.4), (0.0, 14.0, 2.5))


@pytest.fixture(scope="module")
def aligned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aligned")
    write_bead_cohort(folder, mra=2, sets=0)
    return folder


@dataclass(frozen=True)
class OneCase(Dataset):  # type: ignore[type-arg]
    """The same case again and again: two beads of different brightness, the third landmark of no image."""

    def __getitem__(self, number: int) -> Sample:
        """The case."""
        places = VOXELS.numpy() * SPACING + SPEC.grid().ijk_to_ras[:3, 3]
        one, two = encode(places, SPEC.grid(), 1.5)
        landmarks = VOXELS * torch.tensor(SPACING)
        return Sample((one + 0.6 * two)[None], landmarks, torch.ones(2), None, torch.zeros(3), f"case-{number}")


def trainer(method: Method, folder: Path, weights: int = 1, **changes: Any) -> Trainer:
    config = TrainerConfig(4, 1e-3, warm_up_steps=0, mixed_precision=False, checkpoint_seconds=0.0, log_seconds=0.0)
    config = replace(config, gradient_norm=math.inf, **changes)
    return Trainer(method, method.network(weights), OneCase(), 2, config, folder, CPU)


class TestPayer:
    """SpatialConfiguration-Net: output = local * spatial; Gaussians of learnt widths."""

    def test_the_network_of_the_paper_has_five_million_weights(self) -> None:
        with torch.device("meta"):  # sizes without weights
            network = SpatialConfigurationConfig().build()
        assert sum(value.numel() for value in network.parameters()) == pytest.approx(5.0e6, rel=0.01)

    def test_the_output_is_the_product_of_local_and_spatial_heatmaps(self) -> None:
        network = PAYER.network(1).eval()
        with torch.no_grad():
            network.sigmas.copy_(torch.tensor([2.0, 5.0]))
            network.local_head.bias.fill_(3.0)
            network.spatial_head.bias.fill_(0.5)
        image = OneCase()[0].image[None]
        with torch.no_grad():
            local, spatial = network.parts(image)
            relative = network(image)
        assert local.std() > 0.0 and spatial.std() > 0.0
        assert float(spatial.mean()) == pytest.approx(math.tanh(0.5), abs=0.05)
        heights = torch.tensor([7.9367, 0.50795])  # 1000 / (2.50663 sigma)^3
        torch.testing.assert_close(relative * heights[:, None, None, None], local * spatial, rtol=1e-4, atol=1e-6)
        raw, sigmas = network.train()(image)
        assert raw.shape == (1, 2, *SPEC.shape)
        assert sigmas.tolist() == [[2.0, 5.0]]

    def test_sides_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(ModelError, match=r"multiples of 4"):
            PAYER.network(1)(torch.zeros(1, 1, 16, 16, 18))

    def test_targets_are_gaussians_as_high_as_they_are_narrow(self) -> None:
        made = gaussian_targets(
            torch.tensor([[[2.0, 1.0, 0.0, 1.0], [2.0, 1.0, 0.0, 0.0]]]), torch.full((1, 2), 2.0), torch.Size((1, 2, 4))
        )
        assert float(target_height(torch.tensor(1.0))) == pytest.approx(63.4936, rel=1e-5)
        assert float(made[0, 0, 0, 1, 2]) == pytest.approx(63.4936 / 8.0, rel=1e-5)
        assert float(made[0, 0, 0, 0, 0]) == pytest.approx(63.4936 / 8.0 * math.exp(-5.0 / 8.0), rel=1e-5)
        assert float(made[0, 1].abs().max()) == 0.0

    def test_the_loss_is_that_of_the_paper(self) -> None:
        """One voxel: half of (8 - 7.9367)^2 and 50 x 2^2; where there is no landmark, half of 8^2."""
        sigmas = torch.full((1, 2), 2.0, requires_grad=True)
        outputs = (torch.full((1, 2, 1, 1, 1), 8.0), sigmas)
        targets = torch.tensor([[[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]])
        errors = PAYER.errors(outputs, targets, 1000.0)
        height = 63.49364 / 8.0
        assert errors.tolist()[0] == pytest.approx([0.5 * (8.0 - height) ** 2 + 200.0, 32.0], rel=1e-6)
        errors.sum().backward()
        # d/d sigma: (g - h) (-3 g / sigma) + 100 sigma
        expected = (height - 8.0) * (-1.5 * height) + 200.0
        assert sigmas.grad is not None
        assert sigmas.grad.tolist()[0] == pytest.approx([expected, 0.0], rel=1e-5)

    def test_widths_learn_faster_than_weights_and_only_kernels_decay(self, tmp_path: Path) -> None:
        learner = trainer(PAYER, tmp_path, steps=1, final_learning_rate=1e-3)
        learner.run()
        moved = (learner.generator.sigmas - 4.0).abs().tolist()
        assert moved == pytest.approx([SIGMA_RATE * 1e-3] * 2, rel=0.01)
        kernels, biases, sigmas = learner.optimiser.param_groups
        assert [group["weight_decay"] for group in (kernels, biases, sigmas)] == [5e-4 / 2, 0, 0]
        assert {value.ndim for value in kernels["params"]} == {5}

    def test_a_parabola_finds_the_place_between_voxels(self) -> None:
        heatmap = torch.zeros(1, 3, 3, 4)
        heatmap[0, 1, 1] = torch.tensor([0.0, 1.0, 3.0, 2.0])
        heatmap[0, 0, 1, 2] = 2.0
        grid = axis_aligned_grid(np.zeros(3), np.array([2.0, 1.0, 1.0]), (3, 3, 4))
        origin = grid.ijk_to_ras[:3, 3]
        # along i: 0.5 (1 - 2) / (1 - 6 + 2) = 1/6; j: 0; k: 0.5 (2 - 0) / (2 - 6) = -1/4
        [found] = decode_parabola(heatmap, grid, origin[None] + np.array([[4.0, 1.0, 1.0]]))
        np.testing.assert_allclose(found - origin, [2.0 * (2.0 + 1.0 / 6.0), 1.0, 0.75])
        [edge] = decode_parabola(heatmap, grid, origin[None] + np.array([[6.0, 1.0, 1.0]]))
        np.testing.assert_allclose(edge - origin, [6.0, 1.0, 1.0])


class TestNoothout:
    """Blocks that hold a landmark, or point to it."""

    def test_the_networks_of_the_paper_have_their_sizes(self) -> None:
        with torch.device("meta"):  # sizes without weights
            network = GlobalToLocalConfig().build()
        assert sum(value.numel() for value in network.whole.parameters()) == pytest.approx(16.1e6, rel=0.01)
        assert len(network.near) == 19
        assert sum(value.numel() for value in network.near[0].parameters()) == pytest.approx(0.27e6, rel=0.02)

    def test_displacements_are_learnt_as_logarithms(self) -> None:
        voxels = torch.tensor([9.0, -99.0, 0.0, -0.5])
        torch.testing.assert_close(log_displacement(voxels), torch.tensor([1.0, -2.0, 0.0, -math.log10(1.5)]))
        torch.testing.assert_close(displacement(log_displacement(voxels)), voxels)

    def test_a_landmark_is_the_weighted_average_of_where_all_blocks_point(self) -> None:
        centres = block_centres(torch.Size((1, 1, 2)), 8, CPU)
        assert centres[:, 0, 0].T.tolist() == [[3.5, 3.5, 3.5], [11.5, 3.5, 3.5]]
        weights = torch.tensor([0.9, 0.3]).reshape(1, 1, 1, 1, 2)
        logarithms = torch.zeros(1, 1, 3, 1, 1, 2)
        logarithms[0, 0, 0, 0, 0] = torch.tensor([1.0, -math.log10(2.0)])  # 9 voxels on, 1 voxel back
        logarithms[0, 0, 2, 0, 0, 1] = math.log10(5.0)  # 4 voxels up
        # i: (0.9 x 12.5 + 0.3 x 10.5) / 1.2 = 12; k: 3.5 + 0.3 x 4 / 1.2 = 4.5
        found = weighted_average(weights, logarithms, centres)
        torch.testing.assert_close(found, torch.tensor([[[12.0, 3.5, 4.5]]]))

    def test_the_loss_is_that_of_the_paper(self) -> None:
        """Two blocks that say nothing of a landmark 9 voxels from the centre of one and 1 from that of the other."""
        silent = torch.zeros(1, 1, 1, 1, 2), torch.zeros(1, 1, 3, 1, 1, 2)
        place = torch.tensor([[[12.5, 3.5, 3.5]]])
        [[error]] = block_errors(*silent, place, 8, 3.0).tolist()
        assert error == pytest.approx((1.0 + math.log10(2.0)) / 6.0 + 3.0 * math.log(2.0), rel=1e-6)
        classes, displacements = (value.clone() for value in silent)
        classes[..., 0], classes[..., 1] = -30.0, 30.0  # the second block holds it
        displacements[0, 0, 0, 0, 0] = torch.tensor([1.0, math.log10(2.0)])
        assert float(block_errors(classes, displacements, place, 8, 3.0)) == pytest.approx(0.0, abs=1e-6)

    def test_an_absent_landmark_counts_in_no_term(self) -> None:
        batch = stacked([OneCase()[0]])
        outputs = NOOTHOUT.network(1)(*NOOTHOUT.training_inputs(batch))
        landmarks = batch.landmarks.clone()
        landmarks[0, 1] = math.nan
        errors = NOOTHOUT.errors(outputs, NOOTHOUT.targets(landmarks), 1.0).detach()
        assert float(errors[0, 0]) > 0.1
        assert float(errors[0, 1]) == 0.0

    def test_sub_images_are_zero_beyond_the_image(self) -> None:
        image = torch.arange(1.0, 1.0 + 20 * 18 * 17).reshape(1, 1, 20, 18, 17)
        starts = torch.tensor([[[1, 2, 4], [-3, 10, 0], [90, 0, 0]]])
        inside, beyond, nothing = sub_images(image, starts)[0, :, 0]
        assert torch.equal(inside, image[0, 0, 4:20, 2:18, 1:17])
        assert torch.equal(beyond[:, :8, 3:], image[0, 0, 0:16, 10:18, 0:13])
        assert float(beyond[:, 8:].abs().max()) == float(beyond[..., :3].abs().max()) == 0.0
        assert float(nothing.abs().max()) == 0.0

    def test_sub_images_hold_their_landmarks_in_training_wherever_they_lie_in_them(self) -> None:
        batch = stacked([OneCase()[0]] * 40)
        torch.manual_seed(5)
        _, starts = NOOTHOUT.training_inputs(batch)
        within = VOXELS.round().long() - starts
        assert within.amin() == 0 and within.amax() == 15
        torch.manual_seed(5)
        assert torch.equal(NOOTHOUT.training_inputs(batch)[1], starts)

    def test_sub_images_are_centred_on_what_the_global_network_says(self) -> None:
        network = replace(NOOTHOUT, config=replace(NOOTHOUT.config, local_pool=(1, 2, 2))).network(1)
        starts = network.centred_starts(torch.tensor([[[20.5, 30.5, 9.4], [-50.0, 500.0, 9.6]]]), torch.Size((40,) * 3))
        # pooled by two along i and j: 20.5 -> 10, 30.5 -> 15, 0 -> -0.25, 39 -> 19.25; then 7.5 voxels back
        assert starts.tolist() == [[[2, 8, 2], [-8, 12, 2]]]

    def test_any_sides_are_read_with_zeros_behind(self) -> None:
        network = NOOTHOUT.network(1).eval()
        image = torch.rand(1, 1, 10, 16, 12, generator=torch.Generator().manual_seed(1))
        filled = torch.nn.functional.pad(image, (0, 4, 0, 0, 0, 6))
        with torch.no_grad():
            classes, displacements = network.read_whole(image)
            assert displacements.shape == (1, 2, 3, 2, 2, 2)
            torch.testing.assert_close(classes, network.read_whole(filled)[0])

    def test_positions_do_not_depend_on_pooling(self) -> None:
        """Blocks that point nowhere, all alike: the middle of the sub-image about the middle of the image."""
        config = replace(NOOTHOUT.config, global_pool=(1, 2, 2), local_pool=(1, 2, 2))
        network = replace(NOOTHOUT, config=config).network(1).eval()
        with torch.no_grad():
            for part in (network.whole, *network.near):
                part.displacements[-1].weight.zero_()
                part.displacements[-1].bias.zero_()
                part.classes[-1].weight.zero_()
                part.classes[-1].bias.zero_()
            found = network(torch.rand(1, 1, 16, 32, 32))
        torch.testing.assert_close(found, torch.tensor([[[15.5, 15.5, 7.5, 0.5]] * 2]))


class TestTraining:
    """By the trainer of all methods."""

    @pytest.mark.slow
    @pytest.mark.parametrize(("method", "rate"), [(PAYER, 3e-3), (WIDER_NOOTHOUT, 5e-3)], ids=["payer", "noothout"])
    def test_one_case_is_learnt_to_a_part_of_a_voxel(self, method: Method, rate: float, tmp_path: Path) -> None:
        learner = trainer(method, tmp_path, learning_rate=rate, steps=80, checkpoint_seconds=1e9, average_decay=0.9)
        learner.run()
        batch = stacked([OneCase()[0]])
        with torch.inference_mode():
            [outputs] = learner.averaged_generator()(method.inputs(batch))
        found, scores = method.decode(outputs, SPEC.grid())
        errors = np.abs((found - SPEC.grid().ijk_to_ras[:3, 3]) / SPACING - VOXELS.numpy())
        assert errors.max() < 1.0
        assert (scores > 0.3).all()

    @BOTH
    def test_it_resumes_bit_for_bit(self, method: Method, tmp_path: Path) -> None:
        """Although dropout and the places of sub-images are random."""
        whole = trainer(method, tmp_path / "whole")
        whole.run()
        part = trainer(method, tmp_path / "parts")
        with pytest.raises(StoppedError):
            part.run(should_stop=lambda: part.step == 2)
        torch.manual_seed(77)
        rest = trainer(method, tmp_path / "parts", weights=99)
        assert rest.resume() and rest.step == 2
        rest.run()
        assert rest.step == whole.step == 4
        for name, value in whole.generator.state_dict().items():
            assert torch.equal(rest.generator.state_dict()[name], value), name
            assert torch.equal(rest.average[name], whole.average[name]), name

    @BOTH
    def test_a_case_without_numbers_is_named(self, method: Method, tmp_path: Path) -> None:
        learner = trainer(method, tmp_path)
        batch = stacked([OneCase()[0], replace(OneCase()[1], image=torch.full((1, *SPEC.shape), math.nan))])
        with pytest.raises(ConfigurationError, match=r"The loss is not finite at step 0 with case .*case-1"):
            learner.train_step(batch)


def fine_stage(preset: str, spec: GridSpec, **changes: Any) -> Stage:
    frame = AlignedFrame(spec.grid(), np.zeros((19, 3)), "landmarks")
    return recipe(PRESETS[preset].with_values(**({"fine": changes} if changes else {})), frame, 19, {})[-1]


class TestRecipes:
    """A recipe names a method; the network follows from the grid."""

    def test_the_presets_name_their_methods(self) -> None:
        for name in ("payer", "noothout"):
            plan = PRESETS[name]
            assert (plan.name, plan.fine.method, plan.training.stages) == (name, name, ("coarse", "fine"))
            assert plan.augmentation == PRESETS["paper"].augmentation
            assert plan.coarse == PRESETS["paper"].coarse

    @pytest.mark.parametrize(
        ("spec", "whole", "near"),
        [
            (SMALL_GRID, (1, 1, 1), (1, 1, 1)),
            (GridSpec((96, 160, 192), (0.513, 0.513, 0.8), (0.0, 0.0, 0.0)), (2, 3, 3), (1, 2, 2)),
        ],
    )
    def test_both_grids_have_networks_of_the_same_size(
        self, spec: GridSpec, whole: tuple[int, int, int], near: tuple[int, int, int]
    ) -> None:
        assert fine_stage("noothout", spec).config == GlobalToLocalConfig(global_pool=whole, local_pool=near)
        assert fine_stage("payer", spec).config == SpatialConfigurationConfig()

    def test_only_noothout_reads_sides_that_are_not_multiples_of_eight(self) -> None:
        odd = replace(SMALL_GRID, shape=(32, 54, 64))
        assert fine_stage("noothout", odd).shape == (32, 54, 64)
        with pytest.raises(ConfigurationError, match=r"multiples of 8"):
            fine_stage("payer", odd)

    def test_a_discriminator_is_refused_before_anything_is_trained(self) -> None:
        with pytest.raises(ConfigurationError, match=r"no discriminator can judge; set fine.adversarial_steps to 0\.$"):
            fine_stage("noothout", SMALL_GRID, adversarial_steps=5)

    @pytest.mark.parametrize("changes", [{"window": (32, 48, 64)}, {"priors": True}])
    def test_they_read_the_whole_crop_from_the_image_alone(self, changes: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match="reads the whole crop from the image alone"):
            fine_stage("payer", SMALL_GRID, **changes)


def model_of(config: NetworkConfig) -> Model:
    """A model with an untrained fine network of a method, on a small grid."""
    torch.manual_seed(2)
    weights = {n: v.half() for n, v in config.build().state_dict().items() if v.is_floating_point()}
    fine = NetworkPart(config, weights, 1.5, UNCALIBRATED)
    return replace(
        tiny_model(),
        circle=None,
        fine=fine,
        grid=SMALL_GRID,
        window=SMALL_GRID.shape,
        decode_with_prior=False,
        read_mirrored=False,
    )


CONFIGS = pytest.mark.parametrize(
    "config",
    [SpatialConfigurationConfig(width=4, levels=2), GlobalToLocalConfig(base_width=2, blocks=(1, 1, 1, 1))],
    ids=["payer", "noothout"],
)


class TestModels:
    """Model files of the methods."""

    @CONFIGS
    def test_a_saved_model_detects_the_same(self, config: NetworkConfig, tmp_path: Path) -> None:
        model = model_of(config)
        save_model(model, tmp_path / "m.cow.pt")
        loaded = load_model(tmp_path / "m.cow.pt")
        assert loaded.fine.config == config
        assert loaded.format_version == 3
        scan = bead_scan(GRID, bead_places())
        before, after = (Detector(one, "cpu", mirror=False).measure(scan) for one in (model, loaded))
        assert np.isfinite(before.fine.positions).all(axis=1).any()
        np.testing.assert_array_equal(before.fine.positions, after.fine.positions)
        np.testing.assert_array_equal(before.fine.peaks, after.fine.peaks)

    def test_models_of_heatmaps_are_written_as_before(self, tmp_path: Path) -> None:
        save_model(tiny_model(), tmp_path / "m.cow.pt")
        content = torch.load(tmp_path / "m.cow.pt", weights_only=True)
        assert content["format_version"] == 2
        assert "method" not in content["fine"]

    @pytest.mark.parametrize(
        "wrong",
        [{"window": (32, 48, 64)}, {"coarse": None}],
        ids=["a part of the grid", "another stage"],
    )
    def test_a_method_in_a_place_that_is_not_its_own_is_refused(self, wrong: dict[str, Any], tmp_path: Path) -> None:
        config = GlobalToLocalConfig(base_width=2, blocks=(1, 1, 1, 1))
        model = model_of(config)
        if "coarse" in wrong:
            two = replace(config, in_channels=2)
            wrong = {"coarse": replace(model_of(two).fine, config=two)}
        with pytest.raises(ModelError, match="the method 'noothout' reads the whole grid"):
            save_model(replace(model, **wrong), tmp_path / "m.cow.pt")

    def test_an_unknown_method_and_a_huge_network_are_refused(self, tmp_path: Path) -> None:
        save_model(model_of(GlobalToLocalConfig(base_width=2, blocks=(1, 1, 1, 1))), tmp_path / "m.cow.pt")
        for change, message in (
            ({"method": "other"}, "its method 'other' is unknown"),
            ({"config": GlobalToLocalConfig(base_width=10**6).to_dict()}, "too large"),
        ):
            content = torch.load(tmp_path / "m.cow.pt", weights_only=True)
            content["fine"] |= change
            torch.save(content, tmp_path / "wrong.cow.pt")
            with pytest.raises(ModelError, match=message):
                load_model(tmp_path / "wrong.cow.pt")

    @pytest.mark.slow
    @pytest.mark.parametrize("preset", ["payer", "noothout"])
    def test_a_preset_trains_a_model_that_detects(self, preset: str, aligned: Path, tmp_path: Path) -> None:
        settings = {
            "training.workers": 0,
            "training.validate_every": 0,
            "training.calibration_scans": 1,
            "coarse.steps": 1,
            "coarse.batch_size": 1,
            "coarse.base_width": 8,
            "coarse.levels": 2,
            "fine.base_width": 2,
            "fine.steps": 1,
            "fine.batch_size": 1,
        }
        changed = [argument for key, value in settings.items() for argument in ("--set", f"{key}={json.dumps(value)}")]
        out = tmp_path / "out"
        arguments = ["train", str(aligned), "--out", str(out), "--preset", preset, "--device", "cpu"]
        assert main([*arguments, *changed]) == 0
        model = load_model(out / "model.cow.pt")
        assert (model.fine.config.method, model.window) == (preset, GRID.shape)
        log = [json.loads(line) for line in (out / "fine" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        assert log[-1]["validation"]["landmarks"] == 19
        image = bead_image(GRID, mean_places(model.anatomy)) * 300
        write_volume(Volume(image.astype(np.int16), GRID.ijk_to_ras, "beads"), tmp_path / "beads.nii.gz")
        detect = ["detect", str(tmp_path / "beads.nii.gz"), "--model", str(out / "model.cow.pt"), "--modality", "mra"]
        few = ["--no-pictures", "--no-arteries", "--no-scene", "--device", "cpu"]
        assert detect_main([*detect, "--out", str(tmp_path / "found"), *few]) in (0, 3)
        assert (tmp_path / "found" / "beads" / "landmarks.csv").exists()
