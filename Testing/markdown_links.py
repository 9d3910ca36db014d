"""The relative links of the Markdown pages of a folder, and those that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from extension_index import tracked

ROOT = Path(__file__).resolve().parent.parent

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def pages(root: Path = ROOT) -> list[Path]:
    """The Markdown pages that git tracks, sorted."""
    return sorted(root / path for path in tracked(root) if path.endswith(".md"))


def links(page: Path) -> list[str]:
    """Targets of the links and pictures of a page, without those to other sites."""
    found = _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return [target for target in found if not target.startswith(("http:", "https:", "mailto:"))]


def broken_links(root: Path = ROOT) -> Iterator[str]:
    """One sentence for each link to a file or heading that is not there."""
    for page in pages(root):
        for target in links(page):
            path, _, heading = target.partition("#")
            file = (page.parent / path) if path else page
            if not file.exists():
                yield f"{page.relative_to(root)} links to {target}, which does not exist."
            elif heading and heading not in anchors(file):
                yield f"{page.relative_to(root)} links to {target}, but that page has no such heading."


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def unknown_pages(root: Path = ROOT) -> Iterator[str]:
    """One sentence for each page or picture of Docs that a source file names and that is not there."""
    named = re.compile(r"\bDocs/[\w./-]+\.(?:md|png)\b")
    for path in tracked(root):
        if path.endswith((".py", ".txt", ".toml", ".md", ".cff", ".yaml")):
            for name in named.findall((root / path).read_text(encoding="utf-8")):
                if not (root / name).is_file():
                    yield f"{path} names {name}, which does not exist."
