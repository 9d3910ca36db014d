"""Changes of how an image looks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksTrainingLib.augment import intensity_variation
from CoWLandmarksTrainingLib.augment.intensity_variation import varied


def tube() -> torch.Tensor:
    """(2, 20, 24, 28): a bright vessel along j through grey tissue; a masked corner."""
    image = torch.full((2, 20, 24, 28), 0.3)
    image[:, 8:11, :, 12:15] = 1.0
    image[:, :6, :6, :6] = 0.0
    return image


@pytest.mark.parametrize("modality", Modality)
def test_the_vessel_stays_where_it_is_and_brighter_than_the_tissue(modality: Modality) -> None:
    image = tube()
    variants = [varied(image, np.random.default_rng(seed), modality) for seed in range(40)]
    for variant in variants:
        assert variant.shape == image.shape
        assert bool(variant.isfinite().all())
        assert variant[:, 8:11, :, 12:15].mean() > variant[:, 14:17, :, 12:15].mean() + 0.15
        column = variant.mean(dim=(0, 2))
        k, i = divmod(int(column.argmax()), column.shape[1])
        assert 8 <= k <= 10
        assert 12 <= i <= 14
    assert len({float(variant.sum()) for variant in variants}) > 35


def test_the_same_generator_gives_the_same_look_and_the_image_is_not_touched() -> None:
    image = tube()
    one, other = (varied(image, np.random.default_rng(3), Modality.MRA) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(image, tube())


def test_what_was_masked_stays_so_in_half_the_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity_variation, "_SHARE", 1.0)
    kept = [
        bool((varied(tube(), np.random.default_rng(seed), Modality.MRA)[:, :6, :6, :6] == 0).all())
        for seed in range(60)
    ]
    assert 15 < sum(kept) < 45


def test_tone_curves_rise_and_scanner_units_of_ct_change_less() -> None:
    values = torch.linspace(-0.5, 2.5, 301)[None, None, None]
    spread = {}
    for quantitative in (0.45, 0.18):
        curves = [
            intensity_variation._toned(values, np.random.default_rng(seed), quantitative).flatten()
            for seed in range(30)
        ]
        assert all(bool((curve.diff() > 0).all()) for curve in curves)
        spread[quantitative] = float(torch.stack(curves).std(dim=0).max())
    assert spread[0.18] < spread[0.45]
