"""The page of the landmarks says what anatomy.json says, and has a picture of each."""

from __future__ import annotations

import re

from CoWLandmarksLib.core.anatomy import default_anatomy
from landmark_atlas import COMMAND, NOTES, PAGE, PICTURES, page, sides_of
from landmark_notes import REPEATS


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(default_anatomy()), f"run {COMMAND} --text"


def test_every_landmark_has_one_section_and_one_picture() -> None:
    anatomy = default_anatomy()
    shown = [code for note in NOTES for code in sides_of(note, anatomy)]
    assert sorted(shown) == sorted(anatomy.codes)
    pictures = re.findall(r"\]\(landmarks/(.*?\.png)\)", page(anatomy))
    assert sorted(pictures) == sorted(path.name for path in PICTURES.iterdir())
    assert set(REPEATS) <= set(anatomy.codes)
