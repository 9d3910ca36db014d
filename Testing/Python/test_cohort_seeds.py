"""The seeds of cohorts that later work is judged by are fixed, distinct and used nowhere yet."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from CoWLandmarksTrainingLib.config.settings import PHANTOM_VERSIONS
from CoWLandmarksTrainingLib.phantom.appearance import Family
from CoWLandmarksTrainingLib.phantom.phantom_cohort import COHORT_SEED_OFFSET

ROOT = Path(__file__).resolve().parents[2]
SEEDS_FILE = ROOT / "Testing" / "cohort_seeds.json"
COHORTS: list[dict[str, Any]] = json.loads(SEEDS_FILE.read_text(encoding="utf-8"))
FOLDERS = ("CoWLandmarks", "CoWLandmarksTraining", "Docs", "Testing")


def test_every_cohort_says_what_it_is_for_and_no_seed_comes_twice() -> None:
    assert len({c["seed"] for c in COHORTS}) == len({c["name"] for c in COHORTS}) == len(COHORTS)
    for cohort in COHORTS:
        assert cohort["purpose"] in ("development", "calibration", "validation", "test", "held-out"), cohort
        assert cohort["version"] in PHANTOM_VERSIONS
        assert cohort["anatomy"] in ("development", "held-out")
        assert Family(cohort["family"]) is not Family.SITE
        assert cohort["mra"] + cohort["cta"] > 0
        assert (cohort["purpose"] == "held-out") == (cohort["anatomy"] == "held-out")


def test_their_streams_are_those_of_no_training_of_an_ordinary_seed() -> None:
    assert all(0 < cohort["seed"] < COHORT_SEED_OFFSET for cohort in COHORTS)


def test_a_seed_that_was_not_opened_stands_nowhere_else_in_the_repository() -> None:
    unopened = {str(cohort["seed"]): cohort["name"] for cohort in COHORTS if not cohort["opened"]}
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path != SEEDS_FILE]
    files += list(ROOT.glob("*.*"))
    texts = (".py", ".md", ".json", ".toml", ".txt", ".csv", ".yml")
    used = [
        f"{unopened[number]} in {path.relative_to(ROOT)}"
        for path in files
        if path.suffix in texts and path.is_file()
        for number in re.findall(
            r"(?<![\d.])\d{6}(?!\d)", path.read_text(encoding="utf-8", errors="replace").replace("_", "")
        )
        if number in unopened
    ]
    assert used == []


def test_the_families_to_calibrate_on_have_a_cohort_each() -> None:
    calibrated = {cohort["family"] for cohort in COHORTS if cohort["purpose"] == "calibration"}
    assert calibrated >= {"thin-slice", "routine", "exported", "emergency"}
