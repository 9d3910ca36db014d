"""Files: round trips of every format, names, and what is refused with a sentence."""

from __future__ import annotations

import gzip
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from CoWLandmarksLib.core.errors import OutputError, VolumeError
from CoWLandmarksLib.core.volume import Sides, Volume, validated
from CoWLandmarksLib.files.result_folders import check_free
from CoWLandmarksLib.io import volume_io
from CoWLandmarksLib.io.volume_io import (
    WRITABLE,
    image_from_volume,
    read_volume,
    scan_name,
    volume_from_image,
    write_volume,
)
from scipy.spatial.transform import Rotation

OBLIQUE = Rotation.from_euler("xyz", [20.0, -35.0, 10.0], degrees=True).as_matrix()


def scan(dtype: str = "int16", flipped: bool = False) -> Volume:
    """A small scan with different sizes, spacings and oblique axes, left-handed if `flipped`."""
    random = np.random.default_rng(5)
    matrix = np.eye(4)
    matrix[:3, :3] = OBLIQUE @ np.diag([0.4, 0.5, -0.8 if flipped else 0.8])
    matrix[:3, 3] = (-71.25, 33.5, 1203.0)
    return Volume((random.random((10, 12, 14)) * 200).astype(dtype), matrix)


def nifti(path: Path, *, dim: tuple[int, ...] = (3, 14, 12, 10), pixdim: float = 0.5, **fields: object) -> Path:
    """A NIfTI file made byte by byte; `fields`: sform rows, qform code, units."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, *(*dim, *[1] * (8 - len(dim))))
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, pixdim, 0.6, 0.8, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352.0)
    header[123] = int(fields.get("units", 2))  # type: ignore[call-overload]
    sform = fields.get("sform")
    struct.pack_into("<2h", header, 252, int(fields.get("qform", 0)), 0 if sform is None else 1)  # type: ignore[call-overload]
    if sform is not None:
        struct.pack_into("<12f", header, 280, *np.ravel(sform))  # type: ignore[call-overload]
    header[344:348] = b"n+1\0"
    voxels = (np.arange(np.prod(dim[1:])) % 1000).astype("<i2")
    path.write_bytes(bytes(header) + voxels.tobytes())
    return path


STRAIGHT = [[0.5, 0, 0, 1], [0, 0.6, 0, 2], [0, 0, 0.8, 3]]


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
@pytest.mark.parametrize("suffix", WRITABLE)
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str, dtype: str, flipped: bool) -> None:
    original = scan(dtype, flipped)
    write_volume(original, tmp_path / f"scan{suffix}")
    again = read_volume(tmp_path / f"scan{suffix}")
    assert again.voxels.dtype == original.voxels.dtype
    np.testing.assert_array_equal(again.voxels, original.voxels)
    np.testing.assert_allclose(again.ijk_to_ras, original.ijk_to_ras, atol=2e-4)
    assert (again.name, again.modality, again.warnings) == ("scan", None, ())
    assert [path.name for path in tmp_path.iterdir()] == [f"scan{suffix}"]


@pytest.mark.parametrize(("suffix", "data"), [(".nhdr", ".raw"), (".mhd", ".raw"), (".mhd", ".zraw"), (".hdr", ".img")])
def test_formats_in_two_files_are_read(tmp_path: Path, suffix: str, data: str) -> None:
    original = scan()
    sitk.WriteImage(image_from_volume(original), str(tmp_path / f"scan{suffix}"), data == ".zraw")
    again = read_volume(tmp_path / f"scan{suffix}")
    np.testing.assert_array_equal(again.voxels, original.voxels)
    np.testing.assert_allclose(again.ijk_to_ras, original.ijk_to_ras, atol=2e-4)


def test_lps_files_become_ras() -> None:
    image = sitk.Image(4, 3, 2, sitk.sitkInt16)
    image.SetOrigin((10.0, 20.0, 30.0))
    image.SetSpacing((0.5, 0.6, 0.8))
    volume = volume_from_image(image, "x")
    assert volume.voxels.shape == (2, 3, 4)
    np.testing.assert_allclose(volume.ijk_to_ras, [[-0.5, 0, 0, -10], [0, -0.6, 0, -20], [0, 0, 0.8, 30], [0, 0, 0, 1]])
    back = image_from_volume(volume)
    assert back.GetOrigin() == (10.0, 20.0, 30.0)
    assert back.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("stored", "kept"),
    [("float64", "float32"), ("int64", "int16"), ("uint64", "int16"), ("bool", "uint8"), ("float16", "float32")],
)
def test_wide_types_are_narrowed(tmp_path: Path, stored: str, kept: str) -> None:
    original = scan(stored)
    write_volume(original, tmp_path / "scan.nrrd")
    again = read_volume(tmp_path / "scan.nrrd")
    assert again.voxels.dtype == np.dtype(kept)
    np.testing.assert_allclose(again.voxels, original.voxels.astype("float64"), rtol=1e-6)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/chris_MRA.nii.gz", "chris_MRA"),
        ("a/b.c.nrrd", "b.c"),
        ("a/SCAN.NII.GZ", "SCAN"),
        ("a/brain", "brain"),
        ("d/sub-01/ses-02/anat/sub-01_ses-02_angio.nii.gz", "sub-01_ses-02_angio"),
        ("d/sub-01/ses-02/anat/angio.nii", "sub-01_ses-02_angio"),
        ("d/sub-01/anat/angio.mha", "sub-01_angio"),
        ("d/ses-02/angio.mha", "angio"),
    ],
)
def test_results_are_named_after_the_stem_and_the_bids_folders(path: str, name: str) -> None:
    assert scan_name(Path("/data") / path) == name


@pytest.mark.parametrize("name", ["Köpfchen 頭 (1).nii.gz", "a b'c\"d.nrrd", "x" * 230 + ".mha"])
@pytest.mark.parametrize("folder", ["plain", "Ünï/çødé 頭", "/".join(["deep" * 20] * 12)])
def test_unicode_and_long_paths_work(tmp_path: Path, folder: str, name: str) -> None:
    if os.name == "nt":
        pytest.skip("Windows allows neither these names nor this length")
    path = tmp_path / folder / name
    path.parent.mkdir(parents=True)
    write_volume(scan(), path)
    assert read_volume(path).voxels.shape == (10, 12, 14)


class TestDamaged:
    """Files that are cut off or changed."""

    @pytest.mark.parametrize("kept", [0.0, 0.005, 0.1, 0.5, 0.9, 0.99])
    @pytest.mark.parametrize("compress", [False, True])
    @pytest.mark.parametrize("suffix", WRITABLE)
    def test_a_file_that_is_cut_off_is_refused(self, tmp_path: Path, suffix: str, compress: bool, kept: float) -> None:
        path = tmp_path / f"scan{suffix}"
        write_volume(scan(), path, compress)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        with pytest.raises(VolumeError, match=r"cut off|is empty"):
            read_volume(path)

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
    def test_a_changed_bit_in_packed_voxels_is_noticed(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"scan{suffix}"
        write_volume(scan(), path)
        content = path.read_bytes()
        for place in np.linspace(0.6, 0.95, 8):
            damaged = bytearray(content)
            damaged[int(len(content) * place)] ^= 4
            path.write_bytes(damaged)
            with pytest.raises(VolumeError, match="damaged"):
                read_volume(path)

    @pytest.mark.parametrize(
        "name", ["scan.nii", "scan.nii.gz", "scan.nrrd", "scan.mha", "scan.dcm", "scan.txt", "scan"]
    )
    def test_something_else_under_the_name_of_a_scan_is_refused(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.write_bytes(b"This is no scan at all. " * 100)
        with pytest.raises(VolumeError, match=r"cannot be read|not a scan"):
            read_volume(path)

    def test_a_missing_data_file_is_refused(self, tmp_path: Path) -> None:
        for suffix in (".nhdr", ".mhd"):
            sitk.WriteImage(image_from_volume(scan()), str(tmp_path / f"scan{suffix}"))
            (tmp_path / "scan.raw").unlink()
            with pytest.raises(VolumeError):
                read_volume(tmp_path / f"scan{suffix}")

    def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(self, tmp_path: Path) -> None:
        path = nifti(tmp_path / "scan.nii")
        content = bytearray(path.read_bytes())
        struct.pack_into("<4h", content, 40, 3, 30000, 30000, 30000)
        path.write_bytes(content)
        with pytest.raises(VolumeError, match="claims 30000x30000x30000 voxels"):
            read_volume(path)


class TestUnsuitable:
    """Readable files that are no single grey 3-D scan."""

    def write(self, path: Path, image: sitk.Image) -> Path:
        sitk.WriteImage(image, str(path))
        return path

    def test_a_picture(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "x.png", sitk.Image(20, 20, sitk.sitkUInt8))
        with pytest.raises(VolumeError, match="two-dimensional picture"):
            read_volume(path)

    @pytest.mark.parametrize("suffix", WRITABLE)
    def test_colour(self, tmp_path: Path, suffix: str) -> None:
        path = self.write(tmp_path / f"x{suffix}", sitk.Image([9, 9, 9], sitk.sitkVectorUInt8, 3))
        with pytest.raises(VolumeError, match="holds 3 values per voxel"):
            read_volume(path)

    def test_complex_numbers(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "x.nii", sitk.Image([9, 9, 9], sitk.sitkComplexFloat32))
        with pytest.raises(VolumeError, match="complex numbers"):
            read_volume(path)

    @pytest.mark.parametrize("suffix", WRITABLE)
    def test_several_time_points(self, tmp_path: Path, suffix: str) -> None:
        path = self.write(tmp_path / f"x{suffix}", sitk.Image([9, 9, 9, 5], sitk.sitkInt16))
        with pytest.raises(VolumeError, match="holds 5 time points"):
            read_volume(path)

    @pytest.mark.parametrize("suffix", WRITABLE)
    def test_one_time_point_is_a_scan(self, tmp_path: Path, suffix: str) -> None:
        image = sitk.Image([11, 10, 9, 1], sitk.sitkInt16)
        image.SetOrigin((1, 2, 3, 0))
        volume = read_volume(self.write(tmp_path / f"x{suffix}", image))
        assert volume.voxels.shape == (9, 10, 11)
        np.testing.assert_allclose(volume.ijk_to_ras[:3, 3], (-1, -2, 3))


class TestNiftiGeometry:
    """NIfTI headers that ITK takes silently, or refuses with a message of its own."""

    def test_metres_in_the_header_are_understood(self, tmp_path: Path) -> None:
        path = nifti(tmp_path / "x.nii", sform=np.array(STRAIGHT), units=2)
        np.testing.assert_allclose(read_volume(path).ijk_to_ras[:3], STRAIGHT, rtol=1e-6)

    def test_a_header_without_orientation_leaves_a_warning(self, tmp_path: Path) -> None:
        assert "left and right cannot be distinguished" in read_volume(nifti(tmp_path / "x.nii")).warnings[0]

    def test_a_sheared_sform_is_refused(self, tmp_path: Path) -> None:
        path = nifti(tmp_path / "x.nii", sform=[[0.5, 0, 0.2, 1], *STRAIGHT[1:]])
        with pytest.raises(VolumeError, match="sheared or damaged axes"):
            read_volume(path)

    def test_disagreeing_sform_and_qform_leave_a_warning(self, tmp_path: Path) -> None:
        path = nifti(tmp_path / "x.nii", sform=[[0.5, 0, 0.2, 1], [0, 0.6, 0, 92], STRAIGHT[2]], qform=1)
        assert "two positions 92 mm apart" in read_volume(path).warnings[0]

    @pytest.mark.parametrize("row", [[np.nan, 0, 0, 1], [0, 0, 0, 1]])
    def test_damaged_axes_are_refused(self, tmp_path: Path, row: list[float]) -> None:
        with pytest.raises(VolumeError, match="damaged axes"):
            read_volume(nifti(tmp_path / "x.nii", sform=[row, *STRAIGHT[1:]]))

    def test_a_voxel_size_of_zero_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match="voxel size of zero"):
            read_volume(nifti(tmp_path / "x.nii", pixdim=0.0))

    def test_an_nrrd_without_space_leaves_a_warning(self, tmp_path: Path) -> None:
        header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 8 8 8\nspacings: 1 1 1\nencoding: raw\n\n"
        (tmp_path / "x.nrrd").write_bytes(header.encode() + bytes(512))
        assert "left and right cannot be distinguished" in read_volume(tmp_path / "x.nrrd").warnings[0]

    @pytest.mark.parametrize(
        ("fields", "warning"),
        [
            ("space dimension: 3", "left and right cannot be distinguished"),
            ("space: 3D-right-handed", "left and right cannot be distinguished"),
            ("space: scanner-xyz", "left and right cannot be distinguished"),
            ("space: left-posterior-superior", ""),
        ],
    )
    def test_only_an_anatomical_space_of_an_nrrd_tells_left_from_right(
        self, tmp_path: Path, fields: str, warning: str
    ) -> None:
        axes = "space directions: (1,0,0) (0,1,0) (0,0,1)"
        header = f"NRRD0004\ntype: uchar\ndimension: 3\n{fields}\nsizes: 8 8 8\n{axes}\nencoding: raw\n\n"
        (tmp_path / "x.nrrd").write_bytes(header.encode() + bytes(512))
        volume = read_volume(tmp_path / "x.nrrd")
        assert warning in " ".join(volume.warnings)
        assert volume.sides is (Sides.UNRECORDED if warning else Sides.RECORDED)

    @pytest.mark.parametrize("fields", ["spacings: nan nan nan", "spacings: 2 2 nan", "spacings: -2 2 2"])
    def test_an_impossible_voxel_size_of_an_nrrd_is_refused(self, tmp_path: Path, fields: str) -> None:
        header = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 8 8 8\n{fields}\nencoding: raw\n\n"
        (tmp_path / "x.nrrd").write_bytes(header.encode() + bytes(512))
        with pytest.raises(VolumeError, match="an impossible voxel size"):
            read_volume(tmp_path / "x.nrrd")

    def test_an_nrrd_in_inches_is_refused(self, tmp_path: Path) -> None:
        units = 'space: left-posterior-superior\nspace units: "inch" "inch" "inch"'
        axes = "space directions: (1,0,0) (0,1,0) (0,0,1)"
        header = f"NRRD0004\ntype: uchar\ndimension: 3\n{units}\nsizes: 8 8 8\n{axes}\nencoding: raw\n\n"
        (tmp_path / "x.nrrd").write_bytes(header.encode() + bytes(512))
        with pytest.raises(VolumeError, match="in inch; export it again in millimetres"):
            read_volume(tmp_path / "x.nrrd")

    def test_a_sform_that_mirrors_the_qform_contradicts_it(self, tmp_path: Path) -> None:
        mirrored = np.array(STRAIGHT)
        mirrored[0] *= -1.0
        volume = read_volume(nifti(tmp_path / "x.nii", sform=mirrored, qform=1))
        assert volume.sides is Sides.CONTRADICTORY
        assert read_volume(nifti(tmp_path / "y.nii")).sides is Sides.UNRECORDED


class TestPaths:
    """Paths that lead nowhere."""

    @pytest.mark.skipif(sys.platform != "linux", reason="names are text on other systems")
    @pytest.mark.parametrize("name", [b"h\xff.mha", b"Sch\xe4del.nii.gz", b"Sch\xe4del"])
    def test_a_name_that_is_no_text_is_a_sentence_and_no_crash(self, tmp_path: Path, name: bytes) -> None:
        path = tmp_path / os.fsdecode(name)
        write_volume(Volume(np.zeros((8, 8, 8), np.int16), np.eye(4)), tmp_path / "plain.mha")
        if name.endswith(b"del"):
            path.mkdir()
        (path / "1.dcm" if path.is_dir() else path).write_bytes((tmp_path / "plain.mha").read_bytes())
        with pytest.raises(VolumeError, match=r"holds bytes that are no text \(UTF-8\); rename it"):
            read_volume(path)
        with pytest.raises(OutputError, match="choose another"):
            check_free(path, "scan", force=False)

    def test_a_field_of_view_of_thousands_of_litres_is_refused(self) -> None:
        voxels = np.random.default_rng(1).integers(0, 200, (220, 220, 220), np.uint8)
        with pytest.raises(VolumeError, match="covers 10648 litres; check the voxel size"):
            validated(Volume(voxels, np.diag([10.0, 10.0, 10.0, 1.0])))

    def test_a_path_that_does_not_exist(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match="does not exist"):
            read_volume(tmp_path / "no.nii")

    def test_a_name_that_is_too_long(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match=r"cannot be opened|does not exist"):
            read_volume(tmp_path / ("x" * 5000 + ".nii"))

    def test_a_folder_without_dicom_names_the_scan_in_it(self, tmp_path: Path) -> None:
        with pytest.raises(VolumeError, match="holds no DICOM images"):
            read_volume(tmp_path)
        write_volume(scan(), tmp_path / "brain.nii.gz")
        with pytest.raises(VolumeError, match=r"for example '.*brain\.nii\.gz'\.$"):
            read_volume(tmp_path)

    def test_what_may_not_be_read_is_refused(self, tmp_path: Path) -> None:
        if os.name == "nt" or os.geteuid() == 0:
            pytest.skip("the administrator may read everything")
        path = tmp_path / "scan.nii"
        write_volume(scan(), path)
        path.chmod(0)
        with pytest.raises(VolumeError, match="permissions"):
            read_volume(path)

    def test_an_error_of_the_system_becomes_a_sentence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "scan.nii"
        write_volume(scan(), path)

        def refuse(_: Path) -> bool:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(volume_io, "is_dicom", refuse)
        with pytest.raises(VolumeError, match=r"cannot be opened \(Permission denied\)"):
            read_volume(path)


class TestWriting:
    """A result appears whole or not at all."""

    @pytest.mark.parametrize("name", ["scan.txt", "scan", "scan.mhd", "scan.gz"])
    def test_an_unknown_format_is_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(OutputError, match=r"must end in \.nii\.gz"):
            write_volume(scan(), tmp_path / name)

    def test_a_missing_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="does not exist"):
            write_volume(scan(), tmp_path / "no" / "scan.nii")

    @pytest.mark.parametrize("suffix", WRITABLE)
    def test_a_full_disk_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / f"scan{suffix}"
        write_volume(scan(), path)
        before = path.read_bytes()
        write = sitk.WriteImage

        def write_half(image: sitk.Image, name: str, compress: bool) -> None:
            write(image, name, compress)
            content = Path(name).read_bytes()
            Path(name).write_bytes(content[: len(content) // 2])
            if not suffix.startswith(".nii"):  # ITK notices a full disk with these
                raise RuntimeError("disk full")

        monkeypatch.setattr(sitk, "WriteImage", write_half)
        with pytest.raises(OutputError, match="disk has space"):
            write_volume(scan("uint8"), path)
        assert path.read_bytes() == before
        assert [left.name for left in tmp_path.iterdir()] == [path.name]

    def test_packed_files_are_packed(self, tmp_path: Path) -> None:
        write_volume(Volume(np.zeros((40, 40, 40), np.int16), np.eye(4)), tmp_path / "scan.nii.gz")
        assert len(gzip.decompress((tmp_path / "scan.nii.gz").read_bytes())) == 352 + 128000
        write_volume(Volume(np.zeros((40, 40, 40), np.int16), np.eye(4)), tmp_path / "scan.nrrd")
        assert (tmp_path / "scan.nrrd").stat().st_size < 2000
