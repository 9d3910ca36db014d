"""DICOM series: choice, order, scale, tilt, gaps, enhanced multi-frame, and what is refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from CoWLandmarksLib.core.errors import VolumeError
from CoWLandmarksLib.core.volume import Modality, Volume, apply_affine, validated
from CoWLandmarksLib.io.dicom import SeriesChoiceError, list_series
from CoWLandmarksLib.io.volume_io import read_volume, write_volume
from dicom_files import AXIAL, axial_positions, linear_field, write_enhanced, write_series

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def assert_shows_the_field(volume: Volume, margin: tuple[int, int, int] = (0, 0, 0), tolerance: float = 1.01) -> None:
    """Every voxel but `margin` [k, j, i] at the edges has the linear field's value at its RAS position.

    The field changes by 44 per mm, so that 1 stands for 0.023 mm.
    """
    k, j, i = np.indices(volume.voxels.shape)
    expected = linear_field(apply_affine(volume.ijk_to_ras, np.stack([i, j, k], axis=-1)))
    inside = tuple(slice(m, n - m) for m, n in zip(margin, volume.voxels.shape, strict=True))
    assert np.abs(volume.voxels - expected)[inside].max() <= tolerance


def test_a_series_is_read_in_ras_with_its_own_type(tmp_path: Path) -> None:
    write_series(tmp_path, axial_positions(20))
    volume = read_volume(tmp_path)
    assert volume.voxels.shape == (20, 24, 32)
    assert volume.voxels.dtype == np.int16
    np.testing.assert_allclose(volume.ijk_to_ras, [[-0.5, 0, 0, 8], [0, -0.6, 0, 6], [0, 0, 0.7, -5], [0, 0, 0, 1]])
    assert (volume.name, volume.modality, volume.warnings) == ("MR-series5", Modality.MRA, ())
    # The first voxel lies at RAS (8, 6, -5): 3000 + 20 * 8 - 25 * 6 - 30 * 5 = 2860.
    assert volume.voxels[0, 0, 0] == 2860
    assert_shows_the_field(volume)
    assert validated(volume).name == volume.name


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, (0.8, 0.6, 0.0, -0.36, 0.48, -0.8), (-1, 0, 0, 0, -1, 0)])
@pytest.mark.parametrize("backwards", [False, True])
def test_slices_of_any_orientation_and_order_are_sorted_by_position(
    tmp_path: Path, orientation: tuple[float, ...], backwards: bool
) -> None:
    normal = np.cross(orientation[:3], orientation[3:])
    positions = [np.array([3.0, -4.0, 5.0]) + 0.8 * k * normal for k in range(18)]
    shuffled = np.random.default_rng(1).permutation(18)
    write_series(tmp_path, [positions[k] for k in (shuffled[::-1] if backwards else shuffled)], orientation=orientation)
    volume = read_volume(tmp_path)
    assert volume.voxels.shape == (18, 24, 32)
    assert_shows_the_field(volume)


def test_rescale_slope_and_intercept_give_hounsfield_units_in_16_bits(tmp_path: Path) -> None:
    write_series(tmp_path, axial_positions(16), modality="CT", intercept=-1024.0)
    volume = read_volume(tmp_path)
    assert (volume.name, volume.modality) == ("CT-series5", Modality.CTA)
    assert volume.voxels.dtype == np.int16
    assert_shows_the_field(volume)


def test_slices_with_different_slopes_come_to_one_scale(tmp_path: Path) -> None:
    positions = axial_positions(16)
    write_series(tmp_path, positions[:8], slope=0.5, intercept=100.0, prefix="a")
    write_series(tmp_path, positions[8:], slope=0.25, prefix="b")
    assert_shows_the_field(read_volume(tmp_path))


def test_one_file_stands_for_its_series(tmp_path: Path) -> None:
    write_series(tmp_path, axial_positions(16), number=3)
    files = write_series(tmp_path, axial_positions(20), number=4, modality="CT")
    volume = read_volume(files[7])
    assert (volume.name, volume.voxels.shape) == ("CT-series4", (20, 24, 32))


def test_the_series_in_a_folder_are_listed_without_patient_data(tmp_path: Path) -> None:
    write_series(tmp_path / "b", axial_positions(16), number=11, description="TOF")
    write_series(tmp_path / "a", axial_positions(20), number=2, modality="CT", description="")
    (tmp_path / "readme.txt").write_text("not a scan")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(200))
    found = list_series(tmp_path)
    assert [(s.number, s.modality, s.slices, s.description) for s in found] == [
        (2, "CT", 20, ""),
        (11, "MR", 16, "TOF"),
    ]
    assert "Doe" not in repr(found)
    assert "SECRET" not in repr(found)


def test_a_description_may_hold_letters_of_another_character_set(tmp_path: Path) -> None:
    for path in write_series(tmp_path, axial_positions(16)):
        header = pydicom.dcmread(path)
        header.SpecificCharacterSet, header.SeriesDescription = "ISO_IR 100", "TOF Schädel"
        header.save_as(path)
    assert [series.description for series in list_series(tmp_path)] == ["TOF Schädel"]
    assert read_volume(tmp_path, "tof schädel").voxels.shape == (16, 24, 32)


def test_a_whole_file_without_pixels_is_no_slice(tmp_path: Path) -> None:
    files = write_series(tmp_path, axial_positions(18))
    header = pydicom.dcmread(files[-1])
    del header.PixelData
    header.save_as(files[-1])
    assert read_volume(tmp_path).voxels.shape == (17, 24, 32)


def test_without_pydicom_dicom_is_refused_in_one_sentence_and_other_files_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "series", axial_positions(16))
    write_volume(read_volume(tmp_path / "series"), tmp_path / "head.nii.gz")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert read_volume(tmp_path / "head.nii.gz").voxels.shape == (16, 24, 32)
    with pytest.raises(VolumeError, match=r"'.*dcm' is a DICOM file, for which .* pydicom is missing; install it.*\.$"):
        read_volume(tmp_path / "series")


class TestChoice:
    """Which of several series is meant."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Two angiograms, a scout and a short stack."""
        write_series(tmp_path, axial_positions(16), number=3, description="TOF upper slab")
        write_series(tmp_path, axial_positions(17), number=4, description="TOF lower slab")
        write_series(tmp_path, axial_positions(3), number=1, description="Localizer")
        return tmp_path

    def test_several_candidates_are_named_in_one_sentence(self, folder: Path) -> None:
        with pytest.raises(SeriesChoiceError) as error:
            read_volume(folder)
        assert "--series NUMBER" in str(error.value)
        assert "3 (MR, 'TOF upper slab', 16 images); 4 (MR, 'TOF lower slab', 17 images)" in str(error.value)
        assert "Localizer" not in str(error.value)

    @pytest.mark.parametrize("wanted", ["4", " 4 ", "tof LOWER slab", "1.2.3.4"])
    def test_a_series_is_chosen_by_number_description_or_uid(self, folder: Path, wanted: str) -> None:
        assert read_volume(folder, wanted).voxels.shape[0] == 17

    def test_a_series_that_is_not_there_is_refused_with_the_list(self, folder: Path) -> None:
        with pytest.raises(SeriesChoiceError, match=r"no series '8'.*1 \(MR, 'Localizer', 3 images\); 3 "):
            read_volume(folder, "8")

    def test_a_number_used_twice_asks_for_the_uid(self, folder: Path) -> None:
        write_series(folder, axial_positions(16), number=4, uid="1.2.99", prefix="other")
        with pytest.raises(SeriesChoiceError, match=r"--series UID.*1\.2\.3\.4.*1\.2\.99"):
            read_volume(folder, "4")
        assert read_volume(folder, "1.2.99").voxels.shape[0] == 16

    @pytest.mark.parametrize(
        "other",
        [
            {"description": "Survey_3D scout"},
            {"description": "AX", "tags": {"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}},
            {"description": "AX", "tags": {"0008|0008": "DERIVED\\SECONDARY\\PROJECTION IMAGE"}},
            {"modality": "PT"},
            {"positions": axial_positions(15)},
        ],
        ids=["scout", "localizer", "projection", "PET", "short"],
    )
    def test_what_is_no_angiogram_is_passed_over(self, tmp_path: Path, other: dict) -> None:
        write_series(tmp_path, axial_positions(16), number=7)
        write_series(tmp_path, other.pop("positions", axial_positions(30)), number=8, **other)
        assert read_volume(tmp_path).name == "MR-series7"

    def test_a_folder_without_an_angiogram_is_refused(self, tmp_path: Path) -> None:
        write_series(tmp_path, axial_positions(5), number=8)
        with pytest.raises(VolumeError, match="no MR or CT stack of at least 16 images"):
            read_volume(tmp_path)


class TestTilt:
    """Gantry tilt: slices stay upright while the stack leans."""

    @pytest.mark.parametrize("degrees", [-25.0, 5.0, 12.0])
    def test_a_tilted_stack_becomes_orthogonal_with_a_warning(self, tmp_path: Path, degrees: float) -> None:
        slope = np.tan(np.radians(degrees))
        positions = [(-8.0, -6.0 + 0.7 * k * slope, -5.0 + 0.7 * k) for k in range(20)]
        write_series(tmp_path, positions, modality="CT", intercept=-1024.0)
        volume = read_volume(tmp_path)
        assert volume.voxels.dtype == np.int16
        axes = volume.ijk_to_ras[:3, :3]
        np.testing.assert_allclose(axes.T @ axes, np.diag([0.25, 0.36, 0.49]), atol=1e-6)
        assert f"gantry tilt of {abs(degrees):.1f} degrees" in volume.warnings[0]
        # The 19 gaps lean by 13.3 mm * tan: the grid grows by that much along j.
        grown = int(np.ceil(13.3 * abs(slope) / 0.6))
        assert volume.voxels.shape == (20, 24 + grown, 32)
        assert_shows_the_field(volume, (0, grown + 1, 1), tolerance=1.5)
        validated(volume)

    def test_a_lean_of_a_rounding_error_is_no_tilt(self, tmp_path: Path) -> None:
        write_series(tmp_path, [(-8.0, -6.0 + 0.002 * k, -5.0 + 0.7 * k) for k in range(20)])
        volume = read_volume(tmp_path)
        assert volume.warnings == ()
        assert_shows_the_field(volume, tolerance=2.0)

    def test_slices_shifted_at_random_are_refused(self, tmp_path: Path) -> None:
        shift = np.random.default_rng(2).normal(0.0, 2.0, 20)
        write_series(tmp_path, [(-8.0, -6.0 + shift[k], 0.7 * k) for k in range(20)])
        with pytest.raises(VolumeError, match="displaced sideways"):
            read_volume(tmp_path)


class TestGaps:
    """Uneven and missing slices."""

    def test_two_lost_thin_slices_are_bridged_with_a_warning(self, tmp_path: Path) -> None:
        positions = axial_positions(40)
        write_series(tmp_path, [p for k, p in enumerate(positions) if k not in (10, 11, 30)])
        volume = read_volume(tmp_path)
        assert volume.voxels.shape[0] == 40
        assert "interpolated to 40 even slices" in volume.warnings[0]
        assert_shows_the_field(volume)

    def test_uneven_slices_are_evened_with_a_warning(self, tmp_path: Path) -> None:
        wobble = np.random.default_rng(3).uniform(-0.1, 0.1, 30)
        positions = [(-8.0, -6.0, -5.0 + 0.7 * k + wobble[k]) for k in range(30)]
        write_series(tmp_path, positions)
        volume = read_volume(tmp_path)
        assert volume.warnings
        assert_shows_the_field(volume)

    @pytest.mark.parametrize(
        ("step", "lost"),
        [(0.7, {10, 11, 12}), (3.0, {8}), (0.7, set(range(3, 37, 4)))],
        ids=["three in a row", "a thick one", "many"],
    )
    def test_a_gap_that_hides_vessels_is_refused(self, tmp_path: Path, step: float, lost: set[int]) -> None:
        write_series(tmp_path, [p for k, p in enumerate(axial_positions(40, step)) if k not in lost])
        with pytest.raises(VolumeError, match="slices missing: a gap of"):
            read_volume(tmp_path)


class TestRefused:
    """Series that do not make one volume."""

    def test_time_points(self, tmp_path: Path) -> None:
        for prefix in "abc":
            write_series(tmp_path, axial_positions(16), prefix=prefix)
        with pytest.raises(VolumeError, match="3 images at each position"):
            read_volume(tmp_path)

    def test_some_positions_twice(self, tmp_path: Path) -> None:
        write_series(tmp_path, axial_positions(16))
        write_series(tmp_path, axial_positions(2), prefix="again")
        with pytest.raises(VolumeError, match="more than one image at 2 of 16 positions"):
            read_volume(tmp_path)

    def test_mixed_orientations(self, tmp_path: Path) -> None:
        write_series(tmp_path, axial_positions(16))
        write_series(tmp_path, axial_positions(16), orientation=SAGITTAL, prefix="s")
        with pytest.raises(VolumeError, match="mixes slices of different orientations"):
            read_volume(tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"), [({"shape": (20, 20)}, "sizes"), ({"spacing": (0.6, 0.6)}, "voxel sizes")]
    )
    def test_mixed_matrices(self, tmp_path: Path, change: dict, message: str) -> None:
        write_series(tmp_path, axial_positions(16))
        write_series(tmp_path, [(-8.0, -6.0, 20.0)], prefix="z", **change)
        with pytest.raises(VolumeError, match=f"different {message}"):
            read_volume(tmp_path)

    def test_images_without_a_place(self, tmp_path: Path) -> None:
        for path in write_series(tmp_path, axial_positions(16)):
            header = pydicom.dcmread(path)
            del header.ImageOrientationPatient
            header.save_as(path)
        with pytest.raises(VolumeError, match="does not record its position"):
            read_volume(tmp_path)

    @pytest.mark.parametrize("kept", [0.5, 0.97])
    def test_a_slice_that_is_cut_off(self, tmp_path: Path, kept: float) -> None:
        files = write_series(tmp_path, axial_positions(16))
        content = files[8].read_bytes()
        files[8].write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(VolumeError, match=f"{files[8].name}' is damaged, cut off"):
            read_volume(files[3] if kept > 0.9 else tmp_path)


def test_a_file_copied_twice_into_the_folder_counts_once(tmp_path: Path) -> None:
    files = write_series(tmp_path, axial_positions(16))
    shutil.copy(files[3], tmp_path / "copy of a slice.dcm")
    assert read_volume(tmp_path).voxels.shape[0] == 16


def test_scouts_inside_the_series_are_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, axial_positions(16))
    scout = {"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"}
    write_series(tmp_path, [(0, 0, 0)], orientation=SAGITTAL, tags=scout, prefix="z")
    assert read_volume(tmp_path).voxels.shape[0] == 16


class TestEnhanced:
    """Enhanced multi-frame files: every frame has its own place and scale."""

    @pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
    @pytest.mark.parametrize(
        "arrange", [lambda p: p, lambda p: p[::-1], lambda p: p[1::2] + p[::2]], ids=["up", "down", "interleaved"]
    )
    def test_frames_are_placed_one_by_one(
        self, tmp_path: Path, implicit: bool, arrange: Callable[[list], list]
    ) -> None:
        write_enhanced(tmp_path / "scan.dcm", arrange(axial_positions(20)), implicit=implicit)
        volume = read_volume(tmp_path)
        assert (volume.name, volume.modality, volume.warnings) == ("MR-series9", Modality.MRA, ())
        assert volume.voxels.shape == (20, 24, 32)
        assert_shows_the_field(volume)

    def test_the_file_itself_may_be_given(self, tmp_path: Path) -> None:
        path = write_enhanced(tmp_path / "scan", [(0.9 * k, 2, 3) for k in range(20)], orientation=SAGITTAL)
        assert_shows_the_field(read_volume(path))

    def test_frames_stacked_along_themselves_are_refused(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "scan.dcm", axial_positions(20), orientation=SAGITTAL)
        with pytest.raises(VolumeError, match="more than one image at 1 of 1 positions"):
            read_volume(tmp_path)

    def test_frames_with_different_slopes_come_to_one_scale(self, tmp_path: Path) -> None:
        write_enhanced(
            tmp_path / "scan.dcm", axial_positions(20), scales=[(0.5 + 0.1 * (k % 3), -5.0 + k) for k in range(20)]
        )
        assert_shows_the_field(read_volume(tmp_path))

    def test_a_tilted_stack_becomes_orthogonal(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "scan.dcm", [(-8.0, -6.0 + 0.1 * k, 0.7 * k) for k in range(20)])
        volume = read_volume(tmp_path)
        assert "gantry tilt of 8.1 degrees" in volume.warnings[0]
        assert_shows_the_field(volume, (0, 5, 1), tolerance=1.5)

    def test_time_points_are_refused(self, tmp_path: Path) -> None:
        write_enhanced(tmp_path / "scan.dcm", axial_positions(16) * 2)
        with pytest.raises(VolumeError, match="2 images at each position"):
            read_volume(tmp_path)

    @pytest.mark.parametrize("kept", [0.01, 0.1, 0.5, 0.9, 0.999])
    def test_a_file_that_is_cut_off_is_refused(self, tmp_path: Path, kept: float) -> None:
        path = write_enhanced(tmp_path / "scan.dcm", axial_positions(16))
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(VolumeError):
            read_volume(path)


def test_damaged_sequences_raise_only_volume_errors(tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "scan.dcm", axial_positions(16), shape=(8, 8))
    content = path.read_bytes()
    random = np.random.default_rng(4)
    for _ in range(60):
        damaged = bytearray(content)
        damaged[int(random.integers(132, len(content) - 2048))] = int(random.integers(256))
        path.write_bytes(damaged)
        try:
            read_volume(path)
        except VolumeError as error:
            assert str(path.parent) in str(error)
