"""Finding annotated cases in folders, and what names of files and folders tell of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.volume import Modality
from CoWLandmarksLib.files.case_description import CASE_FILE
from CoWLandmarksLib.io.volume_io import scan_name

from ..records.aligned_folder import ALIGNED_FILE, SPLITS

logger = logging.getLogger(__name__)

_SCENES = (".mrb", ".mrml")
_ANNOTATIONS = (".mrk.json", ".fcsv")
_VOLUMES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_MASK_NAMES = {"mask", "vessel", "vessels", "seg", "segmentation", "arteries", "label", "labels", "labelmap"}
_MODALITY_NAMES = {
    "mra": Modality.MRA,
    "tof": Modality.MRA,
    "mr": Modality.MRA,
    "cta": Modality.CTA,
    "ct": Modality.CTA,
}


@dataclass(frozen=True)
class CasePlace:
    """Where one case lies: its main file (scene, case.json or annotation) and what belongs to it.

    `root` is the cohort folder it was found in: names above it say nothing.
    """

    file: Path
    root: Path
    name: str
    image: Path | None = None
    mask: Path | None = None

    @property
    def is_scene(self) -> bool:
        """Whether it is a .mrb or .mrml file."""
        return self.file.suffix.lower() in _SCENES

    @property
    def described(self) -> bool:
        """Whether it is a case folder with a case.json."""
        return self.file.name == CASE_FILE

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the folders from the cohort folder (its own name included) down to the file."""
        folder = self.root if self.root.is_dir() else self.root.parent
        try:
            below = self.file.relative_to(folder).parts
        except ValueError:
            below = (self.file.name,)
        return (folder.resolve().name, *below)

    def split(self) -> str | None:
        """The split that a folder above is named after."""
        named = [part for part in self.parts[:-1] if part in SPLITS]
        return named[-1] if named else None

    def modality(self, *more_names: str) -> Modality | None:
        """The modality that the nearest name with such a part tells; None where no name or a name of both does."""
        for part in (*reversed(more_names), *reversed(self.parts)):
            modalities = {_MODALITY_NAMES[name_part] for name_part in _name_parts(part) if name_part in _MODALITY_NAMES}
            if modalities:
                return modalities.pop() if len(modalities) == 1 else None
        return None

    def patient(self) -> str:
        """The patient that names tell: a BIDS subject, else the name of the case without the modality."""
        for part in self.parts:
            subject = re.match(r"sub-[A-Za-z0-9]+", part)
            if subject:
                return subject.group()
        kept = [name_part for name_part in re.split(r"[_\s-]+", self.name) if name_part.lower() not in _MODALITY_NAMES]
        return "-".join(kept) or self.name


def find_cases(folders: Sequence[Path]) -> list[CasePlace]:
    """All cases below folders, sorted; a scene file may be given itself. Raises AnnotationError if there is none."""
    places: list[CasePlace] = []
    for folder in folders:
        if not folder.exists():
            raise AnnotationError(f"The cohort '{folder}' does not exist; check the path.")
        if folder.is_file():
            if folder.suffix.lower() not in _SCENES:
                raise AnnotationError(f"'{folder}' is no cohort; give a folder with cases, or a .mrb or .mrml scene.")
            places.append(_scene(folder, folder))
        else:
            places += _below(folder, folder)
    if not places:
        listed = " and ".join(f"'{folder}'" for folder in folders)
        raise AnnotationError(
            f"{listed} holds no annotated case; .mrb or .mrml scenes are needed, or folders with a volume and a "
            ".mrk.json."
        )
    return places


def _below(folder: Path, root: Path) -> Iterator[CasePlace]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as problem:
        sentence = f"'{folder}' cannot be read ({problem.strerror}); check its permissions."
        if folder != root:  # one closed folder does not hide the cases in the others
            logger.warning("%s", sentence)
            return
        raise AnnotationError(sentence) from problem
    if any(entry.name == ALIGNED_FILE for entry in entries):
        return
    if (described := folder / CASE_FILE).is_file():
        yield CasePlace(described, root, folder.resolve().name)
        return
    files = [entry for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    scenes = [file for file in files if file.suffix.lower() in _SCENES]
    for scene in scenes:
        yield _scene(scene, root)
    if not any(scene.suffix.lower() == ".mrml" or scene.stem == "scene" for scene in scenes):
        yield from _plain_cases(folder, files, root, {scene.stem for scene in scenes})
    for entry in entries:
        if entry.is_dir() and not entry.name.startswith("."):
            yield from _below(entry, root)


def _scene(file: Path, root: Path) -> CasePlace:
    return CasePlace(file, root, file.resolve().parent.name if file.stem == "scene" else file.stem)


def _plain_cases(folder: Path, files: Sequence[Path], root: Path, scene_stems: set[str]) -> Iterator[CasePlace]:
    """Annotations with the volume of the same name, or the only annotation with the only volume of a folder."""
    annotations: dict[str, Path] = {}
    for ending in _ANNOTATIONS:
        for file in files:
            if file.name.lower().endswith(ending) and (stem := file.name[: -len(ending)]) not in scene_stems:
                annotations.setdefault(stem, file)
    volumes = [file for file in files if file.name.lower().endswith(_VOLUMES)]
    masks = [file for file in volumes if set(_name_parts(file.name)) & _MASK_NAMES]
    images = [file for file in volumes if file not in masks]
    for stem, file in sorted(annotations.items()):
        if len(annotations) == 1 and len(images) <= 1:
            whole = folder.resolve() != root.resolve()
            only_mask = masks[0] if len(masks) == 1 else None
            yield CasePlace(file, root, folder.resolve().name if whole else stem, next(iter(images), None), only_mask)
            continue
        image = next((volume for volume in images if scan_name(volume.name) == stem), None)
        mask = next((volume for volume in masks if volume.name.startswith(stem)), None)
        yield CasePlace(file, root, stem, image, mask)


def _name_parts(name: str) -> list[str]:
    return [part.lower() for part in re.split(r"[^A-Za-z0-9]+", name)]


def safe_name(name: str) -> str:
    """A name that can be a folder on every system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:100] or "case"
