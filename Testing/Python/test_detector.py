"""From a scan to a Detection, with networks that read beads by calculation: places, sides, states, verdicts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from beads import (
    BRIGHTNESS,
    COUNT,
    UNITS,
    CoarseBeadReader,
    ConfusedBeadReader,
    bead_model,
    bead_places,
    bead_scan,
)
from CoWLandmarksLib import PROGRAM
from CoWLandmarksLib.core.alignment import ShapePosterior
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import Detection, LandmarkState, Verdict
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Modality, Volume, apply_affine, axis_aligned_grid
from CoWLandmarksLib.detect.detector import DetectionStage, Detector, Measurement
from CoWLandmarksLib.detect.devices import choose_device
from CoWLandmarksLib.detect.fine import choose_windows, refine
from CoWLandmarksLib.networks.network_image import NetworkImage
from CoWLandmarksTrainingLib.phantom.pose import pose_matrix

GRID = axis_aligned_grid(np.array([2.0, 17.0, 1.0]), np.array([1.7, 1.9, 2.1]), (44, 46, 52))
POSE = pose_matrix(14, -6, 5, 1.06, np.array([4.0, -3.0, 2.0]))
CODES = bead_model().anatomy.codes


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(bead_model(), "cpu", mirror=False)


def posed(matrix: np.ndarray) -> np.ndarray:
    return apply_affine(matrix, bead_places())


def errors(detection: Detection, places: np.ndarray) -> np.ndarray:
    found = np.array([e.position if e.position is not None else (np.nan,) * 3 for e in detection.landmarks])
    return np.linalg.norm(found - places, axis=1)


def stored(volume: Volume, axes: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The same scan with its axes i, j, k in another order and some of them backwards."""
    grid = volume.grid
    matrix = np.eye(4)
    matrix[:3, :3] = grid.ijk_to_ras[:3, list(axes)]
    matrix[:3, 3] = grid.ijk_to_ras[:3, 3]
    voxels = volume.voxels.transpose(2, 1, 0).transpose(axes).transpose(2, 1, 0)
    for n, flipped in enumerate(flips):
        if flipped:
            matrix[:3, 3] += matrix[:3, n] * (grid.size[axes[n]] - 1)
            matrix[:3, n] *= -1
            voxels = np.flip(voxels, 2 - n)
    return Volume(voxels, matrix, volume.name, volume.modality)


class TestFullGpu:
    """A graphics card without free memory is left for the processor, and every detection says so."""

    @pytest.mark.parametrize(
        "error",
        [
            torch.cuda.OutOfMemoryError("CUDA out of memory."),
            RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
            RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        ],
    )
    @pytest.mark.parametrize("when", ["loading", "detecting"])
    def test_the_processor_takes_over(self, monkeypatch: pytest.MonkeyPatch, error: RuntimeError, when: str) -> None:
        gpu, loaded, load = torch.device("meta"), [], Detector._load_networks

        def on_gpu(self: Detector, device: torch.device) -> None:
            loaded.append(device.type)
            if device == gpu and when == "loading":
                raise error
            load(self, torch.device("cpu"))
            self.device = device

        measure = Detector._measure

        def full(self: Detector, *arguments: Any) -> Measurement:
            if self.device == gpu:
                raise error
            return measure(self, *arguments)

        monkeypatch.setattr("CoWLandmarksLib.detect.detector.choose_device", lambda _: gpu)
        monkeypatch.setattr(Detector, "_load_networks", on_gpu)
        monkeypatch.setattr(Detector, "_measure", full)
        pose = pose_matrix(4, 2, 1, 1.0, np.zeros(3))
        detector = Detector(bead_model(), "auto", mirror=False)
        for _ in range(2):
            detection = detector.detect(bead_scan(GRID, posed(pose)))
            assert errors(detection, posed(pose)).max() < 0.5
            assert [w for w in detection.warnings if "graphics card has too little memory" in w]
        assert loaded == ["meta", "cpu"]

    def test_another_error_is_not_taken_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: Any) -> None:
            raise RuntimeError("invalid device function")

        monkeypatch.setattr(Detector, "_measure", broken)
        with pytest.raises(RuntimeError, match="invalid device function"):
            Detector(bead_model(), "cpu").detect(bead_scan(GRID, posed(np.eye(4))))


class TestCircle:
    """The network that reads the whole circle between the other two."""

    pose = pose_matrix(14, -6, 5, 1.0, np.array([4.0, -3.0, 2.0]))

    def test_it_tells_apart_what_the_coarse_network_took_for_each_other(self) -> None:
        one, other = 4, 11
        scan = bead_scan(GRID, posed(self.pose))
        confused = Detector(bead_model(ConfusedBeadReader(one, other)), "cpu", mirror=False)
        helped = Detector(bead_model(ConfusedBeadReader(one, other), circle=CoarseBeadReader(1.0)), "cpu", mirror=False)
        assert confused.measure(scan).alignment.circle is None
        measured = helped.measure(scan)
        assert measured.alignment.circle is not None
        read = np.linalg.norm(measured.alignment.circle.positions - posed(self.pose), axis=1)
        assert read.max() < 0.3
        expected = np.linalg.norm(measured.expected_positions() - posed(self.pose), axis=1)
        assert expected.max() < 1.0
        assert errors(helped.judge(measured, {}), posed(self.pose)).max() < 0.1

    @pytest.mark.slow
    def test_it_tells_what_is_absent_where_the_fine_one_sees_some_vessel(self) -> None:
        """The fine network's limit is 0, as in the model that ships: alone it would find the missing beads."""
        places = posed(self.pose)
        places[[4, 11]] = np.nan
        scan = bead_scan(GRID, places)
        model = bead_model(circle=CoarseBeadReader(1.0))
        table = replace(model.fine.calibration, absent_below=0.0)
        model = replace(model, fine=replace(model.fine, calibration=table))
        assert model.circle is not None
        blind = replace(model, circle=replace(model.circle, calibration=table))
        for own, absent in ((model, [4, 11]), (blind, [])):
            found = Detector(own, "cpu", mirror=False).detect(scan).landmarks
            assert [n for n in range(COUNT) if found[n].state is LandmarkState.ABSENT] == absent
            assert all(found[n].confidence < 0.3 for n in absent)

    def test_what_a_person_gave_is_not_called_absent_because_it_did_not_see_it(self) -> None:
        truth = posed(self.pose)
        helped = Detector(bead_model(circle=CoarseBeadReader(1.0)), "cpu", mirror=False)
        table = replace(helped.model.fine.calibration, absent_below=0.0)
        helped.model = replace(helped.model, fine=replace(helped.model.fine, calibration=table))
        hint = {CODES[n]: truth[n] for n in (0, 2, 9, 14)}
        measured = helped.measure(bead_scan(GRID, truth), hint=hint)
        circle = measured.alignment.circle
        assert circle is not None
        peaks = circle.peaks.copy()
        peaks[[2, 5]] = 0.05
        blind = replace(measured, alignment=replace(measured.alignment, circle=replace(circle, peaks=peaks)))
        states = [estimate.state for estimate in helped.judge(blind, hint).landmarks]
        assert [n for n in range(COUNT) if states[n] is LandmarkState.ABSENT] == [5]

    def test_of_what_it_does_not_recognise_nothing_is_said_to_be_absent(self) -> None:
        helped = Detector(bead_model(circle=CoarseBeadReader(1.0)), "cpu", mirror=False)
        table = replace(helped.model.fine.calibration, absent_below=0.0)
        helped.model = replace(helped.model, fine=replace(helped.model.fine, calibration=table))
        measured = helped.measure(bead_scan(GRID, posed(self.pose)))
        circle = measured.alignment.circle
        assert circle is not None
        peaks = np.where(np.arange(COUNT) % 4 == 0, circle.peaks, 0.05)
        faint = replace(measured, alignment=replace(measured.alignment, circle=replace(circle, peaks=peaks)))
        helped.model = replace(helped.model, least_recognition=1.6)
        detection = helped.judge(faint, {})
        assert detection.verdict is Verdict.DO_NOT_TRUST
        states = [estimate.state for estimate in detection.landmarks]
        assert states == [LandmarkState.FOUND if n % 4 == 0 else LandmarkState.UNCERTAIN for n in range(COUNT)]

    @pytest.mark.slow
    def test_the_places_a_person_gave_stand_before_what_it_reads(self) -> None:
        helped = Detector(bead_model(circle=CoarseBeadReader(1.0)), "cpu", mirror=False)
        truth = posed(self.pose)
        hint = {CODES[n]: truth[n] + (0.0, 0.0, 3.0 if n == 2 else 0.0) for n in (0, 2, 9, 14)}
        plain = helped.measure(bead_scan(GRID, truth)).expected_positions()[2]
        hinted = helped.measure(bead_scan(GRID, truth), hint=hint).expected_positions()[2]
        assert hinted[2] - plain[2] > 1.5


class TestPlaces:
    """All nineteen points, each under its own name, to a tenth of a millimetre."""

    @pytest.mark.parametrize(
        ("axes", "flips"),
        [
            ((0, 1, 2), (False, False, False)),
            ((0, 1, 2), (True, True, False)),
            ((2, 0, 1), (False, True, False)),
            ((1, 2, 0), (True, False, True)),
            ((0, 2, 1), (True, True, True)),
            ((2, 1, 0), (False, False, True)),
        ],
    )
    def test_a_scan_is_the_same_scan_however_its_axes_are_stored(
        self, detector: Detector, axes: tuple[int, ...], flips: tuple[bool, ...]
    ) -> None:
        detection = detector.detect(stored(bead_scan(GRID, posed(POSE)), axes, flips))
        assert errors(detection, posed(POSE)).max() < 0.1
        assert [e.code for e in detection.landmarks] == list(CODES)
        assert {e.state for e in detection.landmarks} == {LandmarkState.FOUND}
        assert detection.verdict is Verdict.OK

    @pytest.mark.parametrize("angles", [(0, 0, 0), (25, -15, 10), (-30, 5, -20)])
    def test_a_tilted_head_in_an_oblique_scan(self, detector: Detector, angles: tuple[float, float, float]) -> None:
        turn = pose_matrix(*angles, 1.0, np.zeros(3))
        oblique = GRID.transformed(pose_matrix(-12, 20, 33, 1.0, np.array([1.0, 2.0, 3.0])))
        detection = detector.detect(bead_scan(oblique, posed(turn)))
        assert errors(detection, posed(turn)).max() < 0.1

    @pytest.mark.parametrize("size", [0.92, 1.09])
    def test_the_reference_frame_is_found_with_its_scale(self, detector: Detector, size: float) -> None:
        pose = pose_matrix(8, 3, -4, size, np.array([3.0, 2.0, -4.0]))
        detection = detector.detect(bead_scan(GRID, posed(pose)))
        np.testing.assert_allclose(detection.ras_to_reference @ pose, np.eye(4), atol=0.05)
        assert np.linalg.det(detection.ras_to_reference[:3, :3]) == pytest.approx(size**-3, rel=0.01)

    @pytest.mark.slow
    def test_a_large_scan_far_from_the_origin(self, detector: Detector) -> None:
        away = np.eye(4)
        away[:3, 3] = (900.0, -700.0, 1500.0)
        grid = axis_aligned_grid(np.array([20.0, 35.0, -30.0]), np.array([2.0, 2.2, 2.2]), (70, 80, 90))
        detection = detector.detect(bead_scan(grid.transformed(away), posed(away @ POSE)))
        assert errors(detection, posed(away @ POSE)).max() < 0.1

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int64", "float16", ">i2"])
    def test_any_type_of_voxel_will_do(self, dtype: str) -> None:
        gain = 0.25 if dtype == "uint8" else 1.0
        model = bead_model()
        rule = replace(model.intensity[Modality.CTA], fixed_scale=gain * UNITS)
        scan = bead_scan(GRID, posed(POSE), dtype="float64")
        scan = replace(scan, voxels=(gain * scan.voxels).round().astype(dtype))
        detection = Detector(replace(model, intensity={Modality.CTA: rule}), "cpu", mirror=False).detect(scan)
        assert errors(detection, posed(POSE)).max() < 0.15
        assert scan.voxels.dtype == np.dtype(dtype)

    def test_argmax_is_a_voxel_of_the_reference_grid(self) -> None:
        detector = Detector(bead_model(), "cpu", mirror=False, decoding="argmax")
        measurement = detector.measure(bead_scan(GRID, posed(POSE)))
        ijk = apply_affine(detector.model.grid.grid().ras_to_ijk, measurement.fine.argmax_positions)
        np.testing.assert_allclose(ijk, np.rint(ijk), atol=1e-6)
        detection = detector.judge(measurement, {})
        gap = errors(detection, posed(POSE))
        assert gap.mean() > 0.2
        assert gap.max() < 1.3
        np.testing.assert_array_equal(
            [e.position for e in detection.landmarks], measurement.positions("argmax"), strict=True
        )
        assert detection.provenance["decoding"] == "argmax"
        assert detection.provenance["program"] == PROGRAM

    def test_the_scan_is_not_changed_and_the_result_is_repeatable(self, detector: Detector) -> None:
        scan = bead_scan(GRID, posed(POSE), dtype="float32")
        before = scan.voxels.copy()
        scan.voxels.setflags(write=False)
        one, other = detector.detect(scan), detector.detect(scan)
        np.testing.assert_array_equal(scan.voxels, before)
        assert one.landmarks == other.landmarks
        np.testing.assert_array_equal(one.ras_to_reference, other.ras_to_reference)


class TestStates:
    """Absent, outside, uncertain."""

    def test_a_missing_bead_is_absent_and_the_others_are_found(self, detector: Detector) -> None:
        places = posed(POSE)
        places[[4, 11]] = np.nan
        detection = detector.detect(bead_scan(GRID, places))
        states = [e.state for e in detection.landmarks]
        assert [n for n in range(COUNT) if states[n] is LandmarkState.ABSENT] == [4, 11]
        assert detection.landmarks[4].position is None
        assert np.nanmax(errors(detection, posed(POSE))) < 0.1

    def test_points_beyond_the_field_of_view_are_outside(self, detector: Detector) -> None:
        places = posed(POSE)
        top = np.sort(places[:, 2])[-5] - 3.0
        low = GRID.corners()[:, 2].min()
        count = int((top - low) / GRID.spacing[2])
        scan = bead_scan(GRID.window((0, 0, 0), (count, *GRID.shape[1:])), places)
        edge = scan.grid.corners()[:, 2].max()
        detection = detector.detect(scan)
        for estimate, place in zip(detection.landmarks, places, strict=True):
            if place[2] > edge - 2.0:
                assert estimate.state is LandmarkState.OUTSIDE, estimate
                assert estimate.confidence == 0.0
            elif place[2] < edge - 8.0:
                assert estimate.state is LandmarkState.FOUND, estimate
        assert detection.count(LandmarkState.OUTSIDE) >= 4

    def test_a_faint_bead_is_uncertain_and_asks_for_a_review(self, detector: Detector) -> None:
        places = posed(POSE)
        scan = bead_scan(GRID, places)
        k, j, i = np.indices(GRID.shape)
        ras = apply_affine(GRID.ijk_to_ras, np.stack([i, j, k], axis=-1))
        bead = BRIGHTNESS[9] * np.exp(-((ras - places[9]) ** 2).sum(axis=-1) / (2.0 * 2.5**2))
        faint = Volume(scan.voxels - (0.7 * UNITS * bead).astype("int16"), scan.ijk_to_ras, "scan", Modality.CTA)
        detection = detector.detect(faint)
        assert [e.code for e in detection.landmarks if e.state is LandmarkState.UNCERTAIN] == [CODES[9]]
        assert detection.verdict is Verdict.REVIEW
        assert detection.reasons == (f"To check: {CODES[9]}.",)
        assert errors(detection, places)[9] < 0.2

    @pytest.mark.parametrize("kind", ["noise", "scrambled"])
    def test_what_is_no_circle_of_willis_is_not_to_be_trusted(self, detector: Detector, kind: str) -> None:
        if kind == "noise":
            voxels = np.random.default_rng(1).integers(0, 60, GRID.shape).astype(np.int16)
            scan = Volume(voxels, GRID.ijk_to_ras, "knee", Modality.CTA)
        else:
            scan = bead_scan(GRID, np.random.default_rng(2).permutation(posed(POSE)))
        detection = detector.detect(scan)
        assert detection.verdict is Verdict.DO_NOT_TRUST
        assert len(detection.reasons) == 1


class TestOptions:
    """Modality, hints, device, progress."""

    def hint(self, *indices: int) -> Mapping[str, np.ndarray]:
        return {CODES[n]: posed(POSE)[n] for n in indices}

    def test_hints_align_a_scan_that_the_coarse_network_cannot_read(self) -> None:
        class Blind(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x.new_zeros((1, COUNT, *x.shape[2:]))

        detector = Detector(bead_model(coarse=Blind()), "cpu", mirror=False)
        scan = bead_scan(GRID, posed(POSE))
        assert detector.detect(scan).verdict is Verdict.DO_NOT_TRUST
        detection = detector.detect(scan, hint=self.hint(0, 5, 10, 16))
        assert errors(detection, posed(POSE)).max() < 0.1
        assert detection.verdict is Verdict.OK
        assert detection.provenance["hinted"] == sorted(self.hint(0, 5, 10, 16))

    @pytest.mark.parametrize(
        ("hint", "sentence"),
        [
            ({"R-ICA-T": np.zeros(3)}, "at least 3"),
            ({code: np.zeros(3) for code in ("R-ICA-T", "L-ICA-T", "nose")}, "'nose' is no landmark"),
        ],
    )
    def test_an_unusable_hint_is_refused_with_a_sentence(
        self, detector: Detector, hint: Mapping[str, np.ndarray], sentence: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=sentence):
            detector.detect(bead_scan(GRID, posed(POSE)), hint=hint)

    def test_a_guessed_modality_is_said_and_a_given_one_wins(self, detector: Detector) -> None:
        scan = bead_scan(GRID, posed(POSE), modality=None)
        guessed = detector.detect(scan)
        assert guessed.modality is Modality.MRA
        assert "The modality was guessed (MRA)" in guessed.warnings[0]
        given = detector.detect(scan, modality=Modality.CTA)
        assert (given.modality, given.warnings) == (Modality.CTA, ())

    @pytest.mark.parametrize("modality", [None, Modality.CTA])
    def test_stored_ct_values_are_taken_back_to_hounsfield_units(
        self, detector: Detector, modality: Modality | None
    ) -> None:
        plain = bead_scan(GRID, posed(POSE))
        stored = (plain.voxels + 1060).astype(np.uint16)
        stored[:2] = 0
        measured = detector.measure(Volume(stored, plain.ijk_to_ras, "scan"), modality=modality)
        assert "1024 was subtracted" in measured.warnings[-1]
        assert measured.modality is Modality.CTA
        image = detector._image(Volume(stored, plain.ijk_to_ras, "scan"), Modality.CTA)
        np.testing.assert_allclose(image.sampled(GRID)[2:], (plain.voxels[2:] + 36) / UNITS, atol=1e-5)
        assert not any("1024" in warning for warning in detector.measure(plain, modality=modality).warnings)

    def test_progress_rises_through_all_stages(self, detector: Detector) -> None:
        events: list[tuple[str, float]] = []
        detector.detect(
            bead_scan(GRID, posed(POSE)), progress=lambda stage, share, message: events.append((stage, share))
        )
        assert list(dict.fromkeys(stage for stage, _ in events)) == [stage.value for stage in DetectionStage]
        shares = [share for _, share in events]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0

    def test_an_unknown_or_missing_device_is_reported(self) -> None:
        assert choose_device("cpu").type == "cpu"
        with pytest.raises(ConfigurationError, match="'tpu' is no device"):
            choose_device("tpu")
        if not torch.cuda.is_available():
            assert choose_device("auto").type == "cpu"
            with pytest.raises(ConfigurationError, match="no usable CUDA"):
                choose_device("cuda")


class TestWindows:
    """The fine step reads few windows."""

    grid = axis_aligned_grid(np.array([0.0, 14.0, 2.5]), np.array([0.513, 0.513, 0.8]), (96, 160, 192))

    @pytest.mark.parametrize("seed", range(5))
    def test_every_expected_landmark_lies_well_inside_the_one_window_it_is_read_from(self, seed: int) -> None:
        expected = np.random.default_rng(seed).uniform(-35, 35, (COUNT, 3)) * (1.0, 0.8, 0.5) + (0, 14, 2.5)
        expected[seed] = np.nan
        windows = choose_windows(expected, self.grid, (48, 64, 64))
        read = sorted(itertools.chain.from_iterable(window.landmarks for window in windows))
        assert read == [n for n in range(COUNT) if n != seed]
        for window in windows:
            local = self.grid.window(window.start, (48, 64, 64))
            ijk = apply_affine(local.ras_to_ijk, expected[list(window.landmarks)])
            depth = np.minimum(ijk + 0.5, local.size - 0.5 - ijk) * local.spacing
            assert depth.min() > 8.0 - local.spacing.max()

    def test_neighbours_share_a_window(self) -> None:
        expected = np.full((COUNT, 3), np.nan)
        expected[:4] = [(0, 14, 2), (5, 16, 3), (-4, 12, 0), (3, 10, 6)]
        assert len(choose_windows(expected, self.grid, (48, 64, 64))) == 1

    def test_nothing_expected_needs_no_window(self) -> None:
        assert choose_windows(np.full((COUNT, 3), np.nan), self.grid, (48, 64, 64)) == []


def test_the_prior_decides_between_two_beads_of_which_the_wrong_one_is_brighter() -> None:
    model = bead_model()
    model = replace(model, fine=replace(model.fine, sigma_mm=1.5))
    grid = model.grid.grid()
    places = bead_places()
    k, j, i = np.indices(grid.shape)
    ras = apply_affine(grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
    image = np.zeros(grid.shape, np.float32)
    for height, place in ((1.0, places[3]), (1.2, places[3] + (4.4, 0.0, 0.0))):
        image += height * np.exp(-((ras - place) ** 2).sum(axis=-1) / 2.0)
    prior = ShapePosterior(places, np.full(COUNT, 1.0), np.zeros(COUNT))
    network = model.fine.build(torch.device("cpu"))
    scan = NetworkImage(image, grid, torch.device("cpu"))
    fine = refine(network, model, scan, np.eye(4), prior, np.arange(COUNT) == 3)
    assert np.linalg.norm(fine.argmax_positions[3] - places[3]) < 1.0
    assert np.linalg.norm(fine.positions[3] - places[3]) < 1.5
    assert np.isnan(np.delete(fine.positions, 3, axis=0)).all()
    first, second = fine.candidates.positions[3, :2]
    np.testing.assert_allclose(first, fine.positions[3], atol=1e-6)
    assert np.linalg.norm(second - (places[3] + (4.4, 0.0, 0.0))) < 1.5, "the other bead is what else it may be"
    assert np.isnan(np.delete(fine.candidates.positions, 3, axis=0)).all()


def test_a_hint_with_left_and_right_exchanged_is_refused(detector: Detector) -> None:
    points = dict(zip(default_anatomy().codes, posed(POSE), strict=True))
    exchanged = {"R-ICA-T": "L-ICA-T", "L-ICA-T": "R-ICA-T", "R-M1-M2": "L-M1-M2", "L-M1-M2": "R-M1-M2"}
    hint = {code: points[other] for code, other in exchanged.items()}
    with pytest.raises(ConfigurationError, match="exchanged"):
        detector.detect(bead_scan(GRID, posed(POSE)), hint=hint)


def test_a_hint_on_one_line_is_refused(detector: Detector) -> None:
    points = dict(zip(default_anatomy().codes, posed(POSE), strict=True))
    middle = points["R-ICA-T"]
    hint = {"R-M1-M2": middle + np.array([15.0, 0, 0]), "R-ICA-T": middle, "R-A1-A2": middle - np.array([13.0, 0, 1.0])}
    with pytest.raises(ConfigurationError, match="one line"):
        detector.detect(bead_scan(GRID, posed(POSE)), hint=hint)
