"""Names of result folders, and that a result stands as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from CoWLandmarksLib.core.errors import OutputError
from CoWLandmarksLib.files.result_folders import RESULT_MARK, ResultNames, result_folder, safe_name
from hypothesis import given
from hypothesis import strategies as st


def deliver(directory: Path, name: str, text: str, force: bool = False) -> Path:
    with result_folder(directory, name, force) as folder:
        (folder / RESULT_MARK).write_text(text, encoding="utf-8")
    return directory / name


def names_in(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("größe 脳", "größe 脳"),
        ("gro\u0308ße", "größe"),
        ("a/b\\c:d", "a_b_c_d"),
        ("..", "scan"),
        (".hidden", "hidden"),
        ("ends. ", "ends"),
        ("NUL", "NUL_"),
        ("com1.x", "com1.x_"),
        ("", "scan"),
        ("a\udcffb", "a_b"),
    ],
)
def test_a_name_is_made_fit_for_every_system(text: str, name: str) -> None:
    assert safe_name(text) == name


@given(st.text(max_size=400))
def test_any_text_becomes_a_plain_folder_name(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name.encode("utf-8")) <= 200
    assert not name.startswith(".")
    assert not name.endswith((".", " "))
    assert Path(name).name == name
    assert safe_name(name) == name


def test_long_names_stay_different() -> None:
    assert safe_name("x" * 300 + "a") != safe_name("x" * 300 + "b")


def test_equal_names_are_numbered_also_where_only_the_case_differs() -> None:
    names = ResultNames()
    assert [names.claim(text) for text in ("head", "head-2", "head", "Head", "HEAD-2")] == [
        "head",
        "head-2",
        "head-3",
        "Head-4",
        "HEAD-2-2",
    ]


def test_a_result_appears_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    with result_folder(out, "head") as folder:
        (folder / "landmarks.csv").write_text("1", encoding="utf-8")
        assert folder.parent == out
        assert folder.name.startswith(".head.")
        assert not (out / "head").exists()
    assert names_in(out) == ["head"]
    assert names_in(out / "head") == ["landmarks.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_what_is_interrupted_leaves_nothing_and_no_new_folders(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), result_folder(tmp_path / "a" / "out", "head") as folder:
        (folder / "landmarks.csv").write_text("1", encoding="utf-8")
        raise error("stop")
    assert names_in(tmp_path) == []


def test_an_earlier_result_is_refused_before_any_work(tmp_path: Path) -> None:
    deliver(tmp_path, "head", "old")
    with pytest.raises(OutputError, match="--force"), result_folder(tmp_path, "head"):
        pytest.fail("the block must not run")
    assert (tmp_path / "head" / RESULT_MARK).read_text(encoding="utf-8") == "old"


def test_an_empty_folder_is_used_without_force(tmp_path: Path) -> None:
    (tmp_path / "head").mkdir()
    deliver(tmp_path, "head", "new")
    assert names_in(tmp_path) == ["head"]


def test_force_replaces_an_earlier_result_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    old = deliver(tmp_path, "head", "old")
    (old / "arteries.csv").write_text("old", encoding="utf-8")
    deliver(tmp_path, "head", "new", force=True)
    assert names_in(tmp_path) == ["head"]
    assert names_in(tmp_path / "head") == [RESULT_MARK]
    assert (tmp_path / "head" / RESULT_MARK).read_text(encoding="utf-8") == "new"


def test_force_that_is_interrupted_keeps_the_earlier_result(tmp_path: Path) -> None:
    deliver(tmp_path, "head", "old")
    with pytest.raises(KeyboardInterrupt), result_folder(tmp_path, "head", force=True):
        raise KeyboardInterrupt
    assert names_in(tmp_path) == ["head"]
    assert (tmp_path / "head" / RESULT_MARK).read_text(encoding="utf-8") == "old"


def test_force_does_not_replace_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "thesis.txt").write_text("years", encoding="utf-8")
    with pytest.raises(OutputError, match="no result of this program"):
        deliver(tmp_path, "head", "new", force=True)
    assert names_in(tmp_path / "head") == ["thesis.txt"]


def test_a_file_in_the_place_of_the_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / "head").write_text("a file", encoding="utf-8")
    with pytest.raises(OutputError, match="no folder"):
        deliver(tmp_path, "head", "new", force=True)


def test_a_file_in_the_place_of_the_output_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be written"):
        deliver(tmp_path / "out", "head", "new")


def test_two_runs_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="already holds a result"), result_folder(tmp_path, "head") as late:
        (late / RESULT_MARK).write_text("late", encoding="utf-8")
        deliver(tmp_path, "head", "early")
    assert names_in(tmp_path) == ["head"]
    assert (tmp_path / "head" / RESULT_MARK).read_text(encoding="utf-8") == "early"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that even the administrator cannot write")
def test_a_read_only_place_is_one_sentence() -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        deliver(Path("/proc/out"), "head", "new")


def test_a_path_that_is_too_long_is_one_sentence(tmp_path: Path) -> None:
    out = tmp_path.joinpath(*(["x" * 200] * 30))
    with pytest.raises(OutputError, match="cannot be written"):
        deliver(out, "head", "new")
    assert names_in(tmp_path) == []


def test_an_error_of_a_writer_names_the_final_place(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, result_folder(tmp_path, "head") as folder:
        raise OutputError(f"'{folder / 'landmarks.csv'}' cannot be written: disk full.")
    assert str(caught.value) == f"'{tmp_path / 'head' / 'landmarks.csv'}' cannot be written: disk full."
