"""Our own DICOM files read back: the points of a report, the labels of a segmentation. Needs pydicom only."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.anatomy import Anatomy
from ..core.coordinates import swap_lps_ras
from ..core.detection import LandmarkEstimate
from ..core.errors import AnnotationError
from ..core.volume import Grid
from .dicom_codes import CERTAINTY, EXPECTED_ERROR, REMARK, REMARKS, SCHEME, STATE, STATES
from .dicom_source import group_planes, nearest_voxels

if TYPE_CHECKING:
    from pydicom import Dataset

_REPORT = ".sr.dcm"
_FINDING, _GROUP = "121071", "125007"
_REPORT_CLASS, _SEGMENTATION_CLASS = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.66.4"


def is_dicom_file(path: str | PathLike[str]) -> bool:
    """Whether a file begins as DICOM files do; False where it cannot be opened."""
    try:
        with Path(path).open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False  # whoever reads it will say what is wrong


def segmentation_beside(report: str | PathLike[str]) -> Path | None:
    """The segmentation that was written together with a report, by the names that we give; None where there is none."""
    report = Path(report)
    if not report.name.endswith(_REPORT):
        return None
    name = report.name.removesuffix(_REPORT)
    beside = report.with_name("arteries.seg.dcm" if name == "landmarks" else f"{name}-arteries.seg.dcm")
    return beside if beside.is_file() else None


def read_dicom_report(path: str | PathLike[str]) -> tuple[LandmarkEstimate, ...]:
    """The landmarks of a report that `write_dicom_report` made, in its order; raises AnnotationError for any other."""
    report = _read(path, _REPORT_CLASS, "report of landmarks")
    try:
        found = tuple(filter(None, (_landmark(group) for group in _groups(report))))
    except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
        raise AnnotationError(f"The landmarks of '{path}' cannot be read ({error!r}); write the file again.") from error
    if not found:
        raise AnnotationError(f"'{path}' holds no landmarks of CoW Landmarks; give the file landmarks.sr.dcm.")
    return found


def read_dicom_segmentation(path: str | PathLike[str], grid: Grid, anatomy: Anatomy) -> np.ndarray:
    """Labels uint8 [k, j, i] of a segmentation that `write_dicom_segmentation` made, on the grid of the scan.

    Raises AnnotationError for any other file, and where nothing of it lies in the scan.
    """
    content = _read(path, _SEGMENTATION_CLASS, "segmentation of arteries")
    try:
        return _labels(content, grid, anatomy, path)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"The arteries of '{path}' cannot be read ({error!r}); write the file again.") from error


def _labels(content: Dataset, grid: Grid, anatomy: Anatomy, path: str | PathLike[str]) -> np.ndarray:
    values = {artery.code: artery.label for artery in anatomy.arteries}
    segments = {int(segment.SegmentNumber): values.get(segment.SegmentLabel) for segment in content.SegmentSequence}
    if not any(segments.values()):
        raise AnnotationError(f"'{path}' holds no artery of '{anatomy.name}'; give the file arteries.seg.dcm.")
    frames = content.PerFrameFunctionalGroupsSequence
    planes = group_planes(frames, content.SharedFunctionalGroupsSequence[0])
    pixels = np.reshape(content.pixel_array, (len(frames), content.Rows, content.Columns))
    labels = np.zeros(grid.shape, np.uint8)
    drawn = False
    for frame, plane, mask in zip(frames, planes, pixels, strict=True):
        label = segments[int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
        j, i = np.nonzero(mask)
        if label is None or len(i) == 0:
            continue
        voxels = nearest_voxels(grid, plane, i, j)
        inside = ((voxels >= 0) & (voxels < grid.size[:, None])).all(axis=0)
        x, y, z = voxels[:, inside]
        labels[z, y, x] = label
        drawn = drawn or bool(inside.any())
    if not drawn:
        raise AnnotationError(f"No artery of '{path}' lies in the scan; was the file made for another scan?")
    return labels


def _read(path: str | PathLike[str], sop_class: str, what: str) -> Dataset:
    try:
        from pydicom import dcmread  # start-up time
    except ImportError as error:
        raise AnnotationError(
            f"'{path}' is a DICOM file, for which the Python package pydicom is missing; install it (pip install "
            "pydicom)."
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = dcmread(path)
    except Exception as error:  # a damaged byte makes pydicom fail in any way
        raise AnnotationError(f"'{path}' cannot be read: it is missing, damaged, or no DICOM file.") from error
    if content.get("SOPClassUID") != sop_class:
        raise AnnotationError(f"'{path}' is a DICOM file, but no {what} of this program.")
    return content


def _groups(item: Dataset) -> Iterator[Dataset]:
    """The measurement groups below an item of a report."""
    for child in item.get("ContentSequence", ()):
        if child.get("ConceptNameCodeSequence") and child.ConceptNameCodeSequence[0].CodeValue == _GROUP:
            yield child
        else:
            yield from _groups(child)


def _landmark(group: Dataset) -> LandmarkEstimate | None:
    """The landmark of a measurement group; None where its finding has no code of ours."""
    finding, numbers, codes, position = "", {}, [], None
    for item in group.ContentSequence:
        name = item.ConceptNameCodeSequence[0].CodeValue
        if item.ValueType == "CODE":
            value = item.ConceptCodeSequence[0]
            if name == _FINDING and value.CodingSchemeDesignator == SCHEME:
                finding = str(value.CodeValue)
            elif name in (STATE.value, REMARK.value):
                codes.append(str(value.CodeValue))
        elif item.ValueType == "NUM":
            numbers[str(name)] = float(item.MeasuredValueSequence[0].NumericValue)
        elif item.ValueType == "SCOORD3D" and item.GraphicType == "POINT":
            r, a, s = swap_lps_ras([float(value) for value in item.GraphicData]).tolist()
            position = (r, a, s)
    if not finding:
        return None
    return LandmarkEstimate(
        code=finding,
        position=position,
        state=next(state for state, code in STATES.items() if code.value in codes),
        confidence=numbers[CERTAINTY.value] / 100.0,
        error_mm=numbers[EXPECTED_ERROR.value],
        by_rule=REMARKS["by_rule"].value in codes,
        corrected=REMARKS["corrected"].value in codes,
        reviewed=REMARKS["reviewed"].value in codes,
    )
