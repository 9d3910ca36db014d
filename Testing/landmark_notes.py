"""What the page of the landmarks (landmark_atlas.py) says beyond anatomy.json: views, variants, mistakes, agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from CoWLandmarksTrainingLib.phantom.variants import VariantRates

AXIAL, CORONAL, SAGITTAL = "axial", "coronal", "sagittal"


@dataclass(frozen=True)
class Note:
    """One landmark, or a pair of them, named by the code without its side; `wrong` is what people and programs do.

    `variants` may name rates of `published_rates` in braces.
    """

    code: str
    view: str
    variants: str
    wrong: str


@dataclass(frozen=True)
class Repeat:
    """Distance in mm between two tracings of two scans of one person."""

    pairs: int
    median: float
    percentile_90: float


NOTES = (
    Note(
        "A2-A3",
        SAGITTAL,
        "Three A2 ({a2 three}) or a single, azygos A2 ({a2 azygos}), where both points coincide.",
        "The callosomarginal artery is followed instead of the pericallosal one, or the point is set on the trunk of "
        "the other side, which runs a few millimetres away. Scans of the circle alone often end below the genu.",
    ),
    Note(
        "A1-A2",
        CORONAL,
        "A1 hypoplastic ({a1 hypoplastic}) or absent ({a1 absent}); no ACoA to be seen ({acoa absent}), or a double "
        "one ({acoa double}).",
        "Both points end up on one side of the ACoA where the two A2 touch. An absent A1 is easily taken for a thin "
        "one, because the A1 of the other side is close: of the absent points that the program did not recognise on "
        "phantoms, most were here and at A2-A3 ([known limits](model/model-card.md#known-limits)).",
    ),
    Note(
        "M1-M2",
        CORONAL,
        "Three trunks ({mca trifurcation}), an early division ({mca early}), or none ({mca single}).",
        "An anterior temporal or another early branch is taken for the division, or a later division of one trunk: "
        "then the distance is not a millimetre but the length of the way between two divisions.",
    ),
    Note(
        "ICA-T",
        CORONAL,
        "A1 hypoplastic ({a1 hypoplastic}) or absent ({a1 absent}): then the turn of the ICA into M1.",
        "The origin of the anterior choroidal artery, a few millimetres below, is taken for the terminus where A1 is "
        "thin. Slow or turbulent flow darkens the terminus in TOF.",
    ),
    Note(
        "BA-T",
        CORONAL,
        "One P1 absent (fetal PCA, {pcoa fetal-full} of sides): the remaining P1 leaves the basilar artery there.",
        "The superior cerebellar arteries leave 2-3 mm below, and are taken for P1 where P1 is thin.",
    ),
    Note(
        "P1-P2A",
        AXIAL,
        "No PCoA to be seen ({pcoa absent}): then 7 mm along the PCA, by rule. P1 thin ({pcoa fetal-partial}) or "
        "absent ({pcoa fetal-full}), the PCA then coming from the carotid.",
        "Without PCoA nothing in the image marks the point; it has to be measured along the vessel. A thin PCoA is "
        "lost in noise before it reaches the PCA, and seems to be none.",
    ),
    Note(
        "P2A-P2P",
        AXIAL,
        "The course round the peduncle may be flat: then the middle of the flat part.",
        "The origin of the posterior temporal artery, or that branch itself, is taken for the trunk. The distal PCA is "
        "dark in TOF.",
    ),
    Note(
        "C6-C7",
        SAGITTAL,
        "No PCoA to be seen ({pcoa absent}): then 6.5 mm down the ICA, by rule. A fetal PCoA ({pcoa fetal-partial} "
        "partial, {pcoa fetal-full} full) leaves as a thick vessel.",
        "The anterior choroidal artery, which leaves shortly above, is taken for the PCoA. Points are set on the wall "
        "of the ICA; they belong on its centreline.",
    ),
    Note(
        "C5-C6",
        SAGITTAL,
        "The ophthalmic artery is not to be seen ({ophthalmic not visible}): then 0.30 of the way from C4-C5 to "
        "C6-C7, by rule.",
        "In CTA the bone of the anterior clinoid process hides the origin; in TOF turbulent flow in the siphon does.",
    ),
    Note(
        "C4-C5",
        SAGITTAL,
        "Siphons differ in shape; where the front is flat, its middle counts.",
        "Judged in a tilted head the most anterior point is another one: turn the scan to an AC-PC-like pose first. "
        "The cavernous sinus (CTA) and bone touch the artery. Scans that start high do not contain it.",
    ),
)

REPEATS: Mapping[str, Repeat] = {
    "R-P1-P2A": Repeat(22, 0.8, 1.6),
    "L-P1-P2A": Repeat(22, 1.1, 2.2),
    "R-C6-C7": Repeat(24, 1.2, 3.6),
    "L-C6-C7": Repeat(22, 1.1, 2.7),
    "R-C5-C6": Repeat(23, 1.0, 2.5),
    "L-C5-C6": Repeat(30, 1.0, 3.9),
    "R-A1-A2": Repeat(30, 1.0, 2.9),
    "L-A1-A2": Repeat(35, 1.4, 3.8),
    "R-M1-M2": Repeat(44, 1.2, 6.3),
    "L-M1-M2": Repeat(48, 1.7, 10.2),
    "R-ICA-T": Repeat(38, 1.0, 2.3),
    "L-ICA-T": Repeat(41, 0.8, 3.8),
    "BA-T": Repeat(48, 1.3, 2.9),
}
"""82 repeat scans of iCafe (GNN-ART-LABEL, Chen et al., MICCAI 2020), each pair aligned on the other landmarks."""


def published_rates() -> dict[str, str]:
    """The prevalences that the phantom draws from (Docs/model/phantom.md), by table and form, as text."""
    rates = VariantRates()
    tables = {"a1": rates.a1, "a2": rates.a2, "acoa": rates.acoa, "mca": rates.mca, "pcoa": rates.pcoa}
    found = {f"{name} {form}": share for name, table in tables.items() for form, share in table.items()}
    found["ophthalmic not visible"] = 1.0 - rates.ophthalmic_visible
    return {name: f"{100 * share:.0f} %" for name, share in found.items()}
