"""The energy of a layout model as a loss: it draws predicted landmarks to where they fit together, unannotated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from CoWLandmarksLib.core.layout_model import LayoutModel

from .soft_argmax import soft_argmax


def layout_energies(
    model: LayoutModel, positions: torch.Tensor, known: torch.Tensor, absent: torch.Tensor | None = None
) -> torch.Tensor:
    """(B,) `LayoutModel.energy` of each sample, in double precision where the device has it; differentiable.

    `positions` (B, n, 3) mm of the reference frame (R, A, S); `known` (B, n) booleans: the other landmarks are
    integrated out and get no gradient; `absent` (B, n) booleans, or None. Raises ValueError where a landmark is known
    and absent.
    """
    dtype = torch.float32 if positions.device.type == "mps" else torch.float64
    energies = []
    for sample, which in enumerate(known.bool()):
        there = None if absent is None else absent[sample].cpu().numpy()
        marginal = model.marginal(which.cpu().numpy(), there)
        means, precisions, log_heights = (
            torch.from_numpy(array).to(positions.device, dtype)
            for array in (marginal.means, marginal.precisions, marginal.log_heights)
        )
        residual = positions[sample][which].to(dtype).reshape(-1) - means
        half = 0.5 * ((precisions @ residual[:, :, None])[:, :, 0] * residual).sum(dim=1)
        energies.append(torch.logsumexp(log_heights, dim=0) - torch.logsumexp(log_heights - half, dim=0))
    return torch.stack(energies).clamp_min(0.0)


@dataclass(frozen=True)
class LayoutLoss:
    """log(1 + energy) of the soft-argmax positions of heatmaps, averaged over the samples of a batch.

    The logarithm keeps a few confused landmarks, whose energy grows with the square of their distance, from outweighing
    all others. `spacing` (3,) mm along R, A, S of the grid of the heatmaps, which lies along the axes of the reference
    frame; `sharpness` as for `soft_argmax`. A landmark whose heatmap nowhere reaches `least_height` is left out: its
    position would be that of the noise.
    """

    model: LayoutModel
    spacing: tuple[float, float, float]
    sharpness: float = 4.0
    least_height: float = 0.1

    def __call__(self, heatmaps: torch.Tensor, mask: torch.Tensor, first_voxel_mm: torch.Tensor) -> torch.Tensor:
        """Scalar loss of `heatmaps` (B, n, K, J, I); a sample without landmarks adds nothing.

        `mask` (B, n) is 0 where a landmark is to be left out; `first_voxel_mm` (B, 3) RAS mm of the first voxels in the
        reference frame.
        """
        ijk = soft_argmax(heatmaps, self.sharpness)
        spacing = torch.tensor(self.spacing, dtype=ijk.dtype, device=ijk.device)
        positions = first_voxel_mm.to(ijk)[:, None] + ijk * spacing
        known = (mask > 0) & (heatmaps.detach().amax(dim=(2, 3, 4)) >= self.least_height)
        return torch.log1p(layout_energies(self.model, positions, known)).mean().to(ijk.dtype)
