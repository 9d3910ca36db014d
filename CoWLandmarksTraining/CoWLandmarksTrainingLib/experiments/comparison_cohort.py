"""The cohort of the comparison: phantoms as the paper's two populations, laid as after a registration to a template.

MRA of young people with few variants stand for the UNC set, landmark sets of patients for the stroke CTA. Written as an
aligned folder, once for a scale; every row learns from it and is tested on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from CoWLandmarksLib.core.alignment import fit_similarity
from CoWLandmarksLib.core.anatomy import default_anatomy
from CoWLandmarksLib.core.atomic_files import atomic_path, plain
from CoWLandmarksLib.core.errors import AnnotationError, ConfigurationError
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES
from CoWLandmarksLib.core.volume import Modality, apply_affine
from CoWLandmarksLib.networks.resampling import resample

from ..figures.case_figure import DrawnVessel
from ..phantom.appearance import Family, Masking
from ..phantom.atlas import default_atlas
from ..phantom.families import sample_appearance
from ..phantom.geometry import sample_phantom
from ..phantom.head import sample_head
from ..phantom.pose import pose_matrix
from ..phantom.render import Scene, render
from ..phantom.training_cases import landmark_status
from ..phantom.variants import VariantRates
from ..phantom.vessel import Phantom, VesselKind
from ..records.aligned_folder import ALIGNED_FILE, CROP_FILE, INSIDE, UNKNOWN, AlignedCase, AlignedCohort, AlignedFrame
from ..records.input_files import InputFile, sha256_of
from .comparison_scale import ComparisonScale

UNLABELLED = "unlabelled"
"""Kind of scans without annotation; in an aligned folder they are training cases of which no landmark is known."""
_PITCH_DEG, _TURN_DEG, _SHIFT_MM, _SCALE = 5.0, 3.0, 3.0, 0.04
"""SD of the errors of a registration to a template."""
_STREAMS = {"train": 0, "validation": 1, "test": 2, UNLABELLED: 3, "sets": 4}
_STREAM_LENGTH = 2**20
_THIN_MM = 0.6
"""Radius of branches that are left out of pictures."""
_SOURCE = "resampled_from"
"""In the provenance of a cohort at a scale: which one it was made from."""


@dataclass(frozen=True)
class CohortSpecification:
    """What a cohort consists of; the same numbers give the same cohort on the CPU.

    Scans of `image_modality` are of `image_population`, with variants `image_enrichment` times as likely; landmark sets
    without scan are of the other modality, drawn from `sets_population` with variants at their rates.
    """

    name: str
    seed: int
    image_modality: Modality
    image_population: str
    image_enrichment: float
    sets_population: str
    train: int = 70
    validation: int = 16
    test: int = 64
    unlabelled: int = 100
    sets: int = 400
    version: int = 4

    @property
    def sets_modality(self) -> Modality:
        """The other one."""
        return Modality.CTA if self.image_modality is Modality.MRA else Modality.MRA


FORWARD = CohortSpecification("forward", 205001, Modality.MRA, "young", 0.3, "patients")
"""The paper's: MRA with annotation, landmark sets of CTA."""
REVERSE = CohortSpecification("reverse", 205002, Modality.CTA, "patients", 1.0, "young", unlabelled=0)
"""The other way round."""
SPECIFICATIONS = (FORWARD, REVERSE)


def write_comparison_cohort(
    specification: CohortSpecification,
    scale: ComparisonScale,
    folder: Path,
    on_case: Callable[[str], None] = lambda name: None,
) -> AlignedCohort:
    """Write the cohort into a folder, or go on with it; crops that are there are kept. Raises OutputError.

    The coarse and the circle stage cannot be trained on it: it has neither whole scans nor surroundings.
    """
    mean = default_atlas().shape_models["patients"].mean
    frame = AlignedFrame(scale.grid(), mean, "landmarks", ("Phantoms, laid with the errors of a registration.",))
    cases = []
    for kind, index in _planned(specification):
        cases.append(_case(specification, scale, folder, kind, index))
        on_case(cases[-1].name)
    cohort = AlignedCohort(
        default_anatomy(),
        frame,
        DEFAULT_INTENSITY_RULES,
        tuple(cases),
        folder,
        _provenance(specification, scale),
    )
    cohort.write(folder)
    return cohort


def _provenance(specification: CohortSpecification, scale: ComparisonScale) -> dict[str, Any]:
    """As it is read again from the file."""
    content: dict[str, Any] = plain(
        {"comparison": {**asdict(specification), "image_modality": specification.image_modality.value}}
    )
    return {**content, "scale": scale.name}


def _planned(specification: CohortSpecification) -> Iterator[tuple[str, int]]:
    for kind in _STREAMS:
        for index in range(getattr(specification, kind)):
            yield kind, index


def _case(
    specification: CohortSpecification, scale: ComparisonScale, folder: Path, kind: str, index: int
) -> AlignedCase:
    imaged = kind != "sets"
    modality = specification.image_modality if imaged else specification.sets_modality
    phantom, pose, rng = _drawn(specification, kind, index)
    landmarks = apply_affine(pose, phantom.landmarks)
    status = landmark_status(landmarks, scale.grid())
    name = f"{kind}-{modality.value}-{index:04d}"
    if imaged:
        _write_crop(specification, scale, folder / name, phantom, pose, rng)
    if kind == UNLABELLED:
        status = np.full_like(status, UNKNOWN)
    placed = np.where((status == INSIDE)[:, None], landmarks, np.nan)
    mean = default_atlas().shape_models["patients"].mean
    residual = float(np.nanmean(np.linalg.norm(landmarks - mean, axis=1)))
    return AlignedCase(
        name=name,
        patient=name,
        modality=modality,
        split=kind if kind in ("validation", "test") else "train",
        landmarks=placed,
        status=status,
        ras_to_reference=np.eye(4),
        residual_mm=residual,
        folder=folder / name if imaged else None,
    )


def _drawn(
    specification: CohortSpecification, kind: str, index: int
) -> tuple[Phantom, np.ndarray, np.random.Generator]:
    """The head of a case, its pose (4, 4) in the reference frame, and the generator for what else is drawn."""
    rng = np.random.Generator(np.random.Philox(key=[specification.seed, _STREAMS[kind] * _STREAM_LENGTH + index]))
    imaged = kind != "sets"
    population = specification.image_population if imaged else specification.sets_population
    rates = VariantRates()
    if imaged and specification.image_enrichment != 1.0:
        rates = rates.enriched(specification.image_enrichment)
    phantom = sample_phantom(rng, rates=rates, population=population, version=specification.version)
    return phantom, registered_pose(phantom, rng), rng


def arteries_of_case(specification: CohortSpecification, name: str) -> tuple[np.ndarray, tuple[DrawnVessel, ...]]:
    """Landmarks (n, 3) and arteries of a case of the cohort by its name, in RAS mm of the reference frame.

    Drawn again, because scans are kept without their heads. Veins and thin branches are left out.
    """
    kind, _, index = name.rsplit("-", 2)
    phantom, pose, _ = _drawn(specification, kind, int(index))
    size = float(np.cbrt(np.linalg.det(pose[:3, :3])))
    tubes = tuple(
        DrawnVessel(apply_affine(pose, vessel.points), size * vessel.radii)
        for vessel in phantom.vessels
        if vessel.kind is VesselKind.ARTERY or (vessel.kind is VesselKind.BRANCH and np.median(vessel.radii) > _THIN_MM)
    )
    return apply_affine(pose, phantom.landmarks), tubes


def registered_pose(phantom: Phantom, rng: np.random.Generator) -> np.ndarray:
    """(4, 4) from the head's frame to the reference frame, with the errors of a registration to a template."""
    mean = default_atlas().shape_models["patients"].mean
    known = np.isfinite(phantom.landmarks).all(axis=1)
    fitted = fit_similarity(phantom.landmarks[known], mean[known])
    pitch, roll, yaw = rng.normal(0.0, (_PITCH_DEG, _TURN_DEG, _TURN_DEG))
    size = float(np.exp(rng.normal(0.0, _SCALE)))
    error = pose_matrix(float(pitch), float(roll), float(yaw), size, rng.normal(0.0, _SHIFT_MM, 3))
    return np.asarray(error @ fitted)


def _write_crop(
    specification: CohortSpecification,
    scale: ComparisonScale,
    folder: Path,
    phantom: Phantom,
    pose: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Render the scan with the paper's voxels and write its crop; all scans are as the scanner made them."""
    modality = specification.image_modality
    head = sample_head(rng)
    appearance = replace(sample_appearance(rng, modality, Family.TRAINING, specification.version), masking=Masking.NONE)
    path = folder / CROP_FILE
    if path.exists():
        return
    grid, rule = scale.fine_grid(), DEFAULT_INTENSITY_RULES[modality]
    image = render(Scene(phantom, head, appearance, pose), grid, torch.device("cpu")).image
    in_network_units = rule.apply(image, rule.scale(image.numpy(), float(np.prod(grid.spacing))))
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        np.save(temporary, scale.pool(in_network_units))


def cohort_at_scale(
    aligned: Path,
    scale: ComparisonScale,
    folder: Path,
    chosen: Callable[[AlignedCohort], AlignedCohort] = lambda cohort: cohort,
) -> AlignedCohort:
    """A cohort that `cowlandmarks-train align` has made, as an aligned folder at a scale; `chosen` may leave out cases.

    What is in `folder` already is used again. Raises AnnotationError where a folder cannot be read or `aligned` has
    changed since, ConfigurationError where its crops are of other voxels.
    """
    cohort = chosen(AlignedCohort.read(aligned))
    source = {"sha256": sha256_of(aligned / ALIGNED_FILE), "scale": scale.name}
    if (folder / ALIGNED_FILE).exists():
        return _resampled_before(cohort, source, aligned, folder)
    finest = scale.fine_grid(cohort.frame.grid.centre)
    if not np.allclose(cohort.frame.grid.spacing, finest.spacing):
        raise ConfigurationError(
            f"The crops of '{aligned}' do not have voxels of 0.513 x 0.513 x 0.8 mm; align with the default spacing."
        )
    frame = replace(cohort.frame, grid=scale.grid(cohort.frame.grid.centre))
    cases = []
    for case in cohort.cases():
        own: Path | None = None
        inputs: tuple[InputFile, ...] = ()
        if case.folder is not None:
            own, inputs = folder / case.folder.name, (InputFile.of(case.folder / CROP_FILE, folder),)
            crop = torch.from_numpy(np.array(case.crop(), np.float32))
            own.mkdir(parents=True, exist_ok=True)
            with atomic_path(own / CROP_FILE) as temporary:
                np.save(temporary, scale.pool(resample(crop, cohort.frame.grid, finest, padding=0.0)))
        cases.append(replace(case, folder=own, inputs=inputs))
    provenance = {**cohort.provenance, _SOURCE: source}
    result = replace(cohort, frame=frame, all_cases=tuple(cases), folder=folder, provenance=provenance)
    result.write(folder)
    return result


def _resampled_before(cohort: AlignedCohort, source: dict[str, str], aligned: Path, folder: Path) -> AlignedCohort:
    """What `cohort_at_scale` has made of the same cohort; raises AnnotationError where it was another one."""
    before = AlignedCohort.read(folder, check_inputs=False)
    same_cases = [case.name for case in before.all_cases] == [case.name for case in cohort.cases()]
    changed = any(file.has_changed(folder) for case in before.all_cases for file in case.inputs)
    if before.provenance.get(_SOURCE) != source or not same_cases or changed:
        raise AnnotationError(
            f"'{folder}' was made from another cohort than '{aligned}' is now, or at another scale; choose another "
            "--out, or delete that folder and the results beside it."
        )
    return before


def read_or_write(
    specification: CohortSpecification,
    scale: ComparisonScale,
    folder: Path,
    on_case: Callable[[str], None] = lambda name: None,
) -> AlignedCohort:
    """The cohort in a folder, written first where it is not there; raises AnnotationError where it is another one."""
    if not (folder / ALIGNED_FILE).exists():
        return write_comparison_cohort(specification, scale, folder, on_case)
    cohort = AlignedCohort.read(folder)
    if dict(cohort.provenance) != _provenance(specification, scale):
        raise AnnotationError(f"'{folder}' holds another cohort than the comparison's; choose another --out.")
    return cohort
