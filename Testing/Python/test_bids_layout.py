"""Results as BIDS derivatives: names, what the standard asks for, and batches in that layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.io.volume_io import read_volume
from CoWLandmarksLib.pipeline.bids_layout import _move_all, bids_name
from fixed_detector import make_fixed_detector, write_scan

FEW = ("--bids", "--no-scene", "--no-arteries", "--no-pictures")


def detect(*arguments: object) -> int:
    return main(["detect", *map(str, arguments)], make_fixed_detector)


@pytest.mark.parametrize(
    ("scan", "name"),
    [
        ("sub-01_angio.nii.gz", "sub-01/anat/sub-01_desc-CoW"),
        ("sub-01_ses-b2_acq-tof_run-1_angio.nii", "sub-01/ses-b2/anat/sub-01_ses-b2_acq-tof_run-1_desc-CoW"),
        ("sub-01_desc-preproc_angio.nii.gz", "sub-01/anat/sub-01_desc-preprocCoW"),
        *((wrong, None) for wrong in ("head.nii.gz", "sub-01.nii.gz", "ses-1_sub-01_angio.nii", "sub-01_angio.nrrd")),
        *((wrong, None) for wrong in ("sub-0_1_angio.nii", "sub-_angio.nii", "sub-01_acq-x_ses-1_angio.nii")),
        *((wrong, None) for wrong in ("sub-01_acq-a_acq-b_angio.nii", "sub-01_acq-t-o_angio.nii", "sub-01_an gio.nii")),
    ],
)
def test_names_come_from_the_entities_of_the_scan(scan: str, name: str | None) -> None:
    assert bids_name(Path("anywhere") / scan) == name


def test_a_dataset_has_what_the_standard_asks_for(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "raw" / "sub-07_ses-1_acq-tof_angio.nii.gz")
    assert detect(scan, "--out", tmp_path / "out", "--bids", "--no-scene") == 0
    out, folder = tmp_path / "out", tmp_path / "out" / "sub-07" / "ses-1" / "anat"
    described = json.loads((out / "dataset_description.json").read_text(encoding="utf-8"))
    assert described["DatasetType"] == "derivative" and described["BIDSVersion"] and described["Name"]
    assert described["GeneratedBy"][0]["Name"] == "CoW Landmarks"
    stem = "sub-07_ses-1_acq-tof"
    suffixes = ("arteries.graph.json", "arteries.seg.nrrd", "arteries.tsv", "detection.json", "landmarks.mrk.json")
    described_files = [
        f"{stem}_desc-CoW_{suffix}" for suffix in (*suffixes, "landmarks.tsv", "record.json", "report.png")
    ]
    label_map = [f"{stem}_seg-CoW_dseg.json", f"{stem}_seg-CoW_dseg.nii.gz"]
    assert sorted(path.name for path in folder.iterdir()) == [*described_files, *label_map]
    table = (folder / f"{stem}_desc-CoW_landmarks.tsv").read_text(encoding="utf-8").splitlines()
    assert table[0].split("\t")[:5] == ["code", "name", "R", "A", "S"] and len(table) == 20
    labels = (out / "dseg.tsv").read_text(encoding="utf-8").splitlines()
    assert labels[0] == "index\tname\tabbreviation\tcolor"
    assert [row.split("\t")[2] for row in labels[1:]] == [artery.code for artery in default_anatomy().arteries]
    assert "*_desc-CoW_*" in (out / ".bidsignore").read_text(encoding="utf-8").splitlines()


def test_the_label_map_lies_on_the_scan_with_the_labels_of_the_segmentation(tmp_path: Path) -> None:
    scan = write_scan(tmp_path / "raw" / "sub-07_angio.nii.gz")
    detect(scan, "--out", tmp_path / "out", "--bids", "--no-scene", "--no-pictures")
    labels = read_volume(tmp_path / "out" / "sub-07" / "anat" / "sub-07_seg-CoW_dseg.nii.gz")
    image = SimpleITK.ReadImage(str(scan))
    assert labels.voxels.shape == image.GetSize()[::-1]
    assert np.allclose(labels.ijk_to_ras, read_volume(scan).ijk_to_ras)
    expected = read_volume(tmp_path / "out" / "sub-07" / "anat" / "sub-07_desc-CoW_arteries.seg.nrrd")
    assert np.array_equal(labels.voxels, expected.voxels) and labels.voxels.any()


def test_names_that_are_none_or_shared_fail_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("sub-1_angio.nii", "head.nii", "sub-2_angio.nii", "sub-2_T1w.nii")
    scans = [write_scan(tmp_path / "raw" / name) for name in names]
    assert detect(*scans, "--out", tmp_path / "out", *FEW) == 2
    written = capsys.readouterr().err
    assert "'head.nii' is no BIDS name (sub-<label>[_ses-<label>][_<key>-<label>]_<suffix>.nii.gz); rename" in written
    assert written.count("has the same entities as another scan of this call; rename one") == 2
    assert sorted(path.name for path in (tmp_path / "out").glob("sub-*")) == ["sub-1"]


def test_a_dataset_of_another_program_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = write_scan(tmp_path / "raw" / "sub-1_angio.nii")
    described = tmp_path / "raw" / "dataset_description.json"
    described.write_text('{"Name": "Scans", "BIDSVersion": "1.10.0"}', encoding="utf-8")
    assert detect(scan, "--out", tmp_path / "raw", *FEW) == 1
    assert "is a BIDS dataset of another program; choose a folder of its own as --out" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == [described.name, scan.name]


def test_the_two_layouts_do_not_mix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans = [write_scan(tmp_path / "raw" / f"sub-{number}_angio.nii") for number in (1, 2)]
    bids, folders = tmp_path / "bids", tmp_path / "folders"
    assert detect(*scans, "--out", bids, *FEW) == 0 and detect(*scans, "--out", folders, *FEW[1:]) == 0
    capsys.readouterr()
    assert detect(*scans, "--out", bids, *FEW[1:]) == 1 and detect(*scans, "--out", folders, *FEW) == 1
    written = capsys.readouterr().err
    assert "holds BIDS derivatives; add --bids or choose" in written and "folders of their own; leave out" in written
    assert not list(folders.glob("sub-1")) and not list(bids.glob("sub-1_angio"))


def test_files_are_moved_all_or_none(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "there").mkdir()
    pairs = [(tmp_path / "a", tmp_path / "there" / "a"), (tmp_path / "b", tmp_path / "nowhere" / "b")]
    with pytest.raises(OSError, match="nowhere"):
        _move_all(pairs)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "there"]
    _move_all([(source, tmp_path / "there" / source.name) for source, _ in pairs])
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["a", "b"]


def test_a_result_that_cannot_be_put_in_place_leaves_the_earlier_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_scan(tmp_path / "raw" / "sub-1_angio.nii")
    out = tmp_path / "out"
    out.mkdir()
    (out / "sub-1").write_text("a file in the way", encoding="utf-8")
    assert detect(scan, "--out", out, *FEW) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir() if path.name.startswith((".sub", "sub"))) == ["sub-1"]


def test_a_batch_in_this_layout_is_continued_shared_and_collected(tmp_path: Path) -> None:
    scans = [write_scan(tmp_path / "raw" / f"sub-1{entity}_angio.nii", 899) for entity in ("", "_run-1", "_run-2")]
    out, folder = tmp_path / "out", tmp_path / "out" / "sub-1" / "anat"
    assert [detect(*scans, "--out", out, *FEW, "--shard", f"{number}/2") for number in (1, 2)] == [0, 0]
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(before) == 12
    (folder / "sub-1_desc-CoW_record.json").unlink()  # as after a kill: the record comes last
    (out / ".sub-1_desc-CoW.partial-0123abcd").mkdir()
    assert main(["collect", str(out)]) == 2
    assert [detect(*scans, "--out", out, *FEW, "--shard", f"{number}/2", "--resume") for number in (1, 2)] == [0, 0]
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {n for n in before if n.startswith("sub-1_desc")}
    assert not list(out.glob(".sub-1*"))
    assert main(["collect", str(out)]) == 0
    assert (out / "summary.csv").read_text(encoding="utf-8").count("sub-1/anat/sub-1_") == 3
    assert detect(scans[0], "--out", out, *FEW) == 1, "without --force or --resume"
    assert detect(scans[0], "--out", out, *FEW, "--force") == 0
    assert set(after) == {path.name for path in folder.iterdir()}
