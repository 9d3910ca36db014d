"""From scanner units to network units, and telling MRA from CTA."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES, IntensityRule, hounsfield_offset, recognise_modality
from CoWLandmarksLib.core.volume import Modality

MRA, CTA = DEFAULT_INTENSITY_RULES[Modality.MRA], DEFAULT_INTENSITY_RULES[Modality.CTA]


def head(vessel: float = 900.0, background: float = 200.0, vessel_voxels: int = 6000) -> np.ndarray:
    """60^3 voxels of background with a block of vessel values."""
    voxels = np.full((60, 60, 60), background, np.float32)
    voxels.ravel()[:vessel_voxels] = vessel
    return voxels


def test_the_scale_is_the_value_that_the_brightest_millilitres_exceed() -> None:
    voxels = np.arange(100_000, dtype=np.float32).reshape(50, 50, 40)
    # 5 ml of 100 ml at 1 mm^3 are 5 %, more than the allowed 1.5 %: the 1500 brightest.
    assert MRA.scale(voxels, 1.0) == 98_500.0
    # At 20 mm^3 (2000 ml) 5 ml are 0.25 %: the 250 brightest.
    assert MRA.scale(voxels, 20.0) == 99_750.0


@pytest.mark.parametrize("background", [0.0, 100.0, 300.0])
def test_the_scale_of_an_mra_does_not_depend_on_the_background(background: float) -> None:
    assert MRA.scale(head(background=background), 0.3) == 900.0


@pytest.mark.parametrize("gain", [0.001, 1.0, 37.0])
def test_a_gain_of_the_scanner_changes_nothing_in_an_mra(gain: float) -> None:
    voxels = head() * np.linspace(0.9, 1.1, 60, dtype=np.float32)
    image = torch.from_numpy(voxels)
    one = MRA.apply(image, MRA.scale(voxels, 0.3))
    other = MRA.apply(image * gain, MRA.scale(voxels * np.float32(gain), 0.3))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "int64", "float16", "float64", ">i2"])
def test_every_type_of_number_has_the_same_scale(dtype: str) -> None:
    assert MRA.scale(head(200.0, 50.0).astype(dtype), 0.3) == 200.0


def test_very_few_vessel_voxels_are_scaled_by_their_maximum() -> None:
    assert MRA.scale(head(700.0, 0.0, vessel_voxels=40), 0.3) == 700.0


def test_an_empty_scan_has_a_positive_scale() -> None:
    assert MRA.scale(np.zeros((10, 10, 10)), 1.0) > 0.0
    assert MRA.scale(np.full((10, 10, 10), -3.0), 1.0) > 0.0


def test_a_large_scan_is_sampled_and_keeps_its_scale() -> None:
    voxels = np.random.default_rng(1).normal(100, 30, (160, 200, 200)).astype(np.float32)
    exact = np.quantile(voxels, 1 - 5000 / voxels.size)
    assert MRA.scale(voxels, 1.0) == pytest.approx(exact, rel=0.02)


def test_cta_values_are_divided_by_a_fixed_window_and_clipped() -> None:
    voxels = torch.tensor([-1024.0, -100.0, 0.0, 400.0, 3000.0])
    scale = CTA.scale(voxels.numpy(), 1.0)
    assert scale == 400.0
    assert CTA.apply(voxels, scale).tolist() == [-0.5, -0.25, 0.0, 1.0, 2.5]


def test_applying_a_rule_leaves_the_scan_alone() -> None:
    voxels = torch.tensor([-5.0, 5.0, 50.0])
    MRA.apply(voxels, 1.0)
    assert voxels.tolist() == [-5.0, 5.0, 50.0]


@pytest.mark.parametrize("modality", Modality)
def test_padding_lies_within_the_range_of_the_rule(modality: Modality) -> None:
    rule = DEFAULT_INTENSITY_RULES[modality]
    assert rule.low <= rule.padding() <= rule.high


def test_a_rule_survives_the_round_trip_through_plain_values() -> None:
    assert IntensityRule(**CTA.to_dict()) == CTA


def ct(air: float, offset: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(2)
    voxels = np.full((40, 40, 40), air, np.float32)
    voxels[5:35, 5:35, 5:35] = rng.normal(40, 10, (30, 30, 30))
    voxels[10:12, 10:30, 10:30] = 1200.0
    voxels[20:24, 20:24, 10:35] = 350.0
    return (voxels + offset).astype(np.int16)


def mr(background: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    voxels = np.abs(rng.normal(background, 30, (40, 40, 40)))
    voxels[20:22, 20:22, :] = 900.0
    return voxels.astype(np.int16)


def skull_stripped_ct() -> np.ndarray:
    voxels = np.where(ct(0.0) > 700, 0, ct(0.0))
    voxels[:, :15] = 0
    return voxels.clip(0)


def large_field_mr() -> np.ndarray:
    """Noise in air, brain near 300, arteries of 900: the ranges of CT, but not its shares."""
    voxels = mr(0.0)
    voxels[8:, 8:, 8:] = np.random.default_rng(4).normal(300, 40, (32, 32, 32))
    voxels[20:22, 20:22, :] = 900
    return voxels


def windowed(voxels: np.ndarray) -> np.ndarray:
    """-160 to 240 HU as 0 to 255."""
    return np.rint((voxels.clip(-160, 240) + 160.0) / 400.0 * 255.0).astype(np.uint8)


@pytest.mark.parametrize(
    ("voxels", "modality", "certain"),
    [
        (ct(-1000.0), Modality.CTA, True),
        (ct(-100.0), Modality.CTA, False),
        (ct(40.0), Modality.CTA, False),
        (ct(-1000.0).clip(0), Modality.CTA, False),
        (ct(-1000.0).clip(-10), Modality.CTA, False),
        (ct(-1000.0, offset=1024.0), Modality.CTA, False),
        (ct(-1000.0, offset=1024.0).clip(0).astype(np.uint16), Modality.CTA, False),
        (skull_stripped_ct(), Modality.MRA, False),
        (np.where(ct(0.0) == 350, 350, 0), Modality.MRA, False),
        (large_field_mr(), Modality.MRA, False),
        (mr(200.0), Modality.MRA, False),
        (mr(0.0), Modality.MRA, False),
        (np.where(ct(-1000.0) > -500, ct(-1000.0) / 2 - 400, -900).astype(np.int16), Modality.CTA, False),
        (windowed(ct(-1000.0)), Modality.MRA, False),
        (((ct(-1000.0) + 1000.0) / 3000.0).astype(np.float32), Modality.MRA, False),
        (head(900.0, 0.0, vessel_voxels=900).astype(np.uint16), Modality.MRA, False),
    ],
    ids=[
        "CT",
        "CT without air",
        "CT of soft tissue only",
        "CT clipped at 0",
        "CT clipped at -10",
        "CT stored with an offset",
        "unsigned CT",
        "skull-stripped CT",
        "arteries of a CT only",
        "TOF with much air",
        "TOF",
        "TOF with dark background",
        "signed, but no HU",
        "CT exported through a window",
        "CT rescaled to 0 to 1",
        "vessels only",
    ],
)
def test_the_modality_is_recognised_from_the_values(voxels: np.ndarray, modality: Modality, certain: bool) -> None:
    assert recognise_modality(voxels) == (modality, certain)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_the_offset_of_stored_ct_values_is_reported(dtype: str) -> None:
    assert hounsfield_offset(ct(-1000.0, offset=1024.0).clip(0).astype(dtype)) == 1024.0


def test_noise_in_air_does_not_hide_the_offset() -> None:
    voxels = ct(-1000.0, offset=1024.0) + np.random.default_rng(5).normal(0, 30, (40, 40, 40))
    assert voxels.min() < -50
    assert hounsfield_offset(voxels) == 1024.0
    assert recognise_modality(voxels) == (Modality.CTA, False)


@pytest.mark.parametrize(
    "voxels",
    [
        ct(-1000.0),
        ct(-1000.0).clip(0),
        mr(200.0),
        mr(1050.0),
        (mr(1050.0) * (np.indices((40, 40, 40))[0] > 4)).astype(np.uint16),
        head(1050.0, 0.0),
        np.zeros((10, 10, 10)),
    ],
    ids=["HU", "clipped HU", "TOF", "narrow TOF", "masked narrow TOF", "vessels only", "empty"],
)
def test_other_values_have_no_offset(voxels: np.ndarray) -> None:
    assert hounsfield_offset(voxels) == 0.0
