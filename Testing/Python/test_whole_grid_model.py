"""Models as in the paper: the fine network reads the whole grid from the image alone; and other landmark sets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from beads import COUNT, bead_model, bead_places, bead_scan, tiny_model, whole_grid_model
from CoWLandmarksLib.__main__ import main as detect_main
from CoWLandmarksLib.core.alignment import ShapeModel
from CoWLandmarksLib.core.anatomy import Anatomy, anatomy_from_dict, default_anatomy
from CoWLandmarksLib.core.calibration import UNCALIBRATED
from CoWLandmarksLib.core.errors import ModelError
from CoWLandmarksLib.core.volume import apply_affine, axis_aligned_grid
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.detect.fine import choose_windows
from CoWLandmarksLib.detect.model import Model, NetworkPart, load_model, save_model
from CoWLandmarksLib.detect.verdict import LEAST_RECOGNITION
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksLib.networks.generator import Generator, GeneratorConfig
from CoWLandmarksTrainingLib.phantom.pose import pose_matrix
from other_anatomy import seven_points

GRID = axis_aligned_grid(np.array([2.0, 17.0, 1.0]), np.array([1.7, 1.9, 2.1]), (44, 46, 52))


def image_only(model: Model, anatomy: Anatomy | None = None) -> Model:
    """The model with a small untrained fine network of one input channel that reads the whole grid."""
    anatomy = anatomy or model.anatomy
    torch.manual_seed(3)

    def part(channels: int) -> NetworkPart:
        config = GeneratorConfig(in_channels=channels, out_channels=len(anatomy), base_width=4, levels=2, fold=2)
        return NetworkPart(config, Generator(config).state_dict(), 1.5, UNCALIBRATED)

    n = len(anatomy)
    return replace(
        model,
        anatomy=anatomy,
        coarse=part(2),
        fine=part(1),
        window=model.grid.shape,
        shape=ShapeModel(model.shape.mean[:n], model.shape.covariance[: 3 * n, : 3 * n]),
        decode_with_prior=False,
        read_mirrored=False,
    )


def test_it_finds_every_point_from_the_image_alone() -> None:
    places = apply_affine(pose_matrix(6, -3, 4, 1.0, np.array([1.0, -2.0, 1.0])), bead_places())
    detection = Detector(whole_grid_model(), "cpu", mirror=False).detect(bead_scan(GRID, places))
    found = np.array([estimate.position or (np.nan,) * 3 for estimate in detection.landmarks])
    assert np.linalg.norm(found - places, axis=1).max() < 0.3


@pytest.mark.slow
def test_the_paper_s_decoding_takes_the_highest_peak_wherever_it_is() -> None:
    far = bead_places()
    far[3] += (0.0, 0.0, -11.0)  # 11 mm from where the shape expects it
    scan = bead_scan(GRID, far)
    freely = Detector(whole_grid_model(), "cpu", mirror=False).measure(scan)
    guided = Detector(replace(whole_grid_model(), decode_with_prior=True), "cpu", mirror=False).measure(scan)
    assert freely.fine.peaks[3] > 2.0 * guided.fine.peaks[3]
    assert np.linalg.norm(freely.positions("subvoxel")[3] - far[3]) < 0.3


def test_only_a_network_that_knows_mirror_images_reads_them() -> None:
    for allowed, images in ((True, 2), (False, 1)):
        model = image_only(tiny_model())
        detector = Detector(replace(model, read_mirrored=allowed, grid=replace(model.grid, shape=(8, 8, 8))), "cpu")
        read = []
        reader = detector._readers["fine"]
        network = reader.network  # type: ignore[attr-defined]
        network.register_forward_hook(lambda _, inputs, __, seen=read: seen.extend(inputs[0]))
        reader(torch.zeros(1, 1, 8, 8, 8))
        assert len(read) == images


def test_the_whole_grid_is_one_window_wherever_the_landmarks_are_expected() -> None:
    grid = bead_model().grid.grid()
    expected = bead_places()
    expected[4] = np.nan
    [window] = choose_windows(expected, grid, grid.shape)
    assert window.start == (0, 0, 0)
    assert window.landmarks == tuple(n for n in range(COUNT) if n != 4)
    assert choose_windows(np.full((COUNT, 3), np.nan), grid, grid.shape) == []


def test_how_a_model_reads_is_kept_in_its_file(tmp_path: Path) -> None:
    save_model(replace(image_only(tiny_model()), least_recognition=1.25), tmp_path / "m.cow.pt")
    loaded = load_model(tmp_path / "m.cow.pt")
    assert not loaded.reads_priors
    assert not loaded.decode_with_prior
    assert not loaded.read_mirrored
    assert loaded.least_recognition == 1.25
    assert loaded.window == loaded.grid.shape


def test_files_of_before_decode_with_their_priors(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path / "m.cow.pt")
    content = torch.load(tmp_path / "m.cow.pt", weights_only=True)
    del content["decode_with_prior"], content["read_mirrored"], content["least_recognition"]
    torch.save(content, tmp_path / "old.cow.pt")
    loaded = load_model(tmp_path / "old.cow.pt")
    assert loaded.reads_priors
    assert loaded.decode_with_prior
    assert loaded.read_mirrored
    assert loaded.least_recognition == LEAST_RECOGNITION


def test_a_fine_network_with_some_priors_only_is_refused(tmp_path: Path) -> None:
    model = tiny_model()
    config = replace(model.fine.config, in_channels=5)
    wrong = replace(model, fine=replace(model.fine, config=config, weights=Generator(config).state_dict()))
    with pytest.raises(ModelError, match="do not fit its 19 landmarks"):
        save_model(wrong, tmp_path / "m.cow.pt")


@pytest.mark.slow
def test_seven_points_go_from_model_file_to_results(tmp_path: Path) -> None:
    anatomy = anatomy_from_dict(seven_points())
    save_model(replace(image_only(tiny_model(), anatomy), circle=None), tmp_path / "seven.cow.pt")
    write_volume(bead_scan(GRID, bead_places()), tmp_path / "beads.nii.gz")
    arguments = ["detect", str(tmp_path / "beads.nii.gz"), "--model", str(tmp_path / "seven.cow.pt"), "--device", "cpu"]
    assert detect_main([*arguments, "--modality", "cta", "--out", str(tmp_path / "out")]) in (0, 3)
    detection = json.loads((tmp_path / "out" / "beads" / "detection.json").read_text(encoding="utf-8"))
    assert [landmark["code"] for landmark in detection["landmarks"]] == list(anatomy.codes)
    assert (tmp_path / "out" / "beads" / "scene.mrb").exists()


def test_the_other_anatomy_is_a_proper_one() -> None:
    anatomy = anatomy_from_dict(seven_points())
    assert len(anatomy) == 7
    assert set(anatomy.codes) < set(default_anatomy().codes)
    assert sorted(anatomy.mirror_permutation) == list(range(7))
