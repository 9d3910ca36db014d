"""Results in the layout of BIDS derivatives: `sub-01/ses-1/anat/sub-01_ses-1_acq-tof_desc-CoW_landmarks.tsv` and so on.

Names: the entities of the scan's own name, then `seg-CoW` for the label map of the arteries (`dseg`) and `desc-CoW` for
all other files, whose suffixes the standard does not know, so that `.bidsignore` lists them. Source: BIDS specification
1.10, "BIDS Derivatives" (common data types, imaging data types) and "Dataset description".
"""

from __future__ import annotations

import csv
import io
import json
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path, PurePosixPath

from .. import __version__
from ..core.anatomy import Anatomy
from ..core.atomic_files import write_json, write_text
from ..core.errors import ConfigurationError, OutputError, short_path
from ..files.result_folders import BATCH_FILES, RECORD_FILE, SEGMENTATION_FILE, make_folders, remove_if_empty
from ..files.result_layout import remove_hidden
from ..io.volume_io import read_volume, write_volume

BIDS_VERSION = "1.10.0"
DESCRIPTION_FILE, IGNORE_FILE, LABELS_FILE = "dataset_description.json", ".bidsignore", "dseg.tsv"
PIPELINE = "CoW Landmarks"
_TAG = "CoW"
_DATA_TYPE = "anat"
_ENTITY = re.compile(r"[a-z]+-[A-Za-z0-9]+")
_ENDING = re.compile(r"\.nii(\.gz)?$")
_NOT_AVAILABLE = "n/a"


def bids_name(scan: Path) -> str | None:
    """The path of a scan's results without what follows `desc-CoW`; None for a scan without a BIDS name."""
    stem = _ENDING.sub("", scan.name)
    *entities, suffix = stem.split("_")
    keys = [entity.partition("-")[0] for entity in entities]
    orderly = keys[:1] == ["sub"] and ("ses" not in keys or keys[1] == "ses") and len(set(keys)) == len(keys)
    if stem == scan.name or not orderly or not all(map(_ENTITY.fullmatch, entities)) or not suffix.isalnum():
        return None
    folders = [entity for entity in entities if entity.startswith(("sub-", "ses-"))]
    described = "".join(entity[5:] for entity in entities if entity.startswith("desc-"))
    kept = [entity for entity in entities if not entity.startswith("desc-")]
    return "/".join([*folders, _DATA_TYPE, f"{'_'.join(kept)}_desc-{described}{_TAG}"])


class BidsLayout:
    """The layout below `directory`, for results of `scans` with the arteries of `anatomy`.

    Raises ConfigurationError where the directory is a BIDS dataset of something else.
    """

    def __init__(self, directory: Path, scans: Sequence[Path], anatomy: Anatomy) -> None:
        self._directory = directory
        self._anatomy = anatomy
        self._often = Counter(filter(None, map(bids_name, scans)))
        if is_bids(directory) is False:
            raise ConfigurationError(
                f"'{directory}' is a BIDS dataset of another program; choose a folder of its own as --out, such as "
                "'derivatives/cowlandmarks' in it."
            )

    def name_of(self, scan: Path, wished: str | None) -> str | None:
        """The name by the entities; raises ConfigurationError where there are none, or two scans share them."""
        name = bids_name(scan)
        if name is None:
            raise ConfigurationError(
                f"'{scan.name}' is no BIDS name (sub-<label>[_ses-<label>][_<key>-<label>]_<suffix>.nii.gz); rename it "
                "or leave out --bids."
            )
        if self._often[name] > 1:
            raise ConfigurationError(
                f"'{scan.name}' has the same entities as another scan of this call; rename one, by acq-<label> say."
            )
        return name

    def file(self, name: str, usual: str) -> Path:
        """Where the file of a result lies that is usually called `usual`."""
        return self._directory / f"{name}_{usual}"

    def record(self, name: str) -> Path:
        """Where the record of a result lies; its files lie beside it."""
        return self.file(name, RECORD_FILE)

    def records(self) -> Iterator[Path]:
        """The records of all results, sorted."""
        places = (f"sub-*/{_DATA_TYPE}", f"sub-*/ses-*/{_DATA_TYPE}")
        yield from sorted(path for place in places for path in self._directory.glob(f"{place}/*_{RECORD_FILE}"))

    def result_of(self, record: Path) -> str:
        """The name of the result that a record belongs to."""
        return record.relative_to(self._directory).as_posix().removesuffix(f"_{RECORD_FILE}")

    def shown(self, name: str) -> Path:
        """The folder in which a result lies, among others."""
        return (self._directory / name).parent

    def check_free(self, name: str, force: bool) -> None:
        """Raise OutputError if there is a result already that this call may not replace."""
        if not force and (found := self._files(name)):
            raise OutputError(
                f"'{short_path(found[0])}' already belongs to a result; use --force to replace it or choose another "
                "--out."
            )

    def _files(self, name: str) -> list[Path]:
        """The files that a result of this name has now."""
        base, tag = PurePosixPath(name).name.split("_desc-")
        own = re.compile(rf"{re.escape(base)}_(label-[A-Za-z0-9]+_)?(desc|seg)-{tag}_[^_]+")
        folder = self.shown(name)
        return sorted(path for path in folder.iterdir() if own.fullmatch(path.name)) if folder.is_dir() else []

    @contextmanager
    def result(
        self, name: str, force: bool, uninterrupted: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Iterator[Path]:
        """A hidden folder to write to; its files are moved to their places when the block succeeds, the record last.

        If one cannot be moved, all are moved back, those of an earlier result as well. Only a kill between the first
        move and the last leaves a part, which without its record is no result.
        """
        self.check_free(name, force)
        staging = self._directory / f".{PurePosixPath(name).name}.partial-{secrets.token_hex(4)}"
        made: list[Path] = []
        try:
            with uninterrupted():
                made = make_folders(self._directory)
                staging.mkdir()
            yield staging
            with uninterrupted():
                self._put_in_place(staging, name, force)
        except OSError as error:
            raise OutputError(
                f"'{short_path(self.shown(name))}' cannot be written: {error.strerror or error}; choose another --out "
                "or make room there."
            ) from error
        finally:
            with uninterrupted():
                shutil.rmtree(staging, ignore_errors=True)  # the error that led here is on its way already
                remove_if_empty(made)

    def _put_in_place(self, staging: Path, name: str, force: bool) -> None:
        self.check_free(name, force)
        self._describe()
        record = self.record(name)
        folder = self.shown(name)
        aside = self._directory / f".{PurePosixPath(name).name}.replaced-{secrets.token_hex(4)}"
        # Without its record it is no result: that of an earlier one goes first, the new one comes last.
        moves = [(path, aside / path.name) for path in sorted(self._files(name), key=lambda path: path != record)]
        new = sorted(staging.iterdir(), key=lambda path: path.name == record.name)
        moves += [(path, folder / path.name) for path in new]
        made = [*make_folders(folder), *make_folders(aside)]
        try:
            _move_all(moves)
        except OSError:
            remove_if_empty([aside])
            remove_if_empty([path for path in made if path != aside])
            raise
        shutil.rmtree(aside, ignore_errors=True)  # hidden, and gone with the next --resume

    def _describe(self) -> None:
        """Write what describes the dataset; all processes write the same. What somebody added to it stands."""
        generated = {"Name": PIPELINE, "Version": __version__, "Description": "Landmarks and arteries; research only."}
        description = {"Name": f"{PIPELINE} derivatives", "BIDSVersion": BIDS_VERSION, "DatasetType": "derivative"}
        if not (self._directory / DESCRIPTION_FILE).is_file():
            write_json(self._directory / DESCRIPTION_FILE, {**description, "GeneratedBy": [generated]})
        if not (self._directory / IGNORE_FILE).is_file():
            ignored = "\n".join([*BATCH_FILES, f"*_desc-{_TAG}_*", f"*_desc-*{_TAG}_*"])
            write_text(self._directory / IGNORE_FILE, f"{ignored}\n")
        rows = [("index", "name", "abbreviation", "color")]
        for artery in self._anatomy.arteries:
            rows.append((str(artery.label), artery.name, artery.code, "#{:02x}{:02x}{:02x}".format(*artery.rgb)))
        write_text(self._directory / LABELS_FILE, "".join("\t".join(row) + "\n" for row in rows))

    def arrange(self, folder: Path, name: str) -> None:
        """Give the files their BIDS names; tables become .tsv, and a label map is added to the segmentation."""
        base, tag = PurePosixPath(name).name.split("_desc-")
        segmentation = folder / SEGMENTATION_FILE
        if segmentation.is_file():
            labels = folder / f"{base}_seg-{tag}_dseg.nii.gz"
            write_volume(read_volume(segmentation), labels)
            write_json(folder / f"{base}_seg-{tag}_dseg.json", {"SpatialReference": "orig", "Manual": False})
        for path in sorted(folder.iterdir()):
            if path.name.startswith(f"{base}_seg-"):
                continue
            if path.suffix == ".csv":
                path = _as_tsv(path)
            usual, dot, ending = path.name.partition(".")
            label = ""
            if "-" in usual:  # the heatmap of a landmark, by its code
                usual, _, code = usual.partition("-")
                label = f"_label-{re.sub('[^A-Za-z0-9]', '', code)}"
            path.rename(folder / f"{base}{label}_desc-{tag}_{usual}{dot}{ending}")

    def remove_leftovers(self, name: str) -> None:
        """Remove the hidden folders that a killed process left of a result."""
        remove_hidden(self._directory, PurePosixPath(name).name)


def is_bids(directory: Path) -> bool | None:
    """Whether a directory holds results in this layout; False where it is a BIDS dataset of something else."""
    try:
        text = (directory / DESCRIPTION_FILE).read_text(encoding="utf-8")
    except OSError:
        return None
    except ValueError:
        return False
    try:
        return any(entry["Name"] == PIPELINE for entry in json.loads(text)["GeneratedBy"])
    except (ValueError, KeyError, TypeError):
        return False


def _move_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move every file of the pairs from the first place to the second, or none; raises OSError."""
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            target.rename(source)
        raise


def _as_tsv(path: Path) -> Path:
    """A table as BIDS wants it: separated by tabs, with n/a for what is not there."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [[cell or _NOT_AVAILABLE for cell in row] for row in csv.reader(file)]
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(rows)
    table = path.with_suffix(".tsv")
    write_text(table, text.getvalue())
    path.unlink()
    return table
