"""Whether a gradient at the output of a network asks for the right change where landmarks are confused."""

from __future__ import annotations

import numpy as np
import torch
from CoWLandmarksLib.networks.heatmap import highest_voxels
from CoWLandmarksLib.networks.heatmap_peaks import local_maxima

from ..records.metrics import confusions

IN_WINDOW = 0.5
"""A landmark whose target heatmap does not reach this lies beyond the window."""


def cosines_to_truth(
    prediction: torch.Tensor,
    truths: torch.Tensor,
    mask: torch.Tensor,
    gradient: torch.Tensor,
    spacing: tuple[float, float, float],
) -> list[float]:
    """For every confused landmark the cosine of a step against `gradient` and the change that would mend it.

    That change is the heatmap at the truth minus the same heatmap at the wrong peak: 1 where exactly it is asked for,
    0 where something else is. All are (B, n, K, J, I) but `mask` (B, n), 0 for landmarks that do not count; `spacing`
    (3,) mm along R, A, S.
    """
    cosines = []
    for heat, truth, counts, wish in zip(prediction.detach().float(), truths, mask, -gradient.float(), strict=True):
        there = ((counts > 0).to(truth.device) & (truth.flatten(1).amax(dim=1) > IN_WINDOW)).cpu().numpy()
        (found, _), (right, _) = highest_voxels(heat), highest_voxels(truth)
        wrong = confusions(
            np.where(there[:, None], found * spacing, np.nan), np.where(there[:, None], right * spacing, np.nan)
        )
        for channel in np.nonzero(wrong)[0]:
            target = truth[channel].to(heat.device)
            shift = tuple(int(n) for n in (found[channel] - right[channel])[::-1])
            useful, asked = target - _moved(target, shift), wish[channel]
            cosines.append(float((useful * asked).sum() / (useful.norm() * asked.norm()).clamp_min(1e-20)))
    return cosines


def ambiguous_points(
    heatmaps: torch.Tensor, spacing: tuple[float, float, float], apart_mm: float = 4.0, share: float = 0.5
) -> torch.Tensor:
    """(B, n) booleans: a second local maximum of the heatmap, `apart_mm` and more away from the highest, reaches this
    share of it. `heatmaps` (B, n, K, J, I); `spacing` (3,) mm along R, A, S."""
    values = heatmaps.detach().float().flatten(0, 1)
    maxima = torch.where(local_maxima(values), values, 0.0)
    ambiguous = []
    for channel in maxima:
        voxels = torch.nonzero(channel)
        heights = channel[tuple(voxels.T)]
        if len(heights) < 2:
            ambiguous.append(False)
            continue
        steps = torch.tensor(spacing[::-1], dtype=torch.float32, device=voxels.device)
        far = ((voxels - voxels[heights.argmax()]) * steps).norm(dim=1) >= apart_mm
        ambiguous.append(bool((heights[far] >= share * heights.max()).any()))
    return torch.tensor(ambiguous, device=heatmaps.device).reshape(heatmaps.shape[:2])


def _moved(heatmap: torch.Tensor, shift: tuple[int, ...]) -> torch.Tensor:
    """A heatmap [k, j, i] moved by whole voxels (k, j, i), empty where it comes from beyond."""
    moved = torch.roll(heatmap, shift, dims=(0, 1, 2))
    for axis, step in enumerate(shift):
        lost = slice(0, step) if step > 0 else slice(heatmap.shape[axis] + step, None)
        if step:
            moved[(slice(None),) * axis + (lost,)] = 0.0
    return moved
