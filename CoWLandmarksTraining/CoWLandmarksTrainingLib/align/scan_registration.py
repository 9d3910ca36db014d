"""Registration of a scan of the cohort to its template, kept on disk for another run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib.core.atomic_files import plain, write_json
from CoWLandmarksLib.core.errors import CoWLandmarksError
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.core.volume import Volume, apply_affine
from scipy.spatial.transform import Rotation

from ..cohort.annotated_cases import AnnotatedScan
from ..records.input_files import sha256_of
from .crops import network_voxels
from .registration import register

_VERSION = 3
"""Raised when a registration of the same images would come out differently."""


@dataclass(frozen=True)
class RegistrationJob:
    """A scan to register to a template; the result is kept in `folder`.

    `upright` (4, 4) turns the template so that its head is about upright: pitch starts are meant from there. A
    `trial` ends at the coarse level.
    """

    scan: AnnotatedScan
    template: AnnotatedScan
    upright: np.ndarray
    pitch_starts_deg: tuple[float, ...]
    finest_mm: float
    folder: Path
    trial: bool = False

    @property
    def record(self) -> Path:
        """Where the result is kept."""
        return self.folder / (f"trial-{self.template.name}.json" if self.trial else "registration.json")

    @property
    def focus(self) -> np.ndarray | None:
        """(n, 3) RAS mm of the template: its own landmarks, near which vessels count."""
        placed = [estimate.position for estimate in self.template.landmarks if estimate.position is not None]
        return np.array(placed) if placed else None


@dataclass(frozen=True)
class Registered:
    """`scan_to_template` (4, 4) RAS mm, or None with a sentence in `failure`."""

    scan_to_template: np.ndarray | None
    score: float = float("nan")
    failure: str = ""


def network_volume(scan: AnnotatedScan) -> Volume:
    """The scan in network units (float32); raises VolumeError or AnnotationError."""
    volume = scan.read_volume()
    voxels = network_voxels(volume, scan.modality, DEFAULT_INTENSITY_RULES[scan.modality])
    return Volume(voxels.numpy(), volume.ijk_to_ras, scan.name, scan.modality)


def register_scan(job: RegistrationJob) -> Registered:
    """Register one scan, or take what an earlier call found for the same images and settings."""
    try:
        template_content, scan_content = (_content_of(scan) for scan in (job.template, job.scan))
        key = _key(job, [template_content, scan_content])
        kept = _kept(job.record, key)
        if kept is not None:
            return kept
        template, focus = _template_volume(job.template, template_content), job.focus
        found = register(
            replace(template, ijk_to_ras=job.upright @ template.ijk_to_ras),
            network_volume(job.scan),
            focus=None if focus is None else apply_affine(job.upright, focus),
            pitch_starts_deg=job.pitch_starts_deg,
            finest_mm=job.finest_mm,
            thorough=not job.trial,
        )
        scan_to_template = np.linalg.inv(job.upright) @ found.moving_to_fixed
        write_json(job.record, {"key": key, "scan_to_template": scan_to_template, "score": found.score})
        return Registered(scan_to_template, found.score)
    except CoWLandmarksError as error:
        return Registered(None, failure=str(error))


def upright_turn(to_reference: np.ndarray) -> np.ndarray:
    """(4, 4) rotation that makes a scan upright by `to_reference`, in steps of 0.1 radians.

    So rough, because registrations are kept: a cohort that grows by a case moves its frame by a hair.
    """
    rotation = to_reference[:3, :3] / np.cbrt(np.linalg.det(to_reference[:3, :3]))
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(np.round(Rotation.from_matrix(rotation).as_rotvec(), 1)).as_matrix()
    return turn


def _content_of(scan: AnnotatedScan) -> list[str]:
    return [sha256_of(file) for file in scan.image_files()]


_TEMPLATES: dict[tuple[Any, ...], Volume] = {}
"""The template that this process registers to, so that it is read once and not for each scan."""


def _template_volume(template: AnnotatedScan, content: list[str]) -> Volume:
    key = (template.image, template.modality, *content)
    if key not in _TEMPLATES:
        _TEMPLATES.clear()
        _TEMPLATES[key] = network_volume(template)
    return _TEMPLATES[key]


def _key(job: RegistrationJob, files: list[list[str]]) -> str:
    focus = None if job.focus is None else np.round(job.focus, 2)
    content = plain([_VERSION, files, np.round(job.upright, 6), focus, job.pitch_starts_deg, job.finest_mm])
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _kept(record: Path, key: str) -> Registered | None:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        if content["key"] != key:
            return None
        return Registered(np.array(content["scan_to_template"], float).reshape(4, 4), float(content["score"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
