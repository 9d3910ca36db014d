"""The default model on a borrowed graphics card: one call for every few minutes that the card is lent.

Each call renders cases, trains from where the one before ended, and leaves small files from which a bare machine can
go on. Needs torch, numpy and scipy alone.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.detector import Detector
from CoWLandmarksLib.errors import ConfigurationError, OutputError, StoppedError
from CoWLandmarksLib.files import atomic_path, write_json
from CoWLandmarksLib.modality import Modality
from CoWLandmarksLib.model import Model, load_model

from .checkpoint import random_state
from .default_model import PART_NAMES, assemble, make_trainer, render_cases
from .default_presets import Preset
from .evaluation import AnnotatedVolume, evaluate, figures
from .feed import Place
from .parallel import end_with_parent
from .phantom.cohort import make_case
from .trainer import CHECKPOINT_NAME, Trainer

LARGEST_FILE = 16 * 2**20
"""A file that travels has to be smaller."""
EVALUATION_SEED = 7003
"""Phantoms that show how good the model is; neither trained on nor calibrated with, and no test cohort."""
MODEL_FILE, RECORD_FILE = "model.cow.pt", "session.json"
_LOG_LINES = 2000
_STOPPED = 75


@dataclass(frozen=True)
class Piece:
    """One call: `work` stays on the machine (cases, checkpoints), `out` holds what travels, `carried` what an earlier
    call left in its `out` (None: nothing).

    The call ends about `minutes` after its start; `part_minutes` are those that the coarse, the circle and the fine
    network are trained in all, over all calls. Training begins with `fewest_cases` cases and takes up those
    rendered meanwhile. `evaluated` scans of each modality judge the model. With `start` (a model file) all networks go
    on from that model, side by side in processes, for none has to wait for another; `preset` must then be `continued`.
    """

    preset: Preset
    work: Path
    out: Path
    device: torch.device
    carried: Path | None = None
    minutes: float = 9.0
    part_minutes: tuple[float, float, float] = (5.0, 8.0, 10.0)
    fewest_cases: int = 200
    evaluated: int = 10
    start: Path | None = None


def run_piece(
    piece: Piece,
    on_log: Callable[[dict[str, Any]], None] = lambda entry: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Go on with the session until its time is over; whether the model is delivered, or another call is needed.

    Whatever ends it, `out` then holds the state. Raises ConfigurationError and OutputError.
    """
    deadline = time.monotonic() + 60.0 * piece.minutes
    stage = "cases"

    def over() -> bool:
        return should_stop() or time.monotonic() >= deadline

    try:
        began_trained = restore(piece)
        if not began_trained:
            with rendering(piece, on_log) as enough:
                enough(over)
                if piece.start is not None:
                    stage = "all networks"
                    _train_side_by_side(piece, on_log, over)
                else:
                    for part in PART_NAMES:
                        stage = part
                        _trainer(part, piece, None).run(_named(part, on_log), over)
        stage = "model"
        if over() or not (began_trained or _time_for_model(deadline)):
            raise StoppedError("The networks are trained; the next call makes the model.")
        on_log({"stage": "calibration"})
        start, path = _start_of(piece), piece.work / MODEL_FILE
        trainers = {part: _trainer(part, piece, start) for part in PART_NAMES}
        assemble(piece.preset, trainers, path, work=piece.work, start=start, cases=_cases_of(piece))
        on_log({"stage": "evaluation"})
        write_json(piece.work / "evaluation.json", evaluated(piece, path))
        stage = "delivered"
    except StoppedError:
        pass
    finally:
        pack(piece, stage)
    return stage == "delivered"


def restore(piece: Piece) -> bool:
    """Fetch the state that `carried` holds where the machine has none; whether all networks are trained to the end."""
    done, start = [], _start_of(piece)
    for part in PART_NAMES:
        trainer = _trainer(part, piece, start)
        state = None if piece.carried is None else piece.carried / f"state-{part}.pt"
        if trainer.step == 0 and state is not None and state.exists():
            _take_over(trainer, state)
        limit = trainer.config.time_limit_seconds
        done.append(trainer.step >= trainer.config.steps or trainer.seconds_before >= limit)
        trainer.feed.close()
    return all(done)


@contextmanager
def rendering(piece: Piece, on_log: Callable[[dict[str, Any]], None]) -> Iterator[Callable[[Callable[[], bool]], None]]:
    """Render cases beside what goes on inside; gives a function that waits for the first of them.

    That function raises StoppedError when what it is given says that it is time, and passes on why rendering failed.
    """
    cases, stop = piece.work / "cases", threading.Event()
    problems: list[Exception] = []
    count = max(1, (os.cpu_count() or 2) - (2 if piece.start is None else 1 + len(PART_NAMES)))

    def render() -> None:
        try:
            render_cases(replace(piece.preset, renderers=count), cases, stop.is_set, on_log, log_seconds=60.0)
        except StoppedError:
            pass
        except Exception as problem:
            problems.append(problem)

    def enough(over: Callable[[], bool]) -> None:
        wanted = min(piece.fewest_cases, piece.preset.cases)
        while len(list(cases.glob("*.npz"))) < wanted:
            if problems:
                raise ConfigurationError(f"Cases cannot be rendered ({problems[0]}).") from problems[0]
            if over():
                raise StoppedError("There are too few cases yet.")
            time.sleep(0.2)

    thread = threading.Thread(target=render, name="rendering")
    thread.start()
    try:
        yield enough
    finally:
        stop.set()
        thread.join()


def evaluated(piece: Piece, path: Path) -> dict[str, Any]:
    """Figures of a model file on phantoms of a seed of their own."""
    cases = (
        AnnotatedVolume(case.volume, case.truth, modality.value)
        for index in range(piece.evaluated)
        for modality in Modality
        for case in [make_case(EVALUATION_SEED, index, modality)]
    )
    results = evaluate(Detector(load_model(path), piece.device.type), cases)
    return {"seed": EVALUATION_SEED, "scans": len(results), "figures": figures(results, "subvoxel")}


def pack(piece: Piece, stage: str) -> None:
    """Leave in `out` what travels: all networks' states, logs, the model and its figures, and a record of all.

    Raises OutputError when a file would be too large to travel; a model that is (three networks of 6 million weights)
    is made again, by the next call, wherever the states go.
    """
    piece.out.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"schema": "cow-session/1", "stage": stage, "cases": _cases_of(piece), "parts": {}}
    lines: list[str] = []
    for part in PART_NAMES:
        checkpoint = piece.work / part / CHECKPOINT_NAME
        if checkpoint.exists():
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
            record["parts"][part] = {"step": state["step"], "seconds": round(state["seconds"], 1)}
            _write_state(piece.out / f"state-{part}.pt", state)
        log = piece.work / part / "log.jsonl"
        if log.exists():
            kept = log.read_text(encoding="utf-8").splitlines()[-_LOG_LINES:]
            lines += [json.dumps({"network": part, **json.loads(line)}) for line in kept]
    (piece.out / "log.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if stage == "delivered":
        for name in (MODEL_FILE, "evaluation.json"):
            shutil.copyfile(piece.work / name, piece.out / name)
    for path in piece.out.iterdir():
        if path.name != MODEL_FILE and path.stat().st_size >= LARGEST_FILE:
            raise OutputError(f"'{path}' has {path.stat().st_size / 2**20:.1f} MiB, too much to travel.")
    write_json(piece.out / RECORD_FILE, record)


def read_record(out: Path) -> dict[str, Any]:
    """What `pack` has written; raises ConfigurationError."""
    try:
        record: dict[str, Any] = json.loads((out / RECORD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"'{out}' holds no state of a session ({error}); name the folder of one.") from error
    return record


def _trainer(part: str, piece: Piece, start: Model | None) -> Trainer:
    minutes = piece.part_minutes[PART_NAMES.index(part)]
    preset = replace(piece.preset, training=replace(piece.preset.training, time_limit_seconds=60.0 * minutes))
    return make_trainer(part, preset, piece.work / "cases", piece.work / part, piece.device, start)


def _train_side_by_side(piece: Piece, on_log: Callable[[dict[str, Any]], None], over: Callable[[], bool]) -> None:
    """Train every network in a process of its own; raises StoppedError when `over` ended one of them."""
    context = multiprocessing.get_context("spawn")
    told, stop = context.Queue(), context.Event()
    workers = {part: context.Process(target=_train_alone, args=(part, piece, told, stop)) for part in PART_NAMES}
    try:
        for worker in workers.values():
            worker.start()
        while any(worker.is_alive() for worker in workers.values()) or not told.empty():
            if over() or any(worker.exitcode for worker in workers.values()):
                stop.set()
            with suppress(queue.Empty):
                on_log(told.get(timeout=0.2))
    finally:
        stop.set()
        for worker in workers.values():
            if worker.pid is not None:
                _drained(worker, told)
    failed = [part for part, worker in workers.items() if worker.exitcode not in (0, _STOPPED)]
    if failed and not over():  # Ctrl-C also reaches processes that are only starting, and ends them
        raise ConfigurationError(f"Training the {failed[0]} network failed; see the messages above.")
    if any(worker.exitcode for worker in workers.values()):
        raise StoppedError("Stopped; the next call goes on.")


def _drained(worker: Any, told: Any) -> None:
    """Wait for a process, which cannot end before somebody has read what it told."""
    while worker.is_alive():
        with suppress(queue.Empty):
            told.get(timeout=0.2)
    worker.join()


def _train_alone(part: str, piece: Piece, told: Any, stop: Any) -> None:
    end_with_parent()
    if piece.device.type == "cpu":
        torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the process that started this one says when to stop
    try:
        _trainer(part, piece, _start_of(piece)).run(_named(part, told.put), stop.is_set)
    except StoppedError:
        sys.exit(_STOPPED)


def _cases_of(piece: Piece) -> int:
    """Cases rendered here, or, where there are none, by the call whose state was carried here."""
    count = len(list((piece.work / "cases").glob("*.npz")))
    if count or piece.carried is None or not (piece.carried / RECORD_FILE).exists():
        return count
    return int(read_record(piece.carried).get("cases", 0))


def _start_of(piece: Piece) -> Model | None:
    return None if piece.start is None else load_model(piece.start)


def _write_state(path: Path, state: dict[str, Any]) -> None:
    """The averaged weights in half precision with where the training stood: an eighth of a checkpoint."""
    average = {name: value.half() if value.is_floating_point() else value for name, value in state["average"].items()}
    with atomic_path(path) as temporary:
        torch.save({"average": average, "step": state["step"], "seconds": state["seconds"]}, temporary)


def _take_over(trainer: Trainer, path: Path) -> None:
    """Go on from averaged weights. The optimiser's moments begin anew, and no case comes in the order it came in."""
    try:
        state = torch.load(path, map_location=trainer.device, weights_only=True)
        weights = {name: value.to(trainer.average[name].dtype) for name, value in state["average"].items()}
        trainer.generator.load_state_dict(weights)
        step, seconds = int(state["step"]), float(state["seconds"])
    except Exception as error:  # foreign bytes make torch raise almost anything
        reason = " ".join(str(error).split())[:160]
        raise ConfigurationError(f"'{path}' is no state of this session ({reason}); carry another.") from error
    trainer.average = {name: value.clone() for name, value in weights.items()}
    trainer.step, trainer.seconds_before = step, seconds
    rng = np.random.Generator(np.random.Philox(key=[trainer.config.seed, step]))
    trainer.feed.go_to(Place(random_state(rng), None))
    trainer.folder.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(seconds)


def _time_for_model(deadline: float) -> bool:
    return time.monotonic() < deadline - 240.0


def _named(part: str, on_log: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    return lambda entry: on_log({"network": part, **entry})
