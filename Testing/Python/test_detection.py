"""Landmark estimates, their one-line description in a control point, and whole detections."""

from __future__ import annotations

import math
import string

import numpy as np
import pytest
from CoWLandmarksLib.core.circle_variant import summary_line
from CoWLandmarksLib.core.detection import Detection, LandmarkEstimate, LandmarkState, Verdict, parse_description
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality
from hypothesis import given
from hypothesis import strategies as st

POINT = (1.5, -20.25, 3.0)
PLACED = (LandmarkState.FOUND, LandmarkState.UNCERTAIN)
NOT_PLACED = (LandmarkState.ABSENT, LandmarkState.OUTSIDE)

coordinates = st.floats(-300, 300)
notes = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=60).map(str.strip)


@st.composite
def estimates(draw: st.DrawFn) -> LandmarkEstimate:
    """Any estimate that the rules allow."""
    state = draw(st.sampled_from(LandmarkState))
    position = draw(st.tuples(coordinates, coordinates, coordinates)) if state in PLACED else None
    return LandmarkEstimate(
        code=draw(st.text(string.ascii_uppercase + string.digits + "-", min_size=1, max_size=9)),
        position=position,
        state=state,
        confidence=draw(st.floats(0, 1)),
        error_mm=draw(st.floats(0, 100)),
        by_rule=draw(st.booleans()),
        corrected=draw(st.booleans()),
        reviewed=draw(st.booleans()),
        note=draw(notes),
    )


def estimate(code: str = "BA-T", state: LandmarkState = LandmarkState.FOUND, **others: object) -> LandmarkEstimate:
    position = POINT if state in PLACED else None
    return LandmarkEstimate(code, position, state, 0.93, 0.8, **others)  # type: ignore[arg-type]


@given(estimates())
def test_a_description_that_was_written_is_read_back(written: LandmarkEstimate) -> None:
    read = parse_description(written.code, written.description(), written.position)
    assert (read.code, read.position, read.state) == (written.code, written.position, written.state)
    assert (read.by_rule, read.corrected, read.reviewed) == (written.by_rule, written.corrected, written.reviewed)
    assert read.note == written.note
    assert math.isclose(read.confidence, written.confidence, abs_tol=0.00501)
    assert math.isclose(read.error_mm, written.error_mm, abs_tol=0.0501)


@given(estimates())
def test_writing_again_what_was_read_changes_nothing(written: LandmarkEstimate) -> None:
    text = written.description()
    assert parse_description(written.code, text, written.position).description() == text
    assert "\n" not in text


def test_the_description_is_the_one_of_the_contract() -> None:
    text = "state=found; by_rule=0; confidence=0.93; error_mm=0.8; corrected=0; reviewed=0"
    assert estimate().description() == text
    assert estimate(note="see slice 40").description() == f"{text} | see slice 40"
    assert estimate(state=LandmarkState.ABSENT, reviewed=True).description() == (
        "state=absent; by_rule=0; confidence=0.93; error_mm=0.8; corrected=0; reviewed=1"
    )


@pytest.mark.parametrize(
    "text",
    [
        "state=uncertain;by_rule=1;confidence=0.5;error_mm=3",
        "  error_mm = 3 ; state = uncertain ; confidence = 0.50 ; by_rule = 1 ; ",
        "by_rule=1; state=uncertain; confidence=0.5; error_mm=3.0; colour=blue",
    ],
)
def test_order_spaces_and_unknown_keys_do_not_matter(text: str) -> None:
    read = parse_description("BA-T", text, POINT)
    assert read == LandmarkEstimate("BA-T", POINT, LandmarkState.UNCERTAIN, 0.5, 3.0, by_rule=True)


def test_a_note_may_hold_the_signs_of_the_grammar() -> None:
    note = "state=absent; a | b = c"
    read = parse_description("BA-T", estimate(note=note).description(), POINT)
    assert (read.state, read.note) == (LandmarkState.FOUND, note)


@pytest.mark.parametrize("text", ["", "  ", "placed by hand", "tip of the basilar = here; second look"])
def test_a_foreign_text_makes_a_plain_landmark_and_is_kept_as_its_note(text: str) -> None:
    placed = parse_description("BA-T", text, POINT)
    assert (placed.state, placed.confidence, placed.note) == (LandmarkState.FOUND, 1.0, text.strip())
    missing = parse_description("BA-T", text, None)
    assert (missing.state, missing.position, missing.confidence) == (LandmarkState.OUTSIDE, None, 0.0)


@pytest.mark.parametrize("state", NOT_PLACED)
def test_a_point_that_a_person_placed_wins_over_a_state_without_a_point(state: LandmarkState) -> None:
    read = parse_description("BA-T", estimate(state=state).description(), POINT)
    assert (read.state, read.position) == (LandmarkState.FOUND, POINT)


@pytest.mark.parametrize("state", PLACED)
def test_a_point_that_a_person_removed_wins_over_a_state_with_a_point(state: LandmarkState) -> None:
    read = parse_description("BA-T", estimate(state=state).description(), None)
    assert (read.state, read.position) == (LandmarkState.OUTSIDE, None)


@pytest.mark.parametrize("text", ["state=perhaps", "state=found; confidence=high", "state=found; error_mm=1,5"])
def test_an_unreadable_description_names_the_landmark(text: str) -> None:
    with pytest.raises(AnnotationError, match=r"^The description of landmark 'BA-T' .*\.$"):
        parse_description("BA-T", text, POINT)


@pytest.mark.parametrize("state", PLACED)
def test_a_found_or_uncertain_landmark_needs_a_position(state: LandmarkState) -> None:
    with pytest.raises(AnnotationError, match="'BA-T'"):
        LandmarkEstimate("BA-T", None, state, 0.9, 1.0)


@pytest.mark.parametrize("state", NOT_PLACED)
def test_an_absent_or_outside_landmark_has_no_position_not_even_the_origin(state: LandmarkState) -> None:
    with pytest.raises(AnnotationError, match="'BA-T'"):
        LandmarkEstimate("BA-T", (0.0, 0.0, 0.0), state, 0.9, 1.0)


@pytest.fixture
def detection() -> Detection:
    landmarks = (
        estimate("R-A2-A3"),
        estimate("BA-T", LandmarkState.UNCERTAIN),
        estimate("L-A1-A2", LandmarkState.ABSENT),
        estimate("R-C4-C5", LandmarkState.OUTSIDE),
        estimate("L-C4-C5", LandmarkState.OUTSIDE),
    )
    return Detection("head", Modality.MRA, Verdict.REVIEW, ("One point is uncertain.",), landmarks, np.eye(4))


def test_the_summary_counts_and_names_what_needs_attention(detection: Detection) -> None:
    assert summary_line(detection.landmarks) == "1 found; 1 to check; L-A1-A2 absent; R-C4-C5, L-C4-C5 outside the scan"


def test_the_summary_of_a_complete_detection_is_short(detection: Detection) -> None:
    assert summary_line(detection.landmarks[:1]) == "1 found"


@pytest.mark.parametrize(
    ("state", "count"),
    [(LandmarkState.FOUND, 1), (LandmarkState.UNCERTAIN, 1), (LandmarkState.ABSENT, 1), (LandmarkState.OUTSIDE, 2)],
)
def test_states_are_counted(detection: Detection, state: LandmarkState, count: int) -> None:
    assert detection.count(state) == count


def test_replacing_a_landmark_keeps_the_order_the_others_and_the_original(detection: Detection) -> None:
    corrected = estimate("BA-T", corrected=True)
    changed = detection.with_landmark(corrected)
    assert [e.code for e in changed.landmarks] == [e.code for e in detection.landmarks]
    assert changed.landmark("BA-T") is corrected
    assert changed.landmark("R-A2-A3") is detection.landmark("R-A2-A3")
    assert detection.landmark("BA-T").state is LandmarkState.UNCERTAIN


def test_an_unknown_code_is_a_key_error(detection: Detection) -> None:
    with pytest.raises(KeyError):
        detection.landmark("R-X")
