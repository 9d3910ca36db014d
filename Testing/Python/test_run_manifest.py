"""Batches: what run.json, the records, the table and the page hold, and batches that are continued or repeated."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from CoWLandmarksLib import PROGRAM
from CoWLandmarksLib.__main__ import main
from CoWLandmarksLib.jobs.process_lock import process_lock
from dicom_files import axial_positions, write_series
from fixed_detector import REFUSED, UNTRUSTED, make_fixed_detector, write_scan
from fixed_detector import __file__ as MODEL

FEW = ("--no-scene", "--no-arteries", "--no-pictures")
NAME = "Doe^Jane"


def detect(*arguments: object) -> int:
    return main(["detect", *map(str, arguments)], make_fixed_detector)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "summary.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """Two scans, of which one is not to be trusted, and one that is refused."""
    values = {f"{NAME}.nii": 900, "miller.nii": UNTRUSTED, "refused.nii": REFUSED}
    return [write_scan(tmp_path / "in" / name, value) for name, value in values.items()]


def made(out: Path) -> dict[str, int]:
    """When the record of each result was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/record.json")}


def test_a_batch_leaves_its_settings_and_what_became_of_each_scan(tmp_path: Path, scans: list[Path]) -> None:
    assert detect(*scans, "--out", tmp_path / "out", *FEW, "--modality", "cta") == 2
    run = read_json(tmp_path / "out" / "run.json")
    assert run["schema"] == "cow-run/1"
    assert run["model"]["sha256"] == hashlib.sha256(Path(MODEL).read_bytes()).hexdigest()
    assert run["options"]["modality"] == "cta" and run["options"]["no_scene"] is True
    assert "numpy" in run["versions"]
    assert [entry["sha256"] for entry in run["scans"]] == [hashlib.sha256(p.read_bytes()).hexdigest() for p in scans]
    assert [entry["number"] for entry in run["scans"]] == [1, 2, 3]
    assert [entry["delivered"] for entry in run["scans"]] == [True, True, False]
    assert [entry["verdict"] for entry in run["scans"]] == ["ok", "do not trust", None]
    assert run["scans"][0]["landmarks"] == {"found": 19, "uncertain": 0, "absent": 0, "outside": 0}
    assert [row["verdict"] for row in rows(tmp_path / "out")] == ["ok", "do not trust", "failed"]
    assert rows(tmp_path / "out")[2]["reasons"] == "'refused.nii' is refused; give another scan."


def test_names_and_paths_are_in_the_manifest_only_where_they_are_asked_for(tmp_path: Path, scans: list[Path]) -> None:
    without, with_paths = tmp_path / "out", tmp_path / "named"
    detect(*scans, "--out", without, *FEW)
    for file in (without / "run.json", *without.glob("*/record.json")):
        text = file.read_text(encoding="utf-8")
        assert "Doe" not in text and "miller" not in text and "refused" not in text and str(tmp_path) not in text
    detect(*scans, "--out", with_paths, *FEW, "--with-paths")
    entries = read_json(with_paths / "run.json")["scans"]
    assert [entry["path"] for entry in entries] == [str(path) for path in scans]
    assert [entry["result"] for entry in entries] == ["Doe^Jane", "miller", None]


def test_a_single_scan_leaves_no_record_unless_it_is_asked_for(tmp_path: Path, scans: list[Path]) -> None:
    assert detect(scans[0], "--out", tmp_path / "plain", *FEW) == 0
    assert sorted(path.name for path in (tmp_path / "plain").rglob("*")) == [
        NAME,
        "detection.json",
        "landmarks.csv",
        "landmarks.mrk.json",
    ]
    assert detect(scans[0], "--out", tmp_path / "kept", *FEW, "--resume") == 0
    assert list(made(tmp_path / "kept")) == [NAME]


def test_the_settings_of_a_run_are_repeated_and_can_be_overridden(tmp_path: Path, scans: list[Path]) -> None:
    first, again, other = tmp_path / "first", tmp_path / "again", tmp_path / "other"
    detect(*scans[:2], "--out", first, *FEW, "--modality", "cta", "--decoding", "argmax")
    detect(*scans[:2], "--out", again, "--settings", first / "run.json", "--model", MODEL)
    assert read_json(again / "run.json")["options"] == read_json(first / "run.json")["options"]
    assert (again / NAME / "detection.json").read_bytes() == (first / NAME / "detection.json").read_bytes()
    detect(
        *scans[:2],
        "--out",
        other,
        "--settings",
        first / "run.json",
        "--model",
        MODEL,
        "--modality",
        "mra",
        "--pictures",
    )
    options = read_json(other / "run.json")["options"]
    assert (options["modality"], options["decoding"], options["no_pictures"]) == ("mra", "argmax", False)
    assert (other / NAME / "report.png").is_file() and not (other / NAME / "arteries.csv").exists()


def test_a_model_that_is_not_the_one_of_the_settings_is_taken_with_a_warning(
    tmp_path: Path, scans: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "first" / "run.json"
    detect(*scans[:2], "--out", path.parent, *FEW)
    other = tmp_path / "other.pt"
    other.write_bytes(b"another model")
    capsys.readouterr()
    assert detect(scans[0], "--out", tmp_path / "again", "--settings", path, "--model", other) == 0
    assert "warning: This is not the model of the settings (SHA-256 " in capsys.readouterr().err


def test_settings_of_another_version_of_the_program_are_taken_with_a_warning(
    tmp_path: Path, scans: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "first" / "run.json"
    detect(*scans[:2], "--out", path.parent, *FEW)
    path.write_text(path.read_text(encoding="utf-8").replace(PROGRAM, "CoW Landmarks 0.1.9"), encoding="utf-8")
    capsys.readouterr()
    assert detect(scans[0], "--out", tmp_path / "again", "--settings", path, "--model", MODEL) == 0
    assert "warning: The settings were written by CoW Landmarks 0.1.9;" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": "cow-run/2"}, "holds settings of version 2, this program reads version 1; use the program"),
        ({"schema": "cow-detection/2"}, "holds no settings; give a run.json that a batch has written."),
        ({"options": None}, "were made with different options; give the options instead."),
        ({"options": {"turbo": True}}, "holds the option 'turbo', which this version does not know; use the program"),
        ({"options": {"modality": "pet"}}, "holds a wrong value for --modality (pet); correct it."),
        ({"options": {"no_scene": "yes"}}, "holds a wrong value for --no-scene (yes); correct it."),
        ({"options": {"series": "0" * 64}}, "was written with another series (SHA-256 000000000000...), which it"),
        ({"model": {"sha256": "0" * 64}}, "another model (SHA-256 000000000000...), which it does not hold"),
        ({"options": {"labels": 5}}, "holds a wrong value for --labels (5); correct it."),
        ({"model": {}}, "are incomplete ('sha256'); give another run.json."),
        (None, "are damaged; give a run.json that a batch has written."),
    ],
)
def test_wrong_settings_are_refused_in_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any] | None,
    sentence: str,
) -> None:
    monkeypatch.setattr("CoWLandmarksLib.detect.model.DEFAULT_MODEL_FILE", Path(MODEL))
    scan, path = write_scan(tmp_path / "head.nii"), tmp_path / "run.json"
    sound: dict[str, Any] = {"schema": "cow-run/1", "program": PROGRAM, "options": {}}
    model = [] if sentence.startswith("another model") else ["--model", MODEL]
    sound["model"] = {"sha256": hashlib.sha256(Path(MODEL).read_bytes()).hexdigest()}
    path.write_text("{" if change is None else json.dumps({**sound, **change}), encoding="utf-8")
    assert detect(scan, "--out", tmp_path / "out", "--settings", path, *model) == 1
    written = capsys.readouterr().err
    assert sentence in written and written.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_stands_is_not_made_again_and_the_rest_is(tmp_path: Path, scans: list[Path]) -> None:
    out = tmp_path / "out"
    more = write_scan(tmp_path / "in" / "more.nii", 899)
    detect(*scans[:2], "--out", out, *FEW)
    before = made(out)
    assert detect(*scans[:2], more, "--out", out, *FEW, "--resume") == 3
    after = made(out)
    assert {name: after[name] for name in before} == before and set(after) == {*before, "more"}
    assert len(read_json(out / "run.json")["scans"]) == 3
    detect(*scans[:2], more, "--out", out, *FEW, "--resume", "--modality", "cta")
    assert all(made(out)[name] > after[name] for name in after)
    assert read_json(out / "more" / "detection.json")["modality"] == "cta"


@pytest.mark.parametrize("damage", ["gone", "short", "no record", "cut record", "left over", "other input"])
def test_what_is_not_whole_or_not_of_this_scan_is_made_again(tmp_path: Path, scans: list[Path], damage: str) -> None:
    out, scan = tmp_path / "out", scans[0]
    detect(scan, "--out", out, *FEW, "--resume")
    table, record = out / NAME / "landmarks.csv", out / NAME / "record.json"
    whole, age = table.read_bytes(), record.stat()
    if damage == "gone":
        table.unlink()
    elif damage == "short":
        table.write_bytes(whole[:100])
        os.utime(table, ns=(age.st_mtime_ns, age.st_mtime_ns))
    elif damage == "cut record":
        record.write_bytes(record.read_bytes()[:50])
        os.utime(record, ns=(age.st_mtime_ns, age.st_mtime_ns))
    elif damage == "left over":
        (out / NAME).rename(out / f".{NAME}.partial-0123abcd")
    elif damage == "other input":
        write_scan(scan, 905)
    elif damage == "no record":
        record.unlink()
        assert detect(scan, "--out", out, *FEW, "--resume") == 1, "perhaps a person worked on it"
    force = ["--force"] if damage == "no record" else []
    assert detect(scan, "--out", out, *FEW, "--resume", *force) == 0
    assert table.read_bytes() == whole and record.stat().st_mtime_ns > age.st_mtime_ns
    assert [path.name for path in out.iterdir()] == [NAME], "nothing is left over"


def test_a_result_that_a_person_corrected_is_kept(
    tmp_path: Path, scans: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    detect(scans[0], "--out", out, *FEW, "--resume")
    points = out / NAME / "landmarks.mrk.json"
    points.write_text("corrected", encoding="utf-8")
    later = (out / NAME / "record.json").stat().st_mtime_ns + 60_000_000_000
    os.utime(points, ns=(later, later))
    assert detect(scans[0], "--out", out, *FEW, "--resume", "--modality", "cta") == 1
    assert "was changed after it was made, by a correction perhaps; use --force" in capsys.readouterr().err
    assert points.read_text(encoding="utf-8") == "corrected"


def test_the_name_of_a_dicom_folder_is_nowhere_in_the_results(tmp_path: Path) -> None:
    good, bad = tmp_path / "in" / "Doe^Jane", tmp_path / "in" / "O'Roe^Richard"
    write_series(good, axial_positions(18))
    write_series(bad, axial_positions(3))
    assert detect(good, bad, bad / "missing.dcm", "--out", tmp_path / "out", *FEW) == 2
    for path in tmp_path.glob("out/**/*"):
        assert path.is_dir() or not any(name in path.read_bytes() for name in (b"Doe", b"Roe")), path
    assert [row["scan"] for row in rows(tmp_path / "out")] == ["scan 1", "scan 2", "scan 3"]


def test_a_dicom_series_is_found_again_by_its_bytes(tmp_path: Path) -> None:
    for number, patient in enumerate("ab"):
        write_series(tmp_path / patient, axial_positions(18, 1.5 + 0.1 * number))
    out, series = tmp_path / "out", [tmp_path / "a", tmp_path / "b"]
    assert detect(*series, "--out", out, *FEW) == 0
    before = made(out)
    assert len(before) == 2
    assert detect(*series[::-1], "--out", out, *FEW, "--resume") == 0
    assert made(out) == before


def test_names_that_a_spreadsheet_would_calculate_are_text_in_the_table(tmp_path: Path) -> None:
    scans = [write_scan(tmp_path / "in" / name) for name in ("=1+1.nii", "-2.nii", "head.nii")]
    assert detect(*scans, "--out", tmp_path / "out", *FEW) == 0
    assert [row["scan"] for row in rows(tmp_path / "out")] == ["'=1+1.nii", "'-2.nii", "head.nii"]
    assert [row["result"] for row in rows(tmp_path / "out")] == ["'=1+1", "'-2", "head"]


@pytest.mark.parametrize("name", ["run.json", "summary.csv", "summary.html"])
def test_files_of_somebody_else_are_not_replaced(
    tmp_path: Path, scans: list[Path], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out = tmp_path / "out"
    detect(*scans[:2], "--out", out, *FEW)
    assert detect(*scans[:2], "--out", out, *FEW, "--resume") == 3, "its own files are"
    before = made(out)
    (out / name).write_text("scan,age\n1,50\n", encoding="utf-8")
    capsys.readouterr()
    assert detect(*scans, "--out", out, *FEW, "--force") == 1 and main(["collect", str(out)]) == 1
    assert capsys.readouterr().err.count(f"{name}' was not written by this program; choose another folder or") == 2
    assert (out / name).read_text(encoding="utf-8").startswith("scan,age") and made(out) == before


def test_a_result_that_another_process_makes_is_left_to_it(
    tmp_path: Path, scans: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with process_lock(out / f".{NAME}.lock"):
        assert detect(*scans[:2], "--out", out, *FEW, "--resume") == 2
    assert f"Another process is making '{out / NAME}'; wait for its end" in capsys.readouterr().err
    assert list(made(out)) == ["miller"] and not list(out.glob(".*"))
    assert detect(*scans[:2], "--out", out, *FEW, "--resume") == 3


class _Page(HTMLParser):
    """Texts of headings, places of pictures, and every address that the page names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "h2":
            self.headings.append(data.strip())


def test_the_page_shows_the_doubtful_first_without_network_and_with_names_escaped(tmp_path: Path) -> None:
    good = write_scan(tmp_path / "in" / "a&b '100%' #1.nii")
    doubtful = write_scan(tmp_path / "in" / "k.nii", UNTRUSTED)
    damaged = tmp_path / "in" / "<script>.nii"
    damaged.write_bytes(b"no scan")
    detect(good, doubtful, damaged, "--out", tmp_path / "out", "--no-scene", "--no-arteries")
    text = (tmp_path / "out" / "summary.html").read_text(encoding="utf-8")
    page = _Page(text)
    assert page.headings == ["<script>.nii", "k", "a&b '100%' #1"]
    assert "script" not in page.tags and "http" not in text
    pictures = [place for place in page.addresses if place.endswith("report.png")]
    assert pictures[0] == "k/report.png" and "a%26b%20%27100%25%27%20%231/report.png" in pictures
    assert (tmp_path / "out" / "k" / "report.png").is_file()
