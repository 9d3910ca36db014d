"""Writes Docs/landmarks.md: what each landmark is, with a picture of a phantom, variants, mistakes and agreement.

    python Testing/landmark_atlas.py [--text]

With `--text` the pictures are left as they are. A picture shows the right and the left side of one phantom with a
complete circle, each as a maximum projection over SLAB_MM and as the slice through the landmark.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "CoWLandmarks"), str(ROOT / "CoWLandmarksTraining"), str(ROOT / "Testing")]

from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy  # noqa: E402 - found through the lines above
from CoWLandmarksLib.core.atomic_files import write_text  # noqa: E402
from CoWLandmarksLib.core.volume import Modality, Volume, axis_aligned_grid  # noqa: E402
from CoWLandmarksLib.networks.resampling import resample  # noqa: E402
from CoWLandmarksLib.pictures.canvas import Canvas, Colour  # noqa: E402
from CoWLandmarksTrainingLib.phantom.appearance import Family, Masking  # noqa: E402
from CoWLandmarksTrainingLib.phantom.phantom_cohort import PhantomCase, rendered_case  # noqa: E402
from CoWLandmarksTrainingLib.phantom.training_cases import sample_scene  # noqa: E402
from CoWLandmarksTrainingLib.phantom.variants import VariantRates  # noqa: E402
from landmark_notes import AXIAL, CORONAL, NOTES, REPEATS, SAGITTAL, Note, published_rates  # noqa: E402
from optimise_pictures import optimise  # noqa: E402

PAGE, PICTURES = ROOT / "Docs" / "landmarks.md", ROOT / "Docs" / "landmarks"
COMMAND = "python Testing/landmark_atlas.py"
SEED, VERSION = 2033, 3
VOXEL_MM, SHAPE = (0.45, 0.45, 0.6), (150, 250, 260)
PIXEL_MM, PANEL, SLAB_MM = 0.32, 140, 20.0
_GAP, _TITLE = 4, 18
_NOISE = 0.02
_WINDOW = (0.3, 0.8)
"""Shown black and white, of the phantom's largest value."""
_VIEWS = {
    AXIAL: (0, ("R", "L", "A", "P")),
    CORONAL: (1, ("R", "L", "S", "I")),
    SAGITTAL: (2, ("A", "P", "S", "I")),
}
"""Axis of the array [S, A, R] that is looked along, and the letters left, right, above and below."""
_BACKGROUND: Colour = (18, 22, 28)
_WHITE: Colour = (235, 238, 242)
_LETTER: Colour = (255, 213, 79)
_RING: Colour = (90, 230, 120)


def sides_of(note: Note, anatomy: Anatomy) -> list[str]:
    """The codes that a note is about: one in the middle, or right and left."""
    return [code for code in anatomy.codes if code in (note.code, f"R-{note.code}", f"L-{note.code}")]


def complete_circle() -> PhantomCase:
    """A TOF phantom in the reference pose without variants and disease, all arteries thick enough to be seen."""
    rates = VariantRates(
        pcoa={"normal": 1.0},
        a1={"normal": 1.0},
        acoa={"single": 1.0},
        a2={"paired": 1.0},
        mca={"bifurcation": 1.0},
        ophthalmic_visible=1.0,
        stenosis=0.0,
        occlusion=0.0,
        aneurysm=0.0,
    )
    rng = np.random.Generator(np.random.Philox(key=[SEED, 0]))
    drawn = sample_scene(rng, Modality.MRA, Family.TRAINING, "clinical", rates, VERSION)
    plain = replace(
        drawn.appearance, noise=_NOISE, ghosting=0.0, metal=False, masking=Masking.NONE, flow_void=0.0, eight_bit=False
    )
    scene = replace(drawn, appearance=plain, pose=np.eye(4))
    grid = axis_aligned_grid(np.nanmean(scene.phantom.landmarks, axis=0), np.array(VOXEL_MM), SHAPE)
    return rendered_case(scene, grid, "landmarks", {"seed": SEED})


def picture(case: PhantomCase, note: Note, codes: list[str]) -> Canvas:
    """Projection and slice of each side beside each other, with a ring round the landmark."""
    places = {estimate.code: estimate.position for estimate in case.truth}
    panels = 2 * len(codes)
    canvas = Canvas(panels * PANEL + (panels - 1) * _GAP, PANEL + _TITLE, _BACKGROUND)
    for number, code in enumerate(codes):
        place = places[code]
        assert place is not None  # the circle is complete
        shown = _views_of(case.volume, np.array(place, float), note.view)
        for part, (title, image) in enumerate(zip((f"{code}, {note.view}", "slice"), shown, strict=True)):
            x = (2 * number + part) * (PANEL + _GAP)
            canvas.text(x + 2, _TITLE / 2, title, 12, _WHITE)
            canvas.image(x, _TITLE, np.repeat(255.0 * image[:, :, None], 3, axis=2))
            _mark(canvas, x, _VIEWS[note.view][1])
    return canvas


def _views_of(volume: Volume, centre: np.ndarray, view: str) -> tuple[np.ndarray, np.ndarray]:
    """Maximum projection and slice [row, column] in [0, 1] with the landmark in the middle."""
    along, _ = _VIEWS[view]
    layers = 2 * int(SLAB_MM / PIXEL_MM / 2) + 1
    shape = [PANEL + 1, PANEL + 1, PANEL + 1]
    shape[along] = layers
    grid = axis_aligned_grid(centre, np.full(3, PIXEL_MM), (shape[0], shape[1], shape[2]))
    voxels = torch.from_numpy(np.asarray(volume.voxels, dtype=np.float32))
    samples = resample(voxels, volume.grid, grid, padding=float(voxels.min())).numpy()
    low, high = (share * float(voxels.max()) for share in _WINDOW)
    shown = np.clip((samples - low) / (high - low), 0.0, 1.0)
    middle = shown.take(layers // 2, axis=along)
    # R, A and S grow towards the left and upper edge, as in radiological convention.
    return shown.max(axis=along)[:0:-1, :0:-1], middle[:0:-1, :0:-1]


def _mark(canvas: Canvas, x: int, letters: tuple[str, str, str, str]) -> None:
    middle = PANEL / 2
    canvas.ring((x + middle, _TITLE + middle), 9.0, _RING, 1.5)
    edges = ((7.0, middle), (PANEL - 7.0, middle), (middle, 8.0), (middle, PANEL - 8.0))
    for letter, (column, row) in zip(letters, edges, strict=True):
        canvas.text(x + column, _TITLE + row, letter, 11, _LETTER, align=0.5)


def page(anatomy: Anatomy) -> str:
    """The text of the page, from anatomy.json and the notes."""
    sections = "\n".join(_section(note, sides_of(note, anatomy), anatomy) for note in NOTES)
    return f"""<!-- Written by: {COMMAND} -->
# The landmarks

{_INTRODUCTION}

{_PICTURES}

{_READERS}

{sections}"""


_INTRODUCTION = (
    "What each of the 19 points is, how it looks, and what goes wrong. For research only; not a medical device. All "
    "points lie on the centreline of the lumen, never on the wall; at a bifurcation, where the three centrelines meet. "
    "Right and left are the patient's."
)
_PICTURES = (
    "Pictures: one synthetic TOF angiogram with a complete circle "
    f"([phantom](model/phantom.md) {VERSION}, seed {SEED}) in the reference pose; of each side a maximum projection "
    f"over {SLAB_MM:.0f} mm and the slice through the landmark, {PANEL * PIXEL_MM:.0f} mm wide. Rates of variants are "
    "those that the phantom draws from, per side for PCoA, MCA and ophthalmic artery, per person for the others "
    "([sources](model/phantom.md#sources)). What goes wrong is general anatomical knowledge and what the phantom "
    "offers as [runners-up](model/phantom.md), no count of mistakes. How far the program itself is off: "
    "[model card](model/model-card.md)."
)
_READERS = (
    "How far two readers differ has not been measured for this set of points. The nearest figures are from repeat "
    "scans of the same person, each traced once: pairs found in the iCafe graphs (GNN-ART-LABEL, Chen et al., MICCAI "
    "2020, [arXiv 2007.14472](https://arxiv.org/abs/2007.14472), with the revised labels of AICAL), aligned on all "
    "other landmarks. They contain two scans, two tracings and the error of the alignment, so that two readers of one "
    "scan should differ by less. The *expected* figures are the project's own estimate, kept in `anatomy.json`."
)


def _section(note: Note, codes: list[str], anatomy: Anatomy) -> str:
    first = anatomy.landmarks[anatomy.codes.index(codes[0])]
    numbers = ", ".join(str(anatomy.codes.index(code) + 1) for code in codes)
    name = first.name.removeprefix("Right ")
    measured = "; ".join(
        f"{code} median {REPEATS[code].median:.1f} mm, 90th percentile {REPEATS[code].percentile_90:.1f} mm "
        f"({REPEATS[code].pairs} pairs)"
        for code in codes
        if code in REPEATS
    )
    agreement = f"repeat scans: {measured}; expected" if measured else "not measured; expected"
    return f"""## {" and ".join(codes)}
{name[0].upper()}{name[1:]}; number {numbers}.

![{" and ".join(codes)}](landmarks/{note.code}.png)

- **Definition**: {first.definition}
- **If it is not visible**: {first.if_not_visible}
- **Variants**: {note.variants.format(**published_rates())}
- **What goes wrong**: {note.wrong}
- **Two readers**: {agreement} {first.expected_two_annotator_mm:.1f} mm.
"""


def main() -> None:
    """Write the page, and the pictures unless they are to stay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", action="store_true", help="leave the pictures as they are")
    anatomy = default_anatomy()
    if not parser.parse_args().text:
        case = complete_circle()
        for note in NOTES:
            path = PICTURES / f"{note.code}.png"
            picture(case, note, sides_of(note, anatomy)).write_png(path)
            optimise(path)
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
    write_text(PAGE, page(anatomy))


if __name__ == "__main__":
    main()
