"""Training samples: cases from all sources, with the same changes of intensity and the same mirroring for each."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from CoWLandmarksLib.core.errors import ConfigurationError, CoWLandmarksError
from CoWLandmarksLib.core.volume import Modality
from torch.utils.data import DataLoader, Dataset
from torch.utils.data import Sampler as IndexSampler

from ..augment.augmentation import jittered, mirrored
from ..augment.intensity_variation import varied
from ..cohort.parallel import begin_worker
from ..config.settings import AugmentationSettings
from ..records.aligned_folder import ABSENT, INSIDE, AlignedFrame
from .aligned_source import drawn_deformation, drawn_window, status_on
from .batches import Batch, RealSets, Sample, stacked
from .posed_case import CaseSource, LandmarkSet, PosedCase
from .processes import Processes
from .stages import Posing, Stage

_STAGE_STREAM = 2**48
"""Distance of the random streams of two stages."""


@dataclass(frozen=True)
class StageSamples(Dataset):  # type: ignore[type-arg]
    """All samples of a stage, by number; each depends on its number and `seed` alone, whoever makes it.

    `sources` (source, share) give the cases, shares adding up to 1; `permutation` exchanges the sides of landmarks;
    `middle_mm` is the R coordinate of the plane in which the reference frame is mirrored.
    """

    stage: Stage
    sources: tuple[tuple[CaseSource, float], ...]
    permutation: tuple[int, ...]
    augmentation: AugmentationSettings
    seed: int
    middle_mm: float = 0.0

    def __getitem__(self, number: int) -> Sample:
        """Sample `number`, counted from 0 over the whole training."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, self.stage.number * _STAGE_STREAM + number]))
        return self.finished(self._source(rng).case(self.stage, number, rng), rng)

    def finished(self, case: PosedCase, rng: np.random.Generator) -> Sample:
        """A sample of a case, its intensities changed and mirrored at random."""
        own = self.augmentation
        image = varied(case.image, rng, case.modality) if own.intensity else case.image
        image = jittered(image, rng, own.gain, own.gamma, own.noise)
        return sample_of(case, self.stage, image, self._mirror(case, rng), self.permutation)

    def _source(self, rng: np.random.Generator) -> CaseSource:
        if len(self.sources) == 1:
            return self.sources[0][0]
        shares = np.cumsum([share for _, share in self.sources])
        chosen = int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))
        return self.sources[min(chosen, len(self.sources) - 1)][0]

    def _mirror(self, case: PosedCase, rng: np.random.Generator) -> float | None:
        """R coordinate of the mirror plane, None for no mirroring."""
        if not (self.augmentation.mirror and rng.random() < 0.5):
            return None
        return self.middle_mm if self.stage.in_reference_frame else float(case.grid.centre[0])


def sample_of(
    case: PosedCase, stage: Stage, image: torch.Tensor, mirror_mm: float | None, permutation: tuple[int, ...]
) -> Sample:
    """A case as a sample with its `image`; mirrored in the plane R = `mirror_mm` with the sides exchanged, if given."""
    grid, status = case.grid, case.status
    origin = grid.ijk_to_ras[:3, 3].copy()
    landmarks, expected = case.placed - origin, None if case.expected is None else case.expected - origin
    if mirror_mm is not None:
        width = (grid.size[0] - 1) * grid.spacing[0]
        if expected is not None:
            _, expected, _ = mirrored(image, expected, status, width, permutation)
        image, landmarks, status = mirrored(image, landmarks, status, width, permutation)
        origin[0] = 2.0 * mirror_mm - origin[0] - width
    counts = status >= (ABSENT if stage.settings.learn_absence else INSIDE)
    return Sample(
        image.contiguous(),
        torch.from_numpy(landmarks.astype(np.float32)),
        torch.from_numpy(counts.astype(np.float32)),
        None if expected is None else torch.from_numpy(expected.astype(np.float32)),
        torch.from_numpy(origin.astype(np.float32)),
        case.name,
    )


class LandmarkSetSource(Protocol):
    """Where annotated landmark sets come from."""

    def draw(self, rng: np.random.Generator) -> LandmarkSet:
        """A random set."""


@dataclass(frozen=True)
class RealSetSampler:
    """Annotated sets as the discriminator is to know them: deformed, cut and mirrored like the samples of a stage.

    `frame` is the reference frame; the other fields are as in StageSamples.
    """

    sets: LandmarkSetSource
    stage: Stage
    frame: AlignedFrame
    permutation: tuple[int, ...]
    augmentation: AugmentationSettings
    middle_mm: float
    batch_size: int
    processes: Processes

    def __call__(self, rng: np.random.Generator) -> RealSets:
        """This process's share of a batch."""
        seeds = rng.integers(2**62, size=self.batch_size)
        mine = [
            self._one(np.random.Generator(np.random.Philox(int(seed)))) for seed in self.processes.share(seeds.tolist())
        ]
        return RealSets(
            torch.stack([one.landmarks for one in mine]),
            torch.stack([one.mask for one in mine]),
            torch.stack([one.origin_mm for one in mine]),
        )

    def _one(self, rng: np.random.Generator) -> Sample:
        drawn, stage = self.sets.draw(rng), self.stage
        pose = drawn_deformation(rng, stage, self.augmentation, self.frame, drawn.landmarks, drawn.status)
        moved = pose.moved(drawn.landmarks)
        status = status_on(stage.grid, drawn.landmarks, drawn.status)
        grid = drawn_window(rng, stage, moved, status) if stage.posing is Posing.WINDOWS else stage.grid
        mirror_mm = self.middle_mm if self.augmentation.mirror and rng.random() < 0.5 else None
        nothing = torch.zeros((0, 1, 1, 1))
        case = PosedCase(nothing, grid, moved, status, None, Modality.MRA, "a landmark set")
        return sample_of(case, stage, nothing, mirror_mm, self.permutation)


class _Consecutive(IndexSampler[list[int]]):
    """Numbers of the samples of this process, batch by batch without end, from sample `first` on."""

    def __init__(self, first: int, batch_size: int, processes: Processes) -> None:
        self._first, self._batch_size, self._processes = first, batch_size, processes

    def __iter__(self) -> Iterator[list[int]]:
        first = self._first
        while True:
            yield list(self._processes.share(range(first, first + self._batch_size)))
            first += self._batch_size


@dataclass(frozen=True)
class _ErrorsAsSamples(Dataset):  # type: ignore[type-arg]
    """Samples, or the error in the place of one: a worker would wrap it in a report for programmers."""

    samples: Dataset  # type: ignore[type-arg]

    def __getitem__(self, number: int) -> Sample | CoWLandmarksError:
        try:
            return self.samples[number]
        except CoWLandmarksError as error:
            return error


def _collated(made: Sequence[Sample | CoWLandmarksError]) -> Batch | CoWLandmarksError:
    for one in made:
        if isinstance(one, CoWLandmarksError):
            return one
    return stacked([one for one in made if isinstance(one, Sample)])


class WorkerKilledError(CoWLandmarksError):
    """A process that makes batches was killed from outside."""


def _raised(made: Iterator[Batch | CoWLandmarksError]) -> Iterator[Batch]:
    try:
        for batch in made:
            if isinstance(batch, CoWLandmarksError):
                raise batch
            yield batch
    except (RuntimeError, ConnectionError, EOFError) as error:  # the latter: killed while it handed a batch over
        if isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error):
            raise
        raise WorkerKilledError(
            "A process that makes batches was killed, most likely out of memory; use fewer (training.workers)."
        ) from error


@contextmanager
def _unwatched_children() -> Iterator[None]:
    """Take back torch's handler of SIGCHLD, which raises in the middle of anything when a worker dies; who waits for a
    batch of that worker learns it as well."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if before is not None:  # a handler that was not set by Python cannot be set again
            signal.signal(signal.SIGCHLD, before)


def batches(
    samples: Dataset,  # type: ignore[type-arg]
    batch_size: int,
    first: int = 0,
    *,
    workers: int = 0,
    processes: Processes | None = None,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """This process's share of the batches from sample `first` on, made by `workers` processes beside this one (0:
    here). Whatever `workers` is, the batches are the same.

    Raises ConfigurationError when a batch cannot be shared. What samples raise is raised when their batch is asked for,
    and WorkerKilledError when who makes it was killed.
    """
    us = processes or Processes()
    if batch_size % us.world:
        raise ConfigurationError(
            f"A batch of {batch_size} cannot be shared by {us.world} processes; change batch_size."
        )
    loader = DataLoader(
        _ErrorsAsSamples(samples),
        batch_sampler=_Consecutive(first, batch_size, us),
        num_workers=workers,
        collate_fn=_collated,
        worker_init_fn=begin_worker if workers else None,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=2 if workers else None,
        pin_memory=pin_memory,
    )
    with _unwatched_children():
        return _raised(iter(loader))
