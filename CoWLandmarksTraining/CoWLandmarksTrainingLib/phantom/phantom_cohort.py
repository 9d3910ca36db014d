"""Synthetic cohorts on disk: annotated cases with exact landmarks, artery label map and pose."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.core.anatomy import Anatomy, default_anatomy
from CoWLandmarksLib.core.detection import Detection, LandmarkEstimate, LandmarkState
from CoWLandmarksLib.core.errors import ConfigurationError, OutputError
from CoWLandmarksLib.core.volume import Grid, Modality, Volume, apply_affine, axis_aligned_grid
from CoWLandmarksLib.files.case_description import CASE_FILE, CaseDescription, write_case_json
from CoWLandmarksLib.files.markups import write_annotation

from ..config.settings import PHANTOM_VERSION
from .acquisition import Acquisition
from .appearance import Family, Masking, Tissue
from .patterns import ANATOMIES
from .render import Scene, render
from .training_cases import landmark_status, sample_scene
from .variants import VariantRates

TOF_UNITS = 400.0
SAMPLE_SEED, SAMPLE_VERSION = 2026, 3
SAMPLE_GRIDS = {
    Modality.MRA: ((0.7, 0.7, 0.9), (84, 216, 192)),
    Modality.CTA: ((0.8, 0.8, 1.0), (70, 172, 160)),
}
"""Voxel size (i, j, k) in mm and shape (K, J, I) of the sample scans."""
CTA_SAMPLE_NOISE_HU = 6.0
_MOST_VOXELS = 16e6
"""Finer scans show less of the head, so that a case takes seconds."""
COHORT_SEED_OFFSET = 1_000_000
"""Cohorts draw from other random streams than training cases of the same seed."""


@dataclass(frozen=True)
class PhantomCase:
    """One synthetic scan with its truth; `labels` holds the artery label map on the same grid."""

    name: str
    volume: Volume
    labels: Volume
    truth: tuple[LandmarkEstimate, ...]
    scene: Scene
    record: dict[str, Any]


def make_case(
    seed: int,
    index: int,
    modality: Modality,
    *,
    family: Family = Family.TRAINING,
    pose: str = "clinical",
    enrichment: float = 1.0,
    version: int = PHANTOM_VERSION,
    anatomy: str = "development",
) -> PhantomCase:
    """Case `index` of the cohort `seed`: the same for the same numbers and phantom version, on the CPU.

    `enrichment` makes uncommon variants and disease that many times as likely; `anatomy` names the branch patterns
    that they are drawn from (`patterns.ANATOMIES`). Raises ConfigurationError where version 3 lacks the family or the
    anatomy.
    """
    if version == 3 and anatomy != "development":
        raise ConfigurationError(f"Phantom version 3 has no anatomy '{anatomy}'; use version 4.")
    stream = [seed + COHORT_SEED_OFFSET, 2 * index + (modality is Modality.CTA)]
    rng = np.random.Generator(np.random.Philox(key=stream))
    rates = VariantRates(patterns=ANATOMIES[anatomy])
    if enrichment != 1.0:
        rates = rates.enriched(enrichment)
    scene = sample_scene(rng, modality, family, pose, rates, version)
    landmarks = apply_affine(scene.pose, scene.phantom.landmarks)
    grid = scan_grid(rng, np.nanmean(landmarks, axis=0), family, scene.appearance.acquisition)
    name = f"{modality.value}-{seed}-{index:04d}"
    record = {
        "seed": seed,
        "index": index,
        "phantom_version": version,
        "family": scene.appearance.family.value,
        "pose": pose,
        "enrichment": enrichment,
        "anatomy": anatomy,
        "alternatives": _alternatives(scene),
        "population": scene.phantom.population,
        "variants": scene.phantom.variants,
        "artery_present": scene.phantom.artery_present,
        "masking": scene.appearance.masking.value,
        "appearance": {key: value for key, value in asdict(scene.appearance).items() if key not in ("tissue", "seed")},
    }
    return rendered_case(scene, grid, name, record)


def _alternatives(scene: Scene) -> dict[str, list[dict[str, Any]]]:
    """The runners-up of every landmark in scan RAS, with the reason."""
    return {
        code: [
            {
                "position": [round(float(v), 3) for v in apply_affine(scene.pose, np.array([one.position]))[0]],
                "reason": one.reason,
            }
            for one in many
        ]
        for code, many in scene.phantom.alternatives.items()
    }


def make_sample(modality: Modality = Modality.MRA) -> PhantomCase:
    """A plain, small scan, always the same for one phantom version, as the program brings along.

    Its stream of random numbers is used for nothing else. The MRA that is shipped was made by phantom version 1, the
    CTA by version 2.
    """
    rng = np.random.Generator(np.random.Philox(key=[SAMPLE_SEED, 0 if modality is Modality.MRA else 1]))
    drawn = sample_scene(rng, modality, Family.TRAINING, "clinical", version=SAMPLE_VERSION)
    plain = replace(drawn.appearance, noise=0.025, ghosting=0.0, metal=False, eight_bit=True)
    if modality is Modality.MRA:
        tissue = {**drawn.appearance.tissue, Tissue.FAT: 0.35, Tissue.MARROW: 0.3}
        plain = replace(plain, tissue=tissue, masking=Masking.NONE)
    else:
        plain = replace(plain, noise=CTA_SAMPLE_NOISE_HU, eight_bit=False, masking=Masking.NONE)
    scene = replace(drawn, appearance=plain)
    landmarks = apply_affine(scene.pose, scene.phantom.landmarks)
    spacing, shape = SAMPLE_GRIDS[modality]
    grid = axis_aligned_grid(np.nanmean(landmarks, axis=0) + np.array([0.0, -8.0, 2.0]), np.array(spacing), shape)
    name = "sample-tof-mra" if modality is Modality.MRA else "sample-cta"
    record = {"seed": SAMPLE_SEED, "phantom_version": SAMPLE_VERSION}
    return rendered_case(scene, grid, name, record, 110.0 if modality is Modality.MRA else None)


def rendered_case(
    scene: Scene, grid: Grid, name: str, record: dict[str, Any], units: float | None = None
) -> PhantomCase:
    """Render a scene on a grid (scan RAS) with its truth.

    Image values are `units` per unit of the rendering, as whole numbers; by default those of clinical scans. What was
    stored with 8 bits already is kept as it is.
    """
    acquisition = scene.appearance.acquisition
    eight_bit = acquisition is not None and acquisition.eight_bit
    if units is None:
        units = TOF_UNITS if scene.appearance.modality is Modality.MRA and not eight_bit else 1.0
    landmarks = apply_affine(scene.pose, scene.phantom.landmarks)
    rendered = render(scene, grid, torch.device("cpu"), with_labels=True)
    assert rendered.labels is not None
    voxels = (rendered.image * units).round().clamp(-32000, 32000).to(torch.uint8 if eight_bit else torch.int16).numpy()
    truth = _truth(landmarks, scene.phantom.by_rule, grid, default_anatomy())
    labels = Volume(rendered.labels.numpy(), grid.ijk_to_ras, f"{name}-arteries")
    volume = Volume(voxels, grid.ijk_to_ras, name, scene.appearance.modality)
    return PhantomCase(name, volume, labels, truth, scene, record)


def scan_grid(
    rng: np.random.Generator,
    centre: np.ndarray,
    family: Family = Family.TRAINING,
    acquisition: Acquisition | None = None,
) -> Grid:
    """A clinical field of view round the circle: whole-width slabs of 60 to 110 mm, in-plane 0.4 to 0.65 mm, slices of
    0.5 to 1 mm; the site's scanner has 0.7 to 0.8 mm and 1.1 to 1.3 mm; version 4 has its voxels by the acquisition."""
    if acquisition:
        return _acquired_grid(rng, centre, acquisition)
    u = rng.uniform
    at_site = family is Family.SITE
    in_plane = u(0.7, 0.8) if at_site else u(0.4, 0.65)
    spacing = np.array([in_plane, in_plane, u(1.1, 1.3) if at_site else u(0.5, 1.0)])
    extent = np.array([u(110, 160), u(120, 170), u(60, 110)])
    shift = np.array([u(-5, 5), u(-15, 5), u(-8, 8)])
    return _grid_round(centre + shift, spacing, extent)


def _acquired_grid(rng: np.random.Generator, centre: np.ndarray, acquisition: Acquisition) -> Grid:
    """A slab, or where the voxels are not too many a whole head; it may end within the circle."""
    u = rng.uniform
    in_plane, slices = acquisition.voxel_mm
    spacing = np.array([in_plane, in_plane, slices])
    extent = np.array([u(130, 175), u(140, 205), u(60, 110)])
    shift = np.array([u(-5, 5), u(-15, 5), u(-8, 8)])
    if rng.random() < 0.5:
        extent = np.array([u(155, 185), u(185, 215), u(110, 160)])
        shift = np.array([u(-5, 5), u(-22, -5), u(-10, 25)])
    if acquisition.ends_inside:
        # Below the siphon's bend, or above the terminus: what lies beyond is not in the scan.
        below = rng.random() < 0.5
        end = u(-9, -2) if below else u(6, 18)
        shift[2] = end + (0.5 if below else -0.5) * extent[2]
    most = np.prod(extent / spacing) / _MOST_VOXELS
    if most > 1.0:
        extent[:2] = np.maximum(extent[:2] / np.sqrt(most), 100.0)
    return _grid_round(centre + shift, spacing, extent)


def _grid_round(centre: np.ndarray, spacing: np.ndarray, extent: np.ndarray) -> Grid:
    size = np.rint(extent / spacing).astype(int)
    return axis_aligned_grid(centre, spacing, (int(size[2]), int(size[1]), int(size[0])))


def _truth(landmarks: np.ndarray, by_rule: np.ndarray, grid: Grid, anatomy: Anatomy) -> tuple[LandmarkEstimate, ...]:
    """The exact landmarks as an annotation, with the states of the contract."""
    states = {1: LandmarkState.FOUND, 0: LandmarkState.ABSENT, -1: LandmarkState.OUTSIDE}
    estimates = []
    for code, point, status, rule in zip(
        anatomy.codes, landmarks, landmark_status(landmarks, grid), by_rule, strict=True
    ):
        position = (float(point[0]), float(point[1]), float(point[2])) if status == 1 else None
        estimates.append(
            LandmarkEstimate(
                code, position, states[int(status)], 1.0, 0.0, by_rule=bool(rule and status == 1), reviewed=True
            )
        )
    return tuple(estimates)


def write_case(case: PhantomCase, folder: Path, *, with_scene: bool = False) -> None:
    """Write a case folder: image, arteries, landmarks, case.json and, if asked for, scene.mrb.

    The folder appears when it is complete. Raises OutputError when it exists and is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"'{folder}' is not empty; choose another --out folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".case-", dir=folder.parent) as staging:
        ready = Path(staging) / folder.name
        ready.mkdir()
        _write_files(case, ready, with_scene)
        if folder.exists():
            folder.rmdir()
        ready.replace(folder)


def _write_files(case: PhantomCase, folder: Path, with_scene: bool) -> None:
    from CoWLandmarksLib.io.volume_io import write_volume  # optional

    anatomy = default_anatomy()
    write_volume(case.volume, folder / "image.nii.gz")
    write_volume(case.labels, folder / "arteries.nii.gz")
    write_annotation(folder / "landmarks.mrk.json", case.truth, anatomy)
    if with_scene:
        write_scene(case, folder / "scene.mrb")
    description = CaseDescription(
        case=case.name,
        patient=case.name,
        modality=case.volume.modality or Modality.MRA,
        image="image.nii.gz",
        landmarks="landmarks.mrk.json",
        vessel_mask="arteries.nii.gz",
        transform=np.linalg.inv(case.scene.pose),
        annotator="phantom",
        reviewed=True,
        phantom=case.record,
    )
    write_case_json(folder / CASE_FILE, description)


def write_scene(case: PhantomCase, path: Path) -> None:
    """Write the case as an annotated Slicer scene (.mrb)."""
    from CoWLandmarksLib.scene.nodes import ATTRIBUTE, add_detection, add_volume  # optional
    from CoWLandmarksLib.scene.scene_files import create_scene, save_scene  # optional

    scene = create_scene()
    node = add_volume(scene, case.volume)
    detection = Detection(
        scan=case.name,
        modality=case.volume.modality or Modality.MRA,
        verdict=None,
        reasons=(),
        landmarks=case.truth,
        ras_to_reference=np.linalg.inv(case.scene.pose),
        provenance={"program": "phantom", **{key: case.record[key] for key in ("seed", "index", "phantom_version")}},
    )
    nodes = add_detection(scene, node, detection, default_anatomy())
    attributes = {"case": case.name, "patient": case.name, "modality": detection.modality.value, "role": "case"}
    for key, value in (attributes | {"annotator": "phantom", "reviewed": "1"}).items():
        nodes.markups.SetAttribute(ATTRIBUTE + key, value)
    save_scene(scene, path)


@dataclass(frozen=True)
class CohortPlan:
    """How many cases of each kind; `validation` and `test` are numbers for each modality."""

    seed: int
    train: dict[Modality, int]
    validation: int = 0
    test: int = 0
    family: Family = Family.TRAINING
    pose: str = "clinical"
    enrichment: float = 1.0
    version: int = PHANTOM_VERSION
    anatomy: str = "development"

    def cases(self) -> Iterator[tuple[str, Modality, int]]:
        """(split, modality, index) of every case; the splits never share an index."""
        for modality in Modality:
            for index in range(self.train.get(modality, 0)):
                yield "train", modality, index
            for index in range(self.validation):
                yield "validation", modality, 100_000 + index
            for index in range(self.test):
                yield "test", modality, 200_000 + index


def write_cohort(
    plan: CohortPlan, folder: Path, *, with_scenes: bool = False, on_case: Callable[[str], None] | None = None
) -> int:
    """Write all cases of a plan as folder/<split>/<case>; returns their number. Raises OutputError."""
    count = 0
    for split, modality, index in plan.cases():
        case = make_case(
            plan.seed,
            index,
            modality,
            family=plan.family,
            pose=plan.pose,
            enrichment=plan.enrichment,
            version=plan.version,
            anatomy=plan.anatomy,
        )
        write_case(case, folder / split / case.name, with_scene=with_scenes)
        count += 1
        if on_case:
            on_case(case.name)
    if count == 0:
        raise OutputError("No case was asked for; give --mra, --cta, --validation or --test a number.")
    return count
