"""The screening: ways to teach the discriminator, each for a short while, judged on validation scans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from CoWLandmarksLib.core.atomic_files import write_text

from ..records.aligned_folder import AlignedCohort
from ..train.trainer import LogSink
from .comparison_rows import CURES, SCREENING_STEPS, ComparisonRow
from .comparison_scale import ComparisonScale
from .row_result import RowResult
from .row_training import RowTraining

_COLUMNS = (
    "row",
    "what",
    "MRE mm",
    "> 6 mm",
    "CPU s",
    "accuracy",
    "on held-out pairs",
    "of the time in 55 to 90 %",
    "cosine at confused points of validation scans",
)


@dataclass(frozen=True)
class Screening:
    """All `rows` go on from the baseline with this seed for at most SCREENING_STEPS steps; no test scan is read."""

    scale: ComparisonScale
    out: Path
    table: str
    rows: Sequence[ComparisonRow] = CURES
    seed: int = 1

    def run(
        self,
        cohort: AlignedCohort,
        device: torch.device,
        on_log: LogSink,
        say: Callable[[str], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[RowResult]:
        """Train what is not done yet and write the table after every row, `screening.md` in the folder.

        Raises StoppedError when it was stopped, ConfigurationError when the baseline is not trained yet.
        """
        scale = replace(self.scale, phase_2_steps=min(SCREENING_STEPS, self.scale.phase_2_steps))
        results = []
        for row in self.rows:
            job = RowTraining(row, self.seed, self.table, cohort, scale, self.out, device, "validation")
            say(f"{job.name}: {row.title}")
            results.append(job.run(lambda entry, name=job.name: on_log({"row": name, **entry}), should_stop))  # type: ignore[misc]
            write_text(self.out / "screening.md", self.markdown(results))
        return results

    def markdown(self, results: Sequence[RowResult]) -> str:
        """The table, one line a row."""
        titles = {row.name: row.title for row in CURES}
        lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + " --- |" * len(_COLUMNS)]
        for result in results:
            figures, training = result.figures("subvoxel"), result.training
            cells = [
                result.row,
                titles[result.row],
                f"{figures['mre_mm']:.2f}",
                f"{100 * figures['beyond_6mm']:.1f} %",
                f"{training['seconds']:.0f}",
                *_discriminator_cells(training.get("discriminator")),
            ]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines) + "\n"


def _discriminator_cells(record: dict[str, float] | None) -> list[str]:
    if record is None:
        return [""] * 4

    def percent(name: str) -> str:
        return "" if record.get(name) is None else f"{100 * record[name]:.0f} %"

    cosine = record.get("held_out_cosine_to_truth")
    points = record.get("held_out_confused_points", 0)
    return [
        percent("accuracy"),
        percent("held_out_accuracy"),
        percent("share_of_entries_between_55_and_90_percent_held_out"),
        "" if cosine is None else f"{cosine:+.3f} ({points:.0f})",
    ]
