"""How sure the figures of a row are: bootstrap intervals over test scans, and paired tests against the control."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from CoWLandmarksLib.core.errors import AnnotationError
from scipy.stats import wilcoxon

from ..records.metrics import FAR_MM, bootstrap_interval
from .row_result import RowResult

MEASURES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "mre_mm": lambda errors: errors,
    "beyond_6mm": lambda errors: np.where(np.isfinite(errors), errors > FAR_MM, np.nan),
}
"""What is averaged over points, of errors in mm (NaN where a point does not count)."""


@dataclass(frozen=True)
class Estimate:
    """A mean over all points of all seeds with its 95 % interval over test scans (None with fewer than two)."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class PairedDifference:
    """A mean less the control's on the same scans with the same seeds, with its 95 % interval over test scans.

    `p`: two-sided Wilcoxon signed-rank test of the differences by scan; `p_holm` corrected for the number of rows.
    """

    value: float
    interval: tuple[float, float] | None
    p: float
    p_holm: float = float("nan")


def estimates(results: Sequence[RowResult], decoding: str) -> dict[str, Estimate]:
    """Every measure of one row; scans are drawn with the points of all seeds. Raises AnnotationError."""
    errors = _points_of_scans(results, decoding)
    values = {name: measure(errors) for name, measure in MEASURES.items()}
    return {name: Estimate(float(np.nanmean(each)), bootstrap_interval(each)) for name, each in values.items()}


def differences(
    results: Sequence[RowResult], control: Sequence[RowResult], decoding: str
) -> dict[str, PairedDifference]:
    """Every measure of a row less the control's, over the seeds that both have; empty where there is none.

    Raises AnnotationError where the results are of different test scans.
    """
    seeds = {r.seed for r in results} & {r.seed for r in control}
    if not seeds:
        return {}
    both = [sorted((r for r in each if r.seed in seeds), key=lambda r: r.seed) for each in (results, control)]
    if both[0][0].cases != both[1][0].cases:
        raise AnnotationError(
            f"The results of '{both[0][0].row}' and '{both[1][0].row}' are of different test scans; delete those that "
            "are out of date and run again."
        )
    own, before = (_points_of_scans(each, decoding) for each in both)
    found = {}
    for name, measure in MEASURES.items():
        values = measure(own) - measure(before)
        by_scan = np.array([np.nanmean(row) for row in values if np.isfinite(row).any()])
        found[name] = PairedDifference(float(np.nanmean(values)), bootstrap_interval(values), signed_rank_p(by_scan))
    return found


def _points_of_scans(results: Sequence[RowResult], decoding: str) -> np.ndarray:
    """(scans, seeds * n) errors in mm: the points of one scan with all seeds lie side by side."""
    if len({r.cases for r in results}) != 1:
        raise AnnotationError(
            f"The results of '{results[0].row}' are of different test scans; delete those that are out of date and "
            "run again."
        )
    return np.concatenate([r.errors[decoding] for r in results], axis=1)


def signed_rank_p(values: np.ndarray) -> float:
    """p of the two-sided Wilcoxon signed-rank test that differences (n,) lie about zero; zeros do not count.

    1 where nothing differs.
    """
    values = values[values != 0.0]
    return float(wilcoxon(values).pvalue) if len(values) else 1.0


def with_holm(rows: Sequence[Mapping[str, PairedDifference]]) -> list[dict[str, PairedDifference]]:
    """The same differences with p corrected over all rows that have one, for each measure by itself."""
    corrected = [dict(row) for row in rows]
    for name in MEASURES:
        compared = [row for row in corrected if name in row]
        for row, p in zip(compared, holm([row[name].p for row in compared]), strict=True):
            row[name] = replace(row[name], p_holm=p)
    return corrected


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for their number by the step-down method of Holm (1979)."""
    order = np.argsort(p)
    raised = np.array(p, float)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1.0) if len(p) else raised
    return [float(each) for each in corrected]
