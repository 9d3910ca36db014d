"""The codes of our DICOM files: SNOMED where `anatomy.json` has them, DICOM's own, and the rest under 99COWL.

Codes are (value, scheme, meaning), each as long as DICOM allows.
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.anatomy import Anatomy, Artery
from ..core.detection import LandmarkState

SCHEME = "99COWL"
"""Our private coding scheme; names of private schemes begin with 99 (PS3.16, 8.2)."""
SCHEME_NAME = "CoW Landmarks: landmarks of the Circle of Willis"
RESEARCH_ONLY = (
    "For research only; not a medical device. Every point has to be checked by a person who knows the anatomy."
)
_LONGEST_MEANING, _LONGEST_VALUE = 64, 16


class DicomCode(NamedTuple):
    """A coded concept."""

    value: str
    scheme: str
    meaning: str


CERTAINTY = DicomCode("111012", "DCM", "Certainty of Finding")
"""The confidence, in percent."""
EXPECTED_ERROR = DicomCode("ERROR", SCHEME, "Expected distance from the true position")
STATE = DicomCode("STATE", SCHEME, "State of the landmark")
STATES = {state: DicomCode(state.name, SCHEME, f"Landmark {state.value}") for state in LandmarkState}
REMARK = DicomCode("REMARK", SCHEME, "Remark on the landmark")
REMARKS = {
    "by_rule": DicomCode("BY-RULE", SCHEME, "Placed by the fallback rule of the definition"),
    "corrected": DicomCode("CORRECTED", SCHEME, "Corrected by a person"),
    "reviewed": DicomCode("REVIEWED", SCHEME, "Reviewed by a person"),
}
"""Flags of a LandmarkEstimate that are coded where they are set."""
RIGHT = DicomCode("24028007", "SCT", "Right")
LEFT = DicomCode("7771000", "SCT", "Left")
_SIDES = {"right": RIGHT, "left": LEFT}


class Site(NamedTuple):
    """Where something lies: an anatomic structure, and the side where there are two of them."""

    structure: DicomCode
    side: DicomCode | None


def landmark_code(anatomy: Anatomy, code: str) -> DicomCode:
    """The private code of a landmark: its own code and name."""
    return DicomCode(code[:_LONGEST_VALUE], SCHEME, anatomy.landmark(code).name[:_LONGEST_MEANING])


def landmark_site(anatomy: Anatomy, code: str) -> Site | None:
    """The artery on which a landmark lies; None in a landmark set that does not name it."""
    for entry in anatomy.source["landmarks"]:
        region = entry.get("snomed_region")
        if entry["code"] == code and region is not None:
            return Site(DicomCode(region["value"], region["scheme"], region["meaning"]), _SIDES.get(entry["side"]))
    return None


class ArteryCodes(NamedTuple):
    """Category and type of a segment, and the artery that it shows."""

    category: DicomCode
    kind: DicomCode
    site: Site


def artery_codes(artery: Artery) -> ArteryCodes:
    """The codes in an artery's terminology entry, the text that Slicer keeps in the tag of a segment."""
    _, category, kind, _, _, region, side = artery.terminology.split("~")
    return ArteryCodes(_parsed(category), _parsed(kind), Site(_parsed(region), _parsed(side) if side != "^^" else None))


def _parsed(text: str) -> DicomCode:
    scheme, value, meaning = text.split("^")
    return DicomCode(value, scheme, meaning[:_LONGEST_MEANING])
