"""The table of bad input, through the real command line: one sentence, the right exit code, and nothing left behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bad_calls import ARTERIES, CALLS
from bad_dicom import DICOM
from bad_input import BadCase
from bad_models import MODELS, TRAP
from bad_scans import SCANS
from CoWLandmarksLib.__main__ import main
from fixed_detector import make_fixed_detector

CASES = (*SCANS, *DICOM, *MODELS, *CALLS, *ARTERIES)
STAGES = ("reading the scan", "checking the scan", "looking for the circle of Willis", "tracing the arteries")
"""What a scan may have gone through before it is refused."""
NOT_FOR_PEOPLE = re.compile(r"Traceback|Errno|(?<!\d)0x[0-9a-f]|\.cxx|\.py\b|itk|ITK|Doe\^|SECRET|object at")


def content(folder: Path) -> dict[str, int]:
    """Every entry below a folder with its size."""
    return {str(path.relative_to(folder)): path.lstat().st_size for path in sorted(folder.rglob("*"))}


def one_error(printed: str) -> str:
    """The only line that is not about the progress of the work, which has to be an error."""
    lines = [line for line in printed.splitlines() if not line.endswith(STAGES)]
    assert len(lines) == 1, printed
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


def test_the_table_is_long_and_no_case_comes_twice() -> None:
    assert len({case.id for case in CASES}) == len(CASES) >= 120


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_bad_input_is_refused_with_one_sentence_and_leaves_nothing(
    case: BadCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [str(text) for text in case.make(tmp_path)]
    before = content(tmp_path)
    capfd.readouterr()
    code = main(arguments, None if case.real else make_fixed_detector)
    # Also what libraries in C++ print is seen here, because the file descriptors are captured.
    printed = capfd.readouterr()
    sentence = one_error(printed.err)
    assert code == case.code
    for text in case.fragments:
        assert text in sentence
    assert sentence.endswith((".", "?"))
    assert ". " not in sentence.replace("--help", ""), "more than one sentence"
    assert len(sentence.replace(str(tmp_path), "")) < 700
    assert not NOT_FOR_PEOPLE.search(sentence.replace(str(tmp_path), ""))
    assert content(tmp_path) == before
    assert not (tmp_path / TRAP).exists()
