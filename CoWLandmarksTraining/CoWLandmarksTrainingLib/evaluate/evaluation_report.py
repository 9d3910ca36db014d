"""The report of an evaluation: figures, tables, a bar figure, and pictures of what went wrong."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib import PROGRAM
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.atomic_files import write_text
from CoWLandmarksLib.core.errors import OutputError
from CoWLandmarksLib.core.volume import axis_aligned_grid
from CoWLandmarksLib.detect.detector import Detector
from CoWLandmarksLib.networks.resampling import resample
from CoWLandmarksLib.pipeline.batch import sentence_of

from ..cohort.annotated_cases import AnnotatedScan
from ..figures.bar_figure import write_bars
from ..figures.error_picture import write_error_picture
from ..figures.reliability_figure import write_reliability
from ..records.evaluation_file import SCHEMA, title_of, write_evaluation
from ..records.metrics import SUCCESS_RADII_MM, confused_with, radial_errors
from .evaluation import (
    FAR_MM,
    AnnotatedVolume,
    CaseResult,
    confusion_pairs,
    errors_on_runners_up,
    evaluate,
    figures,
    figures_by_trait,
    per_landmark,
    presence_figures,
)
from .evaluation_cases import EvaluationCases, annotated_volume
from .reliability import reliability

logger = logging.getLogger(__name__)

FAILURE_MM = 6.0
"""A scan with a landmark further off than this, or with a confusion, is listed as a failure."""
FEWEST_COUNTED = 30
"""A share of fewer says little."""
_PICTURE_MM = 0.7
_MOST_PICTURES = 20


def evaluation_report(
    detector: Detector,
    cases: EvaluationCases,
    cohort: str,
    *,
    split: str | None = None,
    pictures: Path | None = None,
    on_case: Callable[[CaseResult], None] | None = None,
) -> dict[str, Any]:
    """Everything `cowlandmarks-train evaluate` reports of annotated scans, by modality and subgroup.

    A case that cannot be read or measured is listed in "failed" and left out of the figures, which are empty
    when no case is left. Pictures of the first failures, twenty at most, go to the folder `pictures`.
    """
    anatomy = detector.model.anatomy
    results: list[CaseResult] = []
    failed = list(cases.failed)
    shown = _Pictures(anatomy, pictures)
    for scan in cases.scans:
        try:
            case = annotated_volume(scan, anatomy)
            [result] = evaluate(detector, [case])
            shown.take(case, result, scan)
        except OutputError:
            raise
        except Exception as error:
            logger.debug("%s failed", scan.name, exc_info=True)
            failed.append({"case": scan.name, "error": sentence_of(error)})
            continue
        results.append(result)
        if on_case:
            on_case(result)
    failed.sort(key=lambda entry: entry["case"])
    groups = sorted({result.group for result in results})
    members = {"all": results} if results else {}
    members |= {group: [r for r in results if r.group == group] for group in groups}
    return {
        "schema": SCHEMA,
        "program": PROGRAM,
        "model": detector.model.name,
        "cohort": cohort,
        "split": split,
        "figures": {
            which: {name: figures(part, which) for name, part in members.items()}
            for which in ("subvoxel", "argmax", "expected", "coarse", "circle")
            if results and getattr(results[0], which) is not None
        },
        "subgroups": figures_by_trait(results, "subvoxel"),
        "presence": {name: presence_figures(part) for name, part in members.items()},
        "per_landmark": per_landmark(results, anatomy, "subvoxel") if results else {},
        "reliability": reliability(results, detector.model.fine.calibration) if results else {},
        "confusions": confusion_pairs(results, anatomy, "subvoxel"),
        "runners_up": errors_on_runners_up(results, anatomy, "subvoxel"),
        "verdicts": {
            verdict: sum(r.verdict == verdict for r in results) for verdict in sorted({r.verdict for r in results})
        },
        "failures": failures(results, anatomy),
        "failed": failed,
        "errors_mm": {
            result.name: [round(e, 4) for e in radial_errors(result.subvoxel, result.truth).tolist()]
            for result in results
        },
    }


def failures(results: Sequence[CaseResult], anatomy: Anatomy) -> list[dict[str, Any]]:
    """Scans with a landmark more than 6 mm off or confused, the worst first, with those landmarks."""
    listed = []
    for result in results:
        errors = radial_errors(result.subvoxel, result.truth)
        other = confused_with(result.subvoxel, result.truth)
        bad = [
            {
                "landmark": code,
                "error_mm": round(float(error), 2),
                "state": state,
                **({"taken_for": anatomy.codes[taken]} if taken >= 0 else {}),
            }
            for code, error, state, taken in zip(anatomy.codes, errors, result.states, other, strict=True)
            if error > FAILURE_MM or taken >= 0
        ]
        if bad:
            worst = sorted(bad, key=lambda entry: -float(str(entry["error_mm"])))
            listed.append({"case": result.name, "verdict": result.verdict, "landmarks": worst})
    return sorted(listed, key=lambda entry: -len(entry["landmarks"]))


class _Pictures:
    """Draws failures as they come, as many as there is room for."""

    def __init__(self, anatomy: Anatomy, folder: Path | None) -> None:
        self._anatomy, self._folder, self._drawn = anatomy, folder, 0

    def take(self, case: AnnotatedVolume, result: CaseResult, scan: AnnotatedScan) -> None:
        """Draw the scan if it is a failure."""
        if self._folder is None or self._drawn >= _MOST_PICTURES or not failures([result], self._anatomy):
            return
        self._drawn += 1
        known = np.isfinite(result.truth).all(axis=1)
        points = np.concatenate([result.truth[known], result.subvoxel])
        low, high = points.min(axis=0) - 8.0, points.max(axis=0) + 8.0
        shape = np.ceil((high - low) / _PICTURE_MM).astype(int)
        grid = axis_aligned_grid(
            (low + high) / 2.0, np.full(3, _PICTURE_MM), (int(shape[2]), int(shape[1]), int(shape[0]))
        )
        voxels = torch.from_numpy(np.ascontiguousarray(case.volume.voxels.astype(np.float32)))
        image = resample(voxels, case.volume.grid, grid, padding=float(case.volume.voxels.min())).numpy()
        mean = float(np.nanmean(radial_errors(result.subvoxel, result.truth)))
        write_error_picture(
            self._folder / f"{scan.name}.png",
            image,
            grid,
            result.truth,
            result.subvoxel,
            self._anatomy,
            f"{scan.name}: mean error {mean:.1f} mm (rings: truth, discs: found)",
        )


def write_report(report: dict[str, Any], folder: Path, anatomy: Anatomy) -> None:
    """Write evaluation.json and .md, per_landmark.csv and .png, reliability.png; raises OutputError."""
    write_evaluation(folder, report)
    write_text(folder / "evaluation.md", markdown_report(report))
    write_text(folder / "per_landmark.csv", landmark_table(report))
    if report["per_landmark"]:
        write_bars(folder / "per_landmark.png", report["per_landmark"], anatomy, title_of(report))
        write_reliability(folder / "reliability.png", report["reliability"], title_of(report))


def landmark_table(report: dict[str, Any]) -> str:
    """Rows code,mre_mm,median_mm,n as CSV."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["code", "mre_mm", "median_mm", "n"])
    for code, row in report["per_landmark"].items():
        writer.writerow([code, f"{row['mre_mm']:.3f}", f"{row['median_mm']:.3f}", row["n"]])
    return stream.getvalue()


def markdown_report(report: dict[str, Any]) -> str:
    """The report for people."""
    split = f", split {report['split']}" if report["split"] else ""
    lines = [f"# {report['model']} on {report['cohort']}{split}", "", f"Made with {report['program']}.", ""]
    for which in ("subvoxel", "argmax"):
        if rows := report["figures"].get(which):
            lines += [f"## {which}", "", markdown_table(rows)]
    if rows := report["figures"].get("subvoxel"):
        lines += ["95 % bootstrap intervals over scans (sub-voxel):", ""]
        for name, row in rows.items():
            details = [f"{key} {_range(value)}" for key, value in row["interval"].items() if value]
            lines.append(f"- {name}: {', '.join(details) or 'too few scans'}")
        lines += ["", "## Presence", ""]
        for name, row in report["presence"].items():
            specificity = "-" if row["specificity"] is None else f"{100 * row['specificity']:.1f} %"
            lines.append(
                f"- {name}: sensitivity {100 * row['sensitivity']:.1f} % of {row['present']} present landmarks, "
                f"specificity {specificity} of {row['absent']} absent ones"
                + (f" (under {FEWEST_COUNTED}: an anecdote, no rate)" if row["absent"] < FEWEST_COUNTED else "")
            )
        lines += ["", "## Landmarks", "", "| code | MRE mm | median mm | n |", "|---|---|---|---|"]
        lines += [
            f"| {code} | {row['mre_mm']:.2f} | {row['median_mm']:.2f} | {row['n']} |"
            for code, row in report["per_landmark"].items()
        ]
        lines += ["", "## Confidence and expected error", "", *_reliability_lines(report["reliability"])]
        lines += ["", "## Confusions", ""]
        lines += [f"- {c['landmark']} taken for {c['taken_for']}: {c['count']}" for c in report["confusions"]] or [
            "none"
        ]
        if rows := report.get("runners_up"):
            lines += ["", f"## Errors beyond {FAR_MM:g} mm", "", *_runner_up_lines(rows)]
        lines += ["", f"## Failures (over {FAILURE_MM:g} mm, or confused)", ""]
        lines += [_failure(entry) for entry in report["failures"]] or ["none"]
    if report["subgroups"]:
        lines += ["", "## Subgroups", "", markdown_table(report["subgroups"])]
    if report["failed"]:
        lines += ["", "## Cases that could not be used", ""]
        lines += [f"- {entry['case']}: {entry['error']}" for entry in report["failed"]]
    return "\n".join(lines).rstrip("\n") + "\n"


def markdown_table(rows: dict[str, dict[str, Any]]) -> str:
    """Rows of `figures` as a Markdown table."""
    head = (
        "| group | scans | MRE (SD) mm | median | 95 % | "
        + " | ".join(f"{r:g} mm" for r in SUCCESS_RADII_MM)
        + " | confusions |"
    )
    lines = [head, "|" + "---|" * (6 + len(SUCCESS_RADII_MM))]
    for name, row in rows.items():
        rates = " | ".join(f"{100 * row['sdr'][f'{r:g}']:.1f}" for r in SUCCESS_RADII_MM)
        lines.append(
            f"| {name} | {row['scans']} | {row['mre_mm']:.2f} ({row['sd_mm']:.2f}) | {row['median_mm']:.2f} | "
            f"{row['p95_mm']:.2f} | {rates} | {100 * row['confusion']:.2f} % |"
        )
    return "\n".join(lines) + "\n"


def _reliability_lines(table: dict[str, Any]) -> list[str]:
    lines = ["| confidence | within 3 mm | n | | expected error mm | mean error mm |", "|---|---|---|---|---|---|"]
    for sure, error in zip(table["confidence"], table["error"], strict=True):
        lines.append(
            f"| {sure['said']:.2f} | {sure['measured']:.2f} | {sure['n']} | | {error['said']:.2f} | "
            f"{error['measured']:.2f} |"
        )
    return [*lines, "", f"Mean gap between confidence and share within 3 mm: {100 * table['calibration_error']:.1f} %."]


def _runner_up_lines(rows: dict[str, dict[str, int]]) -> list[str]:
    lines = ["| code | beyond | on a runner-up | elsewhere |", "|---|---|---|---|"]
    total = {key: sum(row[key] for row in rows.values()) for key in ("beyond", "on_runner_up")}
    return lines + [
        f"| {code} | {row['beyond']} | {row['on_runner_up']} | {row['beyond'] - row['on_runner_up']} |"
        for code, row in {**rows, "all": total}.items()
    ]


def _range(interval: Sequence[float]) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"


def _failure(entry: dict[str, Any]) -> str:
    details = ", ".join(
        f"{point['landmark']} {point['error_mm']:.1f} mm"
        + (f" (taken for {point['taken_for']})" if "taken_for" in point else "")
        for point in entry["landmarks"]
    )
    return f"- {entry['case']} ({entry['verdict']}): {details}"
