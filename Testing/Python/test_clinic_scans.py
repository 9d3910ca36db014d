"""Scans as clinics and other programs store them: each has to show the right value at the right place.

Tilted, uneven, multi-frame and multi-series DICOM are in test_dicom.py.
"""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.core.errors import VolumeError
from CoWLandmarksLib.core.volume import Modality, Volume, apply_affine, validated
from CoWLandmarksLib.detect.orientation import orientation_code
from CoWLandmarksLib.io.volume_io import read_volume
from dicom_files import axial_positions, linear_field, write_series
from fixed_detector import make_fixed_detector, write_scan
from nifti_files import STRAIGHT, nifti_bytes, write_nifti
from scipy.spatial.transform import Rotation

SHAPE = (10, 12, 14)
COUNTING = (np.arange(np.prod(SHAPE)) % 1000).reshape(SHAPE)
SPACING = np.array([2.0, 2.2, 2.5])
MIRRORED = ((-2.0, 0.0, 0.0, 1.0), *STRAIGHT[1:])
"""An sform whose first axis runs the other way than that of STRAIGHT."""
PLAIN_QFORM = (0.0, 0.0, 0.0, 1.0, 2.0, 3.0)
"""The qform that says the same as STRAIGHT."""
RAS_MATRIX = np.vstack([STRAIGHT, (0, 0, 0, 1)])


def warned(volume: Volume, *fragments: str) -> bool:
    """Whether one of the warnings holds all fragments."""
    return any(all(fragment in warning for fragment in fragments) for warning in volume.warnings)


class TestNifti:
    """What the NIfTI standard allows, and what other programs write all the same."""

    def read(self, tmp_path: Path, name: str = "head.nii", **fields: object) -> Volume:
        return validated(read_volume(write_nifti(tmp_path / name, **fields)))

    @pytest.mark.parametrize("fields", [{}, {"qform": PLAIN_QFORM}, {"qform": PLAIN_QFORM, "sform": None}])
    def test_either_form_places_the_scan(self, tmp_path: Path, fields: dict[str, object]) -> None:
        volume = self.read(tmp_path, **fields)
        np.testing.assert_allclose(volume.ijk_to_ras, RAS_MATRIX, atol=1e-6)
        np.testing.assert_array_equal(volume.voxels, COUNTING)
        assert volume.warnings == ()

    @pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, -1, -1)])
    @pytest.mark.parametrize("angles", [(0, 0, 0), (12, -20, 7)])
    def test_left_and_right_handed_and_oblique_axes(
        self, tmp_path: Path, flips: tuple[int, ...], angles: tuple[int, ...]
    ) -> None:
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * SPACING * flips
        matrix[:3, 3] = (-70.0, 33.0, 1200.0)
        volume = self.read(tmp_path, sform=matrix[:3])
        np.testing.assert_allclose(volume.ijk_to_ras, matrix, atol=1e-3)
        assert volume.warnings == ()

    @pytest.mark.parametrize("qfac", [1.0, -1.0, 0.0])
    def test_qfac_turns_the_third_axis(self, tmp_path: Path, qfac: float) -> None:
        volume = self.read(tmp_path, sform=None, qform=PLAIN_QFORM, qfac=qfac)
        np.testing.assert_allclose(volume.ijk_to_ras[:3, 2], (0, 0, -2.5 if qfac < 0 else 2.5), atol=1e-6)

    def test_two_forms_that_disagree_leave_a_warning_and_the_sform_holds(self, tmp_path: Path) -> None:
        volume = self.read(tmp_path, sform=((2, 0, 0, 50), *STRAIGHT[1:]), qform=PLAIN_QFORM)
        assert volume.ijk_to_ras[0, 3] == 50
        assert warned(volume, "49 mm apart", "the sform was used")
        assert not warned(volume, "left and right")

    def test_two_forms_that_mirror_each_other_leave_left_and_right_unsure(self, tmp_path: Path) -> None:
        volume = self.read(tmp_path, sform=MIRRORED, qform=PLAIN_QFORM)
        assert volume.ijk_to_ras[0, 0] == -2
        assert warned(volume, "mirrors the other", "left and right are unsure", "the sform was used")

    def test_a_sheared_sform_beside_a_sound_qform_leaves_a_warning(self, tmp_path: Path) -> None:
        volume = self.read(tmp_path, sform=((2, 0, 0.5, 1), *STRAIGHT[1:]), qform=PLAIN_QFORM)
        np.testing.assert_allclose(volume.ijk_to_ras, RAS_MATRIX, atol=1e-6)
        assert warned(volume, "the qform was used")

    def test_no_form_leaves_a_warning(self, tmp_path: Path) -> None:
        assert warned(self.read(tmp_path, sform=None), "left and right cannot be distinguished")

    def test_an_sform_of_another_scale_keeps_the_true_voxel_sizes(self, tmp_path: Path) -> None:
        sform = np.array(STRAIGHT) * 1.2  # as affine registration to a template leaves it
        sform[:, 3] += 40.0
        volume = self.read(tmp_path, sform=sform, qform=PLAIN_QFORM)
        np.testing.assert_allclose(volume.grid.spacing, SPACING, atol=1e-6)
        assert warned(volume, "the sform was used with the voxel sizes of the qform")

    def test_two_voxel_sizes_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match=r"two voxel sizes, 2 x 2\.2 x 2\.5 mm \(sform\) and 1 x 1 x 1 mm"):
            self.read(tmp_path, pixdim=(1.0, 1.0, 1.0))

    @pytest.mark.parametrize("slope", [np.nan, 0.0, np.inf])
    def test_a_slope_that_is_no_number_or_zero_means_no_scale(self, tmp_path: Path, slope: float) -> None:
        volume = self.read(tmp_path, scale=(slope, 0.0))
        np.testing.assert_array_equal(volume.voxels, COUNTING)

    @pytest.mark.parametrize("scale", [(0.5, 10.0), (1e-3, 0.0), (1.0, -1024.0), (-1.0, 0.0)])
    def test_stored_values_are_scaled(self, tmp_path: Path, scale: tuple[float, float]) -> None:
        volume = self.read(tmp_path, scale=scale)
        np.testing.assert_allclose(volume.voxels, COUNTING * scale[0] + scale[1], rtol=1e-6)

    @pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", "i8"])
    @pytest.mark.parametrize("big_endian", [False, True])
    def test_every_type_in_both_byte_orders(self, tmp_path: Path, dtype: str, big_endian: bool) -> None:
        volume = self.read(tmp_path, dtype=dtype, big_endian=big_endian, voxels=COUNTING % 200)
        np.testing.assert_array_equal(volume.voxels, COUNTING % 200)

    @pytest.mark.parametrize(("units", "factor"), [(1, 1e-3), (2, 1.0), (3, 1e3), (0, 1.0), (10, 1.0)])
    def test_units_of_length_are_heeded(self, tmp_path: Path, units: int, factor: float) -> None:
        sform = np.array(STRAIGHT) * factor
        size = (2.0 * factor, 2.2 * factor, 2.5 * factor)
        volume = self.read(tmp_path, sform=sform, pixdim=size, units=units)
        np.testing.assert_allclose(volume.ijk_to_ras, RAS_MATRIX, rtol=1e-5)

    @pytest.mark.parametrize("behind", [bytes(700), b"some other bytes", gzip.compress(b"another member", mtime=0)])
    def test_bytes_behind_the_packed_voxels_do_no_harm(self, tmp_path: Path, behind: bytes) -> None:
        path = tmp_path / "head.nii.gz"
        path.write_bytes(gzip.compress(nifti_bytes()) + behind)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.voxels, COUNTING)
        assert warned(volume, "belong to no scan") == behind.startswith(b"some")

    def test_packed_in_several_members(self, tmp_path: Path) -> None:
        content = nifti_bytes()
        path = tmp_path / "head.nii.gz"
        path.write_bytes(gzip.compress(content[:900]) + gzip.compress(content[900:]))
        np.testing.assert_array_equal(read_volume(path).voxels, COUNTING)

    def test_a_few_nan_are_reported_and_become_zero(self, tmp_path: Path) -> None:
        voxels = COUNTING.astype("f4")
        voxels[3, 4, 5:8] = (np.nan, np.inf, -np.inf)
        volume = self.read(tmp_path, "head.nii.gz", dtype="f4", voxels=voxels)
        assert warned(volume, "3 values were not numbers")
        np.testing.assert_array_equal(volume.voxels[3, 4, 5:8], 0)
        np.testing.assert_array_equal(volume.voxels[3, 4, 8:], COUNTING[3, 4, 8:])

    def test_nifti_2_is_distinguished_from_damage(self, tmp_path: Path) -> None:
        path = tmp_path / "head.nii"
        path.write_bytes((540).to_bytes(4, "little") + b"n+2\0\r\n\x1a\n" + bytes(4000))
        with pytest.raises(VolumeError, match="NIfTI-2, which is not supported; convert it"):
            read_volume(path)

    @pytest.mark.parametrize("given", [".hdr", ".img"])
    def test_half_of_a_pair_is_refused(self, tmp_path: Path, given: str) -> None:
        sitk.WriteImage(sitk.GetImageFromArray(COUNTING.astype(np.int16)), str(tmp_path / "head.hdr"))
        np.testing.assert_array_equal(read_volume(tmp_path / f"head{given}").voxels, COUNTING)
        content = (tmp_path / "head.img").read_bytes()
        (tmp_path / "head.img").write_bytes(content[: len(content) // 2])
        with pytest.raises(VolumeError, match="cut off"):
            read_volume(tmp_path / f"head{given}")


NRRD_GEOMETRY = ["space directions: (2,0,0) (0,2.2,0) (0,0,2.5)", "space origin: (1,2,3)"]


def nrrd(path: Path, *fields: str, data: bytes = COUNTING.astype("<i2").tobytes(), space: str = "LPS") -> Path:
    """An NRRD file of shorts with these further fields."""
    known = ["NRRD0004", "type: short", "dimension: 3", f"space: {space}", "sizes: 14 12 10"]
    if not any(field.startswith("space directions") for field in fields):
        known += NRRD_GEOMETRY
    if not any(field.startswith("encoding") for field in fields):
        known.append("encoding: raw")
    if not any(field.startswith("endian") for field in fields):
        known.append("endian: little")
    path.write_bytes("\n".join([*known, *fields, "", ""]).encode() + data)
    return path


class TestNrrd:
    """Spaces, byte orders and ways of packing."""

    @pytest.mark.parametrize(
        ("space", "code"),
        [
            ("left-posterior-superior", "LPS"),
            ("LPS", "LPS"),
            ("right-anterior-superior", "RAS"),
            ("RAS", "RAS"),
            ("left-anterior-superior", "LAS"),
        ],
    )
    def test_every_space_is_understood(self, tmp_path: Path, space: str, code: str) -> None:
        volume = validated(read_volume(nrrd(tmp_path / "head.nrrd", space=space)))
        assert orientation_code(volume.ijk_to_ras) == code
        signs = [-1 if letter in "LPI" else 1 for letter in code]
        np.testing.assert_allclose(volume.ijk_to_ras[:3, 3], np.array([1, 2, 3]) * signs)
        np.testing.assert_array_equal(volume.voxels, COUNTING)
        assert volume.warnings == ()

    @pytest.mark.parametrize(
        ("fields", "pack"),
        [
            (["endian: big"], lambda voxels: voxels.astype(">i2").tobytes()),
            (["encoding: gzip"], lambda voxels: gzip.compress(voxels.astype("<i2").tobytes())),
            (["encoding: gzip", "endian: big"], lambda voxels: gzip.compress(voxels.astype(">i2").tobytes())),
            (["encoding: ascii"], lambda voxels: " ".join(map(str, voxels.ravel())).encode()),
        ],
        ids=["big-endian", "packed", "packed big-endian", "text"],
    )
    def test_every_way_to_store_voxels(
        self, tmp_path: Path, fields: list[str], pack: Callable[[np.ndarray], bytes]
    ) -> None:
        volume = read_volume(nrrd(tmp_path / "head.nrrd", *fields, data=pack(COUNTING)))
        np.testing.assert_array_equal(volume.voxels, COUNTING)

    def test_a_way_to_pack_that_itk_lacks_is_one_sentence(self, tmp_path: Path) -> None:
        data = bz2.compress(COUNTING.astype("<i2").tobytes())
        with pytest.raises(VolumeError, match="cannot be read"):
            read_volume(nrrd(tmp_path / "head.nrrd", "encoding: bzip2", data=data))

    def test_a_mirrored_matrix_is_kept(self, tmp_path: Path) -> None:
        directions = "space directions: (-2,0,0) (0,2.2,0) (0,0,2.5)"
        volume = validated(read_volume(nrrd(tmp_path / "head.nrrd", directions, "space origin: (1,2,3)")))
        assert orientation_code(volume.ijk_to_ras) == "RPS"
        assert np.linalg.det(volume.ijk_to_ras[:3, :3]) < 0

    def test_a_checksum_that_does_not_fit_is_noticed(self, tmp_path: Path) -> None:
        data = bytearray(gzip.compress(COUNTING.astype("<i2").tobytes()))
        data[-6] ^= 1
        with pytest.raises(VolumeError, match="damaged"):
            read_volume(nrrd(tmp_path / "head.nrrd", "encoding: gzip", data=bytes(data)))

    def test_detached_voxels_in_a_folder_with_spaces(self, tmp_path: Path) -> None:
        (tmp_path / "raw data").mkdir()
        (tmp_path / "raw data" / "the voxels.raw").write_bytes(COUNTING.astype("<i2").tobytes())
        path = nrrd(tmp_path / "head.nhdr", "data file: raw data/the voxels.raw", data=b"")
        np.testing.assert_array_equal(read_volume(path).voxels, COUNTING)


def mha(path: Path, data: bytes = COUNTING.astype("<i2").tobytes(), **changes: str | None) -> Path:
    """A MetaImage file of shorts; None leaves a field out."""
    fields: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "1 2 3",
        "ElementSpacing": "2 2.2 2.5",
        "DimSize": "14 12 10",
        "ElementType": "MET_SHORT",
    } | changes
    text = "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)
    path.write_bytes(f"{text}ElementDataFile = LOCAL\n".encode() + data)
    return path


class TestMetaImage:
    """Byte orders, packing, and headers without a geometry."""

    def test_big_endian_and_packed_voxels(self, tmp_path: Path) -> None:
        big = mha(tmp_path / "a.mha", COUNTING.astype(">i2").tobytes(), BinaryDataByteOrderMSB="True")
        np.testing.assert_array_equal(read_volume(big).voxels, COUNTING)
        packed = zlib.compress(COUNTING.astype("<i2").tobytes())
        small = mha(tmp_path / "b.mha", packed, CompressedData="True", CompressedDataSize=str(len(packed)))
        np.testing.assert_array_equal(read_volume(small).voxels, COUNTING)

    def test_a_mirrored_matrix_is_kept(self, tmp_path: Path) -> None:
        volume = validated(read_volume(mha(tmp_path / "a.mha", TransformMatrix="-1 0 0 0 1 0 0 0 1")))
        assert orientation_code(volume.ijk_to_ras) == "RPS"

    def test_a_header_without_axes_leaves_a_warning(self, tmp_path: Path) -> None:
        assert warned(
            read_volume(mha(tmp_path / "a.mha", TransformMatrix=None)), "left and right cannot be distinguished"
        )

    def test_a_header_without_voxel_size_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match="records no voxel size"):
            read_volume(mha(tmp_path / "a.mha", ElementSpacing=None))


def assert_shows_the_field(volume: Volume, tolerance: float = 1.01) -> None:
    """Every voxel has the linear field's value at its place; 1 stands for 0.023 mm."""
    k, j, i = np.indices(volume.voxels.shape)
    expected = linear_field(apply_affine(volume.ijk_to_ras, np.stack([i, j, k], axis=-1)))
    assert np.abs(volume.voxels - expected).max() <= tolerance


def _rle(path: Path) -> None:
    header = pydicom.dcmread(path)
    header.compress(pydicom.uid.RLELossless)
    header.save_as(path)


def _deflated(path: Path) -> None:
    header = pydicom.dcmread(path)
    header.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    header.save_as(path)


def _without_preamble(path: Path) -> None:
    header = pydicom.dcmread(path)
    bare = pydicom.Dataset()
    bare.update(header)
    bare.save_as(path, implicit_vr=True, little_endian=True)


class TestDicom:
    """Ways to store the slices of a series."""

    @pytest.mark.parametrize("change", [_rle, _deflated, _without_preamble], ids=lambda change: change.__name__)
    def test_other_ways_to_store_a_slice(self, tmp_path: Path, change: Callable[[Path], None]) -> None:
        for path in write_series(tmp_path, axial_positions(16)):
            change(path)
        volume = read_volume(tmp_path)
        assert volume.voxels.shape == (16, 24, 32)
        assert_shows_the_field(volume)

    @pytest.mark.parametrize(("slope", "intercept"), [(0.25, 0.0), (2.0, -1024.0), (0.125, 37.5), (1.7, 12.0)])
    def test_16_bit_values_with_a_slope(self, tmp_path: Path, slope: float, intercept: float) -> None:
        write_series(tmp_path, axial_positions(16), slope=slope, intercept=intercept)
        assert_shows_the_field(read_volume(tmp_path), tolerance=max(1.01, 0.51 * slope))

    @pytest.mark.parametrize("name", ["IM 0001 (final copy)", "ÄÖÜ 頭.IMA", "no ending", "1.2.840.113619.2.5"])
    def test_any_names_of_files(self, tmp_path: Path, name: str) -> None:
        for number, path in enumerate(write_series(tmp_path, axial_positions(16))):
            path.rename(path.with_name(f"{number} {name}"))
        assert_shows_the_field(read_volume(tmp_path))

    def test_a_series_spread_over_folders(self, tmp_path: Path) -> None:
        for number, path in enumerate(write_series(tmp_path, axial_positions(16))):
            (tmp_path / f"part {number % 3}").mkdir(exist_ok=True)
            path.rename(tmp_path / f"part {number % 3}" / path.name)
        assert_shows_the_field(read_volume(tmp_path))

    def test_the_series_of_a_whole_study_is_chosen_by_number(self, tmp_path: Path) -> None:
        write_series(tmp_path, axial_positions(3), number=1, description="Localizer")
        write_series(tmp_path, axial_positions(16), number=2, description="T1 brain")
        write_series(tmp_path, axial_positions(18), number=3, description="TOF 3D")
        write_series(tmp_path, axial_positions(18), number=4, modality="CT", description="CTA")
        arguments = ["detect", str(tmp_path), "--no-arteries", "--no-scene", "--no-pictures"]
        assert main([*arguments, "--series", "TOF 3D", "--out", str(tmp_path / "a")], make_fixed_detector) == 0
        assert main([*arguments, "--series", "4", "--out", str(tmp_path / "b")], make_fixed_detector) == 0
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["MR-series3"]
        assert [path.name for path in (tmp_path / "b").iterdir()] == ["CT-series4"]
        assert read_volume(tmp_path, "4").modality is Modality.CTA


def test_what_a_header_says_of_the_patient_gets_into_no_file(tmp_path: Path) -> None:
    pytest.importorskip("slicer")
    voxels = np.random.default_rng(2).integers(0, 900, (20, 24, 28)).astype("i2")
    named = {"description": b"Doe^Jane 19700101", "dim": (3, 28, 24, 20), "voxels": voxels, "qform": PLAIN_QFORM}
    scan = write_nifti(tmp_path / "head.nii.gz", **named)
    arguments = ["detect", str(scan), "--out", str(tmp_path / "out"), "--no-arteries", "--no-pictures"]
    assert main(arguments, make_fixed_detector) == 0
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"scene.mrb", "detection.json"}
    assert not any(b"Doe" in path.read_bytes() or b"19700101" in path.read_bytes() for path in written)


def test_spaces_and_dots_in_every_name(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "a folder. with dots" / "head v1.2 (copy).nii.gz")
    out = tmp_path / "my results. final"
    arguments = ["detect", str(scan), "--out", str(out), "--no-arteries", "--no-scene", "--no-pictures"]
    assert main(arguments, make_fixed_detector) == 0
    assert [path.name for path in out.iterdir()] == ["head v1.2 (copy)"]
