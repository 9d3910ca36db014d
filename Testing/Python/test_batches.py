"""Batches: the same whoever makes them, shares of a mixture, parts and shares of a batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from aligned_beads import write_bead_cohort
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksTrainingLib.config.settings import AugmentationSettings, FineSettings
from CoWLandmarksTrainingLib.config.training_plan import TrainingPlan
from CoWLandmarksTrainingLib.train.aligned_source import AlignedSource
from CoWLandmarksTrainingLib.train.batches import Batch, Sample, stacked
from CoWLandmarksTrainingLib.train.posed_case import CaseSource, PosedCase
from CoWLandmarksTrainingLib.train.processes import Processes
from CoWLandmarksTrainingLib.train.samples import StageSamples, batches
from CoWLandmarksTrainingLib.train.stages import Posing, Stage, recipe
from torch.utils.data import Dataset
from toy_training import GRID, METHOD, NETWORK, ToySamples, toy_batch


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> StageSamples:
    """Windows of a cohort of three scans with everything that is random in them."""
    cohort = write_bead_cohort(tmp_path_factory.mktemp("aligned"), mra=3, sets=0, validation=0)
    plan = TrainingPlan().with_values(fine={"base_width": 8, "levels": 2, "window": (8, 16, 16)})
    augmentation = AugmentationSettings()
    source = AlignedSource(cohort.cases("train"), cohort.frame, plan.coarse, augmentation, 3)
    [stage] = [stage for stage in recipe(plan, cohort.frame, 19, {}) if stage.name == "fine"]
    return StageSamples(stage, ((source, 1.0),), cohort.anatomy.mirror_permutation, augmentation, 3)


def assert_same(one: Batch, other: Batch) -> None:
    assert one.names == other.names
    for name in ("image", "landmarks", "channel_mask", "expected", "origin_mm"):
        first, second = getattr(one, name), getattr(other, name)
        torch.testing.assert_close(first, second, rtol=0.0, atol=0.0, equal_nan=True, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_batches(samples: StageSamples, workers: int) -> None:
    here = list(islice(batches(samples, 2), 4))
    for one, other in zip(here, batches(samples, 2, workers=workers), strict=False):
        assert_same(one, other)


@pytest.mark.slow
def test_who_begins_in_the_middle_of_an_epoch_gets_the_same_batches(samples: StageSamples) -> None:
    whole = list(islice(batches(samples, 2), 5))  # three cases: an epoch ends within a batch
    for later, workers in ((2, 0), (3, 1)):
        for one, other in zip(whole[later:], batches(samples, 2, 2 * later, workers=workers), strict=False):
            assert_same(one, other)


@pytest.mark.slow
def test_the_feed_ends_without_its_workers_being_waited_for(samples: StageSamples) -> None:
    feed = batches(samples, 1, workers=1)
    first = next(feed)
    del feed
    assert_same(first, stacked([samples[0]]))


def test_what_a_worker_raises_is_raised_here() -> None:
    for workers in (0, 1):
        feed = batches(_Failing(), 2, workers=workers)
        assert next(feed).names == ("case-0", "case-1")
        with pytest.raises(ConfigurationError, match=r"^There is no sample 3; add one\.$"):
            next(feed)


@dataclass(frozen=True)
class _Failing(Dataset):  # type: ignore[type-arg]
    """The toy samples, of which number 3 cannot be made."""

    def __getitem__(self, number: int) -> Sample:
        if number == 3:
            raise ConfigurationError("There is no sample 3; add one.")
        return ToySamples()[number]


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_every_batch_in_order(world: int) -> None:
    parts = [
        [batch.names for batch in islice(batches(ToySamples(), 4, 8, processes=Processes(rank, world)), 2)]
        for rank in range(world)
    ]
    for number in range(2):
        together = [name for part in parts for name in part[number]]
        assert together == [f"case-{n}" for n in range(8 + 4 * number, 12 + 4 * number)]


def test_a_batch_that_cannot_be_shared_is_reported() -> None:
    with pytest.raises(ConfigurationError, match=r"batch of 4 cannot be shared by 3 processes; change batch_size\.$"):
        batches(ToySamples(), 4, processes=Processes(0, 3))


def test_parts_of_a_batch_are_the_batch() -> None:
    batch = toy_batch(4)
    parts = batch.split(2)
    assert [part.names for part in parts] == [("case-0", "case-1"), ("case-2", "case-3")]
    for name in ("image", "landmarks", "channel_mask", "origin_mm"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))
    assert all(part.expected is None for part in parts)
    with_expected = replace(batch, expected=batch.landmarks + 1.0)
    assert torch.equal(with_expected.split(4)[3].expected, with_expected.landmarks[3:] + 1.0)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"batch of 4 cannot be divided by accumulate = 3\.$"):
        batch.split(3)


@dataclass(frozen=True)
class _Named:
    """A source of cases with nothing in them but a name and the number that was asked for."""

    name: str

    def case(self, stage: Stage, position: int, rng: np.random.Generator) -> PosedCase:
        """One of them."""
        points = np.zeros((2, 3))
        return PosedCase(
            torch.zeros(1, *stage.shape), stage.grid, points, np.ones(2, np.int8), None, Modality.MRA, self.name
        )


def mixture(*sources: tuple[CaseSource, float], seed: int = 0) -> StageSamples:
    grid = GRID.grid()
    stage = Stage("fine", FineSettings(), Posing.WHOLE, METHOD, NETWORK, grid, GRID.shape, GRID.spacing, ("image",))
    return StageSamples(stage, sources, (0, 1), AugmentationSettings(intensity=False, mirror=False), seed)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 1.0])
def test_a_mixture_draws_the_shares_asked_for(share: float) -> None:
    samples = mixture((_Named("scan"), 1.0 - share), (_Named("phantom"), share))
    names = [samples[number].name for number in range(1500)]
    assert names.count("phantom") / len(names) == pytest.approx(share, abs=0.04)
    assert set(names) <= {"scan", "phantom"}
    if share in (0.0, 1.0):
        assert len(set(names)) == 1


def test_what_is_drawn_from_a_mixture_depends_on_number_and_seed_alone() -> None:
    sources = ((_Named("scan"), 0.5), (_Named("phantom"), 0.5))
    one, other = ([mixture(*sources, seed=seed)[n].name for n in range(100)] for seed in (1, 2))
    assert [mixture(*sources, seed=1)[n].name for n in reversed(range(100))] == one[::-1]
    assert one != other


def test_samples_of_a_mixture_that_is_none_are_those_of_the_source(samples: StageSamples, tmp_path: Path) -> None:
    [(source, _)] = samples.sources
    again = replace(samples, sources=((source, 1.0),))
    assert_same(stacked([samples[5]]), stacked([again[5]]))
