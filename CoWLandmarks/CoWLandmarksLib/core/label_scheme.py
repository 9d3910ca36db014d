"""Label schemes of other data sets: which class stands for which of our arteries, and in which region."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .anatomy import Anatomy
from .errors import AnnotationError, ConfigurationError
from .volume import Grid, apply_affine

SCHEMES_FOLDER = Path(__file__).parent.parent / "Resources" / "LabelSchemes"
_SCHEMA = "cow-label-scheme/1"
_SIDES = (("right", "left"), ("anterior", "posterior"), ("superior", "inferior"))
"""Names of the directions along R, A and S, the positive one first."""


@dataclass(frozen=True)
class LabelClass:
    """One class: its value in label maps, its name, and the codes of our arteries in it, from the circle outwards.

    `continues` ("start" or "end") is the end of the outermost artery at which the class goes on beyond our arteries,
    to the edge of the region; None where it does not.
    """

    label: int
    name: str
    arteries: tuple[str, ...]
    continues: str | None


@dataclass(frozen=True)
class FolderLayout:
    """Where a data set keeps scans and label maps: names of folders, and what ends the names of scans alone."""

    images: tuple[str, ...]
    image_suffix: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class LabelScheme:
    """The classes of a data set; its region is the box of `region` (landmark codes), grown by `margins_mm`.

    The keys of `margins_mm` are right, left, anterior, posterior, superior and inferior.
    """

    name: str
    source: str
    classes: tuple[LabelClass, ...]
    region: tuple[str, ...]
    margins_mm: Mapping[str, float]
    layout: FolderLayout

    @property
    def labels(self) -> tuple[int, ...]:
        """The values of all classes."""
        return tuple(one.label for one in self.classes)

    def class_of(self, artery: str) -> LabelClass | None:
        """The class that an artery (code) belongs to; None for an artery that the scheme leaves out."""
        return next((one for one in self.classes if artery in one.arteries), None)

    def lookup(self, anatomy: Anatomy) -> np.ndarray:
        """uint8 (256,) from our labels to those of the scheme; raises ConfigurationError for another anatomy."""
        table = np.zeros(256, np.uint8)
        for one in self.classes:
            for code in one.arteries:
                table[anatomy.artery(code).label] = one.label
        return table

    def region_of(
        self, grid: Grid, positions: Mapping[str, Sequence[float]]
    ) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """First voxel (i, j, k) and shape (K, J, I) of the region in a scan, cut at the edges of the scan.

        `positions` are RAS mm of landmarks by code. The box lies along the voxel axes, and the margin on each side is
        that of the anatomical direction nearest to it. Raises AnnotationError where no landmark of the region is given.
        """
        known = [positions[code] for code in self.region if code in positions]
        if not known:
            raise AnnotationError(
                f"none of {', '.join(self.region)} is placed, so that the region of the labels '{self.name}' is not "
                "known; place one of them."
            )
        voxels = apply_affine(grid.ras_to_ijk, np.array(known, float))
        low, high = voxels.min(axis=0), voxels.max(axis=0)
        directions = grid.ijk_to_ras[:3, :3] / grid.spacing
        for axis in range(3):
            nearest = int(np.argmax(np.abs(directions[:, axis])))
            ahead, behind = _SIDES[nearest] if directions[nearest, axis] > 0 else _SIDES[nearest][::-1]
            low[axis] -= self.margins_mm[behind] / grid.spacing[axis]
            high[axis] += self.margins_mm[ahead] / grid.spacing[axis]
        first = np.clip(np.ceil(low), 0, grid.size).astype(int)
        last = np.clip(np.floor(high) + 1, first, grid.size).astype(int)
        width, height, depth = (int(n) for n in last - first)
        return (int(first[0]), int(first[1]), int(first[2])), (depth, height, width)


def known_schemes() -> tuple[str, ...]:
    """Names of the schemes that come with the program."""
    return tuple(sorted(path.stem for path in SCHEMES_FOLDER.glob("*.json")))


def read_label_scheme(name: str) -> LabelScheme:
    """The scheme of this name, or in this JSON file; raises ConfigurationError."""
    path = Path(name) if name.lower().endswith(".json") else SCHEMES_FOLDER / f"{name}.json"
    if not path.is_file():
        raise ConfigurationError(
            f"'{name}' is no label scheme; use {', '.join(known_schemes())}, or the name of a .json file like "
            f"'{SCHEMES_FOLDER.name}/{known_schemes()[0]}.json'."
        )
    try:
        return _scheme(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"The label scheme '{path}' is not usable ({error!r}); correct the file.") from error


def _scheme(content: Mapping[str, Any]) -> LabelScheme:
    if content["schema"] != _SCHEMA:
        raise ValueError(f"schema {content['schema']} instead of {_SCHEMA}")
    classes = tuple(
        LabelClass(int(entry["label"]), str(entry["name"]), tuple(entry["arteries"]), entry["continues"])
        for entry in content["classes"]
    )
    labels = [one.label for one in classes]
    arteries = [code for one in classes for code in one.arteries]
    if len(set(labels)) < len(labels) or not all(0 < label < 256 for label in labels):
        raise ValueError("labels are whole numbers from 1 to 255, each used once")
    if len(set(arteries)) < len(arteries):
        raise ValueError("an artery belongs to two classes")
    if any(one.continues not in (None, "start", "end") for one in classes):
        raise ValueError("'continues' is start, end or null")
    layout = content["layout"]
    return LabelScheme(
        name=str(content["name"]),
        source=str(content["source"]),
        classes=classes,
        region=tuple(content["region"]["landmarks"]),
        margins_mm={side: float(content["region"]["margins_mm"][side]) for pair in _SIDES for side in pair},
        layout=FolderLayout(tuple(layout["images"]), str(layout["image_suffix"]), tuple(layout["labels"])),
    )
