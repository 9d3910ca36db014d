"""What scanners and export do to version 4 phantoms: exact on small images, and what is drawn of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Grid, Modality, axis_aligned_grid
from CoWLandmarksTrainingLib.config.settings import PHANTOM_VERSIONS
from CoWLandmarksTrainingLib.phantom.acquisition import (
    Acquisition,
    Motion,
    Slabs,
    as_bytes,
    compressed,
    doubled,
    sharpened,
    slab_gain,
    stored,
)
from CoWLandmarksTrainingLib.phantom.appearance import Appearance, Family, Masking, Tissue
from CoWLandmarksTrainingLib.phantom.circle_cases import render_circle_case
from CoWLandmarksTrainingLib.phantom.families import (
    FROZEN_FAMILIES,
    PUBLISHED_WINDOW_HU,
    TRAINING_FAMILIES,
    sample_appearance,
)
from CoWLandmarksTrainingLib.phantom.phantom_cohort import make_case, scan_grid
from CoWLandmarksTrainingLib.phantom.render import Scene, render, streaks
from CoWLandmarksTrainingLib.phantom.siphon_surroundings import surroundings
from CoWLandmarksTrainingLib.phantom.training_cases import render_training_case, sample_scene

CPU = torch.device("cpu")


class TestStoredValues:
    """Windows, 8 bits and JPEG."""

    def test_values_beyond_the_window_are_clipped_and_those_within_are_kept(self) -> None:
        image = torch.tensor([[[-900.0, -161.0, 0.0, 399.5, 1800.0]]])
        clipped = stored(image, Acquisition((0.5, 0.5), window=(-160.0, 400.0)))
        assert clipped.flatten().tolist() == [-160.0, -160.0, 0.0, 399.5, 400.0]

    def test_the_window_of_public_sets_becomes_0_to_255(self) -> None:
        image = torch.tensor([[[-1000.0, -160.0, 40.0, 240.0, 1500.0]]])
        scanned = Acquisition((1.0, 1.0), window=PUBLISHED_WINDOW_HU, eight_bit=True)
        # 40 HU lie in the middle of -160 to 240: 127.5, rounded to even
        assert stored(image, scanned).flatten().tolist() == [0.0, 0.0, 128.0, 255.0, 255.0]

    def test_a_saturated_tof_has_no_more_than_the_vessels_at_255(self) -> None:
        image = torch.linspace(0, 1, 1001)[None, None]
        share = float((as_bytes(image, (0.0, 0.8)) == 255).float().mean())
        assert share == pytest.approx(0.2, abs=0.003)

    def test_what_has_no_window_is_stored_as_it_is(self) -> None:
        image = torch.randn(2, 3, 4)
        assert torch.equal(stored(image, Acquisition((0.5, 0.5))), image)

    @pytest.mark.parametrize("quality", [50, 75, 95])
    def test_jpeg_keeps_whole_numbers_and_a_flat_block_stays_flat(self, quality: int) -> None:
        image = torch.full((2, 16, 24), 100.0)
        image[:, :8, :8] = 30.0
        again = compressed(image, quality)
        assert torch.equal(again, again.round())
        # The step of the mean of a block is 16 / 8 at quality 50, and less above.
        assert float((again - image).abs().max()) <= 1.0
        for rows, columns in ((0, 0), (8, 0), (0, 8), (8, 16)):
            assert len(again[:, rows : rows + 8, columns : columns + 8].unique()) == 1

    def test_jpeg_loses_most_of_the_finest_detail_and_blocks_do_not_depend_on_each_other(self) -> None:
        generator = torch.Generator().manual_seed(1)
        image = 128.0 + 8.0 * torch.randn((1, 16, 16), generator=generator)
        again = compressed(image, 50)
        assert float((again - image).std()) > 2.0
        other = image.clone()
        other[:, 8:, :8] += 40.0
        changed = compressed(other, 50) != again
        assert bool(changed[:, 8:, :8].any())
        assert not bool(changed[:, :8].any())
        assert not bool(changed[:, 8:, 8:].any())

    def test_jpeg_of_the_best_quality_keeps_the_image(self) -> None:
        image = torch.randint(0, 256, (3, 13, 21), generator=torch.Generator().manual_seed(2)).float()
        again = compressed(image, 100)
        assert again.shape == image.shape
        assert float((again - image).abs().max()) <= 1.0
        assert 0.0 <= float(again.min()) <= float(again.max()) <= 255.0

    def test_worse_quality_loses_more(self) -> None:
        image = torch.randint(60, 200, (2, 32, 32), generator=torch.Generator().manual_seed(3)).float()
        lost = [float((compressed(image, quality) - image).abs().mean()) for quality in (30, 60, 90)]
        assert lost[0] > lost[1] > lost[2]


class TestKernelAndMotion:
    """Overshoot, slabs and double contours."""

    def test_a_sharp_kernel_overshoots_on_both_sides_of_an_edge_and_leaves_flat_parts(self) -> None:
        image = torch.zeros(3, 5, 40)
        image[..., 20:] = 100.0
        sharp = sharpened(image, 1.0, (0.0, 1.5, 1.5))
        assert float(sharp[..., 20].min()) > 120.0
        assert float(sharp[..., 19].max()) < -20.0
        torch.testing.assert_close(sharp[..., :12], torch.zeros(3, 5, 12), atol=1e-3, rtol=0)
        torch.testing.assert_close(sharp[..., 28:], torch.full((3, 5, 12), 100.0), atol=1e-3, rtol=0)
        torch.testing.assert_close(sharpened(image, 0.0, (0.0, 1.5, 1.5)), image)

    def test_the_signal_falls_along_a_slab_and_steps_up_where_the_next_begins(self) -> None:
        slabs = Slabs(spacing_mm=20.0, junction=8, drop=0.2, step=0.0)
        gain = slab_gain(np.array([3.0, 13.0, 22.999, 23.0, 33.0, -17.0]), slabs, 3.0, 7)
        np.testing.assert_allclose(gain, [1.0, 0.95, 0.8, 1.0, 0.95, 1.0], atol=1e-3)

    def test_slabs_differ_in_brightness_by_the_drawn_step_and_always_alike(self) -> None:
        slabs = Slabs(spacing_mm=10.0, junction=8, drop=0.0, step=0.05)
        heights = np.arange(0.0, 600.0, 10.0) + 1.0
        gain = slab_gain(heights, slabs, 0.0, 7)
        np.testing.assert_array_equal(gain, slab_gain(heights, slabs, 0.0, 7))
        assert 0.03 < gain.std() < 0.07
        assert np.abs(gain - 1.0).max() <= 0.05 * 3**0.5
        within = slab_gain(heights + 5.0, slabs, 0.0, 7)
        np.testing.assert_array_equal(within, gain)

    def test_a_moved_head_has_two_contours_whose_centre_is_where_it_was(self) -> None:
        image = torch.zeros(3, 21, 21)
        image[:, 10, 10] = 1.0
        where = torch.tensor([0.0, 1.0, 1.0])
        twice = doubled(image, 0.25, (0.0, 8.0), where)
        assert torch.equal(twice[0], image[0])
        assert float(twice[1, 10, 8]) == pytest.approx(0.75)
        assert float(twice[1, 10, 16]) == pytest.approx(0.25)
        index = torch.arange(21.0)
        assert float((twice[1].sum(0) * index).sum()) == pytest.approx(10.0)

    def test_a_head_that_moved_by_part_of_a_voxel_is_interpolated(self) -> None:
        image = torch.zeros(1, 9, 9)
        image[:, 4, 4] = 1.0
        twice = doubled(image, 0.5, (1.0, 0.0), torch.ones(1))
        assert twice[0, :, 4].tolist() == pytest.approx([0, 0, 0, 0.25, 0.5, 0.25, 0, 0, 0])

    def test_streaks_lie_in_the_slices_of_the_metal_and_fade_with_the_distance(self) -> None:
        grid = axis_aligned_grid(np.zeros(3), np.ones(3), (31, 81, 81))
        rays = streaks(grid, np.zeros(3), 2.0, np.random.default_rng(1))
        assert float(rays[15].abs().max()) > 100.0
        assert float(rays[0].abs().max()) < 1e-3
        assert float(rays[15, 35:46, 35:46].abs().mean()) > 3.0 * float(rays[15, :5].abs().mean())


DRAWS = 60


@cache
def drawn(modality: Modality, family: Family) -> list[Appearance]:
    rng = np.random.Generator(np.random.Philox(17))
    return [sample_appearance(rng, modality, family, 4) for _ in range(DRAWS)]


def scanned(appearance: Appearance) -> Acquisition:
    assert appearance.acquisition is not None
    return appearance.acquisition


class TestFamilies:
    """Four families on the training side."""

    @pytest.mark.parametrize("modality", Modality)
    def test_training_draws_all_four_and_says_which(self, modality: Modality) -> None:
        names = [a.family for a in drawn(modality, Family.TRAINING)]
        assert set(names) == set(TRAINING_FAMILIES)
        assert all(names.count(family) > DRAWS / 10 for family in TRAINING_FAMILIES)
        assert not set(TRAINING_FAMILIES) & set(FROZEN_FAMILIES)

    @pytest.mark.parametrize("modality", Modality)
    def test_each_family_differs_from_every_other_in_what_it_is_named_for(self, modality: Modality) -> None:
        thin, routine, exported, emergency = (drawn(modality, family) for family in TRAINING_FAMILIES)
        assert max(scanned(a).voxel_mm[1] for a in thin) < min(scanned(a).voxel_mm[1] for a in emergency) + 0.1
        assert min(scanned(a).sharpening for a in thin) >= max(scanned(a).sharpening for a in routine)
        assert max(a.noise for a in thin) < np.median([a.noise for a in emergency])
        bits = [np.mean([scanned(a).eight_bit for a in family]) for family in (thin, routine, exported, emergency)]
        assert bits[0] == bits[1] == bits[3] == 0.0
        assert bits[2] > 0.8  # binary and vessel-enhanced CT are stored otherwise
        moved = [np.mean([scanned(a).motion is not None for a in family]) for family in (thin, routine, emergency)]
        assert moved[2] > 2.0 * max(moved[:2])
        if modality is Modality.CTA:
            assert min(a.vein / a.artery for a in emergency) > max(a.vein / a.artery for a in thin)
            assert min(scanned(a).voxel_mm[0] for a in exported) >= 0.7
            assert max(scanned(a).voxel_mm[0] for a in exported) > 1.0
        else:
            assert min(a.tissue[Tissue.WHITE] for a in routine) > np.median([a.tissue[Tissue.WHITE] for a in thin])
            assert max(scanned(a).voxel_mm[0] for a in exported) > 0.9

    def test_a_family_of_version_4_is_refused_by_version_3(self) -> None:
        with pytest.raises(ConfigurationError, match="version 3 has no family 'exported'; use version 4"):
            sample_appearance(np.random.default_rng(1), Modality.CTA, Family.EXPORTED, 3)

    @pytest.mark.parametrize("family", FROZEN_FAMILIES)
    @pytest.mark.parametrize("modality", Modality)
    def test_the_frozen_families_look_the_same_in_every_version(self, modality: Modality, family: Family) -> None:
        looks = [
            sample_appearance(np.random.Generator(np.random.Philox(3)), modality, family, v) for v in PHANTOM_VERSIONS
        ]
        assert looks[0] == looks[1] == looks[2]
        assert looks[0].acquisition is None

    def test_voxels_windows_and_turned_heads_cover_what_comes(self) -> None:
        cta = [a for family in TRAINING_FAMILIES for a in drawn(Modality.CTA, family)]
        in_plane, slices = np.array([scanned(a).voxel_mm for a in cta]).T
        assert in_plane.min() < 0.45 < 1.1 < in_plane.max()
        assert 0.4 <= in_plane.min() <= in_plane.max() <= 1.2
        assert slices.min() < 0.5 < 1.7 < slices.max() <= 2.0
        windows = [scanned(a).window for a in drawn(Modality.CTA, Family.EXPORTED) if scanned(a).eight_bit]
        assert 0.4 < np.mean([window == PUBLISHED_WINDOW_HU for window in windows]) < 0.8
        clipped = [w for a in drawn(Modality.CTA, Family.ROUTINE) if (w := scanned(a).window) and w[1] < 3000]
        assert len(clipped) > DRAWS / 3
        assert all(200 <= high <= 600 for _, high in clipped)
        assert 0.05 < np.mean([scanned(a).turned for a in cta]) < 0.5

    def test_a_field_of_view_may_end_within_the_circle(self) -> None:
        rng = np.random.Generator(np.random.Philox(4))
        appearance = drawn(Modality.MRA, Family.ROUTINE)[0]
        low, high = [], []
        for _ in range(40):
            grid = scan_grid(rng, np.zeros(3), Family.ROUTINE, replace(scanned(appearance), ends_inside=True))
            corners = grid.corners()
            low.append(corners[:, 2].min())
            high.append(corners[:, 2].max())
        assert all(-11 < a < 0 or 4 < b < 20 for a, b in zip(low, high, strict=True))
        assert 5 < sum(-11 < a < 0 for a in low) < 35


@cache
def scene(modality: Modality, family: Family, seed: int) -> Scene:
    rng = np.random.Generator(np.random.Philox(seed))
    drawn = sample_scene(rng, modality, family, "clinical", version=4)
    return replace(drawn, appearance=replace(drawn.appearance, masking=Masking.NONE, metal=False, seed=99))


def round_circle(some: Scene, spacing: float = 1.5) -> Grid:
    return axis_aligned_grid(np.nanmean(some.landmarks, axis=0), np.full(3, spacing), (32, 36, 40))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("index", "means", "places"),
    [
        (0, [71.426, 59.082, 73.726, 72.402, 85.021, 101.718, 81.725], 4311.13),
        (1, [53.407, 50.732, 71.512, 69.154, 81.076, 74.169, 42.713], 2971.47),
    ],
)
def test_version_3_is_rendered_as_it_always_was(index: int, means: list[float], places: float) -> None:
    coarse, fine = render_training_case(4, index, CPU, 3)
    circle = render_circle_case(4, index, CPU, 3)
    found = [float(case.image.mean()) for case in (coarse, *fine, circle)]
    assert found == pytest.approx(means, abs=0.002)
    assert float(np.nansum(coarse.landmarks)) == pytest.approx(places, abs=0.01)


class TestRenderedEffects:
    """The effects in whole images."""

    @pytest.mark.parametrize("modality", Modality)
    def test_exported_images_are_whole_numbers_from_0_to_255(self, modality: Modality) -> None:
        saturated = []
        for seed in (5, 6, 7):
            some = scene(modality, Family.EXPORTED, seed)
            image = render(some, round_circle(some), CPU).image
            assert torch.equal(image, image.round())
            assert 0.0 <= float(image.min()) < float(image.max()) == 255.0
            saturated.append(float((image == 255.0).float().mean()))
        assert max(saturated) > 0.001

    def test_a_case_of_eight_bits_is_written_as_such_and_records_how(self) -> None:
        made = make_case(8, 1, Modality.CTA, family=Family.EXPORTED, version=4)
        record = made.record["appearance"]["acquisition"]
        assert made.record["family"] == "exported"
        assert record["eight_bit"]
        assert made.volume.modality is Modality.CTA
        assert made.volume.voxels.dtype == np.uint8
        assert made.volume.voxels.max() == 255
        np.testing.assert_allclose(made.volume.grid.spacing[[0, 2]], record["voxel_mm"])

    @pytest.mark.slow
    @pytest.mark.parametrize("version", [3, 5])
    def test_a_training_case_is_the_same_whoever_renders_it(self, version: int) -> None:
        digests = set()
        for seed in (1, 2):
            torch.manual_seed(seed)
            coarse, fine = render_training_case(4, 1, CPU, version)
            digest = hashlib.sha256(coarse.image.tobytes())
            for case in fine:
                digest.update(case.image.tobytes())
            digests.add(digest.hexdigest())
        assert len(digests) == 1

    def test_a_slab_begins_at_the_height_of_its_landmark(self) -> None:
        some = scene(Modality.MRA, Family.ROUTINE, 6)
        slabs = Slabs(spacing_mm=24.0, junction=8, drop=0.5, step=0.0)
        plain = replace(scanned(some.appearance), slabs=slabs, sharpening=0.0, motion=None)
        flat = replace(some.appearance, acquisition=plain, noise=0.0, bias=0.0, ghosting=0.0, blur_voxels=0.0)
        some = replace(some, appearance=flat)
        centre = some.landmarks[8] + (0.0, 0.0, 0.1)
        grid = axis_aligned_grid(centre, np.ones(3), (21, 24, 24))  # slice 10 lies just above the basilar tip
        without = replace(some, appearance=replace(flat, acquisition=replace(plain, slabs=None)))
        ratio = (render(some, grid, CPU).image / render(without, grid, CPU).image.clamp_min(1e-3)).amax(dim=(1, 2))
        assert float(ratio[10]) == pytest.approx(1.0, abs=1e-3)
        assert float(ratio[9]) == pytest.approx(1.0 - 0.5 * (23.1 / 24) ** 2, abs=1e-3)

    def test_motion_doubles_the_slices_it_lasted_for_alone(self) -> None:
        some = scene(Modality.CTA, Family.ROUTINE, 6)
        still = replace(scanned(some.appearance), motion=None, sharpening=0.0)
        moving = replace(still, motion=Motion((4.0, 0.0), 0.5, 0.0, 6.0))
        images = []
        for acquisition in (still, moving):
            look = replace(some.appearance, acquisition=acquisition, noise=0.0, blur_voxels=0.0)
            images.append(render(replace(some, appearance=look), round_circle(some), CPU).image)
        changed = (images[0] != images[1]).any(dim=2).any(dim=1)
        heights = (np.arange(32) - 15.5) * 1.5
        lasted = [bool(0.0 < height < 6.0) for height in heights]
        assert changed.tolist() == lasted

    def test_flow_voids_take_signal_from_the_lumen_and_add_none(self) -> None:
        some = scene(Modality.MRA, Family.THIN_SLICE, 6)
        base = replace(scanned(some.appearance), sharpening=0.0, slabs=None, motion=None)
        images = []
        for depth in (0.0, 0.8):
            acquisition = replace(base, siphon_void=depth, division_void=depth)
            look = replace(some.appearance, acquisition=acquisition, noise=0.0, bias=0.0, ghosting=0.0)
            images.append(render(replace(some, appearance=look), round_circle(some, 1.0), CPU).image)
        lost = images[0] - images[1]
        assert float(lost.min()) > -1e-4
        assert float(lost.max()) > 0.3
        assert float((lost > 0.01).float().mean()) < 0.05

    def test_bone_round_the_siphon_lies_against_the_lumen_and_is_as_bright(self) -> None:
        some = scene(Modality.CTA, Family.EXPORTED, 6)
        siphon = scanned(some.appearance).siphon
        assert siphon is not None
        round_it = replace(siphon, shell_hu=450.0, shell_mm=1.0, shell_gap_mm=0.3, shell_deg=120.0, sinus_filling=0.9)
        for acquisition in (
            replace(scanned(some.appearance), siphon=round_it),
            replace(scanned(some.appearance), siphon=replace(round_it, shell_hu=0.0, sinus_filling=0.0)),
        ):
            look = replace(some.appearance, acquisition=acquisition)
            found = surroundings(some.phantom, some.head.skull_base, look, np.eye(4))
            thin = found.cortex.start[found.cortex.signal == 450.0]
            if acquisition.siphon is not round_it:
                assert len(thin) == len(found.sinuses.start) == 0
                continue
            carotids = [v for v in some.phantom.vessels if v.name.endswith(("ICA-C4", "ICA-C5", "ICA-C6"))]
            points = np.concatenate([v.points for v in carotids])
            radii = np.concatenate([v.radii for v in carotids])
            gap = np.linalg.norm(thin[:, None] - points[None], axis=2) - radii
            assert len(thin) > 50
            assert np.median(gap.min(axis=1)) == pytest.approx(0.8, abs=0.25)
            assert set(found.sinuses.signal) == {0.9 * look.artery}

    @pytest.mark.slow
    def test_the_head_is_turned_by_up_to_forty_degrees_where_it_is_turned(self) -> None:
        rng = np.random.Generator(np.random.Philox(8))
        angles = []
        for _ in range(30):
            some = sample_scene(rng, Modality.CTA, Family.EMERGENCY, "clinical", version=4)
            across = some.pose[:3, 0] / np.linalg.norm(some.pose[:3, 0])
            angles.append((scanned(some.appearance).turned, abs(np.degrees(np.arctan2(across[1], across[0])))))
        aside, ahead = ([angle for turned, angle in angles if turned is kind] for kind in (True, False))
        assert max(aside) > 20.0
        assert max(aside) < 45.0
        assert max(ahead) < 25.0
