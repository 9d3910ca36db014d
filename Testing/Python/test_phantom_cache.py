"""The cache of training phantoms: filled beside other work, resumed, and trained from while it grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from CoWLandmarksLib.core.errors import ExitCode
from CoWLandmarksTrainingLib.cli.training_program import main
from CoWLandmarksTrainingLib.config.settings import PHANTOM_VERSION, PHANTOM_VERSIONS
from CoWLandmarksTrainingLib.config.training_plan import TrainingPlan
from CoWLandmarksTrainingLib.phantom import case_cache
from CoWLandmarksTrainingLib.phantom.case_cache import CaseKind, fill
from CoWLandmarksTrainingLib.phantom.circle_cases import CircleCase, case_grid
from CoWLandmarksTrainingLib.phantom.training_cases import FINE_WINDOW, FINE_WINDOWS_PER_CASE, CoarseCase, FineCase
from CoWLandmarksTrainingLib.train.phantom_data import PhantomData, phantom_frame, phantom_source
from CoWLandmarksTrainingLib.train.phantom_source import PhantomLandmarkSets, PhantomSource
from CoWLandmarksTrainingLib.train.stages import recipe

SHAPE = (32, 36, 40)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was rendered, in turn; a case is noise of its numbers alone."""
    calls: list[tuple[str, int]] = []

    def head(seed: int, index: int, device: torch.device, version: int) -> tuple[CoarseCase, list[FineCase]]:
        calls.append(("head", index))
        rng = np.random.default_rng([seed, index, version])
        places, status = rng.uniform(10, 60, (19, 3)).astype(np.float32), np.ones(19, np.int8)
        coarse = CoarseCase(rng.integers(0, 255, (2, *SHAPE), np.uint8), places, status, "cta", (-0.2, 0.6))
        windows = rng.integers(0, 255, (FINE_WINDOWS_PER_CASE, *FINE_WINDOW), np.uint8)
        return coarse, [FineCase(image, places, status, "cta", np.zeros(3), (0.0, 0.6)) for image in windows]

    def circle(seed: int, index: int, device: torch.device, version: int) -> CircleCase:
        calls.append(("circle", index))
        rng = np.random.default_rng([seed, index, version, 1])
        image = rng.integers(0, 255, (2, *case_grid().shape), np.uint8)
        return CircleCase(image, rng.uniform(-9, 9, (19, 3)).astype(np.float32), np.ones(19, np.int8), "cta", (0, 1))

    monkeypatch.setattr(case_cache, "render_training_case", head)
    monkeypatch.setattr(case_cache, "render_circle_case", circle)
    return calls


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_filling_goes_on_where_it_was_stopped_and_leaves_no_other_files(
    rendered: list[tuple[str, int]], tmp_path: Path
) -> None:
    begun = fill(tmp_path, 3, 4, 4)
    assert [next(begun), next(begun)] == [(1, 2), (2, 2)]
    begun.close()
    assert names(tmp_path) == [f"{kind}-v4-3-000000{n}.npz" for kind in ("circle", "head") for n in (0, 1)]
    assert list(fill(tmp_path, 3, 4, 4)) == [(1, 0), (2, 0), (3, 2), (4, 2)]
    assert rendered == [(kind, n) for n in range(4) for kind in ("head", "circle")]
    assert len(names(tmp_path)) == 8


def test_versions_and_seeds_do_not_share_files(rendered: list[tuple[str, int]], tmp_path: Path) -> None:
    for seed, version in ((3, 3), (3, 4), (5, 4)):
        assert list(fill(tmp_path, seed, 1, version, (CaseKind.HEAD,))) == [(1, 1)]
    assert names(tmp_path) == ["head-3-0000000.npz", "head-v4-3-0000000.npz", "head-v4-5-0000000.npz"]
    assert {kind for kind, _ in rendered} == {"head"}


@pytest.mark.slow
def test_what_a_training_learns_does_not_depend_on_who_rendered_a_case_or_when(
    rendered: list[tuple[str, int]], tmp_path: Path
) -> None:
    stages = {stage.name: stage for stage in recipe(TrainingPlan(), phantom_frame(), 19, {})}
    filled, alone = tmp_path / "filled", tmp_path / "alone"
    growing = fill(filled, 3, 12, 4)
    for position in range(40):
        if position % 4 == 0:
            next(growing, None)
        for name in ("coarse", "circle", "fine"):
            cases = []
            for folder in (filled, alone):
                source = PhantomSource(folder, 3, 12, reuse=4, version=4)
                rng = np.random.Generator(np.random.Philox(key=[1, position]))
                cases.append(source.case(stages[name], position, rng))
            assert cases[0].name == cases[1].name
            assert torch.equal(cases[0].image, cases[1].image)
            np.testing.assert_array_equal(cases[0].landmarks, cases[1].landmarks)
    assert set(names(alone)) <= set(names(filled))


def test_the_network_values_of_a_case_come_back(rendered: list[tuple[str, int]], tmp_path: Path) -> None:
    assert case_cache.coarse_case(tmp_path, 3, 0, 4).values == (-0.2, 0.6)
    assert case_cache.fine_case(tmp_path, 3, 0, 2, 4).values == (0.0, 0.6)
    assert case_cache.circle_case(tmp_path, 3, 0, 4).values == (0.0, 1.0)


def test_a_file_from_before_the_values_were_kept_has_those_of_the_rule(
    rendered: list[tuple[str, int]], tmp_path: Path
) -> None:
    case_cache.circle_case(tmp_path, 3, 0, 3)
    [path] = tmp_path.iterdir()
    with np.load(path) as content:
        kept = {name: content[name] for name in content if name != "values"}
    np.savez(path, **kept)
    assert case_cache.circle_case(tmp_path, 3, 0, 3).values == (-0.5, 2.5)


def test_the_command_fills_the_cache_and_says_what_is_new(
    rendered: list[tuple[str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["phantom", "--cache", str(tmp_path / "phantoms"), "--count", "3", "--seed", "3"]
    newer = [*command, "--phantom-version", "4"]
    assert main(newer) == ExitCode.DELIVERED
    assert "3 cases are in" in (first := capsys.readouterr().out)
    assert "; 6 files are new." in first
    assert main([*command, "--only", "head"]) == ExitCode.DELIVERED
    assert "; 3 files are new." in capsys.readouterr().out
    assert main(newer) == ExitCode.DELIVERED
    assert "; 0 files are new." in capsys.readouterr().out
    assert len(names(tmp_path / "phantoms")) == 9


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--out", "x", "--cta", "1", "--family", "exported"], "Phantom version 3 has no family 'exported'; use"),
        (["--page", "x.png", "--cta", "1", "--family", "exported"], "Phantom version 3 has no family 'exported'; use"),
        (["--out", "x", "--cta", "1", "--anatomy", "held-out"], "Phantom version 3 has no anatomy 'held-out'; use"),
        (
            ["--page", "x.png", "--cta", "1", "--anatomy", "held-out"],
            "Phantom version 3 has no anatomy 'held-out'; use",
        ),
        (["--variants", "x.png"], "Phantom version 3 has no branch patterns to draw; add --phantom-version 4."),
        (["--cache", "x", "--family", "test"], "leave --family and --anatomy out with --cache."),
        (["--cache", "x", "--anatomy", "held-out"], "leave --family and --anatomy out with --cache."),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["phantom", *arguments]) == ExitCode.FAILED
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", PHANTOM_VERSIONS)
def test_a_training_draws_and_records_the_version_of_its_settings(version: int, tmp_path: Path) -> None:
    plan = TrainingPlan()
    plan = replace(plan, data=replace(plan.data, phantom_version=version))
    data = PhantomData(plan)
    assert phantom_source(plan, tmp_path, 3).version == version
    assert data.landmark_sets() == PhantomLandmarkSets(version)
    assert data.fingerprint() == [["phantoms", version]]
    assert data.provenance()["phantom_version"] == version


def test_version_3_is_drawn_where_none_is_asked_for() -> None:
    assert PHANTOM_VERSION == TrainingPlan().data.phantom_version == 3
