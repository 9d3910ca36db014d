"""Sound small scans of every format with random damage: each has to give a usable volume or one sentence.

Usage: fuzzed_files.py FOLDER FIRST_SEED SEEDS [FORMAT ...]; prints per format how many were read, with and without a
warning, and refused. It runs in a process of its own, so that a crash of a library or too much memory is seen.
"""

from __future__ import annotations

import faulthandler
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from CoWLandmarksLib.core.errors import VolumeError
from CoWLandmarksLib.core.volume import validated
from CoWLandmarksLib.io.volume_io import read_volume
from dicom_files import axial_positions, write_enhanced, write_series

MOST_BYTES = 3 << 30
"""Address space beyond what the libraries take; the scans have some kilobytes."""
MOST_SECONDS = 60


def _image(folder: Path, suffix: str, packed: bool) -> list[Path]:
    voxels = np.random.default_rng(1).integers(20, 900, (9, 10, 11)).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 2.1, 2.5))
    image.SetOrigin((-10.0, 5.0, 30.0))
    sitk.WriteImage(image, str(folder / f"scan{suffix}"), useCompression=packed)
    return sorted(folder.iterdir())


def _float_image(folder: Path) -> list[Path]:
    image = sitk.GetImageFromArray(np.random.default_rng(1).normal(100, 30, (9, 10, 11)).astype(np.float32))
    image.SetSpacing((2.0, 2.1, 2.5))
    sitk.WriteImage(image, str(folder / "scan.nii"))
    return [folder / "scan.nii"]


def _series(folder: Path) -> list[Path]:
    return write_series(folder, axial_positions(16), shape=(16, 16))[6:8]


FORMATS: dict[str, Callable[[Path], list[Path]]] = {
    "nii": lambda folder: _image(folder, ".nii", False),
    "float nii": _float_image,
    "nii.gz": lambda folder: _image(folder, ".nii.gz", True),
    "hdr": lambda folder: _image(folder, ".hdr", False),
    "nrrd": lambda folder: _image(folder, ".nrrd", False),
    "packed nrrd": lambda folder: _image(folder, ".nrrd", True),
    "nhdr": lambda folder: _image(folder, ".nhdr", False),
    "mha": lambda folder: _image(folder, ".mha", False),
    "packed mha": lambda folder: _image(folder, ".mha", True),
    "mhd": lambda folder: _image(folder, ".mhd", False),
    "DICOM series": _series,
    "enhanced DICOM": lambda folder: [write_enhanced(folder / "scan.dcm", axial_positions(16))],
}
"""Makes a scan in an empty folder; returns the files to damage."""


def damaged(content: bytes, draw: np.random.Generator) -> bytes:
    """The bytes of a file with one kind of damage, mostly near the beginning, where the header is."""
    data = bytearray(content)
    near = int(draw.integers(8, len(data) + 1)) if draw.random() < 0.3 else min(len(data), 1024)
    place = int(draw.integers(0, near))
    kind = draw.integers(0, 7)
    if kind == 0:  # flipped bits
        for spot in draw.integers(0, near, draw.integers(1, 6)):
            data[spot] ^= 1 << int(draw.integers(0, 8))
    elif kind == 1:  # other bytes
        for spot in draw.integers(0, near, draw.integers(1, 12)):
            data[spot] = int(draw.integers(0, 256))
    elif kind == 2:  # cut off
        del data[place:]
    elif kind == 3:  # a hole
        del data[place : place + int(draw.integers(1, 40))]
    elif kind == 4:  # something too much
        data[place:place] = bytes(draw.integers(0, 256, draw.integers(1, 40)).astype(np.uint8))
    elif kind == 5:  # extremes where numbers are
        data[place : place + 4] = [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\0\0"][
            draw.integers(0, 4)
        ]
    else:  # other digits in text
        digits = [spot for spot in range(near) if chr(data[spot]).isdigit()]
        for spot in draw.choice(digits, min(3, len(digits))) if digits else []:
            data[spot] = ord(str(draw.integers(0, 10)))
    return bytes(data)


def read(target: Path) -> str:
    """What became of a scan: 'read', 'warned' or 'refused'; anything else raises."""
    try:
        volume = validated(read_volume(target))
    except VolumeError as error:
        sentence = str(error)
        assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 1000, sentence
        return "refused"
    assert np.isfinite(volume.voxels).all() and np.isfinite(volume.ijk_to_ras).all()
    return "warned" if volume.warnings else "read"


def run(folder: Path, first_seed: int, seeds: int, formats: list[str]) -> dict[str, Counter[str]]:
    """Damage and read `seeds` scans of each format."""
    results = {}
    for number, (name, make) in enumerate(FORMATS.items()):
        if formats and name not in formats:
            continue
        results[name] = Counter[str]()
        place = folder / name
        place.mkdir()
        victims = make(place)
        sound = {path: path.read_bytes() for path in victims}
        whole_folder = name == "DICOM series"
        header = next((path for path in victims if path.suffix in (".hdr", ".nhdr", ".mhd")), victims[0])
        assert read(place if whole_folder else header) == "read", f"the sound {name} is not read"
        for seed in range(first_seed, first_seed + seeds):
            draw = np.random.default_rng([number, seed])
            victim = victims[draw.integers(0, len(victims))]
            victim.write_bytes(damaged(sound[victim], draw))
            faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
            try:
                results[name][read(place if whole_folder else header)] += 1
            except BaseException:
                print(f"{name}, seed {seed}", file=sys.stderr)
                raise
            finally:
                faulthandler.cancel_dump_traceback_later()
            victim.write_bytes(sound[victim])
        shutil.rmtree(place)
    return results


def limit_memory() -> None:
    """Let this process take little more than it has; only where the system can do that."""
    try:
        import resource
    except ImportError:
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").is_file() else 0
    if pages:
        most = pages * resource.getpagesize() + MOST_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    limit_memory()
    faulthandler.enable()
    for name, counts in run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]).items():
        print(f"{name}: {dict(sorted(counts.items()))}")
