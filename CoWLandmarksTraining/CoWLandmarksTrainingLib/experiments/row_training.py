"""Train a row of the comparison and read the test scans with it; what is done is kept, so that it can be stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.core.atomic_files import atomic_path
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.networks.heatmap import decode_argmax
from CoWLandmarksLib.networks.heatmap_peaks import HeatmapPeaks, heatmap_peaks

from ..augment.augmentation import Deformation
from ..config.settings import ONLY_TRANSLATIONS
from ..records.aligned_folder import INSIDE, UNKNOWN, AlignedCase, AlignedCohort
from ..records.training_log import LOG_FILE
from ..train.aligned_source import AlignedSource, status_on, usable
from ..train.batches import stacked
from ..train.checkpoint import averaged_weights
from ..train.cohort_data import CohortData
from ..train.layout_loss import LayoutLoss
from ..train.samples import StageSamples, sample_of
from ..train.stages import Stage
from ..train.trainer import CHECKPOINT_NAME, LogSink
from ..train.training import Training, train
from ..train.unlabelled import UnlabelledTerm
from .comparison_rows import ComparisonRow
from .comparison_scale import ComparisonScale
from .layout_decoding import APART_MM, PEAKS, LayoutDecoder, best_of_peaks, fitted_decoder, layout_model_of
from .row_result import RowResult, measured

STAGE = "fine"
_SEED_OFFSET = 1000
"""Scans without annotation are drawn by another stream than those with."""


@dataclass(frozen=True)
class RowTraining:
    """A row with one seed on one cohort; `table` is the name of the cohort's table, `out` the folder of all rows.

    `split` is what it is judged on: "test", or "validation" in a screening, which has folders of its own.
    """

    row: ComparisonRow
    seed: int
    table: str
    cohort: AlignedCohort
    scale: ComparisonScale
    out: Path
    device: torch.device
    split: str = "test"

    @property
    def name(self) -> str:
        """Name of its folder and of its result."""
        return f"{self.table}-{self.row.name}-seed-{self.seed}"

    @property
    def folder(self) -> Path:
        """Where it is trained."""
        return self.out / ("rows" if self.split == "test" else "screening") / self.name

    @property
    def result_file(self) -> Path:
        """The result, once it is done."""
        return self.out / ("results" if self.split == "test" else "screening-results") / f"{self.name}.json"

    def training_on(self, cohort: AlignedCohort) -> Training:
        """The training on a cohort; of the annotated scans only a share where the row says so."""
        plan = self.row.plan(self.scale, _image_modality(cohort), self.seed)
        return Training(CohortData(_reduced(cohort, self.row.share), plan), plan, self.folder, self.device)

    def run(self, on_log: LogSink, should_stop: Callable[[], bool] = lambda: False) -> RowResult:
        """Train, or go on, and read the test scans; a row that is done is only read.

        Raises StoppedError when it was stopped, ConfigurationError when the row that it begins from is not trained.
        """
        if self.result_file.exists():
            return RowResult.read(self.result_file)
        if self.row.layouts:
            result = self.read_by_layout()
            result.write(self.result_file)
            return result
        training = self.training_on(self._labelled() if self.row.labels else self.cohort)
        if self.row.energy or self.row.judges_unannotated:
            training = replace(training, unlabelled=self._unlabelled_term(training))
        if self.row.begins_from:
            self._take_over()
        train(training, resume=True, on_log=on_log, should_stop=should_stop, only=STAGE)
        result = self.read_split(training)
        result.write(self.result_file)
        return result

    def _take_over(self) -> None:
        """Begin with the state at the end of the row that it goes on from."""
        own = self.folder / STAGE / CHECKPOINT_NAME
        if own.exists():
            return
        theirs = self.checkpoint_before()
        own.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(own) as temporary:
            shutil.copyfile(theirs, temporary)

    def checkpoint_before(self) -> Path:
        """Of the row that it goes on from; raises ConfigurationError where that is not done."""
        before = replace(self, row=replace(self.row, name=self.row.begins_from), split="test")
        checkpoint = before.folder / STAGE / CHECKPOINT_NAME
        if not before.result_file.exists() or not checkpoint.exists():
            raise ConfigurationError(f"The row '{self.row.begins_from}' is not trained with seed {self.seed} yet.")
        return checkpoint

    def network(self, stage: Stage, checkpoint: Path) -> torch.nn.Module:
        """The network of a checkpoint with its averaged weights, for inference."""
        return stage.method.network(self.seed, averaged_weights(checkpoint)).to(self.device).eval()

    def read_by_layout(self) -> RowResult:
        """Errors on the test scans where the peaks of the row before are chosen by the layout that they make."""
        before = _Reader.of(self)
        decoder = self._decoder(before, self.row.layouts)
        cases = usable(self.cohort.cases(self.split, has_image=True))
        peaks = before.peaks(cases)
        truth = [true_points(case, before.stage) for case in cases]
        record = {"layouts": decoder.record, "best_of_peaks": best_of_peaks(peaks, truth)}
        return self._result(cases, {"subvoxel": [decoder.chosen(each).positions for each in peaks]}, truth, record)

    def _decoder(self, before: _Reader, whose: str) -> LayoutDecoder:
        """Chooses by the layouts of these training sets; its weight is chosen on the validation scans."""
        images = _image_modality(self.cohort)
        wanted = {"own": (True,), "other": (False,), "both": (True, False)}[whose]
        sets = [case for case in usable(self.cohort.cases("train")) if (case.modality.value == images) in wanted]
        cases = usable(self.cohort.cases("validation", has_image=True))
        return fitted_decoder(sets, before.peaks(cases), [true_points(case, before.stage) for case in cases])

    def _unlabelled_term(self, training: Training) -> UnlabelledTerm:
        """Scans without annotation, and the energy of layouts of all training sets as their loss, if the row has it."""
        stage, plan = training.stage(STAGE), training.plan
        source = AlignedSource(self._unannotated(), training.data.frame, plan.coarse, plan.augmentation, self.seed)
        permutation = training.data.anatomy.mirror_permutation
        samples = StageSamples(stage, ((source, 1.0),), permutation, plan.augmentation, self.seed + _SEED_OFFSET)
        if not self.row.energy:
            return UnlabelledTerm(samples, stage.settings.batch_size)
        model, _ = layout_model_of(usable(self.cohort.cases("train")))
        spacing = tuple(float(v) for v in stage.grid.spacing)
        loss = LayoutLoss(model, (spacing[0], spacing[1], spacing[2]))
        return UnlabelledTerm(samples, stage.settings.batch_size, loss, self.row.energy)

    def _unannotated(self) -> tuple[AlignedCase, ...]:
        """Training scans of which no landmark is known; raises ConfigurationError where there is none."""
        cases = self.cohort.cases("train", has_image=True)
        found = tuple(case for case in cases if not (case.status == INSIDE).any())
        if not found:
            raise ConfigurationError(f"The row '{self.row.name}' needs scans without annotation, and there are none.")
        return found

    def _labelled(self) -> AlignedCohort:
        """The cohort in which scans without annotation have the points that the row before gives them: its highest
        peaks, or those that a layout chooses."""
        before = _Reader.of(self)
        cases = self._unannotated()
        decoder = self._decoder(before, "both") if self.row.labels == "layouts" else None
        labelled = {}
        for case, peaks in zip(cases, before.peaks(cases), strict=True):
            points = peaks.positions[:, 0] if decoder is None else decoder.labels(peaks)
            known = np.isfinite(points).all(axis=1)
            labelled[case.name] = replace(
                case, landmarks=points, status=np.where(known, INSIDE, UNKNOWN).astype(np.int8)
            )
        return replace(self.cohort, all_cases=tuple(labelled.get(case.name, case) for case in self.cohort.all_cases))

    def read_split(self, training: Training) -> RowResult:
        """Errors on the scans that it is judged on, with the averaged weights."""
        stage = training.stage(STAGE)
        network = self.network(stage, self.folder / STAGE / CHECKPOINT_NAME)
        cases = usable(self.cohort.cases(self.split, has_image=True))
        found, truth = read_cases(stage, network, cases, training)
        record = _training_record(self.folder / STAGE, network, len(training.data.train_cases))  # type: ignore[attr-defined]
        return self._result(cases, found, truth, record)

    def _result(
        self,
        cases: Sequence[AlignedCase],
        found: dict[str, list[np.ndarray]],
        truth: list[np.ndarray],
        record: dict[str, Any],
    ) -> RowResult:
        errors, confused = measured(found, truth)
        names = tuple(case.name for case in cases)
        points = np.array(found["subvoxel"])
        kept = (errors, confused, record, points, np.array(truth))
        return RowResult(self.row.name, self.seed, self.table, self.scale.name, names, *kept)


@dataclass(frozen=True)
class _Reader:
    """The trained network of the row before."""

    stage: Stage
    network: torch.nn.Module
    training: Training

    @classmethod
    def of(cls, job: RowTraining) -> _Reader:
        training = job.training_on(job.cohort)
        stage = training.stage(STAGE)
        return cls(stage, job.network(stage, job.checkpoint_before()), training)

    def peaks(self, cases: Sequence[AlignedCase]) -> list[HeatmapPeaks]:
        """The highest peaks of every case."""
        stage = self.stage
        return [
            heatmap_peaks(outputs, stage.grid, stage.settings.sigma_mm, count=PEAKS, apart_mm=APART_MM)
            for outputs, _ in predictions(stage, self.network, cases, self.training)
        ]


def read_cases(
    stage: Stage, network: torch.nn.Module, cases: Sequence[AlignedCase], training: Training
) -> tuple[dict[str, list[np.ndarray]], list[np.ndarray]]:
    """Points (n, 3) RAS mm of every case by decoding, and the true ones (NaN: none in the crop)."""
    found: dict[str, list[np.ndarray]] = {"subvoxel": []}
    truth = []
    for outputs, case in predictions(stage, network, cases, training):
        grid = stage.grid
        found["subvoxel"].append(stage.method.decode(outputs, grid)[0])
        if stage.method.heatmaps:
            found.setdefault("argmax", []).append(decode_argmax(outputs, grid)[0])
        truth.append(true_points(case, stage))
    return found, truth


def true_points(case: AlignedCase, stage: Stage) -> np.ndarray:
    """(n, 3) RAS mm of the landmarks of a case that lie on the grid of a stage, NaN for the others."""
    return np.where(case.placed_in(stage.grid)[:, None], case.landmarks, np.nan)


def predictions(
    stage: Stage, network: torch.nn.Module, cases: Sequence[AlignedCase], training: Training
) -> Iterator[tuple[torch.Tensor, AlignedCase]]:
    """What the network gives for whole crops as they lie, one after the other: (n, K, J, I) float32 with its case."""
    source = AlignedSource(tuple(cases), training.data.frame, training.plan.coarse, ONLY_TRANSLATIONS)
    unmoved = Deformation(np.eye(3), stage.grid.centre, np.zeros(3))
    for case in cases:
        status = status_on(stage.grid, case.landmarks, case.status)
        posed = source.laid(case, stage, stage.grid, unmoved, status, None)
        sample = sample_of(posed, stage, posed.image, None, tuple(range(len(case.landmarks))))
        batch = stacked([sample]).to(training.device)
        with torch.inference_mode():
            outputs = network(stage.method.inputs(batch))[0].float().cpu()
        yield outputs, case


def _reduced(cohort: AlignedCohort, share: float) -> AlignedCohort:
    """The cohort with a share of its annotated training scans; landmark sets without scan all stay."""
    if share >= 1.0:
        return cohort
    scans = usable(cohort.cases("train", has_image=True))
    dropped = {case.name for case in scans[round(share * len(scans)) :]}
    return replace(cohort, all_cases=tuple(case for case in cohort.all_cases if case.name not in dropped))


def _image_modality(cohort: AlignedCohort) -> str:
    return str(usable(cohort.cases("train", has_image=True))[0].modality.value)


def _training_record(folder: Path, network: torch.nn.Module, scans: int) -> dict[str, Any]:
    entries = [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    losses = [entry for entry in entries if "loss" in entry]
    fought = [entry for entry in losses if entry.get("phase") == 2]
    record: dict[str, Any] = {
        "scans": scans,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "step": losses[-1]["step"] if losses else 0,
        "seconds": losses[-1]["seconds"] if losses else 0.0,
        "loss": {str(entry["step"]): entry["loss"] for entry in losses[:: max(1, len(losses) // 40)]},
        "validation": [{"step": entry["step"], **entry["validation"]} for entry in entries if "validation" in entry],
    }
    if fought:
        record["discriminator"] = _discriminator_record(fought)
    return record


def _discriminator_record(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def of(name: str) -> np.ndarray:
        return np.array([np.nan if entry[name] is None else entry[name] for entry in entries], float)

    def between(name: str) -> float:
        return float(((of(name) >= 0.55) & (of(name) <= 0.9)).mean())

    def mean(name: str, weights: np.ndarray | None = None) -> float | None:
        values = of(name)
        known = np.isfinite(values)
        if not known.any():
            return None
        return float(np.average(values[known], weights=None if weights is None else weights[known]))

    confused = np.array([entry["confused_points"] for entry in entries], float)
    record = {
        "accuracy": mean("discriminator_accuracy"),
        "share_of_entries_between_55_and_90_percent": between("discriminator_accuracy"),
        "gradient_ratio": mean("gradient_ratio"),
        "weight": mean("lambda_adv"),
        "confused_points": int(confused.sum()),
        "cosine_to_truth": mean("cosine_to_truth", np.maximum(confused, 1e-9)),
    }
    if "held_out_accuracy" in entries[-1]:
        confused = np.array([entry["held_out_confused_points"] for entry in entries], float)
        record |= {
            "held_out_accuracy": mean("held_out_accuracy"),
            "share_of_entries_between_55_and_90_percent_held_out": between("held_out_accuracy"),
            "held_out_confused_points": int(confused.sum()),
            "held_out_cosine_to_truth": mean("held_out_cosine_to_truth", np.maximum(confused, 1e-9)),
        }
    return record
