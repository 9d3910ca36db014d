"""Model files that must be refused: missing, foreign, damaged, of another version, unfit, or with code in them."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bad_input import BadCase, Maker, detect
from beads import tiny_model
from CoWLandmarksLib.detect.model import save_model
from fixed_detector import write_scan

TRAP = "the trap was sprung"
"""The file that appears when code in a model file is run."""


class Trap:
    """A pickle of this writes a file when it is opened without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.path,))


class SystemTrap(Trap):
    """The same through the shell."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (os.system, (f"touch '{self.path}'",))


@cache
def sound_model() -> bytes:
    """The bytes of a model file that is accepted."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(tiny_model(), Path(folder) / "m.cow.pt")
        return (Path(folder) / "m.cow.pt").read_bytes()


def model(content: Callable[[Path], bytes]) -> Maker:
    """A detection with a model file of these bytes."""

    def make(folder: Path) -> Sequence[object]:
        path = folder / "my.cow.pt"
        path.write_bytes(content(folder))
        return detect(folder, write_scan(folder / "head.nii.gz"), "--model", path)

    return make


def saved(content: object) -> bytes:
    """What torch writes for this."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def changed(**entries: object) -> Callable[[Path], bytes]:
    """The sound model with other entries; keys like coarse__sigma_mm reach into it; None deletes."""

    def make(_: Path) -> bytes:
        content = torch.load(io.BytesIO(sound_model()), weights_only=True)
        for key, value in entries.items():
            *way, last = key.split("__")
            place = content
            for step in way:
                place = place[step]
            if value is None:
                del place[last]
            else:
                place[last] = value
        return saved(content)

    return make


def trapped(trap: type[Trap], way: str) -> Callable[[Path], bytes]:
    """Files with a trap in them, by the way it got there."""

    def make(folder: Path) -> bytes:
        poison = trap(folder / TRAP)
        if way == "plain pickle":
            return pickle.dumps(poison)
        if way == "old torch format":
            buffer = io.BytesIO()
            torch.save({"format": "cow-landmarks-model", "x": poison}, buffer, _use_new_zipfile_serialization=False)
            return buffer.getvalue()
        content = torch.load(io.BytesIO(sound_model()), weights_only=True)
        if way == "provenance":
            content["provenance"]["note"] = poison
        else:
            content["fine"]["weights"]["head.bias"] = poison
        return saved(content)

    return make


def _nan_weights(_: Path) -> bytes:
    content = torch.load(io.BytesIO(sound_model()), weights_only=True)
    content["fine"]["weights"]["head.bias"] *= float("nan")
    return saved(content)


def _ordinary_zip(_: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "no model")
    return buffer.getvalue()


def _flipped(seed: int) -> Callable[[Path], bytes]:
    """Many changed bytes in the part that names the entries."""

    def make(_: Path) -> bytes:
        damaged = bytearray(sound_model())
        for place in np.random.default_rng(seed).integers(0, 4000, 200):
            damaged[place] ^= 0x5A
        return bytes(damaged)

    return make


def _of_path(make: Callable[[Path], object]) -> Maker:
    return lambda folder: detect(folder, write_scan(folder / "head.nii.gz"), "--model", make(folder))


NOT_OURS = ("my.cow.pt", "no model of this program", "use a '.cow.pt' file")
UNFIT = ("my.cow.pt", "incomplete or damaged", "fetch it again")

MODELS: tuple[BadCase, ...] = (
    BadCase(
        "a model that is not there",
        _of_path(lambda folder: folder / "none.cow.pt"),
        ("none.cow.pt", "--model"),
        real=True,
    ),
    BadCase("a folder as model", _of_path(lambda folder: folder), ("no model file", "--model"), real=True),
    BadCase("a scan as model", _of_path(lambda folder: folder / "head.nii.gz"), ("head.nii.gz", "no model"), real=True),
    BadCase("an empty name as model", _of_path(lambda folder: ""), ("--model",), real=True),
    *(
        BadCase(f"a model file of {name}", model(lambda _, content=content: content), NOT_OURS, real=True)  # type: ignore[misc]
        for name, content in (
            ("no bytes", b""),
            ("text", b"weights: 1 2 3\n" * 50),
            ("noise", bytes(range(256)) * 40),
            ("the head of a zip", b"PK\x03\x04"),
            ("a gzip head", b"\x1f\x8b" * 9),
        )
    ),
    BadCase("an ordinary zip as model", model(_ordinary_zip), NOT_OURS, real=True),
    BadCase("a tensor as model", model(lambda _: saved(torch.zeros(3))), NOT_OURS[:2], real=True),
    BadCase("weights of another program", model(lambda _: saved({"state_dict": {}})), NOT_OURS[:2], real=True),
    *(
        BadCase(
            f"{share:.1%} of a model file",
            model(lambda _, share=share: sound_model()[: int(share * len(sound_model()))]),
            ("my.cow.pt",),
            real=True,
        )  # type: ignore[misc]
        for share in (0.02, 0.5, 0.999)
    ),
    *(
        BadCase(f"changed bytes in a model file ({seed})", model(_flipped(seed)), ("my.cow.pt",), real=True)
        for seed in range(3)
    ),
    BadCase(
        "a model of the future", model(changed(format_version=99)), ("my.cow.pt", "format 99", "update"), real=True
    ),
    BadCase("a model of the past", model(changed(format_version=0)), ("my.cow.pt", "format 0", "update"), real=True),
    BadCase("a model without anatomy", model(changed(anatomy=None)), UNFIT, real=True),
    BadCase("a model with a senseless grid", model(changed(grid__spacing=[1.0, 0.0, 1.0])), UNFIT, real=True),
    BadCase("a model with a huge window", model(changed(window=[4096, 4096, 4096])), UNFIT, real=True),
    BadCase("a model with a huge network", model(changed(fine__config__base_width=10**6)), UNFIT, real=True),
    BadCase("a model with a deep network", model(changed(fine__config__levels=200)), UNFIT, real=True),
    BadCase("a model with weights of NaN", model(_nan_weights), UNFIT, real=True),
    BadCase("a model without shape", model(changed(shape__mean=[[0.0, 0.0, 0.0]])), UNFIT, real=True),
    BadCase("a model of other landmarks", model(changed(shape__covariance=[[1.0]])), UNFIT, real=True),
    BadCase("a model with text as width", model(changed(coarse__sigma_mm="wide")), UNFIT, real=True),
    *(
        BadCase(f"a model that runs code ({way}, {trap.__name__})", model(trapped(trap, way)), NOT_OURS[:2], real=True)
        for way in ("plain pickle", "old torch format", "provenance", "weights")
        for trap in (Trap, SystemTrap)
    ),
    BadCase(
        "info about a model that runs code",
        lambda folder: ["info", model(trapped(SystemTrap, "provenance"))(folder)[-1]],
        NOT_OURS[:2],
    ),
    BadCase(
        "info about half a model",
        lambda folder: ["info", model(lambda _: sound_model()[:9000])(folder)[-1]],
        ("my.cow.pt",),
    ),
)
