"""The landmark set: 19 points and 20 arteries by default, and any other set from another file."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from CoWLandmarksLib.core.anatomy import DEFAULT_ANATOMY_FILE, Anatomy, anatomy_from_dict, default_anatomy, read_anatomy
from CoWLandmarksLib.core.errors import ConfigurationError

PAIRS_BEFORE_THE_TIP = ("A2-A3", "A1-A2", "M1-M2", "ICA-T")
PAIRS_AFTER_THE_TIP = ("P1-P2A", "P2A-P2P", "C6-C7", "C5-C6", "C4-C5")
ORDER = (
    *(f"{side}-{name}" for name in PAIRS_BEFORE_THE_TIP for side in "RL"),
    "BA-T",
    *(f"{side}-{name}" for name in PAIRS_AFTER_THE_TIP for side in "RL"),
)

# Landmark numbers (from 1) at the two ends of each artery, from the design's table of the anatomy.
ENDS = {
    "R-ICA-C5": (18, 16),
    "L-ICA-C5": (19, 17),
    "R-ICA-C6": (16, 14),
    "L-ICA-C6": (17, 15),
    "R-ICA-C7": (14, 7),
    "L-ICA-C7": (15, 8),
    "R-MCA-M1": (7, 5),
    "L-MCA-M1": (8, 6),
    "R-ACA-A1": (7, 3),
    "L-ACA-A1": (8, 4),
    "R-ACA-A2": (3, 1),
    "L-ACA-A2": (4, 2),
    "ACoA": (3, 4),
    "R-PCoA": (14, 10),
    "L-PCoA": (15, 11),
    "BA": (None, 9),
    "R-PCA-P1": (9, 10),
    "L-PCA-P1": (9, 11),
    "R-PCA-P2A": (10, 12),
    "L-PCA-P2A": (11, 13),
}


@pytest.fixture
def source() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(DEFAULT_ANATOMY_FILE.read_text(encoding="utf-8"))
    return content


def seven_points() -> dict[str, Any]:
    """A landmark set of another kind: a midline point and three pairs, two arteries."""

    def landmark(code: str, side: str, mirror: str) -> dict[str, Any]:
        return {
            "code": code,
            "name": f"Point {code}",
            "side": side,
            "mirror": mirror,
            "definition": "somewhere",
            "if_not_visible": "nowhere",
            "rgb": [1, 2, 3],
            "expected_two_annotator_mm": 1,
        }

    def artery(code: str, label: int, start: str | None, end: str | None) -> dict[str, Any]:
        return {
            "code": code,
            "name": code,
            "label": label,
            "start": start,
            "end": end,
            "side": "midline",
            "optional": False,
            "rgb": [4, 5, 6],
            "terminology": "",
        }

    sides = (("R", "L", "right"), ("L", "R", "left"))
    pairs = [landmark(f"{own}{n}", side, f"{other}{n}") for n in "123" for own, other, side in sides]
    return {
        "name": "Seven",
        "version": 3,
        "landmarks": [landmark("M", "midline", "M"), *pairs],
        "arteries": [artery("one", 5, "M", "R1"), artery("two", 2, "L3", None)],
    }


def test_the_default_set_has_19_landmarks_in_the_order_of_the_design() -> None:
    assert default_anatomy().codes == ORDER
    assert len(default_anatomy()) == 19


def test_the_default_set_has_20_arteries_between_the_landmarks_of_the_design() -> None:
    anatomy = default_anatomy()
    ends = {
        artery.code: tuple(None if code is None else anatomy.index(code) + 1 for code in (artery.start, artery.end))
        for artery in anatomy.arteries
    }
    assert ends == ENDS
    assert [artery.label for artery in anatomy.arteries] == list(range(1, 21))


def test_right_and_left_are_mirror_pairs_and_the_basilar_tip_is_its_own() -> None:
    anatomy = default_anatomy()
    assert anatomy.mirror_permutation == (1, 0, 3, 2, 5, 4, 7, 6, 8, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17)
    for landmark in anatomy.landmarks:
        expected = {"R": "right", "L": "left", "B": "midline"}[landmark.code[0]]
        assert landmark.side == expected
        assert landmark.name.lower().startswith(expected) or expected == "midline"


def test_left_and_right_arteries_end_at_mirrored_landmarks() -> None:
    anatomy = default_anatomy()

    def mirrored(code: str | None) -> str | None:
        return None if code is None else anatomy.landmark(code).mirror

    for artery in anatomy.arteries:
        if artery.side == "right":
            other = anatomy.artery(f"L{artery.code[1:]}")
            assert (mirrored(artery.start), mirrored(artery.end)) == (other.start, other.end)
            assert other.side == "left"
        elif artery.side == "midline":
            assert {mirrored(artery.start), mirrored(artery.end)} == {artery.start, artery.end}


def test_only_arteries_of_the_circle_that_people_often_lack_are_optional() -> None:
    optional = {artery.code for artery in default_anatomy().arteries if artery.optional}
    assert optional == {"R-ACA-A1", "L-ACA-A1", "ACoA", "R-PCoA", "L-PCoA", "R-PCA-P1", "L-PCA-P1"}


def test_arteries_and_the_two_sides_can_be_distinguished_by_their_colours() -> None:
    anatomy = default_anatomy()
    assert len({artery.rgb for artery in anatomy.arteries}) == len(anatomy.arteries)
    assert {landmark.rgb for landmark in anatomy.landmarks if landmark.side == "right"}.isdisjoint(
        landmark.rgb for landmark in anatomy.landmarks if landmark.side == "left"
    )
    colours = [thing.rgb for thing in (*anatomy.landmarks, *anatomy.arteries)]
    assert all(0 <= value <= 255 for colour in colours for value in colour)


def test_every_definition_is_written_out_and_every_artery_has_a_snomed_region() -> None:
    anatomy = default_anatomy()
    assert all(landmark.definition and landmark.if_not_visible for landmark in anatomy.landmarks)
    assert all(0 < landmark.expected_two_annotator_mm < 5 for landmark in anatomy.landmarks)
    assert all("SCT^" in artery.terminology and artery.terminology.count("~") >= 4 for artery in anatomy.arteries)


def test_a_landmark_is_known_by_its_code() -> None:
    anatomy = default_anatomy()
    assert anatomy.landmark("BA-T").name.startswith("Basilar tip")
    assert anatomy.index("BA-T") == 8
    assert anatomy.artery("ACoA").label == 13


def test_another_landmark_set_is_another_file(tmp_path: Path) -> None:
    path = tmp_path / "seven.json"
    path.write_text(json.dumps(seven_points()), encoding="utf-8")
    anatomy = read_anatomy(path)
    assert (anatomy.name, anatomy.version, len(anatomy)) == ("Seven", 3, 7)
    assert anatomy.codes == ("M", "R1", "L1", "R2", "L2", "R3", "L3")
    assert anatomy.mirror_permutation == (0, 2, 1, 4, 3, 6, 5)
    assert anatomy.artery("two").end is None
    assert anatomy.landmark("R1").rgb == (1, 2, 3)


def test_the_whole_file_is_kept_for_the_model_and_gives_the_same_anatomy(source: dict[str, Any]) -> None:
    assert default_anatomy().source == source
    assert anatomy_from_dict(default_anatomy().source) == default_anatomy()


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        pytest.param(lambda s: s.pop("landmarks"), "landmarks", id="no landmarks"),
        pytest.param(lambda s: s["landmarks"][0].pop("mirror"), "mirror", id="no mirror"),
        pytest.param(lambda s: s["arteries"][0].update(label="one"), "one", id="label is no number"),
        pytest.param(lambda s: s["landmarks"][0].update(rgb=[1, 2]), "unpack", id="two colour values"),
        pytest.param(lambda s: s["landmarks"][1].update(code="R-A2-A3"), "twice", id="a code twice"),
        pytest.param(lambda s: s["landmarks"][0].update(mirror="BA-T"), "R-A2-A3", id="one-sided mirror"),
        pytest.param(lambda s: s["landmarks"][0].update(mirror="L-X"), "R-A2-A3", id="unknown mirror"),
        pytest.param(lambda s: s["arteries"][1].update(label=1), "label twice", id="a label twice"),
        pytest.param(lambda s: s["arteries"][0].update(end="nowhere"), "R-ICA-C5", id="unknown end"),
    ],
)
def test_a_wrong_anatomy_is_refused_in_one_sentence(source: dict[str, Any], spoil: Any, named: str) -> None:
    spoiled = copy.deepcopy(source)
    spoil(spoiled)
    with pytest.raises(ConfigurationError) as caught:
        anatomy_from_dict(spoiled)
    assert_is_a_sentence(caught.value)
    assert named in str(caught.value)


def test_an_unknown_code_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'R-A9'.*R-A2-A3.*L-C4-C5") as caught:
        default_anatomy().landmark("R-A9")
    assert_is_a_sentence(caught.value)
    with pytest.raises(ConfigurationError, match="'VA'") as caught:
        default_anatomy().artery("VA")
    assert_is_a_sentence(caught.value)


@pytest.mark.parametrize("content", [None, b"{not json", b"\xff\xfe\x00"])
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "anatomy.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_anatomy(path)
    assert_is_a_sentence(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_holds_a_list_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "anatomy.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigurationError):
        read_anatomy(path)


def test_an_anatomy_cannot_be_changed_by_accident() -> None:
    anatomy: Anatomy = default_anatomy()
    with pytest.raises(AttributeError):
        anatomy.name = "other"  # type: ignore[misc]


def assert_is_a_sentence(error: Exception) -> None:
    """One line that begins with a capital letter and ends with a full stop."""
    text = str(error)
    assert text[0].isupper() or text[0] == "'"
    assert text.endswith(".")
    assert "\n" not in text
