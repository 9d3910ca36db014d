"""What became of the scans of one call: for people as a table, for programs as an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.detection import Detection, Verdict
from ..core.errors import ExitCode


@dataclass(frozen=True)
class ScanOutcome:
    """What became of one scan: delivered to `folder` with a `detection`, or failed with an `error` sentence.

    `name` is that of the result, `summary` the result in one line; `earlier`: the result stood already and was not made
    again.
    """

    scan: str
    seconds: float
    folder: Path | None = None
    picture: Path | None = None
    detection: Detection | None = None
    summary: str = ""
    error: str | None = None
    earlier: bool = False
    name: str = ""

    @property
    def delivered(self) -> bool:
        """Whether a result folder stands."""
        return self.folder is not None


def exit_code(outcomes: Sequence[ScanOutcome]) -> ExitCode:
    """0 all delivered, 1 nothing delivered, 2 some failed, 3 all delivered but one is not to be trusted."""
    if not any(outcome.delivered for outcome in outcomes):
        return ExitCode.FAILED
    if not all(outcome.delivered for outcome in outcomes):
        return ExitCode.PARTLY_FAILED
    verdicts = [outcome.detection.verdict for outcome in outcomes if outcome.detection is not None]
    return ExitCode.NOT_TO_BE_TRUSTED if Verdict.DO_NOT_TRUST in verdicts else ExitCode.DELIVERED


def overall(outcomes: Sequence[ScanOutcome]) -> str:
    """One sentence about the whole call: '2 of 3 scans delivered'."""
    delivered = sum(outcome.delivered for outcome in outcomes)
    return f"{delivered} of {len(outcomes)} scan{'s' if len(outcomes) != 1 else ''} delivered"


def summary_table(outcomes: Sequence[ScanOutcome]) -> str:
    """A table for people: name, verdict, seconds, summary; below each scan the reasons and the picture."""
    rows = [("scan", "verdict", "seconds", "summary")]
    below: list[list[str]] = [[]]
    for outcome in outcomes:
        detection = outcome.detection
        if outcome.folder is None or detection is None:
            rows.append((_shortened(outcome.scan), "failed", f"{outcome.seconds:.1f}", outcome.error or ""))
            below.append([])
            continue
        name = _shortened(outcome.name or outcome.folder.name)
        rows.append((name, detection.verdict_label, f"{outcome.seconds:.1f}", outcome.summary))
        shown = outcome.picture if outcome.picture is not None else outcome.folder
        below.append([*detection.reasons, f"{'picture' if outcome.picture is not None else 'files'}: {shown}"])
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for (scan, verdict, seconds, summary), details in zip(rows, below, strict=True):
        lines.append(f"{scan:<{widths[0]}}  {verdict:<{widths[1]}}  {seconds:>{widths[2]}}  {summary}".rstrip())
        lines.extend(f"{'':<{widths[0]}}  {detail}" for detail in details)
    return "\n".join(lines)


def _shortened(name: str, most: int = 48) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 2]}...{name[-most // 2 + 1 :]}"
