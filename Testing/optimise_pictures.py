"""Makes pictures small: a palette instead of true colours, and less noise than the eye sees.

    python Testing/optimise_pictures.py [FILE.png ...]

Without names all PNG files that git tracks. A picture that has a palette already and is small enough, or has
transparent parts, is left as it is, so the script may run again and again. The scripts that draw pictures for Docs
write through `optimise` too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES = 340_000
"""Steps of LADDER are taken until a picture is no larger."""
LADDER = ((0, 256), (3, 256), (4, 192), (5, 192), (5, 128), (6, 128), (6, 96), (6, 64), (8, 64))
"""Largest change of a pixel (of 255) that makes it equal to its left neighbour, and number of colours."""
GREY = 3
"""A colour whose channels differ by no more."""
AREA = 0.01
"""A colour with this share of the pixels (of those that are grey, or are not) is that of an area."""


def optimise(path: Path) -> bool:
    """Make a picture small in its place; False where it was left as it is."""
    with Image.open(path) as picture:
        mode, transparent = picture.mode, "transparency" in picture.info or "A" in picture.mode
        if transparent or (mode in ("P", "L", "1") and path.stat().st_size <= MOST_BYTES):
            return False
        pixels = np.asarray(picture.convert("RGB"))
    before = path.stat().st_size
    temporary = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        for change, colours in LADDER:
            _with_palette(_without_noise(pixels, change), colours).save(temporary, "PNG", optimize=True)
            if temporary.stat().st_size <= MOST_BYTES:
                break
        if temporary.stat().st_size >= before:
            return False
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _without_noise(pixels: np.ndarray, change: int) -> np.ndarray:
    """uint8 [y, x, 3] in which a pixel that is about as its left neighbour is equal to it."""
    out = pixels.astype(np.int16)
    flat = np.zeros(out.shape[:2], bool)  # what has no noise keeps its value
    flat[:, 2:] = (pixels[:, 2:] == pixels[:, 1:-1]).all(axis=2) & (pixels[:, 2:] == pixels[:, :-2]).all(axis=2)
    for x in range(1, out.shape[1] if change else 0):
        like_left = (np.abs(out[:, x] - out[:, x - 1]).max(axis=1) <= change) & ~flat[:, x]
        out[like_left, x] = out[like_left, x - 1]
    return out.astype(np.uint8)


def _with_palette(pixels: np.ndarray, colours: int) -> Image.Image:
    """The picture in at most so many colours.

    Pillow chooses them by the number of pixels, so that in a picture that is mostly grey a small artery takes the
    colour of a larger one. Here a colour counts by the square root of that number, and grey remains grey.
    """
    bits = 8 if len(np.unique(_numbers(pixels, 8))) <= colours else 6
    _, where, counts = np.unique(_numbers(pixels, bits), return_inverse=True, return_counts=True)
    where = where.reshape(-1)
    points = np.stack([np.bincount(where, pixels[..., n].reshape(-1)) / counts for n in range(3)], axis=1)
    grey = np.ptp(points, axis=1) <= GREY
    palette, nearest = np.zeros((0, 3)), np.zeros(len(points), int)
    for part, most in ((grey, colours // 3), (~grey, colours)):
        if bits == 8 or not part.any():
            continue
        chosen = _palette(points[part], counts[part], most - len(palette))
        nearest[part] = len(palette) + _nearest(points[part], chosen)
        palette = np.concatenate([palette, chosen])
    if bits == 8:
        palette, nearest = points, np.arange(len(points))
    order = np.argsort(palette.sum(axis=1), kind="stable")
    image = Image.fromarray(np.argsort(order)[nearest][where].astype(np.uint8).reshape(pixels.shape[:2]))
    image.putpalette(np.rint(palette[order]).astype(np.uint8).tobytes())
    return image


def _palette(points: np.ndarray, counts: np.ndarray, colours: int) -> np.ndarray:
    """At most so many colours for `points` (n, 3), each of so many pixels.

    First those of whole areas, which remain as they are, then the farthest from all others, moved by k-means.
    """
    weights = np.sqrt(counts)
    chosen = [int(n) for n in np.argsort(-counts)[: colours // 2] if counts[n] >= AREA * counts.sum()]
    chosen = chosen or [int(counts.argmax())]
    areas = len(chosen)
    distance = np.min([((points - points[n]) ** 2).sum(axis=1) for n in chosen], axis=0)
    while len(chosen) < min(colours, len(points)):
        chosen.append(int((weights * distance).argmax()))
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    palette = points[chosen]
    for _ in range(12):
        nearest = _nearest(points, palette)
        total = np.bincount(nearest, weights, len(palette))
        sums = [np.bincount(nearest, weights * points[:, n], len(palette)) for n in range(3)]
        moved = total > 0
        moved[:areas] = False
        palette[moved] = (np.stack(sums, axis=1)[moved].T / total[moved]).T
    return palette


def _numbers(pixels: np.ndarray, bits: int) -> np.ndarray:
    """One number for each pixel: its colour with so many bits a channel."""
    r, g, b = (pixels[..., n].astype(np.int32) >> (8 - bits) for n in range(3))
    return (r << (2 * bits)) | (g << bits) | b


def _nearest(points: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """For each colour (n, 3) the index of the nearest of the palette (m, 3)."""
    nearest: np.ndarray = ((palette**2).sum(axis=1) - 2.0 * points @ palette.T).argmin(axis=1)
    return nearest


def tracked_pictures() -> list[Path]:
    """All PNG files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z", "*.png"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def main(names: list[str]) -> None:
    """Make pictures small and say by how much."""
    for path in [Path(name) for name in names] or tracked_pictures():
        before = path.stat().st_size
        if optimise(path):
            print(f"{path}: {before // 1000} -> {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
