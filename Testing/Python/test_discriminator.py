"""What the discriminator is shown, by hand, and that it can tell layouts apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from CoWLandmarksLib.detect.model import GridSpec
from CoWLandmarksLib.networks.heatmap import encode
from CoWLandmarksTrainingLib.config.settings import DiscriminatorSettings, DiscriminatorView
from CoWLandmarksTrainingLib.train.discriminator import (
    Discriminator,
    discriminator_input,
    layout_channels,
    rendered_again,
)

GRID = GridSpec((3, 5, 5), (0.5, 1.0, 2.0), (10.0, 20.0, 30.0))
"""3 x 5 x 5 voxels [k, j, i]: it reaches 1 mm from its centre along R, 2 mm along A and S."""
PLAIN = DiscriminatorSettings(view=DiscriminatorView.PLAIN)


def shown(heatmaps: torch.Tensor, **changes: object) -> torch.Tensor:
    config = replace(PLAIN, **changes)  # type: ignore[arg-type]
    return discriminator_input(heatmaps, torch.ones(heatmaps.shape[:2]), GRID, config, 1.0)


@pytest.mark.parametrize(
    ("coordinates", "distance", "channels"), [(True, True, 6), (True, False, 5), (False, True, 3), (False, False, 2)]
)
def test_each_extra_channel_is_optional(coordinates: bool, distance: bool, channels: int) -> None:
    heatmaps = torch.rand(1, 2, *GRID.shape)
    seen = shown(heatmaps, coordinates=coordinates, distance=distance)
    assert seen.shape[1] == channels
    assert torch.equal(seen[:, :2], heatmaps)
    config = DiscriminatorSettings(coordinates=coordinates, distance=distance, base_width=4, layers=2)
    assert Discriminator(2, config)(seen).shape == (1,)


def test_coordinates_reach_from_minus_one_to_one_in_r_a_s_order() -> None:
    extra = layout_channels(torch.zeros(1, 1, *GRID.shape), GRID, PLAIN)[0]
    r, a, s, distance = extra
    assert r[1, 2].tolist() == pytest.approx([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert a[1, :, 2].tolist() == pytest.approx([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert s[:, 2, 2].tolist() == pytest.approx([-1.0, 0.0, 1.0])
    # the corner is sqrt(1 + 4 + 4) = 3 mm from the centre, which is half the diagonal
    assert float(distance[0, 0, 0]) == pytest.approx(1.0)
    assert float(distance[1, 2, 2]) == 0.0
    assert float(distance[1, 2, 4]) == pytest.approx(1.0 / 3.0)
    assert float(distance[0, 2, 2]) == pytest.approx(2.0 / 3.0)


def test_a_window_sees_its_own_part_of_the_grid() -> None:
    whole = layout_channels(torch.zeros(1, 1, *GRID.shape), GRID, PLAIN)
    first = torch.tensor([[10.0 - 1.0 + 2 * 0.5, 20.0 - 2.0 + 1 * 1.0, 30.0 - 2.0 + 1 * 2.0]])
    window = layout_channels(torch.zeros(1, 1, 2, 3, 3), GRID, PLAIN, first)
    torch.testing.assert_close(window, whole[:, :, 1:3, 1:4, 2:5])


def test_squared_heatmaps_hide_the_floor_and_masked_channels_are_empty() -> None:
    heatmaps = torch.full((1, 2, *GRID.shape), 0.1)
    assert float(shown(heatmaps, view=DiscriminatorView.SQUARED)[0, 0, 0, 0, 0]) == pytest.approx(0.01)
    kept = discriminator_input(heatmaps, torch.tensor([[1.0, 0.0]]), GRID, PLAIN, 1.0)
    assert float(kept[0, 0].min()) == pytest.approx(0.1)
    assert float(kept[0, 1].abs().max()) == 0.0


class TestRendering:
    """Gaussians drawn again at the soft-argmax coordinates."""

    grid = GridSpec((20, 24, 28), (0.8, 0.7, 0.6), (0.0, 0.0, 0.0))
    points = np.array([[1.3, -2.1, 0.4], [-3.0, 1.05, -1.9]])

    def test_a_perfect_heatmap_is_drawn_as_it_is(self) -> None:
        heatmaps = encode(self.points, self.grid.grid(), 1.2)[None]
        again = rendered_again(heatmaps, self.grid.spacing, 1.2, 4.0)
        torch.testing.assert_close(again, heatmaps, atol=2e-3, rtol=0)

    def test_height_and_floor_of_a_heatmap_leave_no_trace(self) -> None:
        heatmaps = encode(self.points, self.grid.grid(), 1.2)[None]
        noise = torch.rand(heatmaps.shape, generator=torch.Generator().manual_seed(1))
        again = rendered_again(0.6 * heatmaps + 0.02 * noise - 0.01, self.grid.spacing, 1.2, 4.0)
        torch.testing.assert_close(again, heatmaps, atol=0.03, rtol=0)
        assert float(again.amin()) >= 0.0

    def test_its_gradient_moves_the_peak(self) -> None:
        heatmaps = encode(self.points[:1], self.grid.grid(), 1.2)[None].requires_grad_()
        target = encode(self.points[:1] + np.array([0.4, 0.0, 0.0]), self.grid.grid(), 1.2)[None]
        ((rendered_again(heatmaps, self.grid.spacing, 1.2, 4.0) - target) ** 2).sum().backward()
        assert heatmaps.grad is not None
        stepped = (heatmaps - 0.1 * heatmaps.grad).detach()
        before, after = (
            rendered_again(h.detach(), self.grid.spacing, 1.2, 4.0)[0, 0].sum(dim=(0, 1)) for h in (heatmaps, stepped)
        )
        places = torch.arange(28.0)
        assert float((after * places).sum() / after.sum()) > float((before * places).sum() / before.sum())


def test_it_learns_that_left_and_right_were_exchanged() -> None:
    grid = GridSpec((8, 12, 16), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    config = DiscriminatorSettings(base_width=4, layers=2)
    torch.manual_seed(2)
    network = Discriminator(2, config)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    rng = np.random.default_rng(4)

    def sets(exchanged: bool) -> torch.Tensor:
        points = np.array([[4.0, 0.0, 0.0], [-4.0, 0.0, 0.0]])[:: -1 if exchanged else 1] + rng.normal(0, 1, (6, 2, 3))
        maps = torch.stack([encode(pair, grid.grid(), 1.5) for pair in points])
        return discriminator_input(maps, torch.ones(6, 2), grid, config, 1.5)

    for _ in range(25):
        real, fake = network(sets(False)), network(sets(True))
        loss = torch.nn.functional.softplus(-real).mean() + torch.nn.functional.softplus(fake).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        assert float(network(sets(False)).min()) > float(network(sets(True)).max())


@pytest.mark.parametrize("wrong", [{"layers": 0}, {"r1": -1.0}, {"learning_rate": 0.0}])
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must .*\.$"):
        DiscriminatorSettings(**wrong)  # type: ignore[arg-type]
