"""What a contributor is given: pre-commit hooks that are those of `make test`, and files that others read."""

from __future__ import annotations

import re
import subprocess

import pytest
from architecture import package_list
from import_graph import LIBRARIES, ROOT


def commands_of(target: str) -> list[str]:
    """The commands that `make` would run for a target, without the set-up of .venv."""
    printed = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [line for line in printed.stdout.splitlines() if line.startswith(".venv/bin/")]


def test_the_hooks_run_what_make_test_runs_before_the_tests() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    hooks = re.findall(r"^ +entry: (.+)$", text, re.MULTILINE)
    assert hooks == commands_of("checks")
    *before, tests = commands_of("test")
    assert before == hooks
    assert tests.startswith(".venv/bin/python -m pytest")


def test_the_hooks_need_no_network() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"- repo: (.+)$", text, re.MULTILINE) == ["local"]
    assert set(re.findall(r"language: (.+)$", text, re.MULTILINE)) == {"system"}


def test_ci_runs_make_test() -> None:
    assert "exec make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("library", LIBRARIES)
def test_contributing_lists_every_package_in_the_text_of_its_init(library: str) -> None:
    assert package_list(library) in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "run 'make lists'"


def test_every_path_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    roots = (ROOT, *LIBRARIES.values())
    for path in re.findall(r"`((?:CoWLandmarks|Testing|Docs)[\w./]*)`", text):
        assert any((root / path).exists() for root in roots), path


def test_the_citation_has_what_the_format_requires_and_no_version_of_its_own() -> None:
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    top = dict(line.split(":", 1) for line in lines if re.match(r"[a-z-]+:", line))
    assert {"cff-version", "message", "title", "authors"} <= top.keys()
    assert top["cff-version"].strip() == "1.2.0"
    assert top["license"].strip() == "Apache-2.0"
    assert '  - name: "CoW Landmarks contributors"' in lines
    assert "version" not in top and not any("repository" in key for key in top)


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    [first, *_] = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert first == "[Unreleased]"
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
