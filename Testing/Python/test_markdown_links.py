"""No link of README or Docs leads nowhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

from markdown_links import anchors, broken_links, links, pages, unknown_pages


def test_every_relative_link_leads_to_a_file_and_a_heading_that_exist() -> None:
    assert list(broken_links()) == []


def test_every_page_and_picture_that_code_names_exists() -> None:
    assert list(unknown_pages()) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "# One: `two`, three\n[here](#one-two-three) [b](b.md#four) ![c](c.png) [web](https://x.org)\n"
        "```\n# no heading\n[no link](no.md)\n```\n",
        encoding="utf-8",
    )
    (tmp_path / "b.md").write_text("# Five\n", encoding="utf-8")
    missing = "Docs" + "/e.md"
    (tmp_path / "d.py").write_text(f'"""See {missing}."""\n', encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    assert [page.name for page in pages(tmp_path)] == ["a.md", "b.md"]
    assert links(tmp_path / "a.md") == ["#one-two-three", "b.md#four", "c.png"]
    assert anchors(tmp_path / "a.md") == {"one-two-three"}
    assert list(broken_links(tmp_path)) == [
        "a.md links to b.md#four, but that page has no such heading.",
        "a.md links to c.png, which does not exist.",
    ]
    assert list(unknown_pages(tmp_path)) == [f"d.py names {missing}, which does not exist."]
