"""Which patient is for training, validation or test: drawn once, kept in a small file, the test split sealed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError

from ..records.aligned_folder import SPLITS
from ..records.input_files import sha256_of
from .annotated_cases import AnnotatedScan

SCHEMA = "cow-splits/1"
SPLITS_FILE = "splits.json"
_FEWEST_TO_DIVIDE = 3


@dataclass(frozen=True)
class Splits:
    """`patients` of every split; `test_cases` (name -> hash of its content); `seal` is the hash of the test split."""

    seed: int
    patients: Mapping[str, tuple[str, ...]]
    test_cases: Mapping[str, str]
    seal: str

    def of(self, scan: AnnotatedScan) -> str | None:
        """The split of a case; None for a patient whom the splits do not know."""
        return next((split for split in SPLITS if scan.patient in self.patients[split]), None)

    def check(self, scans: Sequence[AnnotatedScan]) -> None:
        """Raise AnnotationError when the test split is not what was sealed, or patients have no split.

        A case of the test split that was changed, added or taken away breaks the seal; so does a changed file.
        """
        if self.seal != _seal_of(self.patients["test"], self.test_cases):
            raise AnnotationError("The test split in the splits file was changed by hand; its seal is broken.")
        lost = sorted({scan.patient for scan in scans if self.of(scan) is None})
        if lost:
            raise AnnotationError(
                f"The splits do not know the patients {', '.join(lost[:5])}{' ...' if len(lost) > 5 else ''}; "
                "give them a split with cowlandmarks-train split --extend."
            )
        now = {scan.name: scan for scan in scans if self.of(scan) == "test"}
        listed = sorted(now.keys() | self.test_cases.keys())
        changed = [name for name in listed if not self._holds(now.get(name), self.test_cases.get(name))]
        if changed:
            raise AnnotationError(
                f"The sealed test split has changed (cases {', '.join(changed[:5])}); restore these cases, or draw "
                "new splits with cowlandmarks-train split --force and say so in what you publish."
            )

    @staticmethod
    def _holds(scan: AnnotatedScan | None, sealed: str | None) -> bool:
        """Whether a test case is what was sealed; seals made before voxels of scenes counted hold as well."""
        if scan is None or sealed is None:
            return False
        if content_hash(scan) == sealed:
            return True
        in_scene = scan.image is not None and bool(scan.image.node)
        return in_scene and content_hash(scan, scene_voxels=False) == sealed

    def write(self, path: str | PathLike[str]) -> None:
        """Write the splits file; raises OutputError."""
        content = {
            "schema": SCHEMA,
            "seed": self.seed,
            "patients": self.patients,
            "test_cases": self.test_cases,
            "seal": self.seal,
        }
        write_json(path, content)

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Splits:
        """Read a splits file; raises AnnotationError, also when a patient is in two splits."""
        path = Path(path)
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r}")
            splits = cls(
                seed=int(content["seed"]),
                patients={split: tuple(str(name) for name in content["patients"][split]) for split in SPLITS},
                test_cases={str(name): str(value) for name, value in content["test_cases"].items()},
                seal=str(content["seal"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise AnnotationError(
                f"'{path}' is no readable splits file ({error}); make it with cowlandmarks-train split."
            ) from error
        listed = [patient for split in SPLITS for patient in splits.patients[split]]
        twice = sorted({patient for patient in listed if listed.count(patient) > 1})
        if twice:
            raise AnnotationError(f"'{path}' has the patients {', '.join(twice)} in more than one split.")
        return splits


def draw_splits(
    scans: Sequence[AnnotatedScan],
    seed: int = 1,
    validation_share: float = 0.15,
    test_share: float = 0.2,
    keep: Splits | None = None,
) -> Splits:
    """Divide the patients of a cohort at random.

    Patients in folders named train, validation and test keep these splits, and so do those of `keep`. The others are
    drawn, for each combination of modalities on its own; patients without any image go to training. New patients
    beside `keep` never go to its sealed test split. Raises ConfigurationError for shares that leave nothing for
    training, AnnotationError for a patient in folders of two splits.
    """
    if min(validation_share, test_share) < 0 or validation_share + test_share >= 1:
        raise ConfigurationError("The shares for validation and test must not be negative and must leave a rest.")
    chosen = _fixed(scans, keep)
    groups: dict[tuple[str, ...], list[str]] = {}
    for patient in sorted({scan.patient for scan in scans} - chosen.keys()):
        kinds = sorted({scan.modality.value for scan in scans if scan.patient == patient and scan.image is not None})
        groups.setdefault(tuple(kinds), []).append(patient)
    rng = np.random.Generator(np.random.Philox(seed))
    for modalities, patients in sorted(groups.items()):
        order = [patients[index] for index in rng.permutation(len(patients))]
        test = _count(test_share if keep is None else 0.0, len(order)) if modalities else 0
        validation = _count(validation_share, len(order)) if modalities else 0
        for index, patient in enumerate(order):
            chosen[patient] = "test" if index < test else "validation" if index < test + validation else "train"
    members = {split: tuple(sorted(name for name, own in chosen.items() if own == split)) for split in SPLITS}
    sealed = {scan.name: content_hash(scan) for scan in scans if chosen[scan.patient] == "test"}
    return Splits(seed, members, sealed, _seal_of(members["test"], sealed))


def _fixed(scans: Sequence[AnnotatedScan], keep: Splits | None) -> dict[str, str]:
    fixed: dict[str, str] = {}
    for scan in scans:
        split = keep.of(scan) if keep is not None else None
        split = split or scan.split
        if split is None:
            continue
        if fixed.setdefault(scan.patient, split) != split:
            raise AnnotationError(
                f"Patient '{scan.patient}' has cases in {fixed[scan.patient]} and {split} (case '{scan.name}'); "
                "keep all cases of a patient in one split."
            )
    return fixed


def _count(share: float, patients: int) -> int:
    """Patients for a share: rounded, but at least one where there are enough to divide."""
    if share == 0.0 or patients < _FEWEST_TO_DIVIDE:
        return 0
    return max(1, round(share * patients))


def content_hash(scan: AnnotatedScan, *, scene_voxels: bool = True) -> str:
    """SHA-256 of what a case says: its landmarks (to 1 micrometre), and the bytes of its image file or files.

    Of a scene the voxels and their geometry count (unless `scene_voxels` is false), so that saving it again without
    changes keeps the hash. Raises AnnotationError or VolumeError when the image cannot be read.
    """
    landmarks = [
        [estimate.code, estimate.state.value, [round(x, 3) for x in estimate.position or ()]]
        for estimate in scan.landmarks
    ]
    skipped = scan.image is None or (scan.image.node and not scene_voxels)
    image = "" if skipped else _image_hash(scan)
    return _hash_of([scan.patient, scan.modality.value, landmarks, image])


def _image_hash(scan: AnnotatedScan) -> str:
    assert scan.image is not None
    if not scan.image.node:
        hashes = [sha256_of(file) for file in scan.image_files()]
        return hashes[0] if len(hashes) == 1 else _hash_of(hashes)
    volume = scan.read_volume()
    voxels = np.ascontiguousarray(volume.voxels)
    affine = (np.round(volume.ijk_to_ras, 6) + 0.0).tolist()
    return _hash_of([hashlib.sha256(voxels.tobytes()).hexdigest(), str(voxels.dtype), voxels.shape, affine])


def _seal_of(patients: Sequence[str], cases: Mapping[str, str]) -> str:
    return _hash_of([sorted(patients), sorted(cases.items())])


def _hash_of(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
