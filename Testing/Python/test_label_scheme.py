"""The arteries in the classes of another data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.arteries.continued_labels import label_volume
from CoWLandmarksLib.core.artery_map import ArteryState
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError
from CoWLandmarksLib.core.label_scheme import SCHEMES_FOLDER, read_label_scheme
from CoWLandmarksLib.core.volume import Grid, Modality, Volume, apply_affine
from CoWLandmarksLib.files.markups import write_annotation
from CoWLandmarksLib.files.nrrd_file import write_plain_nrrd
from CoWLandmarksLib.io.volume_io import read_volume
from drawn_arteries import drawn_arteries
from tube_circle import ANATOMY, landmarks, position, tube, tube_scan

SCHEME = read_label_scheme("topcow")
POSITIONS = {one.code: one.position for one in landmarks() if one.position is not None}
GENU = position("R-C4-C5")
LIMB = tube(GENU, GENU - (0.0, 19.0, 0.0), 3.0, 400.0)
"""The carotid artery beyond its last landmark, which runs back inside the region."""


@pytest.fixture(scope="module")
def scan() -> Volume:
    return tube_scan(spacing=(0.8, 0.8, 0.9), extra=(LIMB,))


def test_the_classes_are_those_of_the_challenge() -> None:
    names = {one.label: one.name for one in SCHEME.classes}
    assert names[1] == "BA" and names[4] == "R-ICA" and names[7] == "L-MCA" and names[10] == "Acom"
    assert len(names) == 13 and names[15] == "3rd-A2" and 13 not in names
    assert {SCHEME.lookup(ANATOMY)[artery.label] for artery in ANATOMY.arteries} == set(names) - {15}


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_the_region_is_the_box_with_its_margins_however_the_scan_is_stored(flips: tuple[int, int, int]) -> None:
    matrix = np.diag([*flips, 1.0])
    matrix[:3, 3] = [-60.0 * flip for flip in flips]
    grid = Grid((121, 121, 121), matrix)
    start, shape = SCHEME.region_of(grid, POSITIONS)
    ends = np.array([apply_affine(matrix, start), apply_affine(matrix, np.add(start, shape[::-1]) - 1)])
    points = np.array([POSITIONS[code] for code in SCHEME.region])
    np.testing.assert_allclose(ends.min(axis=0), points.min(axis=0) - np.array((7, 8, 8)), atol=1.01)
    np.testing.assert_allclose(ends.max(axis=0), points.max(axis=0) + np.array((7, 7, 6)), atol=1.01)


def test_the_region_ends_with_the_scan_and_needs_a_landmark() -> None:
    grid = tube_scan(spacing=(2.0, 2.0, 2.0), extent=(30.0, 30.0, 30.0)).grid
    start, shape = SCHEME.region_of(grid, POSITIONS)
    assert (np.add(start, shape[::-1]) <= grid.size).all() and min(start) >= 0
    with pytest.raises(AnnotationError, match="place one of them"):
        SCHEME.region_of(grid, {"R-M1-M2": POSITIONS["R-M1-M2"]})


def test_a_class_goes_on_beyond_the_last_landmark_to_the_edge_of_the_region(scan: Volume) -> None:
    arteries = drawn_arteries(scan.grid)
    found = label_volume(scan, Modality.MRA, arteries, SCHEME, ANATOMY).voxels
    start, shape = SCHEME.region_of(scan.grid, POSITIONS)
    window = tuple(slice(first, first + n) for first, n in zip(start[::-1], shape, strict=True))
    outside = np.ones(found.shape, bool)
    outside[window] = False
    assert not found[outside].any()
    along = np.linspace(2.0, 17.0, 10)
    ijk = np.rint(apply_affine(scan.grid.ras_to_ijk, GENU - np.outer(along, (0.0, 1.0, 0.0)))).astype(int)
    assert set(found[tuple(ijk[:, ::-1].T)]) == {4}
    plain = SCHEME.lookup(ANATOMY)[arteries.labels][window]
    same = found[window] == plain
    assert set(found[window][~same]) == {4}, "nothing else is added"


def test_a_vessel_that_ends_is_not_followed(scan: Volume) -> None:
    absent = drawn_arteries(scan.grid, {"R-ICA-C5": ArteryState.ABSENT})
    found = label_volume(scan, Modality.MRA, absent, SCHEME, ANATOMY).voxels
    ijk = np.rint(apply_affine(scan.grid.ras_to_ijk, GENU - (0.0, 8.0, 0.0))).astype(int)
    assert found[tuple(ijk[::-1])] == 0


@pytest.mark.parametrize("change", ["schema", "label", "twice", "end"])
def test_a_damaged_scheme_is_refused_in_a_sentence(change: str, tmp_path: Path) -> None:
    content = json.loads((SCHEMES_FOLDER / "topcow.json").read_text(encoding="utf-8"))
    if change == "schema":
        content["schema"] = "other/1"
    elif change == "label":
        content["classes"][0]["label"] = 300
    elif change == "twice":
        content["classes"][1]["arteries"].append("BA")
    else:
        content["classes"][1]["continues"] = "middle"
    path = tmp_path / "own.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"own\.json' is not usable .*correct the file"):
        read_label_scheme(str(path))


def test_an_unknown_scheme_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_annotation(tmp_path / "points.mrk.json", landmarks(), ANATOMY)
    files = [str(tmp_path / "scan.nrrd"), str(tmp_path / "points.mrk.json")]
    assert main(["arteries", *files, "--out", str(tmp_path / "out"), "--labels", "topcov"]) == 1
    assert "'topcov' is no label scheme; use topcow" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_labels_without_arteries_are_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--out", str(tmp_path / "out"), "--no-arteries", "--labels", "topcow"]
    assert main(["detect", "--sample", *options]) == 1
    assert "leave out --no-arteries" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_writes_graph_labels_and_centrelines(
    scan: Volume, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plain_nrrd(tmp_path / "scan.nrrd", scan)
    write_annotation(tmp_path / "points.mrk.json", landmarks(), ANATOMY)
    options = ["--no-scene", "--no-pictures", "--labels", "topcow", "--vtp", "--modality", "mra"]
    arguments = ["arteries", str(tmp_path / "scan.nrrd"), str(tmp_path / "points.mrk.json"), *options, "--out"]
    for out in ("one", "two"):
        assert main([*arguments, str(tmp_path / out)]) == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / "one" / "scan").iterdir()}
    assert {"arteries.graph.json", "arteries.topcow.nii.gz", "arteries.vtp"} <= set(written)
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "two" / "scan").iterdir()}
    labels = read_volume(tmp_path / "one" / "scan" / "arteries.topcow.nii.gz")
    assert labels.voxels.shape == scan.voxels.shape and set(np.unique(labels.voxels)) == {*range(13)}
    capsys.readouterr()
