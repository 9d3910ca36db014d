"""Closed surfaces of the arteries: those that Slicer makes, written beside a result and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core")

import slicer
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.artery_map import ArteryMap, ArteryState, ArteryTrace
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Volume
from CoWLandmarksLib.files.surfaces import artery_surfaces, read_surfaces, write_surfaces
from CoWLandmarksLib.scene.artery_nodes import add_arteries
from CoWLandmarksLib.scene.nodes import add_volume
from CoWLandmarksLib.scene.scene_files import create_scene
from vtk.util.numpy_support import vtk_to_numpy

ANATOMY = default_anatomy()
OBLIQUE = np.array([[0.0, -0.48, 0.2, 40], [0.6, 0, 0, -30], [0, 0.14, 0.77, -20], [0, 0, 0, 1]])
MIRRORED = OBLIQUE @ np.diag([-1.0, 1, 1, 1])


def example(matrix: np.ndarray) -> tuple[Volume, ArteryMap]:
    """Two tubes in a crop of a scan that begins at (5, 7, 3); the other arteries have no voxels."""
    volume = Volume(np.zeros((40, 60, 50), np.int16), matrix, "scan")
    k, j, i = np.mgrid[:20, :30, :25]
    labels = np.zeros(k.shape, np.uint8)
    labels[(j - 10) ** 2 + (k - 9) ** 2 < 14] = ANATOMY.arteries[0].label
    labels[(i - 12) ** 2 + (k - 10) ** 2 + (j - 22) ** 2 / 4 < 16] = ANATOMY.arteries[4].label
    arteries = tuple(ArteryTrace(artery.code, ArteryState.PRESENT, "", 1.0) for artery in ANATOMY.arteries)
    return volume, ArteryMap(arteries, labels, (5, 7, 3), volume.grid, "")


def arrays(surface: object) -> list[np.ndarray]:
    return [
        vtk_to_numpy(surface.GetPoints().GetData()),
        vtk_to_numpy(surface.GetPointData().GetNormals()),
        vtk_to_numpy(surface.GetPolys().GetConnectivityArray()),
    ]


@pytest.mark.parametrize("matrix", [OBLIQUE, MIRRORED], ids=["oblique", "mirrored"])
def test_the_surfaces_are_those_that_slicer_makes(matrix: np.ndarray) -> None:
    volume, arteries = example(matrix)
    scene = create_scene()
    segmentation = add_arteries(scene, add_volume(scene, volume), arteries, ANATOMY).segmentation
    segmentation.CreateClosedSurfaceRepresentation()
    closed = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
    surfaces = dict(artery_surfaces(arteries, ANATOMY))
    assert list(surfaces) == [artery.code for artery in ANATOMY.arteries]
    assert [code for code, surface in surfaces.items() if surface.GetNumberOfPoints()] == [
        ANATOMY.arteries[0].code,
        ANATOMY.arteries[4].code,
    ]
    for number in (0, 4):
        code = ANATOMY.arteries[number].code
        theirs = arrays(segmentation.GetSegmentation().GetSegment(code).GetRepresentation(closed))
        ours = arrays(surfaces[code])
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)
        # Slicer turns the surfaces of a mirrored scan inside out; ours face outwards.
        np.testing.assert_allclose(np.abs(ours[1]), np.abs(theirs[1]), atol=1e-3)
        assert (ours[1] * (ours[0] - ours[0].mean(axis=0))).sum(axis=1).mean() > 0


def test_surfaces_come_back_from_their_file(tmp_path: Path) -> None:
    _, arteries = example(OBLIQUE)
    write_surfaces(tmp_path / "surfaces.npz", arteries, ANATOMY)
    once = (tmp_path / "surfaces.npz").read_bytes()
    write_surfaces(tmp_path / "surfaces.npz", arteries, ANATOMY)
    assert (tmp_path / "surfaces.npz").read_bytes() == once
    back, made = read_surfaces(tmp_path / "surfaces.npz"), dict(artery_surfaces(arteries, ANATOMY))
    assert list(back) == list(made)
    for code, surface in made.items():
        assert back[code].GetNumberOfPoints() == surface.GetNumberOfPoints()
        if surface.GetNumberOfPoints():
            for ours, theirs in zip(arrays(back[code]), arrays(surface), strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_a_broken_file_of_surfaces_is_named(tmp_path: Path) -> None:
    path = tmp_path / "surfaces.npz"
    path.write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(AnnotationError, match=r"surfaces\.npz"):
        read_surfaces(path)
