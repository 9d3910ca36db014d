"""Pictures in the repository stay small, and look as they did."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs Pillow")

from optimise_pictures import optimise, tracked_pictures
from PIL import Image

LARGEST_BYTES = 400_000


def test_no_picture_of_the_repository_is_larger_than_400_kb() -> None:
    try:
        pictures = tracked_pictures()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    assert pictures
    large = {path.name: path.stat().st_size for path in pictures if path.stat().st_size > LARGEST_BYTES}
    assert not large, "run python Testing/optimise_pictures.py"


def test_a_noisy_picture_becomes_small_and_looks_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = np.clip(np.linspace(0, 200, 800)[None, :] + rng.normal(0, 4, (600, 800)), 0, 255)
    pixels = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    pixels[100:120, 100:400] = (200, 30, 40)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    before = path.stat().st_size
    assert optimise(path)
    assert path.stat().st_size < 0.8 * before
    with Image.open(path) as small:
        assert small.mode == "P" and small.size == (800, 600)
        change = np.abs(np.asarray(small.convert("RGB")).astype(int) - pixels).max(axis=2)
    assert change.max() <= 12 and (change > 6).mean() < 0.01
    written = path.read_bytes()
    assert not optimise(path) and path.read_bytes() == written
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]


def test_a_picture_with_transparent_parts_is_left(tmp_path: Path) -> None:
    path = tmp_path / "icon.png"
    Image.fromarray(np.zeros((8, 8, 4), np.uint8), "RGBA").save(path)
    written = path.read_bytes()
    assert not optimise(path) and path.read_bytes() == written
