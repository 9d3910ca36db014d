"""One training: every stage of a recipe in turn, calibration, one model file, and whether it helped."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from CoWLandmarksLib import __version__
from CoWLandmarksLib.core.atomic_files import write_json
from CoWLandmarksLib.core.calibration import UNCALIBRATED
from CoWLandmarksLib.core.errors import ConfigurationError, ModelError, OutputError, StoppedError
from CoWLandmarksLib.core.volume import Grid
from CoWLandmarksLib.detect.model import DEFAULT_MODEL_FILE, GridSpec, Model, NetworkPart, load_model, save_model
from CoWLandmarksLib.networks.packed_weights import pack_weights, unpack_weights

from ..config.settings import DEFAULT_START, AugmentationSettings, TrainingPlan, trainer_config
from ..evaluate.fit_calibration import calibrated
from ..records.improvement import improvement
from .adversary import Adversary
from .aligned_source import AlignedSource
from .checkpoint import averaged_weights
from .light_state import take_over, write_light_states
from .phantom_source import PhantomSource, check_phantoms_fit
from .processes import Processes
from .samples import RealSetSampler, StageSamples
from .stage_validation import StageValidation
from .stages import Stage, recipe
from .trainer import CHECKPOINT_NAME, MEMORY_ADVICE, LogSink, Trainer, Validation, enough_memory
from .training_data import TrainingData, phantom_source, same_frame

logger = logging.getLogger(__name__)

MODEL_FILE = "model.cow.pt"
PLAN_FILE = "plan.json"
PLAN_SCHEMA, FORMER_PLAN_SCHEMA = "cow-training-plan/2", "cow-training-plan/1"
COMPARISON_FILE = "comparison.json"
_MOST_VALIDATED = 8
_MAY_CHANGE = {"training": ("workers", "log_seconds", "checkpoint_seconds")}
"""Settings that change nothing of what is learnt; they may differ when a training goes on."""


@dataclass(frozen=True)
class Training:
    """One training: what it learns from, settings, place, device and this process's part.

    `name`, `licence` and `card` (a sentence before the others) are for the model; by default those of a user's own.
    """

    data: TrainingData
    plan: TrainingPlan
    out: Path
    device: torch.device
    processes: Processes = field(default_factory=Processes)
    name: str | None = None
    licence: str = "of the data it was trained on; not stated"
    card: str = ""

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
        sources = self.data.sources(self.phantoms)
        if any(isinstance(source, PhantomSource) for source, _ in sources):
            check_phantoms_fit(stage)
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

    def model(self) -> Model:
        """The model of all stages as they were trained, uncalibrated. Raises ConfigurationError where one was not."""
        parts = {stage.name: self._part(stage) for stage in self.stages}
        fine, frame = self.plan.fine, self.data.frame
        steps = {stage.name: self._steps_of(stage) for stage in self.stages}
        return Model(
            name=self.name or f"{self.out.resolve().name}-{self.plan.name}",
            anatomy=self.data.anatomy,
            coarse=parts["coarse"],
            circle=parts.get("circle"),
            fine=parts["fine"],
            window=self.stage("fine").shape,
            prior_sigma_mm=fine.prior_sigma_mm,
            shape=self.data.shape_model(),
            grid=_grid_spec(frame.grid),
            intensity=dict(self.data.rules),
            provenance=self._provenance(steps),
            licence=self.licence,
            card=self._card(),
            decode_with_prior=fine.decode_with_prior,
            read_mirrored=self.augmentation.mirror,
        )

    def _start_of(self, name: str) -> NetworkPart | None:
        """The network of the model to begin with for a stage; None where it has none or it knows another input."""
        model = self.start
        if model is None:
            return None
        part = dict(model.stages).get(name)
        if part is None or name == "coarse":
            return part
        known = replace(self.data.frame, mean_landmarks=model.shape.mean)
        if not same_frame(self.data.frame, known):
            logger.warning("The %s network of the model to begin from knows another frame; it begins anew.", name)
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
        torch.manual_seed(plan.training.seed + 10 + stage.number)
        return Adversary(
            count,
            plan.discriminator,
            _grid_spec(stage.grid),
            stage.settings.sigma_mm,
            stage.method,
            real,
            self.device,
            seed=plan.training.seed,
            processes=self.processes,
        )

    def _part(self, stage: Stage) -> NetworkPart:
        """What became of a stage, rounded to what is stored, so that calibration sees that."""
        checkpoint = self.out / stage.name / CHECKPOINT_NAME
        weights = None if stage.fixed else averaged_weights(checkpoint)
        if weights is None:
            if stage.start is None:
                raise ConfigurationError(
                    f"The {stage.name} network in '{self.out}' is not trained yet; train it first."
                )
            weights = stage.start.weights
        kept = stage.start if stage.fixed else None
        sigma_mm = stage.settings.sigma_mm if kept is None else kept.sigma_mm
        return NetworkPart(stage.config, unpack_weights(pack_weights(weights)), sigma_mm, UNCALIBRATED)

    def _steps_of(self, stage: Stage) -> dict[str, Any]:
        log = {} if stage.fixed else _last_state(self.out / stage.name / CHECKPOINT_NAME)
        return {
            "steps": log.get("step", 0),
            "seconds": round(log.get("seconds", 0.0)),
            "batch_size": stage.settings.batch_size,
        }

    def _provenance(self, steps: Mapping[str, Any]) -> dict[str, Any]:
        """Numbers only, no names of cases or patients."""
        sources = self.data.sources(self.phantoms)
        phantoms = any(isinstance(source, PhantomSource) for source, _ in sources)
        return {
            **self.data.provenance(),
            "program": __version__,
            "preset": self.plan.name,
            "seed": self.plan.training.seed,
            **({"case_seeds": [self.phantom_seed]} if phantoms else {}),
            **steps,
            **(
                {}
                if self.start is None
                else {"started_from": {"model": self.start.name, **_without_cohort(self.start.provenance)}}
            ),
            "plan": self._plan_without_paths(),
        }

    def _plan_without_paths(self) -> dict[str, Any]:
        plan = self.plan.to_dict()
        plan["training"]["start_from"] = Path(plan["training"]["start_from"]).name
        return plan

    def _card(self) -> str:
        trained = [f"{stage.name} {stage.settings.all_steps}" for stage in self.stages if not stage.fixed]
        told = [
            self.card,
            f"Trained with CoW Landmarks {__version__} on {self.data.description()}; steps: {', '.join(trained)}.",
            *self.data.frame.notes,
            "Research use only; not a medical device; its accuracy on patients is not established. Check every point.",
        ]
        return " ".join(sentence for sentence in told if sentence)


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

    `minutes` is the length of this piece: afterwards it stops as by `should_stop`. `only`: this stage alone, and no
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
    tell = on_log or (lambda entry: None)
    with light_states(training, state_to):
        for stage in chosen:
            if stage.fixed:
                continue
            trainer = training.trainer(stage, state_from)
            trainer.run(lambda e, s=stage: tell({"stage": s.name, **e}), stop, training.validation(stage))  # type: ignore[misc]
            del trainer
    if only is not None:
        return None
    if training.processes.agreed(stop(), 0.0, training.device)[0]:
        raise StoppedError("The networks are trained; the same command goes on with the calibration.")
    if training.processes.first:
        _deliver(training, tell)
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


def _deliver(training: Training, tell: LogSink) -> None:
    """Calibrate, compare with the model it began from, and write the model file."""
    device, data, start = training.device.type, training.data, training.start
    # Tables of networks that this training did not go on with say nothing of its own.
    before = start if all(stage.start is not None for stage in training.stages) else None
    tell({"stage": "calibration", "message": "measuring the confidences"})
    with enough_memory("the calibration"):
        model = calibrated(
            training.model(),
            lambda model: data.read_calibration(model, device),
            lambda model: data.read_absence(model, device),
            before,
        )
    if model.fine.calibration is (UNCALIBRATED if before is None else before.fine.calibration):  # nothing was measured
        whose = "a guess" if before is None else "those of the model it began from"
        model = replace(model, card=f"{model.card} There was no validation scan: confidences are {whose}.")
    compared = None
    if start is not None:
        tell({"stage": "comparison", "message": "comparing with the model it began from"})
        with enough_memory("the comparison"):
            compared = improvement(data.read_validation(start, device), data.read_validation(model, device))
    if compared is not None:
        model = replace(model, provenance={**model.provenance, "compared_with_start": compared.to_dict()})
        write_json(training.out / COMPARISON_FILE, {"schema": "cow-comparison/1", **compared.to_dict()})
        tell({"stage": "comparison", "message": compared.sentence(), **compared.to_dict()})
    elif start is not None:
        told = "There is no validation scan: whether the new model is better than the one it began from is not known."
        tell({"stage": "comparison", "message": told})
    save_model(model, training.model_file, eight_bit=True)


def claim(training: Training, resume: bool) -> None:
    """Note what is trained in `training.out`, or make sure that it is the same as what was begun there.

    Raises OutputError when something was begun and `resume` is not wanted, ConfigurationError when it was another
    training. Images that have been replaced since, as after a repair, are named in a warning.
    """
    path = training.out / PLAN_FILE
    now = {"schema": PLAN_SCHEMA, "plan": training.plan.to_dict(), "cases": training.data.fingerprint()}
    if path.exists():
        if not resume:
            raise OutputError(f"'{training.out}' holds a training; go on with --resume, or choose another --out.")
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"'{path}' is damaged ({error}); choose another --out.") from error
        if isinstance(before, dict) and before.get("schema") == FORMER_PLAN_SCHEMA:
            raise ConfigurationError(
                f"'{training.out}' was begun by an earlier version, whose trainings cannot be resumed; choose another "
                "--out (--start-from begins from its model, if it was finished)."
            )
        images = before.pop("images", {}) if isinstance(before, dict) else {}
        if _essence(before) != _essence(json.loads(json.dumps(now))):
            raise ConfigurationError(
                f"Settings or cases differ from those that '{training.out}' was begun with; "
                "use the same ones to resume, or choose another --out."
            )
        present = training.data.images()
        replaced = sorted(name for name, content in present.items() if images.get(name, content) != content)
        if replaced:
            logger.warning(
                "Images replaced since the training was begun are learnt from now on: %s.", ", ".join(replaced)
            )
    training.processes.wait()
    if training.processes.first and not path.exists():
        write_json(path, {**now, "images": training.data.images()})
    training.processes.wait()


def _essence(content: Any) -> Any:
    """A plan file without what may change."""
    if not isinstance(content, dict) or not isinstance(content.get("plan"), dict):
        return content
    plan = {
        section: {key: value for key, value in values.items() if key not in _MAY_CHANGE.get(section, ())}
        if isinstance(values, dict)
        else values
        for section, values in content["plan"].items()
    }
    return {**content, "plan": plan}


def _grid_spec(grid: Grid) -> GridSpec:
    """A grid as a model keeps it."""
    spacing, centre = (tuple(float(v) for v in values) for values in (grid.spacing, grid.centre))
    return GridSpec(grid.shape, (spacing[0], spacing[1], spacing[2]), (centre[0], centre[1], centre[2]))


def _last_state(checkpoint: Path) -> dict[str, Any]:
    if not checkpoint.exists():
        return {}
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {"step": int(state["step"]), "seconds": float(state["seconds"])}


def _without_cohort(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """A provenance without the settings of its training, which would grow with every training on."""
    return {key: value for key, value in provenance.items() if key != "plan"}


def known_seeds(told: Any, *, are_seeds: bool = False) -> Iterator[int]:
    """Seeds in a model's provenance: its own, its networks', those of their cases and of the models before it.

    A provenance is free in form; what is no whole number is passed over. `are_seeds`: all numbers in it are.
    """
    if isinstance(told, Mapping):
        for key, value in told.items():
            if key not in ("calibration", "plan"):
                yield from known_seeds(value, are_seeds=are_seeds or key in ("seed", "case_seeds"))
    elif isinstance(told, (list, tuple)):
        for value in told:
            yield from known_seeds(value, are_seeds=are_seeds)
    elif are_seeds and isinstance(told, int) and not isinstance(told, bool):
        yield told
