"""One training: every stage of a recipe in turn, then its model file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from CoWLandmarksLib.core.errors import ConfigurationError, ModelError, StoppedError
from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, Model, NetworkPart, load_model

from ..config.settings import DEFAULT_START, ONLY_TRANSLATIONS, AugmentationSettings
from ..config.trainer_config import trainer_config
from ..config.training_plan import TrainingPlan
from ..records.training_folder import MODEL_FILE
from .adversary import Adversary
from .aligned_source import AlignedSource
from .batches import Batch, stacked
from .begun_training import claim
from .checkpoint import averaged_weights
from .light_state import take_over, write_light_states
from .memory import MEMORY_ADVICE
from .model_provenance import known_seeds
from .phantom_data import phantom_source
from .phantom_source import PhantomSource, check_phantoms_fit
from .processes import Processes
from .samples import RealSetSampler, StageSamples
from .stage_validation import StageValidation
from .stages import Stage, grid_spec, recipe
from .trained_model import deliver_model
from .trainer import CHECKPOINT_NAME, LogSink, Trainer, Validation
from .training_data import TrainingData
from .unlabelled import UnlabelledTerm

logger = logging.getLogger(__name__)

_MOST_VALIDATED, _MOST_EXAMINED = 8, 16


@dataclass(frozen=True)
class Training:
    """One training: what it learns from, settings, place, device and this process's part.

    `name`, `licence` and `description` (its first sentence) are for the model; by default those of a user's own.
    `unlabelled`: what the fine stage learns from scans without annotation.
    """

    data: TrainingData
    plan: TrainingPlan
    out: Path
    device: torch.device
    processes: Processes = field(default_factory=Processes)
    name: str | None = None
    licence: str = "of the data it was trained on; not stated"
    description: str = ""
    unlabelled: UnlabelledTerm | None = None

    @property
    def model_file(self) -> Path:
        """Where the model is delivered."""
        return self.out / MODEL_FILE

    @cached_property
    def start(self) -> Model | None:
        """The model whose networks to begin with; None where there is none, or the one that ships does not fit."""
        wanted = self.plan.training.start_from
        if not wanted:
            return None
        model = load_model(DEFAULT_MODEL_FILE if wanted == DEFAULT_START else Path(wanted))
        if model.anatomy.codes == self.data.anatomy.codes:
            return model
        if wanted != DEFAULT_START:
            raise ModelError(f"'{Path(wanted).name}' has other landmarks than this cohort; change start_from.")
        logger.warning("The default model has other landmarks; the training begins from nothing.")
        return None

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The recipe; raises ConfigurationError and ModelError."""
        names = self.plan.training.stages
        starts = {name: self._start_of(name) for name in names}
        return recipe(self.plan, self.data.frame, len(self.data.anatomy), starts)

    def stage(self, name: str) -> Stage:
        """A stage by its name; raises ConfigurationError."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ConfigurationError(f"The recipe has no stage '{name}'; it has {', '.join(s.name for s in self.stages)}.")

    @cached_property
    def augmentation(self) -> AugmentationSettings:
        """The plan's, without mirroring where a landmark of one side has no counterpart on the other."""
        own = self.plan.augmentation
        marks = self.data.anatomy.landmarks
        alone = [mark.code for mark in marks if mark.side != "midline" and mark.mirror == mark.code]
        if not own.mirror or not alone:
            return own
        logger.warning("Nothing is mirrored: %s has no counterpart on the other side.", ", ".join(alone))
        return replace(own, mirror=False)

    @property
    def phantom_seed(self) -> int:
        """Seed of the phantoms: as set, or above all that the model it begins with has learnt from."""
        if self.plan.data.phantom_seed:
            return self.plan.data.phantom_seed
        if self.start is None:
            return self.plan.training.seed
        return 1 + max(known_seeds(self.start.provenance), default=0)

    @property
    def phantoms(self) -> PhantomSource:
        """The phantoms of this training; they are kept in `phantoms` of its folder."""
        return phantom_source(self.plan, self.out / "phantoms", self.phantom_seed)

    def samples(self, stage: Stage) -> StageSamples:
        """All samples of a stage."""
        if self.data.uses_phantoms:
            check_phantoms_fit(stage)
        sources = self.data.sources(self.phantoms)
        middle = float(self.data.frame.grid.centre[0])
        permutation = self.data.anatomy.mirror_permutation
        return StageSamples(stage, sources, permutation, self.augmentation, self.plan.training.seed, middle)

    def trainer(self, stage: Stage, state: Path | None = None) -> Trainer:
        """The trainer of a stage, where its last checkpoint is, or a light state in `state`, or at the beginning."""
        plan, seed = self.plan, self.plan.training.seed
        continued = stage.start is not None
        weights = stage.start.weights if stage.start is not None else self._related_weights(stage)
        trainer = Trainer(
            stage.method,
            stage.method.network(seed + stage.number, weights),
            self.samples(stage),
            stage.settings.batch_size,
            trainer_config(plan, stage.name, continued=continued),
            self.out / stage.name,
            self.device,
            adversary=self._adversary(stage),
            unlabelled=self.unlabelled if stage.name == "fine" else None,
            processes=self.processes,
            workers=plan.training.workers,
            memory_advice=MEMORY_ADVICE.format(stage=stage.name),
        )
        trainer.resume()
        if state is not None:
            take_over(trainer, state, stage.name)
        return trainer

    def validation(self, stage: Stage) -> Validation | None:
        """What judges a stage while it is trained; None without validation cases."""
        cases = self.data.validation_cases()[:_MOST_VALIDATED]
        if not cases:
            return None
        source = AlignedSource(cases, self.data.frame, self.plan.coarse, self.augmentation)
        pictures = self.out / stage.name / "pictures" if stage.name == "fine" else None
        return StageValidation(stage, source, cases, self.data.anatomy, self.device, pictures)

    def _start_of(self, name: str) -> NetworkPart | None:
        """The network of the model to begin with for a stage; None where it has none or it knows another input."""
        model = self.start
        if model is None:
            return None
        part = dict(model.stages).get(name)
        if part is None or name == "coarse":
            return part
        known = replace(self.data.frame, mean_landmarks=model.shape.mean)
        if not self.data.frame.same_as(known):
            logger.warning("The %s network of the model to begin from knows another frame; it begins anew.", name)
            return None
        if name == "fine" and part.config.method != self.plan.fine.method:
            logger.warning("The fine network of the model to begin from is of another method; it begins anew.")
            return None
        if name == "fine" and model.reads_priors != self.plan.fine.priors:
            own = self.plan.training.start_from
            if own != DEFAULT_START:
                raise ModelError(f"'{Path(own).name}' has another input than this training; change start_from.")
            logger.warning("The default model reads another input; the fine network begins from nothing.")
            return None
        return part

    def _related_weights(self, stage: Stage) -> Mapping[str, torch.Tensor] | None:
        """The circle network has the form of the coarse one, and begins with its weights where they are there."""
        if stage.name != "circle" or self.stage("coarse").config != stage.config:
            return None
        return averaged_weights(self.out / "coarse" / CHECKPOINT_NAME)

    def _adversary(self, stage: Stage) -> Adversary | None:
        if not stage.settings.adversarial_steps:
            return None
        plan, frame, count = self.plan, self.data.frame, len(self.data.anatomy)
        real = RealSetSampler(
            self.data.landmark_sets(),
            stage,
            frame,
            self.data.anatomy.mirror_permutation,
            self.augmentation,
            float(frame.grid.centre[0]),
            stage.settings.batch_size,
            self.processes,
        )
        held_out = self._held_out(stage)
        torch.manual_seed(plan.training.seed + 10 + stage.number)
        return Adversary(
            count,
            plan.discriminator,
            grid_spec(stage.grid),
            stage.settings.sigma_mm,
            stage.method,
            real,
            self.device,
            seed=plan.training.seed,
            processes=self.processes,
            held_out=held_out,
        )

    def _held_out(self, stage: Stage) -> list[Batch]:
        """Validation cases that the discriminator is examined with, one a batch."""
        cases = self.data.validation_cases()[:_MOST_EXAMINED]
        if not cases:
            return []
        source = AlignedSource(cases, self.data.frame, self.plan.coarse, ONLY_TRANSLATIONS, self.plan.training.seed)
        permutation = self.data.anatomy.mirror_permutation
        samples = StageSamples(stage, ((source, 1.0),), permutation, ONLY_TRANSLATIONS, self.plan.training.seed)
        return [stacked([samples[number]]) for number in range(len(cases))]


def train(
    training: Training,
    *,
    resume: bool = False,
    on_log: LogSink | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    minutes: float | None = None,
    only: str | None = None,
    state_from: Path | None = None,
    state_to: Path | None = None,
) -> Path | None:
    """Train the stages in turn and write the model file; returns its path.

    `minutes` is the length of this session: afterwards it stops as by `should_stop`. `only`: this stage alone, and no
    model (None is returned). `state_from` and `state_to` are folders of light states that travel (light_state.py).
    Raises OutputError when the folder holds a training and `resume` is not wanted, ConfigurationError when the data or
    the settings do not allow a training, StoppedError when it was stopped with checkpoints.
    """
    deadline = None if minutes is None else time.monotonic() + 60.0 * minutes

    def stop() -> bool:
        return should_stop() or (deadline is not None and time.monotonic() >= deadline)

    training.data.check()
    stages = training.stages
    chosen = stages if only is None else (training.stage(only),)
    for stage in chosen:
        training.samples(stage)  # phantoms that do not fit a stage are refused before the stages before it are trained
    claim(training, resume or only is not None)
    report = on_log or (lambda entry: None)
    with light_states(training, state_to):
        for stage in chosen:
            if stage.fixed:
                continue
            trainer = training.trainer(stage, state_from)
            trainer.run(lambda e, s=stage: report({"stage": s.name, **e}), stop, training.validation(stage))  # type: ignore[misc]
            del trainer
    if only is not None:
        return None
    if training.processes.agreed(stop(), 0.0, training.device)[0]:
        raise StoppedError("The networks are trained; the same command goes on with the calibration.")
    if training.processes.first:
        deliver_model(training, report)
    training.processes.wait()
    return training.model_file


@contextmanager
def light_states(training: Training, out: Path | None) -> Iterator[None]:
    """Whatever ends what happens inside, leave light states of all stages in `out` (None: nowhere)."""
    try:
        yield
    finally:
        if out is not None and training.processes.first:
            out.mkdir(parents=True, exist_ok=True)
            write_light_states(training.out, out, training.plan.training.stages)
