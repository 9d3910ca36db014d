"""Maximum-intensity views of the region around the Circle of Willis, in the reference frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ..core.anatomy import Anatomy
from ..core.artery_map import ArteryMap
from ..core.detection import Detection
from ..core.volume import Modality, Volume, apply_affine, axis_aligned_grid
from ..networks.resampling import resample

REGION_MM = np.array([[-56.0, 56.0], [-34.0, 62.0], [-40.0, 36.0]])
"""Shown part of the reference frame (R, A, S), from-to: the mean landmarks and 15 mm or more around them."""
SAMPLE_MM = 0.5
SLAB_MARGIN_MM = 8.0
_FADE_MM = {Modality.MRA: (10.0, 24.0), Modality.CTA: (5.0, 9.0)}
_FADED = {Modality.MRA: 0.5, Modality.CTA: 0.0}
_CTA_CONTEXT = 0.6
_VESSEL_HU = (200.0, 600.0)
_MAX_REGION_MM = 90.0


@dataclass(frozen=True)
class Projection:
    """One picture: `image` [row, column] in [0, 1], `outside` [row, column] where no ray meets the scan.

    `across` and `down` are reference axes (0 R, 1 A, 2 S); both run against the picture: R, A and S grow towards
    its left and upper edge, as in radiological convention. `letters` are those of left, right, top and bottom edge.
    `labels` [row, column] is the label of the brightest artery voxel that the ray meets, 0 where it meets none.
    """

    title: str
    image: np.ndarray
    outside: np.ndarray
    across: int
    down: int
    upper_left: tuple[float, float]
    letters: tuple[str, str, str, str]
    sample_mm: float
    labels: np.ndarray

    def pixel_of(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) positions (x, y) of reference points (n, 3) in mm from the upper left corner of the picture."""
        return np.array(self.upper_left) - np.asarray(points, float).reshape(-1, 3)[:, [self.across, self.down]]


def maximum_intensity_views(
    volume: Volume,
    detection: Detection,
    anatomy: Anatomy,
    sample_mm: float = SAMPLE_MM,
    arteries: ArteryMap | None = None,
) -> tuple[Projection, Projection, Projection]:
    """Axial, coronal and sagittal view, each of the slab that holds the landmarks.

    What lies away from the arteries (straight lines between the landmarks) is dimmed, because fat in MRA and bone in
    CTA would outshine the vessels. In CTA dense bone is left out as well, and a dim average stands for the head.
    """
    region = _region(detection)
    shape = np.round((region[:, 1] - region[:, 0]) / sample_mm).astype(int)
    grid = axis_aligned_grid(region.mean(axis=1), np.full(3, sample_mm), (int(shape[2]), int(shape[1]), int(shape[0])))
    in_scan = grid.transformed(np.linalg.inv(detection.ras_to_reference))
    voxels = torch.from_numpy(np.ascontiguousarray(volume.voxels.astype(np.float32)))
    samples = resample(voxels, volume.grid, in_scan, padding=float(volume.voxels.min())).numpy()
    inside = _inside(volume, in_scan.ijk_to_ras, samples.shape)
    modality = detection.modality
    distance = _distance_to_arteries(detection, anatomy, region, samples.shape, sample_mm)
    near, far = _FADE_MM[modality]
    weight = np.clip((far - distance) / (far - near), 0.0, 1.0) * (1.0 - _FADED[modality]) + _FADED[modality]
    if modality is Modality.CTA:
        vessel = _vessel_intensity(detection, region, samples, sample_mm)
        windowed = np.clip(samples / (1.3 * vessel), 0.0, 1.0)
        weight[_bone(samples, vessel, distance < far)] = 0.0
    else:
        low, high = _window(samples, inside, distance)
        windowed = np.clip((samples - low) / (high - low), 0.0, 1.0)

    labels = (
        np.zeros(samples.shape, np.uint8)
        if arteries is None
        else _labels_at(arteries, in_scan.ijk_to_ras, samples.shape)
    )
    views = []
    slab = _slab(detection, region, sample_mm)
    for title, axis, across, down, letters in (
        ("Axial (from below)", 2, 0, 1, ("R", "L", "A", "P")),
        ("Coronal (from the front)", 1, 0, 2, ("R", "L", "S", "I")),
        ("Sagittal (from the left)", 0, 1, 2, ("A", "P", "S", "I")),
    ):
        along = 2 - axis  # arrays are [S, A, R]
        part = [slice(None)] * 3
        part[along] = slab[axis]
        cut = tuple(part)
        seen = np.asarray(inside[cut].any(axis=along))
        image = (windowed[cut] * weight[cut]).max(axis=along)
        if modality is Modality.CTA:
            image = np.maximum(image, _CTA_CONTEXT * windowed[cut].mean(axis=along))
        image[~seen] = 0.0
        coloured = _brightest_label(labels[cut], windowed[cut], along)
        upper_left = (float(region[across, 1]), float(region[down, 1]))
        pixels = (image[::-1, ::-1], ~seen[::-1, ::-1])
        views.append(Projection(title, *pixels, across, down, upper_left, letters, sample_mm, coloured[::-1, ::-1]))
    return views[0], views[1], views[2]


def _labels_at(arteries: ArteryMap, ijk_to_ras: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Label of the voxel that each sample [k, j, i] lies in, 0 beyond the label map."""
    found = np.zeros(shape, np.uint8)
    if arteries.labels.size == 0:
        return found
    to_voxel = arteries.scan_grid.ras_to_ijk @ ijk_to_ras
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = np.ones(shape, bool)
    voxel = []
    for axis, (first, size) in enumerate(zip(arteries.start, arteries.labels.shape[::-1], strict=True)):
        index = to_voxel[axis, 0] * i + to_voxel[axis, 1] * j + to_voxel[axis, 2] * k + to_voxel[axis, 3]
        whole = np.rint(index).astype(np.int32) - first
        inside &= (whole >= 0) & (whole < size)
        voxel.append(whole)
    found[inside] = arteries.labels[voxel[2][inside], voxel[1][inside], voxel[0][inside]]
    return found


def _brightest_label(labels: np.ndarray, image: np.ndarray, along: int) -> np.ndarray:
    """Label of the brightest labelled voxel along an axis."""
    brightness = np.where(labels > 0, image + 1e-3, 0.0)
    brightest = np.expand_dims(brightness.argmax(axis=along), along)
    return np.take_along_axis(labels, brightest, along).squeeze(along)


def _placed(detection: Detection) -> np.ndarray:
    """(n, 3) landmarks that have a position, in the reference frame."""
    points = [estimate.position for estimate in detection.landmarks if estimate.position is not None]
    return apply_affine(detection.ras_to_reference, np.array(points, float).reshape(-1, 3))


def _region(detection: Detection) -> np.ndarray:
    """REGION_MM, wider where a landmark lies near its edge or beyond."""
    points = _placed(detection)
    region = REGION_MM.copy()
    if len(points):
        region[:, 0] = np.minimum(region[:, 0], np.floor(points.min(axis=0) - 6.0))
        region[:, 1] = np.maximum(region[:, 1], np.ceil(points.max(axis=0) + 6.0))
    return np.clip(region, -_MAX_REGION_MM, _MAX_REGION_MM)


def _slab(detection: Detection, region: np.ndarray, sample_mm: float) -> list[slice]:
    """Per reference axis the samples between the outermost landmarks and a margin; all where there are few."""
    points = _placed(detection)
    if len(points) < 6:
        return [slice(None)] * 3
    first = np.floor((points.min(axis=0) - SLAB_MARGIN_MM - region[:, 0]) / sample_mm).astype(int)
    last = np.ceil((points.max(axis=0) + SLAB_MARGIN_MM - region[:, 0]) / sample_mm).astype(int)
    return [slice(max(0, int(a)), int(b)) for a, b in zip(first, last, strict=True)]


def _inside(volume: Volume, ijk_to_ras: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Whether each sample [k, j, i] lies within the scan."""
    to_voxel = np.linalg.inv(volume.ijk_to_ras) @ ijk_to_ras
    k, j, i = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = np.ones(shape, bool)
    for axis, size in enumerate(volume.grid.size):
        index = to_voxel[axis, 0] * i + to_voxel[axis, 1] * j + to_voxel[axis, 2] * k + to_voxel[axis, 3]
        inside &= (index >= -0.5) & (index <= size - 0.5)
    return inside


def _distance_to_arteries(
    detection: Detection, anatomy: Anatomy, region: np.ndarray, shape: tuple[int, ...], sample_mm: float
) -> np.ndarray:
    """Distance in mm of each sample to the straight lines between landmarks that an artery joins, to 0.5 mm."""
    coarse = 4
    positions = {e.code: e.position for e in detection.landmarks if e.position is not None}
    lines = [(artery.start, artery.end) for artery in anatomy.arteries] + [(code, code) for code in positions]
    sizes = [-(-n // coarse) + 1 for n in shape]
    s, a, r = np.meshgrid(
        *(np.arange(n) * coarse * sample_mm + region[axis, 0] for axis, n in zip((2, 1, 0), sizes, strict=True)),
        indexing="ij",
    )
    places = np.stack([r, a, s], axis=-1)
    distance = np.full(sizes, 0.0 if not positions else np.inf, np.float32)
    for start, end in lines:
        if start in positions and end in positions:
            p, q = apply_affine(detection.ras_to_reference, np.array([positions[start], positions[end]]))
            along = np.clip((places - p) @ (q - p) / max(float((q - p) @ (q - p)), 1e-9), 0.0, 1.0)
            distance = np.minimum(distance, np.linalg.norm(places - p - along[..., None] * (q - p), axis=-1))
    fine = np.asarray(distance, np.float32)
    for axis, n in enumerate(shape):
        position = np.arange(n) / coarse
        first = position.astype(int)
        part = (position - first).reshape([-1 if other == axis else 1 for other in range(3)]).astype(np.float32)
        fine = fine.take(first, axis) * (1 - part) + fine.take(first + 1, axis) * part
    return fine


def _vessel_intensity(detection: Detection, region: np.ndarray, samples: np.ndarray, sample_mm: float) -> float:
    """Typical intensity at the landmarks in HU, within sane limits."""
    indices = np.rint((_placed(detection) - region[:, 0]) / sample_mm - 0.5).astype(int)
    i, j, k = np.clip(indices, 1, np.array(samples.shape[::-1]) - 2).T
    values = [samples[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].mean() for x, y, z in zip(i, j, k, strict=True)]
    return float(np.clip(np.median(values), *_VESSEL_HU)) if values else 350.0


def _bone(samples: np.ndarray, vessel: float, where: np.ndarray) -> np.ndarray:
    """Crude bone: what is brighter than vessels and hangs together with what is much brighter, and its rim."""
    smooth = ndimage.uniform_filter(samples, 2)
    labels, _ = ndimage.label((smooth > 1.2 * vessel) & where)
    dense = np.unique(labels[smooth > 1.5 * vessel + 100.0])
    return ndimage.binary_dilation(np.isin(labels, dense[dense > 0]), iterations=2)


def _window(samples: np.ndarray, inside: np.ndarray, distance: np.ndarray) -> tuple[float, float]:
    """Values shown black and white in MRA: most tissue, and the brightest vessels of the circle."""
    every = samples[::4, ::4, ::4]
    tissue, arteries = every[inside[::4, ::4, ::4]], samples[inside & (distance < 4.0)]
    if tissue.size == 0 or arteries.size == 0:
        return 0.0, 1.0
    low, high = float(np.percentile(tissue, 60.0)), float(np.percentile(arteries, 99.5))
    return (low, high) if high > low else (low, low + 1.0)
