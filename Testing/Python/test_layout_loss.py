"""The layout energy as a loss: the same as that of the model, with a gradient that leads to a better layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.layout_model import LayoutModel
from CoWLandmarksLib.core.volume import apply_affine, axis_aligned_grid
from CoWLandmarksLib.networks.heatmap import encode
from CoWLandmarksTrainingLib.train.layout_loss import LayoutLoss, layout_energies
from CoWLandmarksTrainingLib.train.soft_argmax import soft_argmax

GRID = axis_aligned_grid(np.array([2.0, 3.0, -1.0]), np.array([1.0, 1.2, 1.5]), (14, 16, 24))
SPACING = (1.0, 1.2, 1.5)
FIRST = torch.from_numpy(apply_affine(GRID.ijk_to_ras, np.zeros(3)))[None]
SIGMA = 1.5
PLACES = np.array([[-3.0, 3.2, -0.7], [5.0, 3.0, -1.0]])


def random_model(components: int, landmarks: int = 4) -> LayoutModel:
    rng = np.random.default_rng(components)
    factors = rng.normal(size=(components, 3 * landmarks, 3 * landmarks))
    covariances = factors @ np.swapaxes(factors, 1, 2) + np.eye(3 * landmarks)
    weights = rng.uniform(0.5, 1.0, components)
    means = rng.normal(0.0, 2.0, (components, landmarks, 3))
    return LayoutModel(weights / weights.sum(), means, covariances, rng.uniform(0.2, 0.8, (components, landmarks)))


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three samples of four landmarks: positions, which are known, which are absent."""
    positions = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2
    known = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 1], [0, 1, 1, 0]], dtype=torch.bool)
    absent = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 1]], dtype=torch.bool)
    return positions, known, absent


def two_apart(sd: float = 2.0) -> LayoutModel:
    """Two landmarks at PLACES, independent, with an SD of 2 mm along each axis."""
    return LayoutModel(np.ones(1), PLACES[None], sd**2 * np.eye(6)[None])


@pytest.mark.parametrize("components", [1, 3])
class TestEnergies:
    """Against the model itself and finite differences."""

    @pytest.mark.parametrize("with_absent", [False, True])
    def test_they_and_their_gradients_are_those_of_the_model(self, components: int, with_absent: bool) -> None:
        model, (positions, known, absent) = random_model(components), batch()
        given = absent if with_absent else None
        positions.requires_grad_()
        energies = layout_energies(model, positions, known, given)
        energies.sum().backward()
        layouts = np.where(known[:, :, None], positions.detach().numpy(), np.nan)
        there = absent.numpy() if with_absent else None
        np.testing.assert_allclose(energies.detach().numpy(), model.energies(layouts, there))
        assert positions.grad is not None
        for sample, layout in enumerate(layouts):
            expected = model.gradient(layout, None if there is None else there[sample])
            np.testing.assert_allclose(positions.grad[sample].numpy(), expected, atol=1e-12)

    def test_gradients_are_finite_differences(self, components: int) -> None:
        model, (positions, known, _) = random_model(components), batch()
        positions.requires_grad_()
        assert torch.autograd.gradcheck(lambda p: layout_energies(model, p, known), positions)

    def test_missing_positions_need_not_be_numbers(self, components: int) -> None:
        model, (positions, known, _) = random_model(components), batch()
        holes = positions.masked_fill(~known[:, :, None], float("nan")).requires_grad_()
        energies = layout_energies(model, holes, known)
        torch.testing.assert_close(energies, layout_energies(model, positions, known))
        energies.sum().backward()
        assert holes.grad is not None
        assert float(holes.grad[~known].abs().max()) == 0.0


def test_a_landmark_cannot_be_known_and_absent() -> None:
    positions, known, _ = batch()
    with pytest.raises(ValueError, match="placed and absent"):
        layout_energies(random_model(1), positions, known, known)


class TestSoftArgmax:
    """Positions from heatmaps."""

    def test_of_a_gaussian_it_is_the_centre_whatever_its_height_and_floor(self) -> None:
        ijk = apply_affine(GRID.ras_to_ijk, PLACES)
        heatmaps = encode(PLACES, GRID, SIGMA)[None]
        # along k the fourth power of the Gaussian is only half a voxel wide
        np.testing.assert_allclose(soft_argmax(heatmaps, 4.0)[0].numpy(), ijk, atol=0.03)
        np.testing.assert_allclose(soft_argmax(0.4 * heatmaps + 0.02, 4.0)[0].numpy(), ijk, atol=0.1)

    def test_of_two_voxels_it_is_the_mean_weighted_by_their_powers(self) -> None:
        heatmap = torch.zeros(1, 1, 3, 4, 5)
        heatmap[0, 0, 0, 1, 4], heatmap[0, 0, 2, 3, 0] = 2.0, 1.0
        # 16 to 1
        expected = [4 * 16 / 17, (1 * 16 + 3) / 17, 2 / 17]
        assert soft_argmax(heatmap, 4.0)[0, 0].tolist() == pytest.approx(expected)

    def test_an_empty_heatmap_has_no_gradient(self) -> None:
        heatmap = (-torch.rand(1, 1, 3, 4, 5)).requires_grad_()
        soft_argmax(heatmap, 4.0).sum().backward()
        assert heatmap.grad is not None
        assert float(heatmap.grad.abs().max()) == 0.0


class TestLoss:
    """Of whole heatmaps."""

    loss = LayoutLoss(two_apart(), SPACING)

    def test_it_is_the_logarithm_of_one_more_than_the_energy(self) -> None:
        moved = PLACES + np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 4.0]])
        heatmaps = torch.stack([encode(PLACES, GRID, SIGMA), encode(moved, GRID, SIGMA)])
        # one SD and two SD: half the squared distances are 0.5 and 2; the other sample fits
        value = self.loss(heatmaps, torch.ones(2, 2), FIRST.expand(2, 3))
        assert float(value) == pytest.approx(0.5 * np.log(3.5), rel=0.01)

    def test_masked_and_low_heatmaps_are_left_out(self) -> None:
        moved = PLACES + np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 4.0]])
        heatmaps = encode(moved, GRID, SIGMA)[None]
        masked = self.loss(heatmaps, torch.tensor([[1.0, 0.0]]), FIRST)
        assert float(masked) == pytest.approx(np.log(1.5), rel=0.01)
        low = heatmaps * torch.tensor([0.09, 1.0])[None, :, None, None, None]
        assert float(self.loss(low, torch.ones(1, 2), FIRST)) == pytest.approx(np.log(3.0), rel=0.01)

    def test_without_landmarks_it_is_zero_and_moves_nothing(self) -> None:
        heatmaps = encode(PLACES, GRID, SIGMA)[None].requires_grad_()
        value = self.loss(heatmaps, torch.zeros(1, 2), FIRST)
        value.backward()
        assert float(value.detach()) == 0.0
        assert heatmaps.grad is not None
        assert float(heatmaps.grad.abs().max()) == 0.0

    def test_its_gradient_is_that_of_finite_differences(self) -> None:
        small = LayoutLoss(two_apart(), SPACING)
        heatmaps = torch.rand(2, 2, 3, 2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.2
        mask = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
        first = torch.tensor([[-4.0, 0.0, 0.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda h: small(h, mask, first), heatmaps.requires_grad_())

    def test_a_confused_landmark_is_drawn_to_its_place(self) -> None:
        """Both heatmaps have a peak at both places; that of the first is higher at the wrong one."""
        both = encode(PLACES, GRID, SIGMA)
        heatmaps = torch.stack([0.5 * both[0] + 0.7 * both[1], 0.2 * both[0] + 0.9 * both[1]])[None].requires_grad_()
        self.loss(heatmaps, torch.ones(1, 2), FIRST).backward()
        assert heatmaps.grad is not None
        right, wrong = ((heatmaps.grad[0, 0] * peak).sum() for peak in both)
        assert float(right) < 0.0 < float(wrong)
        at = np.rint(apply_affine(GRID.ras_to_ijk, PLACES)).astype(int)
        first, second = (heatmaps.grad[0, 0, k, j, i] for i, j, k in at)
        assert float(first) < 0.0 < float(second)

    def test_half_precision_gives_nearly_the_same(self) -> None:
        moved = PLACES + np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 4.0]])
        heatmaps = encode(moved, GRID, SIGMA)[None]
        value = self.loss(heatmaps.to(torch.bfloat16), torch.ones(1, 2), FIRST)
        assert value.dtype == torch.float32
        assert float(value) == pytest.approx(np.log(3.5), rel=0.02)
