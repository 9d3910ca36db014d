"""A scene of slicer-core with a small scan, a bright voxel at each landmark, and its detection."""

from __future__ import annotations

import numpy as np
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.detection import Detection, LandmarkEstimate, LandmarkState, Verdict
from CoWLandmarksLib.core.volume import Modality, Volume
from CoWLandmarksLib.scene.nodes import add_detection, add_volume
from CoWLandmarksLib.scene.scene_files import create_scene

ANATOMY = default_anatomy()
MATRIX = np.array([[0, -1.0, 0, 40], [1.0, 0, 0, -30], [0, 0, 2.0, -20], [0, 0, 0, 1]])


def points_of(number: int) -> tuple[float, float, float]:
    return (2.0 * number - 20.0, 1.5 * number - 10.0, 0.5 * number)


def make_scene(placed: int = 19, modality: Modality = Modality.MRA) -> tuple[object, object, object]:
    scene = create_scene()
    voxels = np.full((30, 80, 70), 10, np.int16)
    inverse = np.linalg.inv(MATRIX)
    for number in range(19):
        i, j, k = np.rint(inverse[:3, :3] @ points_of(number) + inverse[:3, 3]).astype(int)
        voxels[k, j, i] = 500
    volume_node = add_volume(scene, Volume(voxels, MATRIX, "scan", modality))
    landmarks = tuple(
        LandmarkEstimate(
            code,
            points_of(n) if n < placed else None,
            LandmarkState.FOUND if n < placed else LandmarkState.ABSENT,
            0.9,
            1.0,
        )
        for n, code in enumerate(ANATOMY.codes)
    )
    detection = Detection("scan", modality, Verdict.OK, (), landmarks, np.eye(4))
    return scene, volume_node, add_detection(scene, volume_node, detection, ANATOMY).markups
