"""Phantoms in the classes of a label scheme: their exact lumens, and a folder as the data set has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from CoWLandmarksLib.core.label_scheme import LabelScheme
from CoWLandmarksLib.core.volume import Volume, apply_affine
from CoWLandmarksLib.io.volume_io import write_volume
from CoWLandmarksTrainingLib.phantom.phantom_cohort import PhantomCase
from CoWLandmarksTrainingLib.phantom.tubes import capsules_of_polyline, joined, rasterise

BEYOND = {
    "ICA-C4": "ICA-C5",
    "MCA-M2a": "MCA-M1",
    "MCA-M2b": "MCA-M1",
    "MCA-M2c": "MCA-M1",
    "ACA-A3": "ACA-A2",
    "PCA-P2P": "PCA-P2A",
}
"""Vessels of phantoms beyond our arteries, and the artery that they continue."""
THIRD_A2 = "ACA-A2-median"


def class_label(vessel: str, scheme: LabelScheme) -> int:
    """The class of a vessel of a phantom; 0 for none."""
    if vessel == THIRD_A2:
        return next(one.label for one in scheme.classes if one.name == "3rd-A2")
    side = vessel[:2] if vessel[:2] in ("R-", "L-") else ""
    artery = side + BEYOND.get(vessel[len(side) :], vessel[len(side) :]).replace("ACoA-2", "ACoA")
    found = scheme.class_of(artery)
    return 0 if found is None else found.label


def true_labels(case: PhantomCase, scheme: LabelScheme) -> Volume:
    """The exact lumens of a phantom in the classes of a scheme, within its region round the true landmarks."""
    scene, grid = case.scene, case.volume.grid
    scale = float(np.cbrt(np.linalg.det(scene.pose[:3, :3])))
    tubes = []
    for vessel in scene.phantom.vessels:
        label = class_label(vessel.name, scheme)
        points = apply_affine(scene.pose, vessel.points)
        tubes.append(capsules_of_polyline(points, scale * vessel.radii, np.ones(len(points)), label))
    drawn = rasterise(joined(tubes), grid, torch.device("cpu"), with_labels=True).label
    assert drawn is not None
    return within_region(Volume(drawn.numpy(), grid.ijk_to_ras, f"{case.name}-{scheme.name}"), case, scheme)


def within_region(labels: Volume, case: PhantomCase, scheme: LabelScheme) -> Volume:
    """The labels inside the region of a scheme round the true landmarks of a phantom, 0 elsewhere."""
    positions = {one.code: one.position for one in case.truth if one.position is not None}
    start, shape = scheme.region_of(labels.grid, positions)
    window = tuple(slice(first, first + n) for first, n in zip(start[::-1], shape, strict=True))
    voxels = np.zeros_like(labels.voxels)
    voxels[window] = labels.voxels[window]
    return Volume(voxels, labels.ijk_to_ras, labels.name)


@dataclass(frozen=True)
class SchemeFolder:
    """A folder laid out as the data set of a scheme."""

    folder: Path
    scheme: LabelScheme

    def add(self, name: str, volume: Volume, labels: Volume) -> None:
        """Write a scan and its label map."""
        layout = self.scheme.layout
        images, maps = self.folder / layout.images[0], self.folder / layout.labels[0]
        for place in (images, maps):
            place.mkdir(parents=True, exist_ok=True)
        write_volume(volume, images / f"{name}{layout.image_suffix}.nii.gz")
        write_volume(labels, maps / f"{name}.nii.gz")


def name_in_set(case: PhantomCase) -> str:
    """The name of a phantom as that set names scans."""
    return f"topcow_{'mr' if case.name.startswith('mra') else 'ct'}_{case.name.rpartition('-')[2]}"
