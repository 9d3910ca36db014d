"""A page of every variant of phantom version 4 by name: its arteries, landmarks (rings) and runners-up (orange)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from CoWLandmarksLib.core.volume import axis_aligned_grid
from CoWLandmarksLib.pictures.canvas import Canvas, Colour

from .geometry import sample_phantom
from .head_shape import point_index
from .patterns import PatternRates
from .tubes import capsules_of_polyline, joined, rasterise
from .variants import VariantRates, Variants, sample_variants, with_patterns
from .vessel import Phantom, VesselKind

PAGE_SEED = 2028
COLUMNS = 5
PIXEL_MM, BOX_MM, DEPTH_MM = 0.4, 60.0, 44.0
_MOST_DRAWS = 20_000
_GAP, _TITLE, _MARGIN = 4, 20, 12
_BACKGROUND: Colour = (18, 22, 28)
_WHITE: Colour = (235, 238, 242)
_TRUTH: Colour = (90, 230, 120)
_RUNNER_UP: Colour = (255, 160, 50)
_PER_SIDE = "R-"

_SAGITTAL = 0
_VIEWS: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[int, int]], ...] = (
    (("A2", "A2 calibres", "R-A2 course", "R-callosomarginal", "R-frontal branches"), ("R-A2-A3", "R-A1-A2"), (2, 0)),
    (("ACoA",), ("R-A1-A2",), (2, 0)),
    (
        (
            "R-MCA",
            "R-early branches",
            "R-early courses",
            "R-trunk ratio",
            "R-next division",
            "R-lower trunk",
            "R-trunks",
        ),
        ("R-M1-M2",),
        (2, 1),
    ),
    (
        ("R-P2", "R-P2A course", "R-P2 lateral course", "R-PCoA entry", "R-P1 course", "R-PCoA"),
        ("R-P1-P2A", "R-P2A-P2P"),
        (2, 0),
    ),
    (("BA", "R-SCA"), ("BA-T",), (2, 1)),
    (("R-siphon", "R-carotid entry", "R-OphA origin"), ("R-C4-C5",), (0, 1)),
)
"""Keys of `Variants.described`, the landmarks in the middle of the picture, and the two axes looked along."""
_COMMON = ("plain", "usual", "equal", "none", "normal", "visible", "from the basilar artery")


@dataclass(frozen=True)
class NamedVariant:
    """One value of one key of a description."""

    trait: str
    value: str
    centre: tuple[str, ...]
    axes: tuple[int, int]


def named_variants(rates: PatternRates) -> list[NamedVariant]:
    """Everything uncommon that the rates can draw, by its names."""
    found: dict[tuple[str, str], NamedVariant] = {}
    for seed in range(600):
        described = _draw(seed, rates).described()
        for names, centre, axes in _VIEWS:
            for trait in names:
                value = described[trait]
                if value not in _COMMON and ", " not in value.replace("temporal, along", "").replace("thick, ", ""):
                    found.setdefault((trait, value), NamedVariant(trait, value, centre, axes))
    order = [trait for names, _, _ in _VIEWS for trait in names]
    return sorted(found.values(), key=lambda variant: (order.index(variant.trait), variant.value))


def variant_page(rates: PatternRates) -> Canvas:
    """All of them on one picture, each seen from two sides."""
    variants = named_variants(rates)
    rows = -(-len(variants) // COLUMNS)
    size = int(BOX_MM / PIXEL_MM)
    width, height = 2 * size + _GAP, size + _TITLE
    canvas = Canvas(
        2 * _MARGIN + COLUMNS * width + (COLUMNS - 1) * 3 * _GAP,
        2 * _MARGIN + rows * (height + 2 * _GAP),
        _BACKGROUND,
    )
    for number, variant in enumerate(variants):
        row, column = divmod(number, COLUMNS)
        x, y = _MARGIN + column * (width + 3 * _GAP), _MARGIN + row * (height + 2 * _GAP)
        canvas.text(x, y + _TITLE / 2, f"{variant.trait.removeprefix(_PER_SIDE)}: {variant.value}", 13, _WHITE)
        phantom = phantom_with(variant, rates)
        for place, axis in enumerate(variant.axes):
            _picture(canvas, x + place * (size + _GAP), y + _TITLE, phantom, variant.centre, axis)
    return canvas


def phantom_with(variant: NamedVariant, rates: PatternRates) -> Phantom:
    """The first head without disease that has it."""
    for seed in range(_MOST_DRAWS):
        drawn = _draw(seed, rates)
        if drawn.described()[variant.trait] == variant.value:
            rng = np.random.Generator(np.random.Philox(key=[PAGE_SEED, seed]))
            return sample_phantom(rng, variants=drawn, version=4)
    raise ValueError(f"no head with {variant.trait}: {variant.value}")


def _draw(seed: int, rates: PatternRates) -> Variants:
    rng = np.random.Generator(np.random.Philox(key=[PAGE_SEED + 1, seed]))
    healthy = VariantRates(occlusion=0.0, stenosis=0.0, aneurysm=0.0, external_carotid=0.0, patterns=rates)
    drawn = with_patterns(rng, sample_variants(rng, healthy.of_version(4)), rates)
    return replace(drawn, external_carotid=False)


def _picture(canvas: Canvas, x: int, y: int, phantom: Phantom, centre: tuple[str, ...], axis: int) -> None:
    """Arteries looked at along one axis, the nearer the brighter."""
    middle = np.nanmean([phantom.landmarks[point_index(code)] for code in centre], axis=0)
    extent = np.full(3, BOX_MM)
    extent[axis] = DEPTH_MM
    size = (extent / PIXEL_MM).astype(int)
    grid = axis_aligned_grid(middle, np.full(3, PIXEL_MM), (int(size[2]), int(size[1]), int(size[0])))
    tubes = joined(
        [
            capsules_of_polyline(v.points, v.radii, np.ones(len(v.points)), v.label)
            for v in phantom.vessels
            if v.kind is not VesselKind.VEIN
        ]
    )
    coverage = rasterise(tubes, grid, torch.device("cpu")).coverage.numpy()
    depth = np.linspace(0.45, 1.0, coverage.shape[2 - axis])
    shape = [1, 1, 1]
    shape[2 - axis] = -1
    seen = (coverage * depth.reshape(shape)).max(axis=2 - axis)
    across, up = ((1, 2), (0, 2), (0, 1))[axis]
    # Axial and coronal pictures have the patient's right on the left; sagittal ones the face on the right.
    shown = seen[::-1, :] if axis == _SAGITTAL else seen[::-1, ::-1]
    canvas.image(x, y, np.repeat(255.0 * shown[:, :, None], 3, axis=2))
    low = middle - extent / 2
    codes = [code for name in centre for code in (name, name.replace("R-", "L-"))]
    marks = [(np.array(a.position), _RUNNER_UP) for code in codes for a in phantom.alternatives.get(code, ())]
    marks += [(phantom.landmarks[point_index(code)], _TRUTH) for code in codes]  # a runner-up may be another's truth
    for point, colour in marks:
        place = (point - low) / PIXEL_MM
        if not np.isfinite(point).all() or not ((place > 4) & (place < size - 4)).all():
            continue
        column = place[across] if axis == _SAGITTAL else size[across] - place[across]
        canvas.ring((x + float(column), y + float(size[up] - place[up])), 5.0, colour, 1.5)
