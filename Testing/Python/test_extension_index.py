"""The extension is fit for the Extensions Index."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from extension_index import ROOT, Answer, answers


@pytest.mark.parametrize("answer", list(answers()), ids=lambda answer: answer.question)
def test_the_checklist_of_the_extensions_index_is_satisfied(answer: Answer) -> None:
    assert not answer.wrong


def test_the_check_notices_what_is_wrong(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    heavy = shutil.ignore_patterns(".*", "work", "results", "build", "*.pt", "*.gz", "Testing")
    shutil.copytree(ROOT, copy, ignore=heavy)
    subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
    (copy / "LICENSE.txt").unlink()
    module = copy / "CoWLandmarks" / "CoWLandmarks.py"
    module.write_text(module.read_text(encoding="utf-8") + "\nimport torch\nprint(torch)\n", encoding="utf-8")
    wrong = {answer.question: answer.wrong for answer in answers(copy) if answer.wrong}
    assert {"LICENSE.txt lies in the root", "CoWLandmarks imports only what Slicer has"} <= set(wrong)
    assert wrong["CoWLandmarks imports only what Slicer has"] == "torch"
    assert "CoWLandmarks runs nothing when it is imported" in wrong
