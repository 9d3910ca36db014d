"""DICOM: the series in a folder, the choice among them, and one of them as a Volume."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import VolumeError
from ..core.volume import MOST_VOXELS, Modality, Volume
from ..files.dicom_source import SourceSeries, read_source
from .dicom_frames import Frame, compact, damaged, frames_of, read_pixels
from .dicom_header import DicomFile, is_dicom, read_header
from .slice_stack import arrange_slices, straightened

MINIMUM_SLICES = 16
"""A series with fewer images is never chosen by itself."""
_SURELY_DICOM = (".dcm", ".ima", ".dicom")
_MODALITIES = {"MR": Modality.MRA, "CT": Modality.CTA}
_SCOUT = re.compile(r"\b(locali[sz]er|scout|survey|surview|topogram|scanogram|scano|plan scan)\b", re.IGNORECASE)
_NOT_STACKED = {"LOCALIZER", "PROJECTION IMAGE", "MIP", "SCREEN SAVE"}


class SeriesChoiceError(VolumeError):
    """A folder holds several series that could be meant, or not the one that was asked for."""


@dataclass(frozen=True)
class Series:
    """One DICOM series: `slices` images in `files`; nothing in it identifies the patient."""

    uid: str
    number: int | None
    modality: str
    description: str
    slices: int
    files: tuple[DicomFile, ...]

    @property
    def name(self) -> str:
        """How results are named: modality and series number, never a person."""
        return f"{re.sub('[^A-Z0-9]', '', self.modality)}-series{'' if self.number is None else self.number}"

    @property
    def candidate(self) -> bool:
        """Whether this is an image stack of MR or CT long enough to be a scan, and no scout or projection."""
        return (
            self.modality in _MODALITIES
            and self.slices >= MINIMUM_SLICES
            and not _SCOUT.search(self.description)
            and not any(_NOT_STACKED.intersection(file.image_type) for file in self.files[:1])
            and self.files[0].grayscale
        )

    def __str__(self) -> str:
        number = "without number" if self.number is None else str(self.number)
        described = f", '{self.description}'" if self.description else ""
        kind = "image" if self.files[0].grayscale else "colour image"
        return f"{number} ({self.modality}{described}, {self.slices} {kind}{'' if self.slices == 1 else 's'})"


def list_series(folder: str | Path) -> list[Series]:
    """The DICOM series in a folder and the folders below it, by series number.

    Raises VolumeError when a folder or file may not be read.
    """
    return _sorted_out(Path(folder))[0]


def _sorted_out(folder: Path) -> tuple[list[Series], list[Path]]:
    """The series in a folder, and damaged images in it of which nobody knows the series."""
    groups: dict[str, dict[str, DicomFile]] = {}
    strays: list[Path] = []
    for path in _files_below(folder):
        header = _header(path)
        if header is not None and header.damaged and not header.series_uid:
            strays.append(path)
        elif header is not None:
            # A file that was copied twice into the folder is one image.
            groups.setdefault(header.series_uid, {}).setdefault(header.instance, header)
        elif path.suffix.lower() in _SURELY_DICOM and path.stat().st_size == 0:
            strays.append(path)
    return sorted((_series(list(files.values())) for files in groups.values()), key=_by_number), strays


def read_dicom(path: str | Path, series: str | None = None) -> Volume:
    """A DICOM series as a Volume, from its folder or from any one of its files.

    `series` is a series number, description or instance UID; without it the folder must hold exactly one
    series that can be meant. Slices are sorted by position; a gantry tilt or uneven slices are resampled with a
    warning in the Volume. Raises VolumeError (SeriesChoiceError for an unclear choice) with one sentence.
    """
    path = Path(path)
    chosen = _chosen(path, series)
    where = f"Series {chosen} in '{path}'"
    frames = _images(chosen, where)
    stack = arrange_slices(
        np.stack([frame.position for frame in frames]),
        np.stack([frame.orientation for frame in frames]),
        np.stack([frame.spacing for frame in frames]),
        where,
    )
    voxels = compact(read_pixels([frames[index] for index in stack.order], str(chosen)), widest=2)
    voxels, ijk_to_ras, warnings = straightened(voxels, stack)
    return Volume(voxels, ijk_to_ras, chosen.name, _MODALITIES.get(chosen.modality), warnings)


def read_source_series(path: str | Path, series: str | None = None) -> SourceSeries:
    """What a DICOM object of a result refers to: the images that `read_dicom` reads with these arguments.

    Raises VolumeError as it does, for a file that is not DICOM, and as `read_source` does.
    """
    path = Path(path)
    if path.is_file() and not is_dicom(path):
        raise VolumeError(
            f"'{path}' is no DICOM series, to which DICOM results could refer; give the DICOM folder, or leave out "
            "--dicom."
        )
    chosen = _chosen(path, series)
    frames = _images(chosen, f"Series {chosen} in '{path}'")
    return read_source(list(dict.fromkeys(frame.file.path for frame in frames)))


def _chosen(path: Path, series: str | None) -> Series:
    """The series of a file, or the one that is meant in a folder."""
    if path.is_file():
        return _series_of_file(path)
    found, strays = _sorted_out(path)
    places = {file.path.parent for each in found for file in each.files}
    for stray in strays:
        if stray.parent in places:
            raise _stray(stray)
    return _choose(path, found, series)


def _images(series: Series, where: str) -> list[Frame]:
    """The frames of a series that belong to its volume."""
    if paths := [file.path for file in series.files if file.damaged]:
        raise damaged(paths, str(series))
    rows, columns = series.files[0].shape
    if rows * columns * series.slices > MOST_VOXELS:
        raise VolumeError(f"{where} claims {columns}x{rows}x{series.slices} voxels; it is damaged or too large.")
    frames = [frame for file in series.files for frame in frames_of(file)]
    frames = [frame for frame in frames if not frame.localizer] or frames
    if not all(frame.file.grayscale for frame in frames):
        raise VolumeError(f"{where} holds colour pictures; choose the series of the original images.")
    if len({frame.file.shape for frame in frames}) > 1:
        raise VolumeError(f"{where} mixes images of different sizes; export one of them as its own series.")
    return frames


def _choose(folder: Path, found: list[Series], wanted: str | None) -> Series:
    if not found:
        raise VolumeError(
            f"'{folder}' holds no DICOM images; give the folder of the series or a scan file{_hint(folder)}."
        )
    listing = "; ".join(str(series) for series in found)
    if wanted is not None:
        wanted = wanted.strip()
        matches = [
            series
            for series in found
            if wanted in (str(series.number), series.uid) or wanted.lower() == series.description.lower()
        ]
        if len(matches) == 1:
            return matches[0]
        if matches:
            uids = "; ".join(f"{series}: {series.uid}" for series in matches)
            raise SeriesChoiceError(
                f"'{folder}' holds {len(matches)} series '{wanted}'; choose by UID with --series UID, of: {uids}."
            )
        raise SeriesChoiceError(f"'{folder}' holds no series '{wanted}'; choose with --series NUMBER among: {listing}.")
    candidates = [series for series in found if series.candidate]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        listing = "; ".join(str(series) for series in candidates)
        raise SeriesChoiceError(f"'{folder}' holds several series; choose one with --series NUMBER among: {listing}.")
    if len(found) == 1:
        raise VolumeError(
            f"'{folder}' holds no MR or CT stack of at least {MINIMUM_SLICES} images, only series {listing}; "
            "give the folder of the angiogram's original slices."
        )
    raise SeriesChoiceError(
        f"'{folder}' holds no MR or CT stack of at least {MINIMUM_SLICES} images; "
        f"add --series NUMBER to read one all the same: {listing}."
    )


def _series_of_file(path: Path) -> Series:
    header = _header(path)
    if header is None:
        raise VolumeError(f"'{path}' is a DICOM file without an image, or damaged; give an image of the series.")
    if header.damaged and not header.series_uid:
        raise _stray(path)
    files = {header.instance: header}
    for other in sorted(path.parent.iterdir()):
        if other.is_file():
            found = _header(other)
            if found is not None and found.series_uid == header.series_uid:
                files.setdefault(found.instance, found)
    return _series(list(files.values()))


def _stray(path: Path) -> VolumeError:
    return VolumeError(f"'{path}' is empty, cut off or damaged; copy or export its series again.")


def _series(files: list[DicomFile]) -> Series:
    first = files[0]
    return Series(
        uid=first.series_uid,
        number=first.series_number,
        modality=first.modality,
        description=first.description,
        slices=sum(file.frames for file in files),
        files=tuple(files),
    )


def _by_number(series: Series) -> tuple[bool, int, str]:
    return (series.number is None, series.number or 0, series.uid)


def _header(path: Path) -> DicomFile | None:
    try:
        return read_header(path) if is_dicom(path) else None
    except OSError as error:
        raise VolumeError(f"'{path}' cannot be opened ({error.strerror}); check its permissions.") from error


def _files_below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise VolumeError(f"'{error.filename}' cannot be listed ({error.strerror}); check its permissions.") from error

    paths = [Path(root, name) for root, _, names in os.walk(folder, onerror=refuse) for name in names]
    return sorted(path for path in paths if path.is_file())


def _hint(folder: Path) -> str:
    """A scan file in the folder that may have been meant."""
    for path in sorted(folder.iterdir()):
        if path.name.lower().endswith((".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")):
            return f", for example '{path}'"
    return ""
