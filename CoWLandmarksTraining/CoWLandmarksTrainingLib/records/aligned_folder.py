"""Aligned cohorts on disk (`cow-aligned/2`): every case in one reference frame, its crop ready to be trained on.

A folder with `aligned.json` and, for each case that has an image, `NAME/crop.npy` (on the reference grid),
`NAME/region.npy` (the circle and what surrounds it at 0.5 mm) and `NAME/coarse.npy` (the whole scan at 1 mm): what
the fine, the circle and the coarse network learn from. Written by `cowlandmarks-train align`, read by the trainer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib.core.alignment import CIRCLE_SHAPE, CIRCLE_SPACING_MM
from CoWLandmarksLib.core.anatomy import Anatomy, anatomy_from_dict, default_anatomy
from CoWLandmarksLib.core.atomic_files import atomic_path, write_json
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.intensity import IntensityRule
from CoWLandmarksLib.core.volume import Grid, Modality, apply_affine, axis_aligned_grid

from .input_files import InputFile
from .rejection import REASON, rejected_names

SCHEMA, FORMER_SCHEMA = "cow-aligned/2", "cow-aligned/1"
ALIGNED_FILE = "aligned.json"
"""A folder that holds it holds no cases."""
CROP_FILE = "crop.npy"
COARSE_FILE = "coarse.npy"
REGION_FILE = "region.npy"
PICTURE_FOLDER, OVERVIEW_PICTURE = "pictures", "aligned.png"
"""What a person looks at: a picture of every case, and one of them all."""
REGION_SPACING_MM, REGION_MARGIN_MM = 0.5, 8.0
SAME_FRAME_MM = 6.0
"""Frames whose mean landmarks differ by more than this are not the same."""
SPLITS = ("train", "validation", "test")
INSIDE, ABSENT, UNKNOWN = 1, 0, -1
"""Status of a landmark: placed inside the scan; no such point exists; beyond the scan or not annotated (masked)."""


@dataclass(frozen=True)
class AlignedFrame:
    """The frame all cases share.

    `grid` is the reference grid, i, j, k along R, A, S; `mean_landmarks` (n, 3) RAS mm of the training cases;
    `method` "template" or "landmarks"; `notes` what a reader of results should know (sentences).
    """

    grid: Grid
    mean_landmarks: np.ndarray
    method: str
    notes: tuple[str, ...] = ()
    region_spacing_mm: float = REGION_SPACING_MM

    @property
    def region(self) -> Grid:
        """The grid of `region()` of a case: what the circle network reads, with a margin, at half its voxel size."""
        sides = np.array(CIRCLE_SHAPE[::-1]) * CIRCLE_SPACING_MM + 2.0 * REGION_MARGIN_MM
        size = np.rint(sides / self.region_spacing_mm).astype(int)
        spacing = np.full(3, self.region_spacing_mm)
        return axis_aligned_grid(self.grid.centre, spacing, (int(size[2]), int(size[1]), int(size[0])))

    def same_as(self, other: AlignedFrame) -> bool:
        """Whether the mean landmarks of two frames lie at the same places."""
        if self.mean_landmarks.shape != other.mean_landmarks.shape:
            return False
        distances = np.linalg.norm(self.mean_landmarks - other.mean_landmarks, axis=1)
        return bool(distances.mean() <= SAME_FRAME_MM)


@dataclass(frozen=True)
class AlignedCase:
    """One scan, or one set of landmarks without a scan, in the reference frame.

    `landmarks` (n, 3) RAS mm of the reference frame, NaN unless `status` (n,) is 1 (inside the scan, possibly
    beyond the reference grid); 0: absent, the heatmap is empty; -1: beyond the scan or not annotated, the channel
    does not count. `ras_to_reference` (4, 4) takes RAS mm of the scan to the frame (a similarity or an affine
    transform); `residual_mm` is the mean distance of the landmarks to the mean landmarks of the frame. `accepted` is
    False, with a `reason`, where the alignment failed (an accepted case with a reason came in by a second way).
    `folder` holds the arrays (None without image), `coarse_grid` is the grid of `coarse()` in RAS mm of the scan.
    """

    name: str
    patient: str
    modality: Modality
    split: str
    landmarks: np.ndarray
    status: np.ndarray
    ras_to_reference: np.ndarray
    residual_mm: float
    accepted: bool = True
    reason: str = ""
    folder: Path | None = None
    coarse_grid: Grid | None = None
    inputs: tuple[InputFile, ...] = ()

    @property
    def rejected_by_person(self) -> bool:
        """Whether a person has rejected it."""
        return not self.accepted and self.reason == REASON

    @property
    def has_image(self) -> bool:
        """Whether there are arrays, or only landmarks."""
        return self.folder is not None

    def crop(self) -> np.ndarray:
        """float16 [k, j, i] in network units on the reference grid, memory-mapped; raises AnnotationError."""
        return self._array(CROP_FILE)

    def region(self) -> np.ndarray:
        """float16 [k, j, i] in network units on the frame's `region` grid, memory-mapped; raises AnnotationError."""
        return self._array(REGION_FILE)

    def coarse(self) -> np.ndarray:
        """float16 [k, j, i] in network units on `coarse_grid`, memory-mapped; raises AnnotationError."""
        return self._array(COARSE_FILE)

    def placed_in(self, grid: Grid) -> np.ndarray:
        """(n,) bool: landmarks placed inside the scan that also lie on a grid of the reference frame."""
        depth = grid.depth_mm(np.nan_to_num(self.landmarks, nan=1e6))
        return np.asarray((self.status == INSIDE) & (depth >= 0.0))

    def landmarks_in_scan(self) -> np.ndarray:
        """(n, 3) RAS mm of the scan, NaN like `landmarks`; for use with `coarse()`."""
        return apply_affine(np.linalg.inv(self.ras_to_reference), self.landmarks)

    def _array(self, name: str) -> np.ndarray:
        if self.folder is None:
            raise AnnotationError(f"The case '{self.name}' has landmarks only; there is no image to read.")
        path = self.folder / name
        try:
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise AnnotationError(f"'{path}' is missing or damaged; run cowlandmarks-train align again.") from error
        return array


@dataclass(frozen=True)
class AlignedCohort:
    """All cases of an aligned folder with what they share; `rules` are the intensity rules of the arrays."""

    anatomy: Anatomy
    frame: AlignedFrame
    rules: Mapping[Modality, IntensityRule]
    all_cases: tuple[AlignedCase, ...]
    folder: Path | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_default_landmarks(self) -> bool:
        """Whether the landmarks are the 19 of the paper, which phantoms have."""
        return self.anatomy.codes == default_anatomy().codes

    def cases(
        self, split: str | None = None, modality: Modality | None = None, *, has_image: bool | None = None
    ) -> tuple[AlignedCase, ...]:
        """Accepted cases of a split and modality (None: any), with image, without (or both)."""
        return tuple(
            case
            for case in self.all_cases
            if case.accepted
            and split in (None, case.split)
            and modality in (None, case.modality)
            and has_image in (None, case.has_image)
        )

    def rejected(self) -> tuple[AlignedCase, ...]:
        """Cases whose alignment failed; their `reason` says how."""
        return tuple(case for case in self.all_cases if not case.accepted)

    def without(self, names: Iterable[str]) -> AlignedCohort:
        """The cohort in which the cases of these names are not accepted because a person rejected them."""
        out = set(names)
        return replace(
            self,
            all_cases=tuple(
                replace(case, accepted=False, reason=REASON) if case.name in out else case for case in self.all_cases
            ),
        )

    @classmethod
    def read(cls, folder: str | PathLike[str], *, check_inputs: bool = True) -> AlignedCohort:
        """Read an aligned folder; raises AnnotationError where it is missing, damaged or out of date.

        With `check_inputs` the files it was made from are compared with what they were then, where they still lie
        in their place (an aligned folder may be used alone, on another machine).
        """
        folder = Path(folder)
        path = folder / ALIGNED_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AnnotationError(
                f"'{folder}' holds no readable {ALIGNED_FILE}; make it with cowlandmarks-train align."
            ) from error
        try:
            cohort = _cohort_from_dict(content, folder).without(rejected_names(folder))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AnnotationError(f"'{path}' is damaged ({error!r}); run cowlandmarks-train align again.") from error
        if check_inputs:
            cohort.check_inputs()
        return cohort

    def check_inputs(self) -> None:
        """Raise AnnotationError when a file that a case was made from has changed since."""
        changed = [case.name for case in self.all_cases if any(file.has_changed(self.folder) for file in case.inputs)]
        if changed:
            names = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
            raise AnnotationError(
                f"The cohort has changed since '{self.folder}' was made from it (cases {names}); "
                "run cowlandmarks-train align again."
            )

    def write(self, folder: str | PathLike[str]) -> None:
        """Write `aligned.json`; the arrays of the cases must already be in their folders. Raises OutputError."""
        write_json(Path(folder) / ALIGNED_FILE, _cohort_to_dict(self))


def case_picture(folder: Path, name: str) -> Path:
    """Where the picture of a case is."""
    return folder / PICTURE_FOLDER / f"{name}.png"


def write_arrays(folder: Path, crop: np.ndarray, region: np.ndarray, coarse: np.ndarray) -> None:
    """Write the arrays of a case as float16, each all at once; raises OutputError."""
    for name, array in ((CROP_FILE, crop), (REGION_FILE, region), (COARSE_FILE, coarse)):
        with atomic_path(folder / name) as temporary:
            np.save(temporary, np.ascontiguousarray(array, dtype=np.float16))


def _cohort_to_dict(cohort: AlignedCohort) -> dict[str, Any]:
    grid = cohort.frame.grid
    return {
        "schema": SCHEMA,
        "anatomy": cohort.anatomy.source,
        "frame": {
            "method": cohort.frame.method,
            "shape": grid.shape,
            "spacing_mm": grid.spacing,
            "centre_mm": grid.centre,
            "mean_landmarks": cohort.frame.mean_landmarks,
            "notes": cohort.frame.notes,
            "region_spacing_mm": cohort.frame.region_spacing_mm,
        },
        "intensity": {modality.value: rule.to_dict() for modality, rule in cohort.rules.items()},
        "provenance": cohort.provenance,
        "cases": [_case_to_dict(case) for case in cohort.all_cases],
    }


def _case_to_dict(case: AlignedCase) -> dict[str, Any]:
    grid = case.coarse_grid
    return {
        "name": case.name,
        "patient": case.patient,
        "modality": case.modality.value,
        "split": case.split,
        "has_image": case.has_image,
        "folder": None if case.folder is None else case.folder.name,
        "accepted": case.accepted,
        "reason": case.reason,
        "residual_mm": case.residual_mm,
        "ras_to_reference": case.ras_to_reference,
        "landmarks": [
            point if status == INSIDE else None for point, status in zip(case.landmarks, case.status, strict=True)
        ],
        "status": case.status,
        "coarse": None if grid is None else {"shape": grid.shape, "ijk_to_ras": grid.ijk_to_ras},
        "inputs": [file.to_dict() for file in case.inputs],
    }


def _cohort_from_dict(content: Mapping[str, Any], folder: Path) -> AlignedCohort:
    if content["schema"] == FORMER_SCHEMA:
        raise AnnotationError(
            f"'{folder}' was made by an earlier version and lacks what the circle network learns from; "
            "run cowlandmarks-train align again."
        )
    if content["schema"] != SCHEMA:
        raise ValueError(f"schema {content['schema']!r} instead of '{SCHEMA}'")
    anatomy = anatomy_from_dict(content["anatomy"])
    frame = content["frame"]
    k, j, i = (int(n) for n in frame["shape"])
    grid = axis_aligned_grid(np.array(frame["centre_mm"], float), np.array(frame["spacing_mm"], float), (k, j, i))
    mean = _points(frame["mean_landmarks"], len(anatomy))
    return AlignedCohort(
        anatomy=anatomy,
        frame=AlignedFrame(grid, mean, str(frame["method"]), tuple(frame["notes"]), float(frame["region_spacing_mm"])),
        rules={Modality(name): IntensityRule(**rule) for name, rule in content["intensity"].items()},
        all_cases=tuple(_case_from_dict(case, folder, len(anatomy)) for case in content["cases"]),
        folder=folder,
        provenance=content["provenance"],
    )


def _case_from_dict(case: Mapping[str, Any], folder: Path, count: int) -> AlignedCase:
    coarse = case["coarse"]
    grid = None
    if coarse is not None:
        k, j, i = (int(n) for n in coarse["shape"])
        grid = Grid((k, j, i), np.array(coarse["ijk_to_ras"], float))
    status = np.array(case["status"], np.int8)
    if status.shape != (count,) or case["split"] not in SPLITS:
        raise ValueError(f"case {case['name']!r} has {status.size} landmarks, split {case['split']!r}")
    return AlignedCase(
        name=str(case["name"]),
        patient=str(case["patient"]),
        modality=Modality(case["modality"]),
        split=case["split"],
        landmarks=_points(case["landmarks"], count),
        status=status,
        ras_to_reference=np.array(case["ras_to_reference"], float).reshape(4, 4),
        residual_mm=float("nan") if case["residual_mm"] is None else float(case["residual_mm"]),
        accepted=bool(case["accepted"]),
        reason=str(case["reason"]),
        folder=None if case["folder"] is None else folder / case["folder"],
        coarse_grid=grid,
        inputs=tuple(InputFile.from_dict(file) for file in case["inputs"]),
    )


def _points(rows: list[Any], count: int) -> np.ndarray:
    points = np.array([[np.nan] * 3 if row is None else row for row in rows], float)
    if points.shape != (count, 3):
        raise ValueError(f"{len(rows)} points instead of {count}")
    return points
