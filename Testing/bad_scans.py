"""Scan files that must be refused: empty, cut off, changed, of another kind, with senseless headers."""

from __future__ import annotations

import gzip
import os
import socket
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from bad_input import BadCase, Maker, detect, on_bytes
from fixed_detector import write_scan
from nifti_files import STRAIGHT, nifti_bytes, write_nifti

ONE_FILE = (".nii", ".nii.gz", ".nrrd", ".mha")
TWO_FILES = (".nhdr", ".mhd")
TOKENS = 100_000
"""Voxels along each side that a damaged header claims: 2 PB in all."""


def write_image(
    path: Path, voxels: np.ndarray, spacing: Sequence[float] = (2.0, 2.0, 2.5), vector: bool = False
) -> Path:
    """Voxels [.., k, j, i] as an unpacked file; the ending of `path` chooses the format."""
    image = sitk.GetImageFromArray(voxels, isVector=vector)
    if image.GetDimension() == len(spacing):
        image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path), useCompression=False)
    return path


def speckle(*shape: int, dtype: str = "i2") -> np.ndarray:
    """Values from 20 to 900."""
    return np.random.default_rng(7).integers(20, 900, shape).astype(dtype)


def packed(path: Path) -> Path:
    """The small scan of `write_scan`, with packed voxels."""
    write_scan(path)
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def scan_with(suffix: str, change: Callable[[bytes], bytes], compressed: bool = False, data_file: str = "") -> Maker:
    """A sound scan whose file (or whose data file of that ending) is changed."""

    def make(folder: Path) -> Sequence[object]:
        path = (packed if compressed else write_scan)(folder / f"head{suffix}")
        target = path.with_suffix(data_file) if data_file else path
        target.write_bytes(change(target.read_bytes()))
        return detect(folder, path)

    return make


def cut(share: float) -> Callable[[bytes], bytes]:
    """Keeps the first part of a file."""
    return lambda content: content[: int(share * len(content))]


def flipped(share: float) -> Callable[[bytes], bytes]:
    """Changes one bit, this far into the file."""

    def change(content: bytes) -> bytes:
        damaged = bytearray(content)
        damaged[int(share * len(content))] ^= 4
        return bytes(damaged)

    return change


def line(key: bytes, value: bytes) -> Callable[[bytes], bytes]:
    """Gives a line of a text header another value."""

    def change(content: bytes) -> bytes:
        start = content.index(key)
        end = content.index(b"\n", start)
        return content[:start] + key + value + content[end:]

    return change


def image_case(name: str, voxels: Callable[[], np.ndarray], vector: bool = False) -> Maker:
    """A case of one file written by ITK."""
    return lambda folder: detect(folder, write_image(folder / name, voxels(), vector=vector))


def nifti_case(name: str = "head.nii", **fields: object) -> Maker:
    """A case of one NIfTI file made byte by byte."""
    return lambda folder: detect(folder, write_nifti(folder / name, **fields))


def float_voxels(value: float, share: float) -> Callable[[], np.ndarray]:
    """Float voxels of which a share has this value."""

    def make() -> np.ndarray:
        voxels = speckle(20, 28, 24, dtype="f4")
        voxels.reshape(-1)[: round(share * voxels.size)] = value
        return voxels

    return make


def _emptied(folder: Path) -> Sequence[object]:
    (folder / "empty folder").mkdir()
    return detect(folder, folder / "empty folder")


def _folder_of_notes(folder: Path) -> Sequence[object]:
    (folder / "notes").mkdir()
    (folder / "notes" / "read me.txt").write_text("Not a scan.", encoding="utf-8")
    return detect(folder, folder / "notes")


def _folder_with_a_scan(folder: Path) -> Sequence[object]:
    (folder / "study").mkdir()
    write_scan(folder / "study" / "tof.nii.gz")
    return detect(folder, folder / "study")


def _archive(folder: Path) -> Sequence[object]:
    with zipfile.ZipFile(folder / "study.zip", "w") as archive:
        archive.writestr("scan.dcm", bytes(400))
    return detect(folder, folder / "study.zip")


def _dangling(folder: Path) -> Sequence[object]:
    (folder / "head.nii").symlink_to(folder / "gone.nii")
    return detect(folder, folder / "head.nii")


def _endless(folder: Path) -> Sequence[object]:
    (folder / "head.nii").symlink_to(folder / "head.nii")
    return detect(folder, folder / "head.nii")


def _pipe(folder: Path) -> Sequence[object]:
    os.mkfifo(folder / "head.nii")
    return detect(folder, folder / "head.nii")


def _socket(folder: Path) -> Sequence[object]:
    before = Path.cwd()
    os.chdir(folder)  # the path of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("head.nii")
    finally:
        os.chdir(before)
    return detect(folder, folder / "head.nii")


def _pipe_in_a_folder(folder: Path) -> Sequence[object]:
    (folder / "series").mkdir()
    os.mkfifo(folder / "series" / "1.dcm")
    return detect(folder, folder / "series")


def _too_long(folder: Path) -> Sequence[object]:
    return detect(folder, folder.joinpath(*["x" * 200] * 30, "head.nii.gz"))


def _lost_data(suffix: str) -> Maker:
    def make(folder: Path) -> Sequence[object]:
        write_scan(folder / f"head{suffix}").with_suffix(".raw").unlink()
        return detect(folder, folder / f"head{suffix}")

    return make


def _info(make: Maker) -> Maker:
    """The same file, asked about with `cowlandmarks info`."""
    return lambda folder: ["info", make(folder)[1]]


_CLAIM_NRRD = line(b"sizes:", f" {TOKENS} {TOKENS} {TOKENS}".encode())
_CLAIM_MHA = line(b"DimSize =", f" {TOKENS} {TOKENS} {TOKENS}".encode())
_SHEARED = ((2.0, 0.0, 0.5, 1.0), *STRAIGHT[1:])

POSIX = os.name == "posix"

SCANS: tuple[BadCase, ...] = (
    *(
        BadCase(f"empty file {name}", on_bytes(name, b""), (name, "is empty", "copy or export it again"))
        for name in ("head.nii", "head.nii.gz", "head.nrrd", "head.nhdr", "head.mha", "head.mhd", "head.dcm", "head")
    ),
    *(
        BadCase(
            f"text named {name}", on_bytes(name, b"Dear colleague, here is the scan. " * 99), (name, "cannot be read")
        )
        for name in ("head.nii", "head.nii.gz", "head.nrrd", "head.nhdr", "head.mha", "head.mhd")
    ),
    BadCase("text named head.txt", on_bytes("head.txt", b"Dear colleague. " * 99), ("head.txt", "give NIfTI")),
    BadCase("text named head.dcm", on_bytes("head.dcm", b"Dear colleague. " * 99), ("head.dcm", "give NIfTI")),
    BadCase("a PDF", on_bytes("report.pdf", b"%PDF-1.7\n" + bytes(900)), ("report.pdf", "give NIfTI")),
    BadCase("a zip archive", _archive, ("study.zip", "give NIfTI")),
    BadCase("random bytes named .nii.gz", on_bytes("head.nii.gz", os.urandom(5000)), ("head.nii.gz", "cannot be read")),
    BadCase("gzip of nothing", on_bytes("head.nii.gz", gzip.compress(b"")), ("head.nii.gz", "copy or export it again")),
    BadCase("gzip of text", on_bytes("head.nii.gz", gzip.compress(b"text " * 200)), ("head.nii.gz", "cannot be read")),
    *(
        BadCase(f"{100 * share:g} % of head{suffix}", scan_with(suffix, cut(share)), (f"head{suffix}", "cut off"))
        for suffix in (*ONE_FILE, *TWO_FILES)
        for share in ((0.3,) if suffix in TWO_FILES else (0.02, 0.5, 0.99))
    ),
    *(
        BadCase(
            f"{100 * share:g} % of packed head{suffix}",
            scan_with(suffix, cut(share), True),
            (f"head{suffix}", "cut off"),
        )
        for suffix in (".nrrd", ".mha")
        for share in (0.5, 0.99)
    ),
    *(
        BadCase(
            f"half of the data of head{suffix}",
            scan_with(suffix, cut(0.5), data_file=".raw"),
            (f"head{suffix}", "cut off"),
        )
        for suffix in TWO_FILES
    ),
    *(
        BadCase(f"lost data of head{suffix}", _lost_data(suffix), (f"head{suffix}", "cannot be read"))
        for suffix in TWO_FILES
    ),
    *(
        BadCase(
            f"a flipped bit in packed head{suffix}", scan_with(suffix, flipped(0.8), True), (f"head{suffix}", "damaged")
        )
        for suffix in (".nii.gz", ".nrrd", ".mha")
    ),
    *(
        BadCase(f"a picture {name}", image_case(name, lambda: speckle(40, 50, dtype="u1")), (name, "two-dimensional"))
        for name in ("head.png", "head.nii", "head.nrrd", "head.mha")
    ),
    *(
        BadCase(
            f"five time points in head{suffix}",
            image_case(f"head{suffix}", lambda: speckle(5, 20, 28, 24)),
            ("5 time points",),
        )
        for suffix in ONE_FILE
    ),
    *(
        BadCase(
            f"colour in head{suffix}",
            image_case(f"head{suffix}", lambda: speckle(20, 28, 24, 3, dtype="u1"), vector=True),
            (f"head{suffix}", "3 values per voxel", "single grey scan"),
        )
        for suffix in ONE_FILE
    ),
    BadCase("complex numbers", image_case("head.nii", lambda: speckle(20, 28, 24).astype("c8")), ("magnitude",)),
    *(
        BadCase(
            f"all NaN in head{suffix}", image_case(f"head{suffix}", float_voxels(np.nan, 1.0)), ("head", "not numbers")
        )
        for suffix in ONE_FILE
    ),
    BadCase("half NaN", image_case("head.nii.gz", float_voxels(np.nan, 0.5)), ("50.0 %", "background value")),
    BadCase("two per cent infinite", image_case("head.nrrd", float_voxels(np.inf, 0.02)), ("2.0 %", "not numbers")),
    BadCase("minus infinity everywhere", image_case("head.mha", float_voxels(-np.inf, 1.0)), ("100.0 %",)),
    BadCase("the same value everywhere", image_case("head.mha", lambda: speckle(20, 28, 24) * 0), ("same value",)),
    BadCase("a scale of zero", nifti_case(scale=(0.0, 3.0), voxels=speckle(10, 12, 14) * 0), ("same value",)),
    BadCase("five slices", image_case("head.nrrd", lambda: speckle(5, 28, 24)), ("5 voxels along one axis",)),
    BadCase("one slice", image_case("head.nii.gz", lambda: speckle(1, 28, 24)), ("head",)),
    BadCase("no slice", nifti_case(dim=(3, 14, 12, 0), voxels=speckle(0, 12, 14)), ("head.nii",)),
    BadCase("less than no slice", nifti_case(dim=(3, 14, 12, -3), voxels=speckle(3, 12, 14)), ("head.nii",)),
    BadCase("no dimensions", nifti_case(dim=(0, 14, 12, 10)), ("head.nii",)),
    BadCase(
        "nine dimensions", on_bytes("head.nii", nifti_bytes()[:40] + b"\x09\x00" + nifti_bytes()[42:]), ("head.nii",)
    ),
    BadCase("unknown type of voxels", nifti_case(type_code=77), ("head.nii",)),
    BadCase("voxels far behind the end", nifti_case(offset=1e9), ("head.nii", "cut off")),
    BadCase("a zero voxel size", nifti_case(pixdim=(2.0, 0.0, 2.5), sform=None), ("head.nii", "voxel size of zero")),
    BadCase(
        "voxels in metres",
        nifti_case(pixdim=(0.002, 0.0022, 0.0025), sform=np.diag([0.002, 0.0022, 0.0025, 1])[:3]),
        ("metres",),
    ),
    BadCase(
        "voxels of a kilometre",
        nifti_case(pixdim=(1e6, 1e6, 1e6), sform=np.diag([1e6, 1e6, 1e6, 1])[:3]),
        ("head", "voxel"),
    ),
    BadCase("voxel sizes that are no numbers", nifti_case(pixdim=(np.nan,) * 3, sform=None), ("head.nii",)),
    BadCase("a sheared sform", nifti_case(sform=_SHEARED), ("head.nii", "sheared")),
    BadCase(
        "an sform with a lost axis", nifti_case(sform=((2, 0, 0, 1), (0, 2, 0, 2), (0, 0, 0, 3))), ("head.nii", "axes")
    ),
    BadCase("an sform of NaN", nifti_case(sform=np.full((3, 4), np.nan)), ("head.nii", "axes")),
    BadCase("an sform of zeros", nifti_case(sform=np.zeros((3, 4))), ("head.nii", "axes")),
    BadCase("an impossible quaternion", nifti_case(sform=None, qform=(2.0, 2.0, 2.0, 0, 0, 0)), ("head.nii",)),
    BadCase("an origin at infinity", nifti_case(sform=None, qform=(0, 0, 0, np.inf, 0, 0)), ("head",)),
    BadCase(
        "an NRRD whose spacing is nan",
        scan_with(".nrrd", line(b"space directions:", b" (nan,0,0) (0,2,0) (0,0,2.5)")),
        ("head.nrrd",),
    ),
    BadCase(
        "an NRRD with equal axes",
        scan_with(".nrrd", line(b"space directions:", b" (2,0,0) (2,0,0) (0,0,2.5)")),
        ("head.nrrd",),
    ),
    BadCase(
        "an NRRD with a lost axis",
        scan_with(".nrrd", line(b"space directions:", b" (2,0,0) (0,0,0) (0,0,2.5)")),
        ("head.nrrd",),
    ),
    BadCase(
        "an NRRD far away",
        scan_with(".nrrd", line(b"space origin:", b" (0,4e8,0)")),
        ("head", "from the origin", "correct"),
    ),
    BadCase(
        "an NRRD of thick slices",
        scan_with(".nrrd", line(b"space directions:", b" (2,0,0) (0,2,0) (0,0,55)")),
        ("2 x 2 x 55 mm",),
    ),
    BadCase("an NRRD without sizes", scan_with(".nrrd", line(b"sizes:", b"")), ("head.nrrd",)),
    BadCase("an NRRD of negative size", scan_with(".nrrd", line(b"sizes:", b" 24 -28 20")), ("head.nrrd",)),
    BadCase("an NRRD of blocks", scan_with(".nrrd", line(b"type:", b" block")), ("head.nrrd",)),
    BadCase("an NRRD packed in an unknown way", scan_with(".nrrd", line(b"encoding:", b" zstd")), ("head.nrrd",)),
    BadCase("an MHA with spacing zero", scan_with(".mha", line(b"ElementSpacing =", b" 0 2 2.5")), ("head",)),
    BadCase("an MHA with negative spacing", scan_with(".mha", line(b"ElementSpacing =", b" -2 2 2.5")), ("head",)),
    BadCase("an MHA with spacing nan", scan_with(".mha", line(b"ElementSpacing =", b" nan 2 2.5")), ("head",)),
    BadCase(
        "an MHA without orthogonal axes",
        scan_with(".mha", line(b"TransformMatrix =", b" 1 0 0 0.5 0.5 0 0 0 1")),
        ("head",),
    ),
    BadCase(
        "an MHA with axes of zero", scan_with(".mha", line(b"TransformMatrix =", b" 0 0 0 0 0 0 0 0 0")), ("head",)
    ),
    BadCase("an MHA of an unknown type", scan_with(".mha", line(b"ElementType =", b" MET_QUATERNION")), ("head.mha",)),
    BadCase("an MHA far away", scan_with(".mha", line(b"Offset =", b" 1e9 0 0")), ("head", "from the origin")),
    BadCase("an NRRD that claims petabytes", scan_with(".nrrd", _CLAIM_NRRD), ("head.nrrd",)),
    BadCase("an NHDR that claims petabytes", scan_with(".nhdr", _CLAIM_NRRD), ("head.nhdr",)),
    BadCase("an MHA that claims petabytes", scan_with(".mha", _CLAIM_MHA), ("head.mha",)),
    BadCase("an MHD that claims petabytes", scan_with(".mhd", _CLAIM_MHA), ("head.mhd",)),
    BadCase("a packed MHA that claims petabytes", scan_with(".mha", _CLAIM_MHA, True), ("head.mha",)),
    BadCase(
        "a NIfTI that claims terabytes", nifti_case(dim=(3, 32767, 32767, 32767), voxels=speckle(9)), ("head.nii",)
    ),
    BadCase("a NIfTI that claims gigabytes", nifti_case(dim=(3, 1200, 1200, 1200), voxels=speckle(9)), ("head.nii",)),
    BadCase(
        "a packed NIfTI that claims gigabytes",
        nifti_case("head.nii.gz", dim=(3, 1200, 1200, 1200), voxels=speckle(9)),
        ("head.nii.gz",),
    ),
    BadCase(
        "a scan that is not there",
        lambda folder: detect(folder, folder / "none.nii.gz"),
        ("none.nii.gz", "does not exist", "check the path"),
    ),
    BadCase(
        "a folder that is not there",
        lambda folder: detect(folder, folder / "no" / "series"),
        ("series", "does not exist"),
    ),
    BadCase("an empty folder", _emptied, ("empty folder", "no DICOM images")),
    BadCase("a folder of notes", _folder_of_notes, ("notes", "no DICOM images", "give the folder of the series")),
    BadCase("a folder with a scan file", _folder_with_a_scan, ("study", "for example", "tof.nii.gz")),
    BadCase("a path that is too long", _too_long, ("xxx", "check")),
    BadCase("a name of 300 letters", lambda folder: detect(folder, folder / ("y" * 300 + ".nii")), ("yyy",)),
    *(
        (
            BadCase("a link to nothing", _dangling, ("head.nii", "does not exist")),
            BadCase("a link to itself", _endless, ("head.nii",)),
            BadCase("a named pipe", _pipe, ("head.nii", "neither a file nor a folder")),
            BadCase("a socket", _socket, ("head.nii", "neither a file nor a folder")),
            BadCase("a named pipe in a folder", _pipe_in_a_folder, ("series", "no DICOM images")),
            BadCase(
                "the null device",
                lambda folder: detect(folder, "/dev/null"),
                ("/dev/null", "neither a file nor a folder"),
            ),
        )
        if POSIX
        else ()
    ),
    BadCase("info about an empty file", _info(on_bytes("head.nii", b"")), ("head.nii", "is empty")),
    BadCase("info about half a scan", _info(scan_with(".nii.gz", cut(0.5))), ("head.nii.gz", "cut off")),
    BadCase("info about a picture", _info(image_case("head.png", lambda: speckle(40, 50, dtype="u1"))), ("head.png",)),
    BadCase("info about nothing", lambda folder: ["info", folder / "none.nii"], ("none.nii", "does not exist")),
    BadCase("info about a missing model", lambda folder: ["info", folder / "none.cow.pt"], ("none.cow.pt",)),
)
