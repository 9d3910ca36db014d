"""The comparison as a whole: its rows in turn, each kept when it is done, and the tables of all that are."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..records.aligned_folder import AlignedCohort
from ..train.memory import memory_mb
from ..train.trainer import LogSink
from .comparison_cohort import SPECIFICATIONS, CohortSpecification, cohort_at_scale, read_or_write
from .comparison_report import ComparisonReport, read_results
from .comparison_rows import BASELINE, ROWS, ComparisonRow
from .comparison_scale import ComparisonScale
from .row_result import RowResult
from .row_training import RowTraining
from .screening import Screening
from .smoke_run import SMOKE_STEPS, StepTimes, few_cases, smoke_cohort, smoke_scale

RESULTS = "results"
"""Folder of the results."""
OWN_TABLE = "own"
"""Name of the table of a user's own cohort."""
_SECONDS_OF_A_RENDERED_SCAN = 2.0


@dataclass(frozen=True)
class MethodComparison:
    """What is run: `rows` with seeds 1 to `seeds` (those that want fewer have fewer) at a scale, into `out`.

    `specifications` are the cohorts of phantoms: the first is that of the table, the others have only the rows of the
    reverse scenario and one seed. `aligned` is a user's own cohort instead (a folder that `align` has made).
    `smoke`: a smoke run of the rows (see `smoke_run`), with one seed.
    """

    scale: ComparisonScale
    rows: tuple[ComparisonRow, ...]
    out: Path
    seeds: int = 3
    specifications: tuple[CohortSpecification, ...] = SPECIFICATIONS
    aligned: Path | None = None
    smoke: bool = False

    @property
    def folder(self) -> Path:
        """Where everything is: `out`, or a folder of its own in there for a smoke run."""
        return self.out / "smoke" if self.smoke else self.out

    @property
    def run_scale(self) -> ComparisonScale:
        """The scale, with a few steps for a smoke run."""
        return smoke_scale(self.scale) if self.smoke else self.scale

    @property
    def run_specifications(self) -> tuple[CohortSpecification, ...]:
        """The cohorts, with a few scans for a smoke run."""
        return tuple(smoke_cohort(each) for each in self.specifications) if self.smoke else self.specifications

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables."""
        return (OWN_TABLE,) if self.aligned is not None else tuple(each.name for each in self.specifications)

    @property
    def jobs(self) -> tuple[tuple[str, ComparisonRow, int], ...]:
        """(table, row, seed) in the order in which they run: seed by seed, those before that others begin from."""
        first, *others = self.tables
        seeds = 1 if self.smoke else self.seeds
        main = [(first, row, seed) for seed in range(1, seeds + 1) for row in self.rows if seed <= row.seeds]
        return (*main, *((table, replace(row, seeds=1), 1) for table in others for row in self.rows if row.reverse))

    def dry_run(self) -> str:
        """The rows with their steps and the estimated time on one core, as text."""
        unit, seconds = ("minutes", 60.0) if self.smoke else ("hours", 3600.0)
        lines = [*self._explained(), f"{'table':9} {'row':20} {'seed':>4} {'phase 1':>8} {'phase 2':>8} {unit:>8}"]
        total = 0.0
        for table, row, seed in self.jobs:
            first, second = row.steps(self.run_scale)
            slow = self.scale.seconds_per_step[int(row.sets is not None)]
            time = (first * self.scale.seconds_per_step[0] + second * slow) / seconds
            done = " (done)" if self._training(table, row, seed, None, torch.device("cpu")).result_file.exists() else ""
            total += 0.0 if done else time
            lines.append(f"{table:9} {row.name:20} {seed:4} {first:8} {second:8} {time:8.1f}{done}")
        scans = sum(
            s.train + s.validation + s.test + s.unlabelled for s in self.run_specifications if self.aligned is None
        )
        total += scans * _SECONDS_OF_A_RENDERED_SCAN / seconds
        return "\n".join(
            [*lines, f"About {total:.0f} {unit} on one core are left, {scans} scans to render included.", ""]
        )

    def _explained(self) -> list[str]:
        """What the list is, for those who see it for the first time."""
        k, j, i = self.scale.shape
        what = (
            f"Scale '{self.scale.name}': crops of {i} x {j} x {k} voxels. Every line below is one training; the tables "
            "have a line for all seeds of a row. Phase 1 is the generator alone; a line with steps of phase 2 goes on "
            "from another one, and a line without steps reads the test scans with a network that is there. Everything "
            f"goes to '{self.folder}'."
        )
        smoke = (
            f" This is a SMOKE RUN: {SMOKE_STEPS} steps of each phase on a few scans, to see that every line works on "
            "this machine, and how long a step takes. Its errors mean nothing. Without --smoke, the same command runs "
            "the comparison."
        )
        return [*textwrap.wrap(what + smoke * self.smoke, 100), ""]

    def run(
        self,
        device: torch.device,
        on_log: LogSink,
        say: Callable[[str], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[RowResult]:
        """Run what is not done yet; tables and figures are renewed after every row. Raises StoppedError when it was
        stopped."""
        cohorts = {table: self._cohort(table, say) for table in self.tables}
        times = StepTimes()
        for table, row, seed in self.jobs:
            job = self._training(table, row, seed, cohorts[table], device)
            say(f"{job.name}: {row.title}")
            done = job.result_file.exists()

            def log(entry: dict[str, Any], name: str = job.name, key: str = f"{table}-{row.name}") -> None:
                on_log({"row": name, **entry})
                times.take(key, entry)

            result = job.run(log, should_stop)
            figures = result.figures("subvoxel")
            say(f"{job.name}: {figures['mre_mm']:.2f} mm, {100 * figures['beyond_6mm']:.1f} % beyond 6 mm")
            if not done:
                self._report(table)
        for table in self.tables:
            self._report(table)
        if self.smoke:
            say(self._smoke_sentence(times, device))
        return read_results(self.folder / RESULTS)

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
        return Screening(self.run_scale, self.folder, table).run(cohort, device, on_log, say, should_stop)

    def _report(self, table: str) -> None:
        """Tables and figures of a table, unless they are newer than all its results."""
        files = sorted((self.folder / RESULTS).glob(f"{table}-*.json"))
        report = ComparisonReport(self.folder, self.run_specifications)
        if files and not report.is_current(files, table):
            report.write([result for result in read_results(self.folder / RESULTS) if result.table == table])

    def _smoke_sentence(self, times: StepTimes, device: torch.device) -> str:
        """What was found, with an estimate for all steps."""
        rows = [(f"{table}-{row.name}", row) for table, row, _ in replace(self, smoke=False).jobs]
        memory = memory_mb(device)
        used = "" if memory is None else f", with {memory / 1024.0:.1f} GB of memory at most"
        return (
            f"Smoke run: every line works on this machine{used}. By the last step of the {len(times.seconds)} that "
            f"were trained just now, all of their steps (seeds 1 to {self.seeds}) take "
            f"{times.hours(rows, self.scale):.1f} hours here."
        )

    def _cohort(self, table: str, say: Callable[[str], None]) -> AlignedCohort:
        folder = self.folder / f"cohort-{table}"
        say(f"The cohort is '{folder}'.")
        if self.aligned is not None:
            chosen = few_cases if self.smoke else lambda cohort: cohort
            return cohort_at_scale(self.aligned, self.run_scale, folder, chosen)
        [specification] = [each for each in self.run_specifications if each.name == table]
        return read_or_write(specification, self.run_scale, folder)

    def _training(
        self,
        table: str,
        row: ComparisonRow,
        seed: int,
        cohort: AlignedCohort | None,
        device: torch.device,
    ) -> RowTraining:
        return RowTraining(row, seed, table, cohort, self.run_scale, self.folder, device)  # type: ignore[arg-type]
