"""Tables of arteries traced in phantoms with many variants: lumens, presence, and the variant of either circle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from CoWLandmarksLib.core.anatomy import without_side

if TYPE_CHECKING:
    from arteries_on_phantoms import ArteryResult

VISIBLE_MM = 1.0
ANTERIOR = ("R-ACA-A1", "L-ACA-A1", "ACoA")
POSTERIOR = ("R-PCoA", "L-PCoA", "R-PCA-P1", "L-PCA-P1")
TRACED = ("present", "hypoplastic")
KINDS = ("PCoA", "ACoA", "ACA-A1", "PCA-P1")


def variant_tables(results: Sequence[ArteryResult]) -> str:
    """Markdown: all tables of a cohort enriched in variants."""
    wide = [r for r in results if np.isfinite(r.dice) and r.true_diameter_mm >= VISIBLE_MM]
    thin = [r for r in results if np.isfinite(r.dice) and r.true_diameter_mm < VISIBLE_MM]
    swaps = [r.swapped > 0.5 for r in results if np.isfinite(r.swapped)]
    parts = [
        "Arteries of 1 mm and more\n\n" + _dice(wide),
        _by_quality(results, wide),
        "Thinner arteries\n\n" + _dice(thin),
        f"Label swaps: {100 * np.mean(swaps):.2f} % ({sum(swaps)} of {len(swaps)})",
        presence_table(results, ("outside",)),
        _variants(results),
    ]
    return "\n\n".join(parts)


def _dice(results: Sequence[ArteryResult]) -> str:
    rows: dict[tuple[str, str], list[ArteryResult]] = defaultdict(list)
    for result in results:
        rows[result.modality, without_side(result.code)].append(result)
        rows[result.modality, "all"].append(result)
    lines = [
        "| | artery | n | Dice mean | Dice median | diameter error (median of absolute) | not found |",
        "|---|---|---|---|---|---|---|",
    ]
    for (modality, name), chosen in sorted(rows.items(), reverse=True):
        dice = [r.dice for r in chosen]
        error = [abs(r.diameter_error) for r in chosen if np.isfinite(r.diameter_error)]
        missed = np.mean([r.state not in TRACED for r in chosen])
        wrong = f"{100 * np.median(error):.0f} %" if error else "-"
        lines.append(
            f"| {modality} | {name} | {len(chosen)} | {np.mean(dice):.3f} | {np.median(dice):.3f} | {wrong} "
            f"| {100 * missed:.1f} % |"
        )
    return "\n".join(lines)


def _by_quality(results: Sequence[ArteryResult], wide: Sequence[ArteryResult]) -> str:
    lines = ["| scans | number | arteries | Dice mean | Dice median | swaps |", "|---|---|---|---|---|---|"]
    for modality, quality in sorted({(r.modality, r.quality) for r in results}, reverse=True):
        own = [r for r in results if (r.modality, r.quality) == (modality, quality)]
        dice = [r.dice for r in wide if (r.modality, r.quality) == (modality, quality)]
        swaps = [r.swapped > 0.5 for r in own if np.isfinite(r.swapped)]
        lines.append(
            f"| {modality}, {quality} | {len({r.case for r in own})} | {len(dice)} | {np.mean(dice):.3f} "
            f"| {np.median(dice):.3f} | {100 * np.mean(swaps):.1f} % |"
        )
    return "\n".join(lines)


def presence_table(results: Sequence[ArteryResult], left_out: Sequence[str] = ("outside", "unknown")) -> str:
    """Markdown: sensitivity and specificity of presence per kind of artery, without those in the states `left_out`."""
    lines = [
        "| artery | present | found | found, 1 mm or wider | absent | called absent |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        chosen = [r for r in results if without_side(r.code) == kind and r.state not in left_out]
        there = [r for r in chosen if r.present and np.isfinite(r.dice)]
        wide = [r for r in there if r.true_diameter_mm >= VISIBLE_MM]
        gone = [r for r in chosen if not r.present]
        lines.append(
            f"| {kind} | {len(there)} | {_share([r.state in TRACED for r in there])} "
            f"| {_share([r.state in TRACED for r in wide])} | {len(gone)} "
            f"| {_share([r.state == 'absent' for r in gone])} |"
        )
    return "\n".join(lines)


def wrong_arteries(results: Sequence[ArteryResult], codes: Sequence[str], *, visible: bool) -> list[str]:
    """Codes of the arteries of one case whose presence is not as it was drawn; `visible`: thin ones may be missed."""
    wrong = []
    for result in results:
        if result.code not in codes:
            continue
        excused = visible and result.present and not result.true_diameter_mm >= VISIBLE_MM
        right = result.state in TRACED if result.present else result.state == "absent"
        if not right and not excused:
            wrong.append(result.code)
    return wrong


def _variants(results: Sequence[ArteryResult]) -> str:
    cases: dict[str, list[ArteryResult]] = defaultdict(list)
    for result in results:
        cases[result.case].append(result)
    lines = ["| circle | drawn | people | right | right but for arteries under 1 mm |", "|---|---|---|---|---|"]
    for name, codes in (("anterior", ANTERIOR), ("posterior", POSTERIOR)):
        rows: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
        for chosen in cases.values():
            azygos = _azygos_wrong(chosen) if name == "anterior" else False
            right = (
                not wrong_arteries(chosen, codes, visible=False) and not azygos,
                not wrong_arteries(chosen, codes, visible=True) and not azygos,
            )
            drawn = next(r.variant for r in chosen if r.code == codes[0])
            for row in ("all", drawn, f"all, {chosen[0].modality}"):
                rows[row].append(right)
        for row, values in sorted(rows.items(), key=lambda item: -len(item[1])):
            strict, visible = (_share([value[k] for value in values]) for k in (0, 1))
            lines.append(f"| {name} | {row} | {len(values)} | {strict} | {visible} |")
    return "\n".join(lines)


def _azygos_wrong(chosen: Sequence[ArteryResult]) -> bool:
    """Whether one A2 was seen as two or two as one."""
    both = [r for r in chosen if without_side(r.code) == "ACA-A2"]
    single = "azygos" in both[0].variant
    if not single and not all(r.present for r in both):
        return False
    return single == all(r.state in TRACED for r in both)


def variant_of(case: Any, code: str) -> str:
    """The drawn form of the part of the circle that an artery belongs to."""
    drawn, there = case.record["variants"], case.record["artery_present"]
    if code.endswith(("ACA-A1", "ACA-A2", "ACoA")):
        if drawn["A2"] == "azygos":
            return "azygos A2"
        gone = [c for c in ANTERIOR if not there[c]]
        return "complete" if not gone else " and ".join(sorted({without_side(c) for c in gone})) + " absent"
    forms = []
    for side in "RL":
        if not there[f"{side}-PCA-P1"]:
            forms.append("P1 absent")
        elif not there[f"{side}-PCoA"]:
            forms.append("PCoA absent")
    return " and ".join(sorted(forms)) or "complete"


def _share(values: Sequence[bool]) -> str:
    return f"{100 * np.mean(values):.0f} %" if values else "-"
