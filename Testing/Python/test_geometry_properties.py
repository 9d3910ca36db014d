"""Every transform and conversion against something independent of it: ITK, MRML, or a formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.alignment import fit_similarity
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.coordinates import swap_lps_ras
from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.volume import Grid, Volume, apply_affine
from CoWLandmarksLib.files.markups import read_annotation, write_annotation
from CoWLandmarksLib.io.volume_io import image_from_volume, volume_from_image
from CoWLandmarksLib.networks.heatmap import decode_subvoxel, encode
from CoWLandmarksLib.networks.resampling import resample
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

ANATOMY = default_anatomy()
coordinate = st.floats(-2000.0, 2000.0)
points = st.lists(st.tuples(coordinate, coordinate, coordinate), min_size=1, max_size=6).map(np.array)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def rigid(draw: st.DrawFn, reach_mm: float = 2000.0) -> np.ndarray:
    """Rotation and shift."""
    matrix = np.eye(4)
    angles = draw(st.tuples(*[st.floats(-180.0, 180.0)] * 3))
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = draw(st.tuples(*[st.floats(-reach_mm, reach_mm)] * 3))
    return matrix


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Grids of any orientation and handedness, 0.25 to 1.3 mm, up to metres away."""
    matrix = draw(rigid())
    sizes = np.array(draw(st.tuples(*[st.floats(0.25, 1.3)] * 3)))
    flips = np.array(draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)))
    matrix[:3, :3] = matrix[:3, :3] * sizes * flips
    shape = draw(st.tuples(*[st.integers(4, 12)] * 3))
    return Grid(shape, matrix)


def inside(grid: Grid, seed: int, count: int = 5, margin: float = 0.0) -> np.ndarray:
    """(count, 3) RAS mm at least `margin` voxels inside the centres of the outermost voxels."""
    share = np.random.default_rng(seed).random((count, 3))
    return apply_affine(grid.ijk_to_ras, margin + share * (grid.size - 1 - 2 * margin))


class TestGrids:
    """Windows, transforms and depths."""

    @given(grids(), st.tuples(*[st.integers(-20, 20)] * 3), seeds)
    def test_a_window_is_the_grid_from_another_voxel_on(
        self, grid: Grid, start: tuple[int, int, int], seed: int
    ) -> None:
        window = grid.window(start, (3, 4, 5))
        ijk = np.random.default_rng(seed).integers(0, 5, (4, 3))
        np.testing.assert_allclose(
            apply_affine(window.ijk_to_ras, ijk), apply_affine(grid.ijk_to_ras, ijk + np.array(start)), atol=1e-9
        )
        np.testing.assert_allclose(window.spacing, grid.spacing)

    @given(grids(), rigid(), rigid(), points)
    def test_transforms_are_applied_one_after_the_other(
        self, grid: Grid, first: np.ndarray, second: np.ndarray, ijk: np.ndarray
    ) -> None:
        both = grid.transformed(first).transformed(second)
        by_hand = apply_affine(second, apply_affine(first, apply_affine(grid.ijk_to_ras, ijk)))
        np.testing.assert_allclose(apply_affine(both.ijk_to_ras, ijk), by_hand, atol=1e-6)
        np.testing.assert_allclose(both.spacing, grid.spacing)

    @given(grids(), rigid(), seeds)
    def test_a_depth_does_not_change_when_scan_and_point_move_together(
        self, grid: Grid, move: np.ndarray, seed: int
    ) -> None:
        ras = inside(grid, seed) + np.random.default_rng(seed).normal(0, 5, (5, 3))
        there = grid.transformed(move).depth_mm(apply_affine(move, ras))
        np.testing.assert_allclose(there, grid.depth_mm(ras), atol=1e-6)

    @given(grids(), seeds)
    def test_a_depth_is_the_distance_to_the_nearest_face(self, grid: Grid, seed: int) -> None:
        ras = inside(grid, seed)
        corners = grid.corners().reshape(2, 2, 2, 3)
        distances = []
        for axis in range(3):
            for side in (0, 1):
                face = np.take(corners, side, axis=axis).reshape(4, 3)
                normal = np.cross(face[1] - face[0], face[2] - face[0])
                distances.append(np.abs((ras - face[0]) @ normal) / np.linalg.norm(normal))
        np.testing.assert_allclose(grid.depth_mm(ras), np.min(distances, axis=0), atol=1e-6)


class TestAgainstItk:
    """ITK places the same voxels at the same points, in LPS."""

    @settings(max_examples=50, deadline=None)
    @given(grids(), seeds)
    def test_indices_values_and_points(self, grid: Grid, seed: int) -> None:
        rng = np.random.default_rng(seed)
        volume = Volume(rng.integers(0, 1000, grid.shape).astype(np.int16), grid.ijk_to_ras)
        image = image_from_volume(volume)
        assert image.GetSize() == tuple(grid.size)
        for i, j, k in rng.integers(0, grid.size, (4, 3)).tolist():
            assert image.GetPixel(i, j, k) == volume.voxels[k, j, i]
            lps = image.TransformIndexToPhysicalPoint((i, j, k))
            np.testing.assert_allclose(swap_lps_ras(lps), apply_affine(grid.ijk_to_ras, [i, j, k]), atol=1e-6)
        back = volume_from_image(image, "back")
        np.testing.assert_allclose(back.ijk_to_ras, grid.ijk_to_ras, atol=1e-9)
        np.testing.assert_array_equal(back.voxels, volume.voxels)


def bell(ras: np.ndarray, centre: np.ndarray, sigma_mm: float) -> np.ndarray:
    return np.exp(-((ras - centre) ** 2).sum(axis=-1) / (2.0 * sigma_mm**2))


def on_grid(grid: Grid, centre: np.ndarray, sigma_mm: float) -> torch.Tensor:
    k, j, i = np.indices(grid.shape)
    ras = apply_affine(grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
    return torch.from_numpy(bell(ras, centre, sigma_mm).astype(np.float32))


class TestResampling:
    """Trilinear interpolation of known functions."""

    @settings(max_examples=40, deadline=None)
    @given(grids(), st.tuples(*[st.floats(-180.0, 180.0)] * 3), seeds)
    def test_a_smooth_function_is_followed_as_well_as_straight_lines_can(
        self, source: Grid, angles: tuple[float, float, float], seed: int
    ) -> None:
        sigma = 6.0
        centre = inside(source, seed, 1)[0]
        # A target as fine as the source, anywhere in it and at any angle; half of it may lie beyond.
        matrix = np.eye(4)
        turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        matrix[:3, :3] = turn * float(source.spacing.min())
        target = Grid((4, 5, 6), matrix)
        matrix[:3, 3] = inside(source, seed + 1, 1)[0] - target.centre
        target = Grid((4, 5, 6), matrix)
        sampled = resample(on_grid(source, centre, sigma), source, target, padding=-1.0).numpy()
        k, j, i = np.indices(target.shape)
        ras = apply_affine(target.ijk_to_ras, np.stack([i, j, k], axis=-1))
        ijk = apply_affine(source.ras_to_ijk, ras)
        within = ((ijk >= 0) & (ijk <= source.size - 1)).all(axis=-1)
        # Along each axis the error is at most h^2 / 8 times the largest second derivative, 1 / sigma^2.
        bound = float((source.spacing**2).sum()) / 8.0 / sigma**2
        assert np.abs(sampled - bell(ras, centre, sigma))[within].max(initial=0.0) <= bound + 1e-4
        assert (sampled[((ijk < -1) | (ijk > source.size)).any(axis=-1)] == -1.0).all()

    @settings(max_examples=20, deadline=None)
    @given(grids(), seeds)
    def test_a_heatmap_is_decoded_to_where_it_was_encoded_on_any_grid(self, grid: Grid, seed: int) -> None:
        sigma = 1.3 * float(grid.spacing.max())
        size = np.ceil(8.0 * sigma / grid.spacing).astype(int) + 2
        grid = Grid((int(size[2]), int(size[1]), int(size[0])), grid.ijk_to_ras)
        middle = (size - 1) / 2.0 + np.random.default_rng(seed).uniform(-1, 1, (2, 3))
        places = apply_affine(grid.ijk_to_ras, middle)
        decoded, _ = decode_subvoxel(encode(places, grid, sigma), grid, sigma)
        np.testing.assert_allclose(decoded, places, atol=0.01)

    @given(rigid(300.0), st.floats(0.8, 1.25), seeds)
    def test_points_go_through_a_similarity_and_back(self, move: np.ndarray, scale: float, seed: int) -> None:
        move = move.copy()
        move[:3, :3] *= scale
        here = np.random.default_rng(seed).normal(0, 25, (7, 3))
        there = apply_affine(move, here)
        np.testing.assert_allclose(apply_affine(np.linalg.inv(move), there), here, atol=1e-6)
        np.testing.assert_allclose(fit_similarity(there, here), np.linalg.inv(move), atol=1e-5)


class TestAgainstSlicer:
    """MRML's own arithmetic gives the same world coordinates."""

    @settings(max_examples=15, deadline=None)
    @given(grids(), rigid(), rigid(), seeds)
    def test_voxels_under_two_parent_transforms(
        self, grid: Grid, first: np.ndarray, second: np.ndarray, seed: int
    ) -> None:
        slicer = pytest.importorskip("slicer")
        from CoWLandmarksLib.scene.nodes import add_volume, volume_from_node
        from CoWLandmarksLib.scene.scene_files import create_scene

        scene = create_scene()
        node = add_volume(scene, Volume(np.zeros(grid.shape, np.int16), grid.ijk_to_ras))
        # A point list takes the same way through MRML, point by point.
        ijk = np.random.default_rng(seed).integers(0, grid.size, (3, 3))
        markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
        for place in apply_affine(grid.ijk_to_ras, ijk):
            markups.AddControlPoint(*place)
        parents = []
        for matrix in (first, second):
            parents.append(scene.AddNewNodeByClass("vtkMRMLLinearTransformNode"))
            parents[-1].SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        parents[0].SetAndObserveTransformNodeID(parents[1].GetID())
        for under in (node, markups):
            under.SetAndObserveTransformNodeID(parents[0].GetID())
        world = np.array([markups.GetNthControlPointPositionWorld(number) for number in range(3)])
        np.testing.assert_allclose(apply_affine(volume_from_node(node).ijk_to_ras, ijk), world, atol=1e-3)

    @settings(max_examples=15, deadline=None)
    @given(points)
    def test_slicer_reads_the_positions_that_were_written(
        self, tmp_path_factory: pytest.TempPathFactory, ras: np.ndarray
    ) -> None:
        slicer = pytest.importorskip("slicer")
        path = tmp_path_factory.mktemp("markups") / "points.mrk.json"
        written = [
            LandmarkEstimate(code, tuple(map(float, place)), LandmarkState.FOUND, 1.0, 0.0)  # type: ignore[arg-type]
            for code, place in zip(ANATOMY.codes, ras, strict=False)
        ]
        write_annotation(path, written, ANATOMY)
        node = slicer.vtkMRMLMarkupsFiducialNode()
        storage = slicer.vtkMRMLMarkupsJsonStorageNode()
        storage.SetFileName(str(path))
        assert storage.ReadData(node)
        read = {
            node.GetNthControlPointLabel(number): node.GetNthControlPointPosition(number)
            for number in range(node.GetNumberOfControlPoints())
        }
        for estimate in written:
            np.testing.assert_allclose(read[estimate.code], estimate.position, atol=1e-4)
        for estimate in read_annotation(path, ANATOMY):
            np.testing.assert_allclose(read[estimate.code], estimate.position, atol=1e-9)
