"""Configuration files: sections fill dataclasses, and every mistake is a sentence that helps."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksTrainingLib.config.config_file import ConfigFile, setting
from CoWLandmarksTrainingLib.config.presets import PRESETS
from CoWLandmarksTrainingLib.config.training_config import SECTIONS, read_config, write_initial_config
from CoWLandmarksTrainingLib.config.training_plan import TRAINING_SECTIONS

NEEDS_TOML = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 reads no TOML")


@dataclass(frozen=True)
class Oven:
    """A section with one field of every kind."""

    degrees: float = setting(180.0, "How hot.")
    minutes: int = 40
    fan: bool = False
    cake: str = "plain"
    recipe: Path | None = None
    levels: tuple[int, ...] = (1, 2)
    size: tuple[float, float, float] = (1.0, 2.0, 3.0)
    heat: Literal["above", "below"] = "above"
    modality: Modality = Modality.MRA

    def __post_init__(self) -> None:
        if self.minutes < 0:
            raise ValueError("minutes must not be negative.")


def from_json(tmp_path: Path, oven: dict[str, object]) -> Oven:
    path = tmp_path / "kitchen.json"
    path.write_text(json.dumps({"oven": oven}), encoding="utf-8")
    return ConfigFile.read(path, {"oven": Oven}).section("oven", Oven)


def test_values_arrive_in_their_types(tmp_path: Path) -> None:
    oven = from_json(
        tmp_path,
        {
            "degrees": 200,
            "fan": True,
            "recipe": "books/cake.txt",
            "levels": [3],
            "size": [1, 2.5, 3],
            "heat": "below",
            "modality": "cta",
            "# levels": "a comment",
        },
    )
    assert oven == Oven(
        200.0, 40, True, "plain", tmp_path / "books" / "cake.txt", (3,), (1.0, 2.5, 3.0), "below", Modality.CTA
    )
    assert isinstance(oven.degrees, float)


def test_what_is_not_given_keeps_its_default(tmp_path: Path) -> None:
    assert from_json(tmp_path, {}) == Oven()


@pytest.mark.parametrize(
    ("oven", "sentence"),
    [
        ({"degres": 3}, "unknown key 'degres'; did you mean 'degrees'"),
        ({"colour": 3}, "unknown key 'colour'; known are degrees, minutes"),
        ({"degrees": "hot"}, "'degrees' in .* is \"hot\"; a number is needed"),
        ({"degrees": True}, "a number is needed"),
        ({"degrees": float("nan")}, "a number is needed"),
        ({"minutes": 1.5}, "a whole number is needed"),
        ({"fan": 1}, "true or false is needed"),
        ({"levels": 3}, "a list in brackets is needed"),
        ({"levels": ["a"]}, "a whole number is needed"),
        ({"size": [1.0]}, "has 1 values; 3 are needed"),
        ({"heat": "beside"}, "use one of above, below"),
        ({"modality": "pet"}, "use one of mra, cta"),
        ({"minutes": -1}, "minutes must not be negative"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_file(tmp_path: Path, oven: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as raised:
        from_json(tmp_path, oven)
    assert "kitchen.json" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"ovens": {}}', r"unknown section \[ovens\]; did you mean 'oven'"),
        ('{"oven": 3}', r"'oven' in .* is a value; a section \[oven\] is needed"),
        ('{"oven": ', "is not readable"),
        ("[]", "holds no sections"),
    ],
)
def test_a_broken_document_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "kitchen.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=sentence):
        ConfigFile.read(path, {"oven": Oven})
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ConfigFile.read(tmp_path / "missing.json", {"oven": Oven})


@NEEDS_TOML
def test_broken_toml_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "kitchen.toml"
    path.write_text("[oven\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"kitchen\.toml' is not readable"):
        ConfigFile.read(path, {"oven": Oven})


@pytest.mark.parametrize("ending", ["json", pytest.param("toml", marks=NEEDS_TOML)])
def test_the_initial_file_holds_every_setting_with_its_default(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"training.{ending}"
    write_initial_config(path)
    text = path.read_text(encoding="utf-8")
    content = read_config(path)
    for name, kind in SECTIONS.items():
        read, default = content.section(name, kind), getattr(PRESETS["cpu"], name, kind())
        for entry in dataclasses.fields(kind):
            value = getattr(default, entry.name)
            here = getattr(read, entry.name)
            if isinstance(value, Path):
                value = tmp_path / value
            if isinstance(value, tuple) and value and isinstance(value[0], Path):
                value = tuple(tmp_path / item for item in value)
            assert here == value, entry.name
            assert entry.name in text
            assert str(entry.metadata["help"]).split()[0] in text


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="exists"):
        write_initial_config(path)
    assert path.read_text(encoding="utf-8") == "mine"
    write_initial_config(path, replace=True)
    assert read_config(path).tables
    with pytest.raises(ConfigurationError, match="neither in"):
        write_initial_config(tmp_path / "training.yaml")


FORMER = {
    "generator": {"base_width": 32, "window": [48, 64, 64]},
    "training": {"image_modality": "mra", "pretrain_steps": 2000, "batch_size": 2, "log_every": 20},
    "coarse": {"steps": 800, "start_from": ""},
    "discriminator": {"objective": "hinge"},
}
"""What a file held when there were two training pipelines."""


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        (("generator", "training", "coarse", "discriminator"), r"the section \[generator\]"),
        (("training",), r"'image_modality' in \[training\]"),
        (("coarse",), r"'start_from' in \[coarse\]"),
    ],
)
def test_a_file_of_an_earlier_version_is_refused_in_one_sentence(
    tmp_path: Path, sections: tuple[str, ...], named: str
) -> None:
    path = tmp_path / "training.json"
    path.write_text(json.dumps({name: FORMER[name] for name in sections}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=rf"is a file of an earlier version \({named} is gone\);") as raised:
        read_config(path)
    sentence = str(raised.value)
    assert "training.json" in sentence
    assert "cowlandmarks-train init" in sentence
    assert sentence.endswith(".") and "\n" not in sentence


def test_a_file_whose_settings_all_still_exist_is_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    align = {"by": "landmarks", "shape": [24, 40, 48]}
    path.write_text(json.dumps({"align": align, "training": {"seed": 3}, "coarse": {"steps": 9}}), encoding="utf-8")
    plan = PRESETS["cpu"].with_file(read_config(path))
    assert (plan.training.seed, plan.coarse.steps) == (3, 9)


def test_every_setting_says_what_it_means() -> None:
    for name, kind in TRAINING_SECTIONS.items():
        for entry in dataclasses.fields(kind):
            assert str(entry.metadata.get("help", "")).endswith("."), f"{name}.{entry.name}"
