"""DICOM results written and read back: by our readers, by highdicom's, and by the tools of dcmtk and dicom3tools."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

pytest.importorskip("highdicom", reason="needs highdicom (pip install highdicom)")

import highdicom
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState, ArteryTrace, cropped_labels
from CoWLandmarksLib.core.detection import NOT_PLACED, LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.errors import AnnotationError, OutputError
from CoWLandmarksLib.core.volume import Grid
from CoWLandmarksLib.files import dicom_object
from CoWLandmarksLib.files.dicom_codes import RESEARCH_ONLY, artery_codes
from CoWLandmarksLib.files.dicom_reading import read_dicom_report, read_dicom_segmentation
from CoWLandmarksLib.files.dicom_report import write_dicom_report
from CoWLandmarksLib.files.dicom_segmentation import labels_on_plane, write_dicom_segmentation
from CoWLandmarksLib.files.dicom_source import SourceSeries
from CoWLandmarksLib.files.markups import read_annotation
from CoWLandmarksLib.io.dicom import read_dicom, read_source_series
from dicom_files import FRAME_OF_REFERENCE, IN_A_FRAME, axial_positions, write_enhanced, write_series
from example_detection import ANATOMY, make_detection

COUNT = 16
SOME_LABELS = [0, 1, 7, 14, 20]
DETECTION = make_detection()
TURN = np.radians(17.0)
ROW = np.array([np.cos(TURN), np.sin(TURN) * np.cos(0.3), np.sin(TURN) * np.sin(0.3)])
COLUMN = np.array([-np.sin(TURN), np.cos(TURN) * np.cos(0.3), np.cos(TURN) * np.sin(0.3)])


def write_oblique(folder: Path) -> None:
    positions = [tuple(np.array([-8.0, -6.0, -5.0]) + 0.7 * k * np.cross(ROW, COLUMN)) for k in range(COUNT)]
    write_series(folder, positions, orientation=(*ROW, *COLUMN), tags=IN_A_FRAME)


def write_multi_frame(folder: Path) -> None:
    file = write_enhanced(folder / "enhanced.dcm", axial_positions(COUNT))
    header = pydicom.dcmread(file)
    header.FrameOfReferenceUID = FRAME_OF_REFERENCE
    header.save_as(file)


SERIES: dict[str, Callable[[Path], object]] = {
    "stored from top to bottom": lambda folder: write_series(folder, axial_positions(COUNT)[::-1], tags=IN_A_FRAME),
    "oblique": write_oblique,
    "gantry tilt": lambda folder: write_series(
        folder, [(-8.0, -6.0 + 0.2 * k, -5.0 + 0.7 * k) for k in range(COUNT)], tags=IN_A_FRAME
    ),
    "multi-frame": write_multi_frame,
}


def drawn(grid: Grid) -> tuple[np.ndarray, ArteryMap]:
    """Labels at random in a part of a scan, and the arteries that they are."""
    labels = np.zeros(grid.shape, np.uint8)
    labels[4:12, 5:18, 6:22] = np.random.default_rng(0).choice(SOME_LABELS, (8, 13, 16))
    part, start = cropped_labels(labels)
    traces = tuple(ArteryTrace(artery.code, ArteryState.PRESENT, "", 1.0) for artery in ANATOMY.arteries)
    return labels, ArteryMap(traces, part, start, grid, "")


@pytest.fixture(scope="module")
def axial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SourceSeries, np.ndarray, ArteryMap]:
    """A folder with the series `scan`, its report and its segmentation; what they were made of."""
    folder = tmp_path_factory.mktemp("axial")
    write_series(folder / "scan", axial_positions(COUNT), tags=IN_A_FRAME)
    source, grid = read_source_series(folder / "scan"), read_dicom(folder / "scan").grid
    labels, arteries = drawn(grid)
    write_dicom_report(folder / "landmarks.sr.dcm", DETECTION, ANATOMY, source)
    assert write_dicom_segmentation(folder / "arteries.seg.dcm", arteries, DETECTION, ANATOMY, source)
    return folder, source, labels, arteries


@pytest.mark.parametrize("kind", list(SERIES))
def test_labels_are_read_back_where_they_were(kind: str, tmp_path: Path) -> None:
    SERIES[kind](tmp_path / "scan")
    source, grid = read_source_series(tmp_path / "scan"), read_dicom(tmp_path / "scan").grid
    labels, arteries = drawn(grid)
    segmentation = tmp_path / "a.seg.dcm"
    assert write_dicom_segmentation(segmentation, arteries, DETECTION, ANATOMY, source)
    np.testing.assert_array_equal(read_dicom_segmentation(segmentation, grid, ANATOMY), labels)
    seg = highdicom.seg.segread(segmentation)
    wanted = np.stack([labels_on_plane(arteries, plane, source.shape) for plane in source.planes])
    assert (wanted > 0).sum() == (labels > 0).sum()
    empty = {"assert_missing_frames_are_empty": True}
    if kind == "multi-frame":
        frames = list(range(1, COUNT + 1))
        found = seg.get_pixels_by_source_frame(source.headers[0].SOPInstanceUID, frames, combine_segments=True, **empty)
    else:
        instances = [header.SOPInstanceUID for header in source.headers]
        found = seg.get_pixels_by_source_instance(instances, combine_segments=True, **empty)
    values = [ANATOMY.artery(seg.get_segment_description(n).segment_label).label for n in seg.segment_numbers]
    np.testing.assert_array_equal(np.array([0, *values])[found], wanted)
    if kind != "gantry tilt":  # its slices form no volume
        assert seg.get_volume(combine_segments=True).spacing == pytest.approx((0.7, 0.6, 0.5), abs=1e-4)


def test_points_are_read_by_highdicom_where_they_were(
    axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap],
) -> None:
    groups = highdicom.sr.srread(axial[0] / "landmarks.sr.dcm").content.get_planar_roi_measurement_groups()
    assert len(groups) == sum(estimate.position is not None for estimate in DETECTION.landmarks)
    for group in groups:
        wanted = DETECTION.landmark(group.finding_type.value).position
        assert group.roi.value[0] * [-1, -1, 1] == pytest.approx(wanted, abs=0.001)
        assert group.roi.frame_of_reference_uid == FRAME_OF_REFERENCE


def test_our_reader_gets_every_landmark_back(axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap]) -> None:
    found = read_dicom_report(axial[0] / "landmarks.sr.dcm")
    assert [estimate.code for estimate in found] == list(ANATOMY.codes)
    for one, other in zip(found, DETECTION.landmarks, strict=True):
        assert (one.state, one.by_rule, one.corrected, one.reviewed) == (
            other.state,
            other.by_rule,
            other.corrected,
            other.reviewed,
        )
        assert (one.confidence, one.error_mm) == pytest.approx((other.confidence, other.error_mm), abs=1e-3)
        assert one.position == (None if other.position is None else pytest.approx(other.position, abs=1e-3))
        assert one.note == ""


def test_a_report_is_read_like_a_point_list_and_keeps_what_a_person_did(
    axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap], tmp_path: Path
) -> None:
    moved = replace(DETECTION.landmark("BA-T"), state=LandmarkState.FOUND, corrected=True, reviewed=True)
    left_out = LandmarkEstimate("R-M1-M2", None, LandmarkState.OUTSIDE, 0.0, 0.0, note=NOT_PLACED)
    reviewed = DETECTION.with_landmark(moved).with_landmark(left_out)
    write_dicom_report(tmp_path / "a.sr.dcm", reviewed, ANATOMY, axial[1])
    found = {estimate.code: estimate for estimate in read_annotation(tmp_path / "a.sr.dcm", ANATOMY)}
    assert "R-M1-M2" not in found and len(found) == len(ANATOMY.codes) - 1
    assert found["BA-T"].corrected and found["BA-T"].reviewed
    assert found["L-A1-A2"].state is LandmarkState.ABSENT


def test_codes_series_and_warning_are_those_of_the_standard_and_the_source(
    axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap],
) -> None:
    folder, source, _labels, _arteries = axial
    seg, report = (pydicom.dcmread(folder / name) for name in ("arteries.seg.dcm", "landmarks.sr.dcm"))
    instances = {header.SOPInstanceUID for header in source.headers}
    series = seg.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == "1.2.3.5" and seg.FrameOfReferenceUID == FRAME_OF_REFERENCE
    assert {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence} == instances
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.SeriesInstanceUID == "1.2.3.5"
    assert {item.ReferencedSOPInstanceUID for item in evidence.ReferencedSOPSequence} == instances
    for segment in seg.SegmentSequence:
        codes = artery_codes(ANATOMY.artery(segment.SegmentLabel))
        kind, region = segment.SegmentedPropertyTypeCodeSequence[0], segment.AnatomicRegionSequence[0]
        assert (kind.CodeValue, region.CodeValue) == (codes.kind.value, codes.site.structure.value)
        side = region.get("AnatomicRegionModifierSequence")
        assert (None if side is None else side[0].CodeValue) == (codes.site.side and codes.site.side.value)
        assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "CoW Landmarks"
    texts = [item.TextValue for item in report.ContentSequence if item.ValueType == "TEXT"]
    assert RESEARCH_ONLY in texts and any("Verdict of the program: review." in text for text in texts)
    for dataset in (seg, report):
        assert (dataset.StudyInstanceUID, dataset.PatientName) == ("1.2.3", "Doe^Jane")
        assert "research only" in dataset.SeriesDescription
        assert dataset.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99COWL"


def test_nothing_of_a_person_is_in_the_files_but_what_the_series_has(
    axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap],
) -> None:
    for file in (axial[0] / "arteries.seg.dcm", axial[0] / "landmarks.sr.dcm"):
        content = file.read_bytes().lower()
        for secret in (b"gr\xc3\xb6\xc3\x9fe", b"sub-01", "früh".encode(), str(axial[0]).encode()):
            assert secret not in content, (file.name, secret)
        assert content.count(b"doe^jane") == content.count(b"secret-id") == 1


def test_the_same_content_at_the_same_time_is_the_same_object_and_at_another_time_another(
    axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder, source, _labels, arteries = axial
    for name, epoch in (("a", "1700000000"), ("b", "1700000000"), ("c", "1700000001")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        write_dicom_report(tmp_path / f"{name}.sr.dcm", DETECTION, ANATOMY, source)
        write_dicom_segmentation(tmp_path / f"{name}.seg.dcm", arteries, DETECTION, ANATOMY, source)
    for ending in ("sr.dcm", "seg.dcm"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
        a, c = (pydicom.dcmread(tmp_path / f"{name}.{ending}") for name in "ac")
        assert a.SOPInstanceUID != c.SOPInstanceUID and a.SeriesInstanceUID != c.SeriesInstanceUID
        assert (a.ContentDate, a.ContentTime, c.ContentTime) == ("20231114", "221320", "221321")


def test_without_arteries_no_segmentation_is_written(
    axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap], tmp_path: Path
) -> None:
    _folder, source, _labels, arteries = axial
    none = replace(arteries, labels=np.zeros((0, 0, 0), np.uint8), start=(0, 0, 0))
    assert not write_dicom_segmentation(tmp_path / "a.seg.dcm", none, DETECTION, ANATOMY, source)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_leaves_nothing_and_is_one_sentence(
    axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_dicom_report(tmp_path / "file" / "a.sr.dcm", DETECTION, ANATOMY, axial[1])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_headers_that_break_the_standard_are_one_sentence_without_their_values(
    axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap], tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="breaks the DICOM standard") as error, dicom_object.building("a.seg.dcm"):
        highdicom.enum.PatientSexValues("Jane Doe")
    assert "Jane" not in str(error.value)


def test_other_dicom_files_are_refused_as_landmarks_and_arteries(
    axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap], tmp_path: Path
) -> None:
    folder, _source, _labels, arteries = axial
    grid, image = arteries.scan_grid, next((folder / "scan").iterdir())
    for file in (image, folder / "arteries.seg.dcm"):
        with pytest.raises(AnnotationError, match="no report of landmarks of this program"):
            read_annotation(file, ANATOMY)
    with pytest.raises(AnnotationError, match="no segmentation of arteries of this program"):
        read_dicom_segmentation(folder / "landmarks.sr.dcm", grid, ANATOMY)
    far = grid.ijk_to_ras.copy()
    far[:3, 3] += 500.0
    with pytest.raises(AnnotationError, match="was the file made for another scan"):
        read_dicom_segmentation(folder / "arteries.seg.dcm", Grid(grid.shape, far), ANATOMY)
    content = (folder / "landmarks.sr.dcm").read_bytes()
    (tmp_path / "cut.sr.dcm").write_bytes(content[: len(content) // 2])
    with pytest.raises(AnnotationError, match=r"cut\.sr\.dcm"):
        read_annotation(tmp_path / "cut.sr.dcm", ANATOMY)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy (Debian: dicom3tools)")
def test_dicom3tools_find_no_error(axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap]) -> None:
    for name in ("arteries.seg.dcm", "landmarks.sr.dcm"):
        done = subprocess.run(["dciodvfy", str(axial[0] / name)], capture_output=True, text=True, errors="replace")
        assert "Error" not in done.stdout + done.stderr and done.returncode == 0


@pytest.mark.skipif(shutil.which("dsrdump") is None, reason="needs dsrdump (Debian: dcmtk)")
def test_dcmtk_reads_the_points(axial: tuple[Path, SourceSeries, np.ndarray, ArteryMap]) -> None:
    done = subprocess.run(["dsrdump", str(axial[0] / "landmarks.sr.dcm")], capture_output=True, text=True)
    assert done.returncode == 0 and "Comprehensive 3D SR" in done.stdout
    assert done.stdout.count("SCOORD3D") == sum(estimate.position is not None for estimate in DETECTION.landmarks)
