"""A detector without a network, for tests of what happens around detection: files, names, exit codes, progress."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import SimpleITK
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy
from CoWLandmarksLib.core.detection import Detection, LandmarkEstimate, LandmarkState, Verdict
from CoWLandmarksLib.core.errors import VolumeError
from CoWLandmarksLib.core.volume import Modality, Volume

UNTRUSTED, REFUSED, BROKEN, SLOW = 901, 902, 903, 904
"""A scan whose brightest voxel has one of these values makes the detector behave so."""
AWAKE = "FIXED_DETECTOR_AWAKE"
"""Where this is set in the environment, no scan is slow."""


class FixedDetector:
    """Puts the landmarks on a line through the centre of the scan; the brightest voxel chooses its behaviour."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        self.calls: list[tuple[str, Modality | None, Mapping[str, np.ndarray] | None]] = []

    def detect(
        self,
        volume: Volume,
        *,
        modality: Modality | None = None,
        hint: Mapping[str, np.ndarray] | None = None,
        progress: Callable[[str, float, str], None] | None = None,
    ) -> Detection:
        self.calls.append((volume.name, modality, hint))
        behaviour = int(volume.voxels.max())
        for step, stage in enumerate(("align", "refine")):
            if progress is not None:
                progress(stage, step / 2, f"{stage} the landmarks")
                progress(stage, step / 2 + 0.25, f"{stage} the landmarks")
        if behaviour == REFUSED:
            raise VolumeError(f"'{volume.name}' is refused; give another scan.")
        if behaviour == BROKEN:
            raise ZeroDivisionError("a bug\nover two lines")
        if behaviour == SLOW and not os.environ.get(AWAKE):
            time.sleep(60)
        trusted = behaviour != UNTRUSTED
        return Detection(
            scan=volume.name,
            modality=modality or Modality.MRA,
            verdict=Verdict.OK if trusted else Verdict.DO_NOT_TRUST,
            reasons=() if trusted else ("This is a knee.",),
            landmarks=tuple(self._estimate(volume, number, code) for number, code in enumerate(self.anatomy.codes)),
            ras_to_reference=np.eye(4),
            warnings=volume.warnings,
        )

    def _estimate(self, volume: Volume, number: int, code: str) -> LandmarkEstimate:
        r, a, s = volume.grid.centre + 0.5 * (number - len(self.anatomy) / 2)
        return LandmarkEstimate(code, (float(r), float(a), float(s)), LandmarkState.FOUND, 0.9, 0.8)


def make_fixed_detector(arguments: argparse.Namespace) -> tuple[FixedDetector, Anatomy]:
    """The detector factory that the tests give to the command line; this file takes the place of its model's."""
    arguments.model = arguments.model or Path(__file__)
    return FixedDetector(default_anatomy()), default_anatomy()


def write_scan(path: Path, brightest: int = 900) -> Path:
    """A small scan file of vessel-like lines; the ending of `path` chooses the format."""
    voxels = np.random.default_rng(7).integers(20, 60, (20, 28, 24)).astype(np.int16)
    voxels[:, 12:14, 10:12] = 400
    voxels[10, 14, 4:20] = brightest
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing((2.0, 2.0, 2.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path))
    return path


if __name__ == "__main__":
    from CoWLandmarksLib.__main__ import main

    sys.exit(main(None, make_fixed_detector))
