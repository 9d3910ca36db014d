"""The landmarks and arteries of a landmark set, read from a JSON file; nothing here knows their number."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from .errors import ConfigurationError

DEFAULT_ANATOMY_FILE = Path(__file__).parent.parent / "Resources" / "anatomy.json"


@dataclass(frozen=True)
class Landmark:
    """One anatomical point; `mirror` is the code of its counterpart on the other side (or itself)."""

    code: str
    name: str
    side: str
    mirror: str
    definition: str
    if_not_visible: str
    rgb: tuple[int, int, int]
    expected_two_annotator_mm: float


@dataclass(frozen=True)
class Artery:
    """One arterial segment between landmarks `start` and `end` (codes; `start` may be None: edge of the scan).

    `label` is its value in label maps; `terminology` is the string Slicer stores in a segment's tag.
    """

    code: str
    name: str
    label: int
    start: str | None
    end: str | None
    side: str
    optional: bool
    rgb: tuple[int, int, int]
    terminology: str

    @property
    def ends(self) -> frozenset[str]:
        """Codes of the landmarks at its ends."""
        return frozenset(code for code in (self.start, self.end) if code is not None)


def without_side(code: str) -> str:
    """A code of a landmark or an artery without "R-" or "L-"."""
    return code.removeprefix("R-").removeprefix("L-")


@dataclass(frozen=True)
class Anatomy:
    """A landmark set: landmarks in their order, arteries in the order of their labels."""

    name: str
    version: int
    landmarks: tuple[Landmark, ...]
    arteries: tuple[Artery, ...]
    source: dict[str, Any] = field(repr=False, compare=False)

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """Landmark codes in channel order."""
        return tuple(landmark.code for landmark in self.landmarks)

    @cached_property
    def mirror_permutation(self) -> tuple[int, ...]:
        """Index of the counterpart of each landmark on the other side of the body."""
        return tuple(self.codes.index(landmark.mirror) for landmark in self.landmarks)

    def __len__(self) -> int:
        return len(self.landmarks)

    def landmark(self, code: str) -> Landmark:
        """Landmark with this code; raises ConfigurationError for an unknown one."""
        for landmark in self.landmarks:
            if landmark.code == code:
                return landmark
        raise ConfigurationError(f"'{code}' is no landmark of '{self.name}'; use one of {', '.join(self.codes)}.")

    def artery(self, code: str) -> Artery:
        """Artery with this code; raises ConfigurationError for an unknown one."""
        for artery in self.arteries:
            if artery.code == code:
                return artery
        raise ConfigurationError(f"'{code}' is no artery of '{self.name}'.")

    def index(self, code: str) -> int:
        """Channel index of a landmark code."""
        return self.codes.index(self.landmark(code).code)


def anatomy_from_dict(source: dict[str, Any]) -> Anatomy:
    """Build an Anatomy from the content of an anatomy JSON file; raises ConfigurationError."""
    try:
        landmarks = tuple(
            Landmark(
                code=entry["code"],
                name=entry["name"],
                side=entry["side"],
                mirror=entry["mirror"],
                definition=entry["definition"],
                if_not_visible=entry["if_not_visible"],
                rgb=_rgb(entry["rgb"]),
                expected_two_annotator_mm=float(entry["expected_two_annotator_mm"]),
            )
            for entry in source["landmarks"]
        )
        arteries = tuple(
            Artery(
                code=entry["code"],
                name=entry["name"],
                label=int(entry["label"]),
                start=entry["start"],
                end=entry["end"],
                side=entry["side"],
                optional=bool(entry["optional"]),
                rgb=_rgb(entry["rgb"]),
                terminology=entry["terminology"],
            )
            for entry in source["arteries"]
        )
        anatomy = Anatomy(str(source["name"]), int(source["version"]), landmarks, arteries, source)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"The anatomy is not usable: {error!r}; compare it with {DEFAULT_ANATOMY_FILE.name}."
        ) from error
    _check(anatomy)
    return anatomy


def read_anatomy(path: Path) -> Anatomy:
    """Read an anatomy JSON file; raises ConfigurationError."""
    try:
        source = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"The anatomy file '{path}' cannot be read: {error}.") from error
    return anatomy_from_dict(source)


@lru_cache(maxsize=1)
def default_anatomy() -> Anatomy:
    """The 19 landmarks and 20 arteries that ship with the program."""
    return read_anatomy(DEFAULT_ANATOMY_FILE)


def _rgb(values: list[int]) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def _check(anatomy: Anatomy) -> None:
    codes = set(anatomy.codes)
    if len(codes) != len(anatomy.landmarks):
        raise ConfigurationError(f"The anatomy '{anatomy.name}' names a landmark twice.")
    for landmark in anatomy.landmarks:
        if landmark.mirror not in codes or anatomy.landmark(landmark.mirror).mirror != landmark.code:
            raise ConfigurationError(
                f"The mirror point of '{landmark.code}' in '{anatomy.name}' is not its counterpart."
            )
    if len({artery.label for artery in anatomy.arteries}) != len(anatomy.arteries):
        raise ConfigurationError(f"The anatomy '{anatomy.name}' uses an artery label twice.")
    for artery in anatomy.arteries:
        if any(end is not None and end not in codes for end in (artery.start, artery.end)):
            raise ConfigurationError(f"The artery '{artery.code}' in '{anatomy.name}' ends at an unknown landmark.")
