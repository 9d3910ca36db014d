"""Tubes, fields and the rendered phantom: places, amounts, sides, labels, reproducibility."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.volume import Grid, Modality, apply_affine, axis_aligned_grid
from CoWLandmarksTrainingLib.phantom.acquisition import Acquisition, Motion, Siphon, Slabs
from CoWLandmarksTrainingLib.phantom.appearance import Appearance, Family, Masking, Tissue
from CoWLandmarksTrainingLib.phantom.families import TRAINING_FAMILIES, sample_appearance
from CoWLandmarksTrainingLib.phantom.fields import gaussian_blur, smooth_noise
from CoWLandmarksTrainingLib.phantom.geometry import sample_phantom
from CoWLandmarksTrainingLib.phantom.phantom_cohort import scan_grid
from CoWLandmarksTrainingLib.phantom.render import RenderedScan, Scene, render
from CoWLandmarksTrainingLib.phantom.skull_base import bone_capsules, bones_of, sample_skull_base
from CoWLandmarksTrainingLib.phantom.training_cases import sample_scene
from CoWLandmarksTrainingLib.phantom.tubes import Capsules, capsules_of_polyline, joined, rasterise
from CoWLandmarksTrainingLib.phantom.vessel import VesselKind

CPU = torch.device("cpu")
ANATOMY = default_anatomy()
VERSIONS = (3, 5)
"""Version 5 differs from version 4 by its clivus alone."""


def tube(
    start: tuple[float, ...], end: tuple[float, ...], radius: float, label: int = 1, signal: float = 1.0
) -> Capsules:
    return capsules_of_polyline(np.array([start, end], float), np.full(2, radius), np.full(2, signal), label)


def box(spacing: tuple[float, float, float], size: tuple[float, float, float] = (16.0, 16.0, 16.0)) -> Grid:
    shape = [round(length / step) for length, step in zip(size, spacing, strict=True)]
    return axis_aligned_grid(np.array([0.11, -0.07, 0.05]), np.array(spacing), (shape[2], shape[1], shape[0]))


class TestTubes:
    """Coverage, content and labels of straight tubes."""

    @pytest.mark.parametrize("radius", [1.0, 1.6, 2.5])
    @pytest.mark.parametrize("direction", [(1, 0, 0), (0, 0, 1), (1, 2, 0), (1, 1, 1)])
    def test_the_coverage_of_a_tube_is_its_volume(self, radius: float, direction: tuple[float, ...]) -> None:
        half = 5.0 * np.array(direction) / np.linalg.norm(direction)
        grid = box((0.5, 0.5, 0.6))
        coverage = rasterise(tube(tuple(-half), tuple(half), radius), grid, CPU).coverage
        volume = float(coverage.sum()) * float(np.prod(grid.spacing))
        # pi r^2 L, and half a ball at both ends
        assert volume == pytest.approx(np.pi * radius**2 * 10.0 + 4 / 3 * np.pi * radius**3, rel=0.05)
        assert float(coverage.max()) == 1.0

    def test_a_tube_thinner_than_a_voxel_is_capped_at_its_share_of_the_voxel(self) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.ones(3), (9, 9, 9))
        coverage = rasterise(tube((-4, 0, 0), (4, 0, 0), 0.25), grid, CPU).coverage
        assert float(coverage.max()) == pytest.approx(np.pi * 0.25**2, rel=1e-5)
        assert float(coverage[4, 4, 4]) == float(coverage.max())

    def test_the_wall_is_a_ramp_of_the_given_width(self) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.full(3, 0.5), (3, 21, 3))
        coverage = rasterise(tube((-9, 0, 0), (9, 0, 0), 2.0), grid, CPU, edge_mm=1.0).coverage[1, :, 1]
        # distances 0, 0.5 ... 5 mm: full to 1.5, half at the radius, nothing from 2.5 mm
        assert coverage[10:17].tolist() == pytest.approx([1, 1, 1, 1, 0.5, 0, 0], abs=1e-4)
        assert torch.allclose(coverage, coverage.flip(0), atol=1e-4)

    def test_a_tube_lies_where_it_says_also_on_an_oblique_grid(self) -> None:
        turn = np.eye(4)
        turn[:3, :3] = [[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, -1.0]]
        turn[:3, 3] = (30.0, -20.0, 10.0)
        grid = box((0.5, 0.7, 0.6)).transformed(turn)
        start, end = apply_affine(turn, np.array([[-4.0, 1.0, 2.0], [3.0, -2.0, -3.0]]))
        coverage = rasterise(tube(tuple(start), tuple(end), 1.2), grid, CPU).coverage.double().numpy()
        k, j, i = np.indices(grid.shape)
        ras = apply_affine(grid.ijk_to_ras, np.stack([i, j, k], axis=-1))
        centroid = (coverage[..., None] * ras).sum(axis=(0, 1, 2)) / coverage.sum()
        np.testing.assert_allclose(centroid, (start + end) / 2.0, atol=0.03)

    def test_a_cone_is_wider_at_its_wider_end(self) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.full(3, 0.5), (17, 17, 33))
        cone = capsules_of_polyline(np.array([[-6.0, 0, 0], [6.0, 0, 0]]), np.array([1.0, 3.0]), np.ones(2), 1)
        across = rasterise(cone, grid, CPU).coverage.sum(dim=(0, 1)) * 0.25
        # cross-sections at x = -3, 0, 3: radii 1.5, 2, 2.5
        for column, radius in ((10, 1.5), (16, 2.0), (22, 2.5)):
            assert float(across[column]) == pytest.approx(np.pi * radius**2, rel=0.08)

    def test_what_lies_beyond_the_grid_leaves_no_trace(self) -> None:
        grid = box((0.5, 0.5, 0.5))
        far = rasterise(tube((100, 0, 0), (120, 0, 0), 2.0), grid, CPU, with_labels=True)
        assert far.label is not None
        assert float(far.coverage.max()) == float(far.content.max()) == float(far.label.max()) == 0.0

    def test_a_tube_through_the_border_is_cut_and_not_wrapped(self) -> None:
        grid = box((0.5, 0.5, 0.5))
        coverage = rasterise(tube((0, 0, 0), (30, 0, 0), 1.0), grid, CPU).coverage
        assert float(coverage[:, :, -1].max()) == 1.0
        assert float(coverage[:, :, :12].max()) == 0.0

    def test_the_content_is_the_signal_of_the_tube(self) -> None:
        image = rasterise(tube((-5, 0, 0), (5, 0, 0), 2.0, signal=320.0), box((0.5, 0.5, 0.5)), CPU)
        torch.testing.assert_close(image.content, image.coverage * 320.0)

    def test_a_label_goes_to_the_nearest_axis(self) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.full(3, 0.5), (3, 25, 3))
        both = joined([tube((-9, -1.5, 0), (9, -1.5, 0), 2.0, label=3), tube((-9, 1.5, 0), (9, 1.5, 0), 2.0, label=31)])
        label = rasterise(both, grid, CPU, with_labels=True).label
        assert label is not None
        # y = -6 ... 6 in steps of 0.5; the lumina reach from -3.5 to 3.5, their border is at 0
        line = label[1, :, 1].tolist()
        assert line[6:12] == [3] * 6
        assert line[13:19] == [31] * 6
        assert line[:5] == line[20:] == [0] * 5

    def test_the_relatively_nearest_axis_wins_where_a_thin_tube_leaves_a_thick_one(self) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.full(3, 0.4), (3, 21, 3))
        both = joined([tube((-9, 0, 0), (9, 0, 0), 2.0, label=3), tube((0, 1.6, -9), (0, 1.6, 9), 0.7, label=0)])
        label = rasterise(both, grid, CPU, with_labels=True).label
        assert label is not None
        # y = 1.6 is the axis of the thin branch, which has no label; y = 0.8 is nearer to the thick one
        assert int(label[1, 14, 1]) == 0
        assert int(label[1, 12, 1]) == 3


class TestFields:
    """Noise and blur."""

    def test_noise_is_reproducible_smooth_and_of_about_unit_variance(self) -> None:
        grid = box((1.0, 1.0, 1.0), (60.0, 60.0, 60.0))
        one, other = (smooth_noise(grid, 6.0, torch.Generator().manual_seed(4)) for _ in range(2))
        assert torch.equal(one, other)
        assert 0.6 < float(one.std()) < 1.5
        assert float((one[1:] - one[:-1]).std()) < 0.35 * float(one.std())

    def test_blurring_a_point_makes_the_gaussian(self) -> None:
        image = torch.zeros(15, 17, 19)
        image[7, 8, 9] = 1.0
        blurred = gaussian_blur(image, (0.0, 1.0, 1.5))
        assert float(blurred.sum()) == pytest.approx(1.0, rel=1e-5)
        assert float(blurred[6].abs().max()) == 0.0
        ratio = blurred[7, 9, 9] / blurred[7, 8, 9], blurred[7, 8, 12] / blurred[7, 8, 9]
        assert [float(r) for r in ratio] == pytest.approx([np.exp(-0.5), np.exp(-2.0)], rel=1e-4)

    def test_blurring_a_constant_changes_nothing_even_at_the_border(self) -> None:
        torch.testing.assert_close(gaussian_blur(torch.full((5, 6, 7), 3.0), 2.0), torch.full((5, 6, 7), 3.0))

    def test_the_bones_are_the_same_on_both_sides(self) -> None:
        bones = bone_capsules()
        middles = (bones.start + bones.end) / 2.0
        mirrored = middles * (-1.0, 1.0, 1.0)
        gap = np.linalg.norm(middles[:, None] - mirrored[None], axis=-1).min(axis=1)
        assert gap.max() < 1e-9

    def test_the_basilar_artery_lies_behind_the_clivus_from_version_5_on(self) -> None:
        within = {version: [_share_in_bone(seed, version) for seed in range(12)] for version in (4, 5)}
        assert np.mean(within[4]) > 0.2
        assert max(within[5]) < 0.05


def _share_in_bone(seed: int, version: int) -> float:
    """Share of the basilar artery's axis that lies in a bone of the skull base."""
    phantom = sample_phantom(np.random.Generator(np.random.Philox(seed)), version=version)
    build = sample_skull_base(np.random.default_rng(seed))
    bones = bones_of(phantom, build, np.eye(4), near=False)
    axis = next(vessel.points for vessel in phantom.vessels if vessel.name == "BA")
    along = bones.end - bones.start
    part = ((axis[:, None] - bones.start) * along).sum(axis=-1) / np.maximum((along**2).sum(axis=-1), 1e-9)
    part = np.clip(part, 0.0, 1.0)
    nearest = bones.start + part[..., None] * along
    radius = bones.start_radius + part * (bones.end_radius - bones.start_radius)
    return float((np.linalg.norm(axis[:, None] - nearest, axis=-1) < radius).any(axis=1).mean())


def plain(appearance: Appearance) -> Appearance:
    """The appearance as it came from the scanner, without a clip or turbulent flow."""
    scanned = appearance.acquisition
    if scanned:
        scanned = replace(scanned, window=None, eight_bit=False, jpeg_quality=0, motion=None)
        scanned = replace(scanned, siphon_void=0.0, division_void=0.0)
    return replace(appearance, masking=Masking.NONE, metal=False, eight_bit=False, acquisition=scanned)


@cache
def scene(modality: Modality, seed: int, version: int = 3) -> Scene:
    rng = np.random.Generator(np.random.Philox(seed))
    drawn = sample_scene(rng, modality, Family.TRAINING, "clinical", version=version)
    return replace(drawn, appearance=plain(drawn.appearance))


def landmarks_of(some: Scene) -> np.ndarray:
    return apply_affine(some.pose, some.phantom.landmarks)


@cache
def rendered(modality: Modality, seed: int, version: int = 3) -> RenderedScan:
    """The circle at 0.7 mm, with labels."""
    some = scene(modality, seed, version)
    points = landmarks_of(some)
    low, high = np.nanmin(points, axis=0) - 8.0, np.nanmax(points, axis=0) + 8.0
    size = np.ceil((high - low) / 0.7).astype(int)
    grid = axis_aligned_grid((low + high) / 2.0, np.full(3, 0.7), (int(size[2]), int(size[1]), int(size[0])))
    return render(some, grid, CPU, with_labels=True)


def small_grid(some: Scene) -> Grid:
    return axis_aligned_grid(np.nanmean(landmarks_of(some), axis=0), np.full(3, 1.5), (24, 30, 32))


EVERY = [(modality, seed, version) for modality in Modality for seed in (4, 9) for version in VERSIONS]


class TestRender:
    """The whole picture."""

    @pytest.mark.parametrize(("modality", "seed", "version"), EVERY)
    def test_landmarks_lie_on_bright_voxels(self, modality: Modality, seed: int, version: int) -> None:
        scan, points = rendered(modality, seed, version), landmarks_of(scene(modality, seed, version))
        points = points[np.isfinite(points).all(axis=1)]
        bright = []
        for i, j, k in np.rint(apply_affine(scan.grid.ras_to_ijk, points)).astype(int):
            here = float(scan.image[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2].max())
            around = scan.image[max(0, k - 7) : k + 8, max(0, j - 7) : j + 8, max(0, i - 7) : i + 8]
            # On CT the siphon lies beside bone that is brighter still; on TOF it may fill much of its surroundings.
            least = (
                0.8 * around.quantile(0.9)
                if modality is Modality.MRA
                else 0.5 * scene(modality, seed, version).appearance.artery
            )
            bright.append(here > float(least))
        assert np.mean(bright) > 0.9
        assert len(bright) >= 17

    @pytest.mark.parametrize(("modality", "seed", "version"), EVERY)
    def test_the_middle_of_every_artery_has_its_label(self, modality: Modality, seed: int, version: int) -> None:
        scan, some = rendered(modality, seed, version), scene(modality, seed, version)
        assert scan.labels is not None
        missing = []
        for vessel in some.phantom.vessels:
            if vessel.kind is not VesselKind.ARTERY or "ACoA" in vessel.name:
                continue
            third = len(vessel.points) // 3
            ijk = np.rint(
                apply_affine(scan.grid.ras_to_ijk, apply_affine(some.pose, vessel.points[third : 2 * third + 1]))
            )
            inside = ((ijk >= 0) & (ijk < scan.grid.size)).all(axis=1)
            if inside.all() and vessel.radii[third : 2 * third].min() > 0.7:
                i, j, k = ijk.astype(int).T
                missing += [vessel.name] * bool((scan.labels[k, j, i] != vessel.label).float().mean() > 0.5)
        assert missing == []
        present = {a.label for a in ANATOMY.arteries if some.phantom.artery_present[a.code]}
        assert set(scan.labels.unique().tolist()) - {0} <= present

    @pytest.mark.parametrize(("modality", "seed", "version"), EVERY)
    def test_left_stays_left(self, modality: Modality, seed: int, version: int) -> None:
        scan, some = rendered(modality, seed, version), scene(modality, seed, version)
        assert scan.labels is not None
        to_reference = np.linalg.inv(some.pose) @ scan.grid.ijk_to_ras
        across: dict[str, float] = {}
        for artery in ANATOMY.arteries:
            kji = (scan.labels == artery.label).nonzero().numpy()
            if artery.side != "midline" and len(kji) > 20:
                across[artery.code] = float(apply_affine(to_reference, kji[:, ::-1])[:, 0].mean())
        for code, place in across.items():
            # The anterior cerebral arteries may both lie on one side of the basilar tip.
            middle = across.get(("L" if code[0] == "R" else "R") + code[1:], 0.0) if "ACA" in code else 0.0
            assert (place > middle) == (code[0] == "R"), code

    @pytest.mark.parametrize("modality", Modality)
    def test_arteries_of_one_side_only_are_bright_on_that_side_only(self, modality: Modality) -> None:
        some = scene(modality, 3)
        right = tuple(v for v in some.phantom.vessels if not v.name.startswith("L-") and v.kind is VesselKind.ARTERY)
        veins = tuple(v for v in some.phantom.vessels if v.kind is VesselKind.VEIN)
        masked = replace(some.appearance, masking=Masking.VESSELS_ONLY, noise=0.0, masking_level=0.0)
        half = replace(some, phantom=replace(some.phantom, vessels=right + veins), appearance=masked)
        grid = rendered(modality, 3).grid
        image = render(half, grid, CPU).image
        values = {}
        for side in "RL":
            i, j, k = np.rint(apply_affine(grid.ras_to_ijk, landmarks_of(some)[ANATOMY.index(f"{side}-ICA-T")])).astype(
                int
            )
            values[side] = float(image[k, j, i])
        assert values["R"] > (0.2 if modality is Modality.MRA else 100.0)
        assert values["L"] in (0.0, -1024.0)

    @pytest.mark.parametrize("modality", Modality)
    def test_the_same_scene_gives_the_same_image_whatever_the_global_seed(self, modality: Modality) -> None:
        some = scene(modality, 5)
        some = replace(some, appearance=replace(some.appearance, metal=True, ghosting=0.05))
        images = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            images.append(render(some, small_grid(some), CPU).image)
        assert torch.equal(*images)
        other = replace(some, appearance=replace(some.appearance, seed=some.appearance.seed + 1))
        assert not torch.equal(render(other, small_grid(some), CPU).image, images[0])

    @pytest.mark.parametrize("modality", Modality)
    @pytest.mark.parametrize("masking", Masking)
    def test_every_processing_leaves_a_sound_image(self, modality: Modality, masking: Masking) -> None:
        some = scene(modality, 5)
        some = replace(some, appearance=replace(some.appearance, masking=masking, eight_bit=True))
        image = render(some, small_grid(some), CPU).image
        assert bool(image.isfinite().all())
        assert float(image.max()) > float(image.min())
        low, high = (0.0, 0.9) if modality is Modality.MRA else (-100.0, 700.0)
        assert low - 1e-3 <= float(image.min()) <= float(image.max()) <= high + 1e-3
        assert len(image.unique()) <= 256

    def test_values_are_those_of_the_modality(self) -> None:
        tof, cta = (rendered(modality, 3).image for modality in Modality)
        assert float(tof.min()) >= 0.0
        assert 0.5 < float(np.quantile(tof.numpy(), 0.999)) < 2.5
        assert float(cta.min()) < -50.0 or float(cta.median()) < 80.0
        assert float(cta.max()) > 500.0


@pytest.mark.parametrize("version", VERSIONS)
def test_the_frozen_test_family_is_never_drawn_in_training(version: int) -> None:
    rng = np.random.default_rng(1)
    families = [family for family in Family if version >= 4 or family not in TRAINING_FAMILIES]
    drawn = {family: [sample_appearance(rng, Modality.MRA, family, version) for _ in range(60)] for family in families}
    for other in set(families) - {Family.TEST}:
        assert max(a.texture for a in drawn[other]) < min(a.texture for a in drawn[Family.TEST])
    for training in set(families) - {Family.TEST, Family.SITE}:
        assert max(a.bias for a in drawn[training]) < min(a.bias for a in drawn[Family.TEST])
    training, test = (
        [sample_appearance(rng, Modality.CTA, family, version) for _ in range(60)]
        for family in (Family.TRAINING, Family.TEST)
    )
    assert max(a.noise for a in training) < min(a.noise for a in test)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("modality", Modality)
def test_the_scanner_of_a_site_looks_like_nothing_in_training(modality: Modality, version: int) -> None:
    rng = np.random.default_rng(2)
    training, site = (
        [sample_appearance(rng, modality, family, version) for _ in range(60)]
        for family in (Family.TRAINING, Family.SITE)
    )
    assert max(a.noise_correlation_voxels for a in training) < min(a.noise_correlation_voxels for a in site)
    # Exported CTA of version 4 are as soft as the site's; grain and contrast still set it apart.
    sharper = [a for a in training if not (modality is Modality.CTA and a.family is Family.EXPORTED)]
    assert max(a.blur_voxels for a in sharper) < min(a.blur_voxels for a in site)
    assert {a.masking for a in site} == {Masking.NONE}
    tissue = [
        max(a.tissue[Tissue.WHITE] / a.artery for a in training),
        min(a.tissue[Tissue.WHITE] / a.artery for a in site),
    ]
    if modality is Modality.MRA:
        assert tissue[0] < tissue[1]
    # Voxels as coarse as the site's came with version 4.
    grids = [scan_grid(rng, np.zeros(3), family) for family in (Family.TRAINING, Family.SITE)]
    assert (grids[0].spacing < grids[1].spacing).all()


def test_every_choice_of_an_appearance_shows_in_the_image() -> None:
    folder = Path(inspect.getfile(Appearance)).parent
    drawn_in = ("appearance.py", "families.py")
    sources = [path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.name not in drawn_in]
    unused = [field.name for field in fields(Appearance) if not any(f"appearance.{field.name}" in s for s in sources)]
    assert unused == []
    for part in (Acquisition, Slabs, Motion, Siphon):
        name = part.__name__.lower()
        assert [f.name for f in fields(part) if not any(f"{name}.{f.name}" in s for s in sources)] == []


@pytest.mark.parametrize(
    ("modality", "seed"), [(Modality.MRA, 3573125963679195267), (Modality.CTA, 3513569622503618935)]
)
def test_a_seed_goes_on_giving_the_same_appearance(modality: Modality, seed: int) -> None:
    assert sample_appearance(np.random.Generator(np.random.Philox(9)), modality, version=3).seed == seed
