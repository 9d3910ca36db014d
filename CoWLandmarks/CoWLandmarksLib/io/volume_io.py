"""Scans and label maps from and to files."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..core.coordinates import swap_lps_ras_matrix
from ..core.errors import OutputError, VolumeError, libraries_silenced, short_path
from ..core.scan_files import check_readable_name
from ..core.volume import MOST_VOXELS, NO_ORIENTATION, Sides, Volume, validated
from .dicom import read_dicom
from .dicom_frames import compact
from .dicom_header import is_dicom
from .file_integrity import check_complete
from .nifti_header import geometry_doubts, header_file, read_nifti_header

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha")
_KNOWN = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def read_volume(path: str | Path, series: str | None = None) -> Volume:
    """A scan from NIfTI, NRRD, MetaImage or another file SimpleITK reads, or from a DICOM folder or file.

    `series` chooses among several DICOM series (number, description or UID) and is ignored otherwise. Voxels
    keep their type, except that 64-bit values become 32-bit ones. Raises VolumeError with one sentence.
    """
    path = Path(path)
    check_readable_name(path)
    try:
        if not path.exists():
            raise VolumeError(f"'{path}' does not exist; check the path.")
        if path.is_dir():
            return read_dicom(path, series)
        if not path.is_file():
            raise VolumeError(f"'{path}' is neither a file nor a folder; give a scan file or a DICOM folder.")
        if path.stat().st_size == 0:
            raise VolumeError(f"'{path}' is empty; copy or export it again.")
        return read_dicom(path, series) if is_dicom(path) else _read_image_file(path)
    except OSError as error:
        raise VolumeError(
            f"'{short_path(path)}' cannot be opened ({error.strerror}); check path and permissions."
        ) from error
    except MemoryError as error:
        raise VolumeError(f"'{path}' does not fit into memory; close other programs or crop the scan.") from error


def read_scan(path: str | Path, series: str | None = None) -> Volume:
    """`read_volume`, and checked that it can be used: whatever takes scans relies on it and checks no more.

    Raises VolumeError with one sentence.
    """
    return validated(read_volume(path, series))


def write_volume(volume: Volume, path: str | Path, compress: bool = True) -> None:
    """Write a scan or, with integer voxels, a label map as NIfTI, NRRD or MHA.

    The file appears under its name only when it is complete. Raises OutputError with one sentence.
    """
    path = Path(path)
    suffix = next((known for known in WRITABLE if path.name.lower().endswith(known)), None)
    if suffix is None:
        raise OutputError(f"'{path}' cannot be written: its name must end in {', '.join(WRITABLE)}.")
    temporary = path.with_name(f".{uuid.uuid4().hex}{suffix}")
    try:
        if not path.parent.is_dir():
            raise OutputError(f"'{path}' cannot be written: the folder '{path.parent}' does not exist.")
        with libraries_silenced():
            sitk.WriteImage(image_from_volume(volume), str(temporary), compress)
        check_complete(temporary)  # ITK writes NIfTI onto a full disk silently: the file is just shorter
        temporary.replace(path)
    except (OSError, RuntimeError, VolumeError) as error:
        raise OutputError(
            f"'{short_path(path)}' cannot be written; check that the disk has space and may be written."
        ) from error
    finally:
        _remove(temporary)


def volume_from_image(image: sitk.Image, name: str) -> Volume:
    """A SimpleITK image (LPS) as a Volume (RAS); axes beyond the third must have length one."""
    dimension = image.GetDimension()
    array = sitk.GetArrayFromImage(image)
    direction = np.reshape(image.GetDirection(), (dimension, dimension))[:3, :3]
    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3, :3] = direction * np.array(image.GetSpacing()[:3])
    ijk_to_lps[:3, 3] = image.GetOrigin()[:3]
    return Volume(compact(array.reshape(array.shape[dimension - 3 :])), swap_lps_ras_matrix(ijk_to_lps), name)


def image_from_volume(volume: Volume) -> sitk.Image:
    """A Volume (RAS) as a SimpleITK image (LPS)."""
    voxels = volume.voxels
    if voxels.dtype == np.bool_:
        voxels = voxels.astype(np.uint8)
    elif voxels.dtype == np.float16:
        voxels = voxels.astype(np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels))
    ijk_to_lps = swap_lps_ras_matrix(volume.ijk_to_ras)
    spacing = volume.grid.spacing
    image.SetSpacing(spacing.tolist())
    image.SetDirection((ijk_to_lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(ijk_to_lps[:3, 3].tolist())
    return image


def scan_name(path: str | Path) -> str:
    """Name of the results of a scan file: its stem, with sub-.._ses-.. in front for a BIDS path."""
    path = Path(path)
    stem = re.sub(r"(\.gz)?$", "", path.name, flags=re.IGNORECASE)
    stem = re.sub(r"\.[A-Za-z0-9]+$", "", stem) or path.name
    if stem.startswith("sub-"):
        return stem
    parts = [part for part in path.absolute().parts[:-1] if re.fullmatch(r"(sub|ses)-[A-Za-z0-9]+", part)]
    subject = [part for part in parts if part.startswith("sub-")][-1:]
    session = [part for part in parts if part.startswith("ses-")][-1:] if subject else []
    if stem.startswith("ses-"):
        session = []
    return "_".join([*subject, *session, stem])


def _read_image_file(path: Path) -> Volume:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with libraries_silenced():
            reader.ReadImageInformation()
    except RuntimeError as error:
        check_complete(path)  # has a better message where a file is cut off
        raise VolumeError(_unreadable(path, str(error))) from error
    _refuse_unsuitable(path, reader)
    if float(np.prod(reader.GetSize(), dtype=float)) > MOST_VOXELS:
        raise VolumeError(f"'{path}' claims {'x'.join(map(str, reader.GetSize()))} voxels; it is damaged or too large.")
    warnings = check_complete(path)
    try:
        with libraries_silenced():
            volume = volume_from_image(reader.Execute(), scan_name(path))
    except RuntimeError as error:
        raise VolumeError(_unreadable(path, str(error))) from error
    nifti = read_nifti_header(header_file(path))
    doubts, sides = ((), Sides.RECORDED) if nifti is None else geometry_doubts(nifti, volume.grid)
    if NO_ORIENTATION in warnings:
        sides = Sides.UNRECORDED
    return Volume(volume.voxels, volume.ijk_to_ras, volume.name, None, (*doubts, *warnings), sides)


def _unreadable(path: Path, reason: str) -> str:
    if "orthonormal" in reason:
        return f"'{path}' has sheared or damaged axes; convert it again, with gantry tilt corrected."
    if "Unable to determine ImageIO" in reason and not path.name.lower().endswith(_KNOWN):
        return f"'{path}' is not a scan this program can read; give NIfTI, NRRD, MHA or DICOM."
    return f"'{path}' cannot be read: it is damaged, cut off, or not what its name says; copy or export it again."


def _refuse_unsuitable(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse what is no single grey 3-D scan, before any voxel is read."""
    size = reader.GetSize()
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in kind:
        raise VolumeError(f"'{path}' holds complex numbers; export the magnitude image.")
    if reader.GetNumberOfComponents() > 1:
        raise VolumeError(
            f"'{path}' holds {reader.GetNumberOfComponents()} values per voxel (colour or several time points); "
            "give a single grey scan."
        )
    if len(size) < 3:
        raise VolumeError(f"'{path}' is a two-dimensional picture; give a 3-D scan.")
    if np.prod(size[3:]) > 1:
        raise VolumeError(f"'{path}' holds {int(np.prod(size[3:]))} time points; export one of them as a 3-D scan.")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # The name cannot exist (too long, folder gone): nothing was left behind.
        return
