"""The configuration of a training: what the sections of its file are."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

from CoWLandmarksLib.core.alignment import REFERENCE_SHAPE, REFERENCE_SPACING_MM
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy, read_anatomy
from CoWLandmarksLib.core.atomic_files import write_text
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError

from .config_file import ConfigFile, commented_json, commented_toml, setting
from .presets import PRESETS
from .training_plan import FORMER_SETTINGS, TRAINING_SECTIONS

_TITLE = """Training of CoW Landmarks. These are the values of the preset '{preset}'; delete what you do not change.
Paths are meant from the folder of this file. Research only; not a medical device."""
AlignmentMethod = Literal["template", "landmarks"]
WhenFailed = Literal["landmarks", "leave_out"]


@dataclass(frozen=True)
class CohortConfig:
    """Which annotated cases are used, and which of them for what."""

    folders: tuple[Path, ...] = setting(
        (Path("cohort"),), "Folders with annotated cases: .mrb, .mrml, or a folder with a volume and a .mrk.json."
    )
    anatomy: Path | None = setting(None, "JSON file of another landmark set; without it, the 19 of the paper.")
    splits: Path = setting(Path("splits.json"), "Which patient is in which split; made by cowlandmarks-train split.")
    validation_share: float = setting(0.15, "Share of the patients for validation (choices are made on them).")
    test_share: float = setting(0.2, "Share of the patients for the test (sealed: looked at once, at the end).")
    seed: int = setting(1, "Another seed draws other splits.")

    def __post_init__(self) -> None:
        shares = (self.validation_share, self.test_share)
        if min(shares) < 0.0 or sum(shares) >= 1.0:
            raise ValueError("validation_share and test_share must not be negative and leave something for training.")

    def read_anatomy(self) -> Anatomy:
        """The landmark set; raises ConfigurationError."""
        return default_anatomy() if self.anatomy is None else read_anatomy(self.anatomy)


@dataclass(frozen=True)
class AlignConfig:
    """How cases come into one frame, and the grid they are cropped to."""

    folder: Path = setting(Path("aligned"), "Folder for the aligned crops; made if needed.")
    by: AlignmentMethod = setting(
        "template",
        "template: intensity registration to one scan of each modality, as in the paper. "
        "landmarks: similarity fit of the annotated landmarks to their mean shape.",
    )
    mra_template: str = setting(
        "", "Name of the case that is the MRA template; empty: role 'template', else by trials."
    )
    cta_template: str = setting(
        "", "Name of the case that is the CTA template; empty: role 'template', else by trials."
    )
    shape: tuple[int, int, int] = setting(REFERENCE_SHAPE, "Voxels of the crop: slices (S), rows (A), columns (R).")
    spacing_mm: tuple[float, float, float] = setting(
        tuple(float(value) for value in REFERENCE_SPACING_MM), "Voxel size of the crop along R, A, S."
    )
    pitch_starts_deg: tuple[float, ...] = setting(
        (0.0, -20.0, 20.0, -40.0, 40.0),
        "Head tilts from which the registration starts; one start alone fails from about 20 degrees on.",
    )
    registration_spacing_mm: float = setting(1.5, "Voxel size of the finest level of the registration.")
    largest_residual_mm: float = setting(
        10.0, "An alignment after which the landmarks lie farther than this from their mean places (mean) has failed."
    )
    when_failed: WhenFailed = setting(
        "landmarks",
        "A scan whose registration has failed is aligned by its annotated landmarks instead, or left out (leave_out); "
        "the report names it either way.",
    )
    smallest_overlap: float = setting(
        0.25, "An alignment that leaves less than this share of the crop inside the scan has failed."
    )
    processes: int = setting(0, "Processes that work side by side; 0: one for each processor core.")

    def __post_init__(self) -> None:
        if min(self.shape) < 8 or min(self.spacing_mm) <= 0.0 or self.registration_spacing_mm <= 0.0:
            raise ValueError("shape needs at least 8 voxels along every axis, and voxel sizes must be positive.")
        if not self.pitch_starts_deg:
            raise ValueError("pitch_starts_deg needs at least one start.")


SECTIONS: dict[str, type] = {"cohort": CohortConfig, "align": AlignConfig, **TRAINING_SECTIONS}
"""Every section of the file, in the order in which `init` writes them."""


def read_config(path: str | PathLike[str]) -> ConfigFile:
    """Read and check a whole configuration file; raises ConfigurationError."""
    return ConfigFile.read(path, SECTIONS, FORMER_SETTINGS)


def write_initial_config(path: str | PathLike[str], *, replace: bool = False, preset: str = "cpu") -> None:
    """Write a file with every setting, the preset's value and a comment: TOML, or JSON by the ending of the name.

    Raises OutputError when the file exists (unless `replace`) or cannot be written, ConfigurationError for another
    ending.
    """
    path = Path(path)
    if path.suffix.lower() not in (".toml", ".json"):
        raise ConfigurationError(f"'{path}' ends neither in .toml nor in .json; choose one of the two.")
    if path.exists() and not replace:
        raise OutputError(f"'{path}' exists; choose another name, or replace it with --force.")
    writer = commented_json if path.suffix.lower() == ".json" else commented_toml
    plan = PRESETS[preset]
    values = {name: getattr(plan, name) for name in TRAINING_SECTIONS}
    write_text(path, writer(SECTIONS, _TITLE.format(preset=preset), values))
