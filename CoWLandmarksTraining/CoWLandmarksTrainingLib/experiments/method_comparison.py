"""The comparison as a whole: its rows in turn, each kept when it is done, and the tables of all that are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.atomic_files import write_text

from ..figures.bar_figure import write_bars
from ..records.aligned_folder import AlignedCohort
from ..records.metrics import figures_by_landmark
from ..train.trainer import LogSink
from .comparison_cohort import SPECIFICATIONS, CohortSpecification, cohort_at_scale, read_or_write
from .comparison_rows import BASELINE, ROWS, ComparisonRow
from .comparison_scale import ComparisonScale
from .row_result import DECODINGS, RowResult
from .row_table import comma_separated, latex, markdown, table_lines
from .row_training import RowTraining
from .screening import Screening

OWN_TABLE = "own"
"""Name of the table of a user's own cohort."""
_SECONDS_OF_A_RENDERED_SCAN = 2.0


@dataclass(frozen=True)
class MethodComparison:
    """What is run: `rows` with seeds 1 to `seeds` (those that want fewer have fewer) at a scale, into `out`.

    `specifications` are the cohorts of phantoms: the first is that of the table, the others have only the rows of the
    reverse scenario and one seed. `aligned` is a user's own cohort instead (a folder that `align` has made).
    """

    scale: ComparisonScale
    rows: tuple[ComparisonRow, ...]
    out: Path
    seeds: int = 3
    specifications: tuple[CohortSpecification, ...] = SPECIFICATIONS
    aligned: Path | None = None

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables."""
        return (OWN_TABLE,) if self.aligned is not None else tuple(each.name for each in self.specifications)

    @property
    def jobs(self) -> tuple[tuple[str, ComparisonRow, int], ...]:
        """(table, row, seed) in the order in which they run: seed by seed, those before that others begin from."""
        first, *others = self.tables
        main = [(first, row, seed) for seed in range(1, self.seeds + 1) for row in self.rows if seed <= row.seeds]
        return (*main, *((table, replace(row, seeds=1), 1) for table in others for row in self.rows if row.reverse))

    def dry_run(self) -> str:
        """The rows with their steps and estimated hours on one core, as text."""
        lines = [f"{'table':9} {'row':20} {'seed':>4} {'phase 1':>8} {'phase 2':>8} {'hours':>6}"]
        total = 0.0
        for table, row, seed in self.jobs:
            first, second = row.steps(self.scale)
            slow = self.scale.seconds_per_step[int(row.sets is not None)]
            hours = (first * self.scale.seconds_per_step[0] + second * slow) / 3600.0
            done = " (done)" if self._training(table, row, seed, None, torch.device("cpu")).result_file.exists() else ""
            total += 0.0 if done else hours
            lines.append(f"{table:9} {row.name:20} {seed:4} {first:8} {second:8} {hours:6.1f}{done}")
        scans = sum(s.train + s.validation + s.test + s.unlabelled for s in self.specifications if self.aligned is None)
        total += scans * _SECONDS_OF_A_RENDERED_SCAN / 3600.0
        return "\n".join(
            [*lines, f"About {total:.0f} hours on one core are left, {scans} scans to render included.", ""]
        )

    def run(
        self,
        device: torch.device,
        on_log: LogSink,
        say: Callable[[str], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[RowResult]:
        """Run what is not done yet, and write the tables after every row. Raises StoppedError when it was stopped."""
        cohorts = {table: self._cohort(table, say) for table in self.tables}
        for table, row, seed in self.jobs:
            job = self._training(table, row, seed, cohorts[table], device)
            say(f"{job.name}: {row.title}")
            result = job.run(lambda entry, name=job.name: on_log({"row": name, **entry}), should_stop)  # type: ignore[misc]
            figures = result.figures("subvoxel")
            say(f"{job.name}: {figures['mre_mm']:.2f} mm, {100 * figures['beyond_6mm']:.1f} % beyond 6 mm")
            self.write_tables()
        return self.results()

    def screen(
        self,
        device: torch.device,
        on_log: LogSink,
        say: Callable[[str], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[RowResult]:
        """Train the baseline of the first table if it is not there, then go on from it in all ways to be screened."""
        table = self.tables[0]
        cohort = self._cohort(table, say)
        self._training(table, ROWS[BASELINE], 1, cohort, device).run(on_log, should_stop)
        return Screening(self.scale, self.out, table).run(cohort, device, on_log, say, should_stop)

    def results(self) -> list[RowResult]:
        """All rows that are done, in the order of the table."""
        read = [RowResult.read(path) for path in (self.out / "results").glob("*.json")]
        return sorted(read, key=lambda result: (result.table, list(ROWS).index(result.row), result.seed))

    def write_tables(self) -> None:
        """Tables of all rows that are done, and the errors by landmark; raises OutputError."""
        results = self.results()
        for table in sorted({result.table for result in results}):
            own = [result for result in results if result.table == table]
            for decoding in DECODINGS:
                lines = table_lines(own, decoding)
                stem = self.out / f"{table}-{decoding}"
                write_text(stem.with_suffix(".md"), markdown(lines))
                write_text(stem.with_suffix(".csv"), comma_separated(lines))
                write_text(stem.with_suffix(".tex"), latex(lines))
            for name in {result.row for result in own}:
                first = next(result for result in own if result.row == name)
                title = f"{ROWS[name].title}, seed {first.seed}"
                figure = self.out / f"{table}-{name}.png"
                by_landmark = figures_by_landmark(first.errors["subvoxel"], default_anatomy().codes)
                write_bars(figure, by_landmark, default_anatomy(), title)

    def _cohort(self, table: str, say: Callable[[str], None]) -> AlignedCohort:
        folder = self.out / f"cohort-{table}"
        say(f"The cohort is '{folder}'.")
        if self.aligned is not None:
            return cohort_at_scale(self.aligned, self.scale, folder)
        [specification] = [each for each in self.specifications if each.name == table]
        return read_or_write(specification, self.scale, folder)

    def _training(
        self,
        table: str,
        row: ComparisonRow,
        seed: int,
        cohort: AlignedCohort | None,
        device: torch.device,
    ) -> RowTraining:
        return RowTraining(row, seed, table, cohort, self.scale, self.out, device)  # type: ignore[arg-type]
