"""A page of random phantom cases, to look at: a thin maximum projection and one slice of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from CoWLandmarksLib.core.volume import Modality, Volume, axis_aligned_grid
from CoWLandmarksLib.networks.resampling import resample
from CoWLandmarksLib.pictures.canvas import Canvas, Colour

from ..config.settings import PHANTOM_VERSION
from .appearance import Family
from .phantom_cohort import make_case

SHEET_SEED = 2027
CASES = 24
COLUMNS = 5
PANEL = 150
_PIXEL_MM = 0.8
_SLAB_MM = 30.0
_GAP, _TITLE, _MARGIN = 6, 22, 14
_BACKGROUND: Colour = (18, 22, 28)
_WHITE: Colour = (235, 238, 242)
_WINDOW_HU = (-100.0, 600.0)


@dataclass(frozen=True)
class Tile:
    """A scan on the page; `centre` (3,) RAS mm is shown in the middle of both panels; `window` black and white, by
    the modality where None."""

    title: str
    volume: Volume
    modality: Modality
    centre: np.ndarray
    window: tuple[float, float] | None = None


def random_tiles(
    seed: int = SHEET_SEED,
    count: int = CASES,
    *,
    modalities: tuple[Modality, ...] = tuple(Modality),
    family: Family = Family.TRAINING,
    version: int = PHANTOM_VERSION,
    anatomy: str = "development",
) -> list[Tile]:
    """`count` cases of one seed, the modalities in turn."""
    tiles = []
    for number in range(count):
        modality = modalities[number % len(modalities)]
        case = make_case(seed, number // len(modalities), modality, family=family, version=version, anatomy=anatomy)
        points = np.array([e.position for e in case.truth if e.position is not None], float)
        name = "TOF-MRA" if modality is Modality.MRA else "CTA"
        acquisition = case.scene.appearance.acquisition
        properties = [case.record["family"] if acquisition else "", case.record["masking"]]
        title = ", ".join([name, *(value for value in properties if value not in ("", "none"))])
        window = (0.0, 255.0) if acquisition and acquisition.eight_bit else None
        tiles.append(Tile(title, case.volume, modality, points.mean(axis=0), window))
    return tiles


def contact_sheet(tiles: list[Tile]) -> Canvas:
    """Tiles in rows of five; of each, the maximum over 30 mm (left) and one slice (right), both axial, from below."""
    rows = -(-len(tiles) // COLUMNS)
    width, height = 2 * PANEL + _GAP, PANEL + _TITLE
    canvas = Canvas(
        2 * _MARGIN + COLUMNS * width + (COLUMNS - 1) * 2 * _GAP,
        2 * _MARGIN + rows * height + (rows - 1) * 2 * _GAP,
        _BACKGROUND,
    )
    for number, tile in enumerate(tiles):
        row, column = divmod(number, COLUMNS)
        x, y = _MARGIN + column * (width + 2 * _GAP), _MARGIN + row * (height + 2 * _GAP)
        canvas.text(x, y + _TITLE / 2, tile.title, 14, _WHITE)
        for place, panel in enumerate(_panels(tile)):
            canvas.image(x + place * (PANEL + _GAP), y + _TITLE, np.repeat(255.0 * panel[:, :, None], 3, axis=2))
    return canvas


def _panels(tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """Maximum projection and slice [row, column] in [0, 1]; the patient's right is on the left, the face up."""
    layers = int(_SLAB_MM / _PIXEL_MM)
    grid = axis_aligned_grid(tile.centre, np.full(3, _PIXEL_MM), (layers, PANEL, PANEL))
    voxels = torch.from_numpy(np.asarray(tile.volume.voxels, dtype=np.float32))
    least = float(voxels.min())
    samples = resample(voxels, tile.volume.grid, grid, padding=least).numpy()
    low, high = _WINDOW_HU if tile.modality is Modality.CTA else (0.0, float(np.quantile(samples, 0.9985)))
    low, high = tile.window or (low, high)
    shown = np.clip((samples - low) / max(high - low, 1e-6), 0.0, 1.0)[:, ::-1, ::-1]
    return shown.max(axis=0), shown[layers // 2]
