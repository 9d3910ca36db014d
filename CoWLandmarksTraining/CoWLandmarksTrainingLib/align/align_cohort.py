"""`cowlandmarks-train align`: a cohort of annotated scans becomes a folder of crops in one frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from CoWLandmarksLib import PROGRAM
from CoWLandmarksLib.core.errors import AnnotationError
from CoWLandmarksLib.core.intensity import DEFAULT_INTENSITY_RULES, IntensityRule
from CoWLandmarksLib.core.volume import EDGE_MM, Modality, apply_affine, axis_aligned_grid

from ..cohort.annotated_cases import AnnotatedScan, Cohort, placed_landmarks
from ..cohort.parallel import in_processes
from ..cohort.splits import Splits
from ..config.training_config import AlignConfig
from ..records.aligned_folder import INSIDE, UNKNOWN, AlignedCase, AlignedCohort, AlignedFrame
from ..records.input_files import InputFile
from ..records.rejection import rejected_names
from .case_alignment import CaseAlignment, CohortAligner, CohortAlignment
from .crops import CropJob, MadeCrop, make_crop

OnCase = Callable[[str, str], None]
"""Called with (stage, name of the case) as cases get done."""


@dataclass(frozen=True)
class AlignPlan:
    """What to align, how, and where to."""

    cohort: Cohort
    splits: Splits
    aligner: CohortAligner
    config: AlignConfig
    out: Path


def align_cohort(plan: AlignPlan, on_case: OnCase = lambda *_: None) -> AlignedCohort:
    """Align all usable cases, write their arrays in parallel and `aligned.json` at the end.

    Arrays made before from the same input are kept. Raises AnnotationError when nothing can be aligned, OutputError
    when the folder cannot be written.
    """
    scans, anatomy = plan.cohort.usable(), plan.cohort.anatomy
    if not scans:
        raise AnnotationError("No case of the cohort can be used; run cowlandmarks-train check to see why.")
    splits = [plan.splits.of(scan) or "train" for scan in scans]
    if "train" not in splits:
        raise AnnotationError("No case of the cohort is for training; draw other splits.")
    training = [split == "train" for split in splits]
    aligned = plan.aligner.align(scans, training, anatomy, lambda name: on_case("align", name))
    grid = axis_aligned_grid(aligned.centre_mm, np.array(plan.config.spacing_mm), plan.config.shape)
    frame = AlignedFrame(grid, aligned.mean_landmarks, plan.aligner.method, aligned.notes)
    made = _crops(plan, scans, aligned, frame, DEFAULT_INTENSITY_RULES, on_case)
    cases = tuple(
        _case(plan, scan, split, aligned.cases[scan.name], made.get(scan.name))
        for scan, split in zip(scans, splits, strict=True)
    )
    cohort = AlignedCohort(
        anatomy,
        frame,
        DEFAULT_INTENSITY_RULES,
        cases,
        plan.out,
        _provenance(plan),
    )
    cohort.write(plan.out)
    return cohort.without(rejected_names(plan.out))


def _crops(
    plan: AlignPlan,
    scans: Sequence[AnnotatedScan],
    aligned: CohortAlignment,
    frame: AlignedFrame,
    rules: Mapping[Modality, IntensityRule],
    on_case: OnCase,
) -> dict[str, MadeCrop]:
    jobs = [
        CropJob(
            scan,
            placed_landmarks(scan, plan.cohort.anatomy),
            aligned.cases[scan.name].ras_to_reference,
            frame.grid,
            frame.region,
            rules[scan.modality],
            plan.out / scan.name,
            plan.out,
        )
        for scan in scans
        if scan.image is not None and aligned.cases[scan.name].accepted
    ]
    made = {}
    for job, result in in_processes(make_crop, jobs, plan.config.processes):
        made[job.scan.name] = result
        on_case("crop", job.scan.name)
    return made


def _case(
    plan: AlignPlan, scan: AnnotatedScan, split: str, alignment: CaseAlignment, made: MadeCrop | None
) -> AlignedCase:
    anatomy = plan.cohort.anatomy
    status = scan.status(anatomy)
    accepted, reason = alignment.accepted, alignment.reason
    if made is None:
        inputs = tuple(InputFile.of(file, plan.out) for file in scan.files)
    elif made.failure:
        inputs, accepted, reason = (), False, made.failure
    else:
        inputs = made.inputs
        status = np.where((status == INSIDE) & ~(made.depth_mm >= EDGE_MM), UNKNOWN, status).astype(np.int8)
        if made.overlap < plan.config.smallest_overlap:
            accepted = False
            reason = (
                f"only {100 * made.overlap:.0f} % of the crop lie inside the scan (at least "
                f"{100 * plan.config.smallest_overlap:.0f} % are needed, smallest_overlap)."
            )
    landmarks = apply_affine(alignment.ras_to_reference, placed_landmarks(scan, anatomy))
    with_arrays = made is not None and not made.failure
    return AlignedCase(
        name=scan.name,
        patient=scan.patient,
        modality=scan.modality,
        split=split,
        landmarks=np.where((status == INSIDE)[:, None], landmarks, np.nan),
        status=status,
        ras_to_reference=alignment.ras_to_reference,
        residual_mm=alignment.residual_mm,
        accepted=accepted,
        reason=reason,
        folder=plan.out / scan.name if with_arrays else None,
        coarse_grid=made.coarse_grid if made is not None else None,
        inputs=inputs,
    )


def _provenance(plan: AlignPlan) -> dict[str, Any]:
    return {"program": PROGRAM, "splits_seed": plan.splits.seed, "test_seal": plan.splits.seal}
