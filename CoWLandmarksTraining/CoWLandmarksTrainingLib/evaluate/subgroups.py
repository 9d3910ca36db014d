"""Which subgroups of a cohort a case belongs to: resolution, coverage, and for phantoms variants, disease, noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from CoWLandmarksLib.core.detection import LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.volume import Modality, Volume

FINE_IN_PLANE_MM = 0.52
THIN_SLICE_MM = 0.75
NOISE_LIMIT = {Modality.MRA: 0.035, Modality.CTA: 16.0}
"""Half of the training family lies below: noise relative to fresh blood (TOF), HU (CTA)."""
_PROCESSED = "processed (masked, thresholded, enhanced)"


def subgroups_of(
    modality: Modality, phantom: Mapping[str, Any], volume: Volume, truth: Sequence[LandmarkEstimate]
) -> dict[str, str]:
    """Trait -> value for one case; `phantom` is what its case.json says of a synthetic one, else empty.

    What a real case does not record (variants, disease, noise) is left out.
    """
    in_plane, slices = float(sorted(volume.grid.spacing)[0]), float(max(volume.grid.spacing))
    traits = {
        "in-plane voxel": f"{'up to' if in_plane <= FINE_IN_PLANE_MM else 'above'} {FINE_IN_PLANE_MM} mm",
        "slice": f"{'up to' if slices <= THIN_SLICE_MM else 'above'} {THIN_SLICE_MM} mm",
        "coverage": "cut" if any(e.state is LandmarkState.OUTSIDE for e in truth) else "whole circle",
    }
    if not phantom:
        return traits
    variants: dict[str, str] = dict(phantom.get("variants", {}))
    traits["processing"] = "as scanned" if phantom.get("masking") == "none" else _PROCESSED
    traits["disease"] = "none" if variants.get("disease", "none") == "none" else "stenosis, occlusion or aneurysm"
    traits["population"] = str(phantom.get("population"))
    pcoa = {variants.get(f"{side}-PCoA") for side in "RL"}
    traits["posterior circle"] = (
        "fetal type"
        if any("fetal" in str(form) for form in pcoa)
        else "PCoA absent"
        if "absent" in pcoa
        else "complete"
    )
    first = {variants.get(f"{side}-A1") for side in "RL"}
    anterior = first != {"normal"} or variants.get("ACoA") != "single" or variants.get("A2") != "paired"
    traits["anterior circle"] = "variant" if anterior else "complete"
    middle = {variants.get(f"{side}-MCA") for side in "RL"}
    traits["M1 division"] = "two trunks" if middle == {"bifurcation"} else "early, three trunks or single"
    if "R-early branches" in variants:  # from version 4 of the phantom on
        early = {variants[f"{side}-early branches"] for side in "RL"}
        marginal = [variants[f"{side}-callosomarginal"] for side in "RL"]
        traits["A2"] = variants["A2"]
        traits["early branches of M1"] = "none or thin" if early == {"none"} else "0.3 to 0.49 of what goes on"
        thick = any(form.startswith("thick") for form in marginal)
        traits["callosomarginal artery"] = "as thick as the A3" if thick else "thin or none"
    noise = float(phantom.get("appearance", {}).get("noise", 0.0))
    traits["noise"] = "low" if noise <= NOISE_LIMIT[modality] else "high"
    return traits
