"""Fields of view of all kinds with the shipped model: slab, crop, cuts at each side, a scan from the aortic arch."""

from __future__ import annotations

from dataclasses import replace

import bodies
import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.detection import Detection, LandmarkState
from CoWLandmarksLib.core.volume import Modality, Volume, apply_affine
from CoWLandmarksLib.detect.coarse import localise
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, load_model
from CoWLandmarksLib.networks.network_image import NetworkImage
from CoWLandmarksTrainingLib.phantom.phantom_cohort import make_case

BEYOND_MM, WELL_INSIDE_MM = 5.0, 5.0
WHOLE = np.full(3, 1000.0)


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(load_model(DEFAULT_MODEL_FILE), "cpu", mirror=False)


@pytest.fixture(scope="module")
def head() -> tuple[Volume, np.ndarray]:
    """A TOF-MRA whose landmarks all lie inside, and (19, 3) RAS mm of them."""
    case = make_case(7200, 3, Modality.MRA, version=3)
    return case.volume, np.array([estimate.position for estimate in case.truth], float)


def cut(volume: Volume, low: np.ndarray, high: np.ndarray) -> Volume:
    """The part of an axis-aligned scan between two corners (RAS mm)."""
    ijk = apply_affine(volume.grid.ras_to_ijk, np.stack([low, high]))
    first = np.clip(np.floor(ijk.min(axis=0)).astype(int), 0, volume.grid.size)
    last = np.clip(np.ceil(ijk.max(axis=0)).astype(int) + 1, first, volume.grid.size)
    voxels = volume.voxels[first[2] : last[2], first[1] : last[1], first[0] : last[0]]
    window = volume.grid.window((int(first[0]), int(first[1]), int(first[2])), voxels.shape)
    return replace(volume, voxels=voxels, ijk_to_ras=window.ijk_to_ras)


def check_places_and_states(detection: Detection, scan: Volume, places: np.ndarray, median_mm: float) -> int:
    """What lies beyond the scan is outside, the rest is found where it is; returns how many lie beyond."""
    depth = scan.grid.depth_mm(places)
    states = [estimate.state for estimate in detection.landmarks]
    beyond = [n for n in range(len(states)) if depth[n] < -BEYOND_MM]
    reported = [n for n in beyond if states[n] is LandmarkState.OUTSIDE]
    assert len(reported) >= 0.8 * len(beyond), [detection.landmarks[n] for n in beyond if n not in reported]
    inside = [n for n in range(len(states)) if depth[n] > WELL_INSIDE_MM]
    assert not [detection.landmarks[n] for n in inside if states[n] is LandmarkState.OUTSIDE]
    placed = {n: np.array(e.position) for n, e in enumerate(detection.landmarks) if e.position is not None}
    errors = [float(np.linalg.norm(placed[n] - places[n])) for n in inside if n in placed]
    assert np.median(errors) < median_mm
    return len(beyond)


@pytest.mark.parametrize(("axis", "side"), [(axis, side) for axis in range(3) for side in (-1, 1)])
def test_a_scan_cut_through_the_circle_at_any_side(
    detector: Detector, head: tuple[Volume, np.ndarray], axis: int, side: int
) -> None:
    volume, places = head
    low, high = places.mean(axis=0) - WHOLE, places.mean(axis=0) + WHOLE
    count = 5 if axis < 2 else 2  # the circle is flat
    reach = np.sort(side * places[:, axis])[-count]
    (high if side > 0 else low)[axis] = side * (reach - BEYOND_MM - 1.0)
    scan = cut(volume, low, high)
    assert check_places_and_states(detector.detect(scan), scan, places, 2.5) >= count


def test_a_slab_of_30_mm(detector: Detector, head: tuple[Volume, np.ndarray]) -> None:
    volume, places = head
    middle = places.mean(axis=0)
    half = np.array([1000.0, 1000.0, 15.0])
    scan = cut(volume, middle - half, middle + half)
    check_places_and_states(detector.detect(scan), scan, places, 2.0)


def test_a_crop_of_42_mm_round_the_circle(detector: Detector, head: tuple[Volume, np.ndarray]) -> None:
    volume, places = head
    middle = places.mean(axis=0)
    scan = cut(volume, middle - 21.0, middle + 21.0)
    assert check_places_and_states(detector.detect(scan), scan, places, 2.5) >= 1


def test_a_scan_from_the_aortic_arch_to_the_vertex(detector: Detector) -> None:
    scan, places = bodies.head_and_neck(3, (1.5, 1.5, 1.5))
    assert scan.grid.size[2] * scan.grid.spacing[2] == pytest.approx(400.0, abs=1.5)
    detection = detector.detect(scan)
    assert all(estimate.state is not LandmarkState.OUTSIDE for estimate in detection.landmarks)
    found = np.array([e.position if e.position is not None else (np.nan,) * 3 for e in detection.landmarks], float)
    errors = np.linalg.norm(found - places, axis=1)
    assert np.nanmedian(errors) < 5.0  # the right place of the body; the phantom's voxels are coarse
    assert np.nanmax(errors) < 20.0


def test_the_windows_of_the_coarse_search_are_few_where_a_large_field_is_mostly_air() -> None:
    scan = bodies.knee(5)
    wide = np.full((scan.voxels.shape[0], 320, 320), -1000, np.int16)
    wide[:, :110, :110] = scan.voxels
    model = load_model(DEFAULT_MODEL_FILE)
    rule = model.intensity[Modality.CTA]
    counted: list[int] = []

    def read(window: torch.Tensor) -> torch.Tensor:
        counted.append(1)
        return window.new_zeros((1, len(model.anatomy), *window.shape[2:]))

    image = NetworkImage(wide, Volume(wide, scan.ijk_to_ras).grid, torch.device("cpu"), rule, rule.fixed_scale)
    localise(read, read, image, 4.0)
    windows = 2 * 5 * 5  # of 96 x 128 x 128 mm over 156 x 416 x 416 mm
    assert len(counted) < windows / 2
