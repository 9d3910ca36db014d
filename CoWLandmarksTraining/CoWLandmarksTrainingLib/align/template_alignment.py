"""Alignment by templates, as in the paper: every scan is registered to the template of its modality by intensity.

The templates of MRA and CTA are two scans of one patient, if the cohort has such a patient, and are aligned with each
other by their vessels; otherwise both are laid onto the mean landmarks. Landmarks never steer a registration; they
tell afterwards whether it has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from CoWLandmarksLib.core.alignment import fit_similarity_robustly
from CoWLandmarksLib.core.anatomy import Anatomy
from CoWLandmarksLib.core.errors import AnnotationError, CoWLandmarksError
from CoWLandmarksLib.core.volume import Modality, apply_affine, axis_aligned_grid

from ..cohort.annotated_cases import AnnotatedScan, placed_landmarks
from ..cohort.parallel import in_processes
from ..cohort.reference_shape import reference_shape
from ..config.training_config import AlignConfig
from .case_alignment import CaseAlignment, CohortAligner, CohortAlignment, residual_mm
from .landmark_alignment import LandmarkAligner, fitted_by_landmarks
from .registration import register
from .scan_registration import RegistrationJob, network_volume, register_scan, upright_turn
from .template_choice import Candidates, chosen_template
from .vessel_masks import vessel_mask

_FIRST_LIMITS = 1.5
"""How much more a case may be off before the mean of the registered cases is known."""
_PAIR_LIMIT_MM = 6.0
"""Landmarks of one patient lie closer than this (mean) in both scans, or their alignment has failed."""


@dataclass(frozen=True)
class TemplateAligner:
    """Registration to templates; `out` is the aligned folder, where registrations are kept for another run."""

    config: AlignConfig
    out: Path

    @property
    def method(self) -> str:
        """Its name in `aligned.json`."""
        return "template"

    def align(
        self,
        scans: Sequence[AnnotatedScan],
        training: Sequence[bool],
        anatomy: Anatomy,
        on_case: Callable[[str], None] = lambda _: None,
    ) -> CohortAlignment:
        """Choose templates, align them with each other, register every scan, and find what has failed."""
        points = {scan.name: placed_landmarks(scan, anatomy) for scan in scans}
        shaping = [scan for scan, own in zip(scans, training, strict=True) if own]
        mean, origin = reference_shape([points[s.name] for s in shaping], [s.transform for s in shaping], anatomy)
        notes = [origin]
        templates = self._templates(shaping, anatomy, mean, notes, on_case)
        to_reference = self._between_templates(templates, points, mean, notes)
        transforms, failures = self._registered(scans, templates, to_reference, on_case)
        transforms = self._settled(scans, shaping, points, transforms, failures, mean)
        cases = self._judged(scans, points, transforms, failures, mean, _FIRST_LIMITS)
        mean = _mean_landmarks([points[s.name] for s in shaping], [cases[s.name] for s in shaping], mean)
        cases = self._judged(scans, points, transforms, failures, mean)
        registered = [scan for scan in scans if scan.image is not None]
        good = sum(cases[scan.name].accepted for scan in registered)
        notes.append(f"{good} of {len(registered)} scans were registered well.")
        if self.config.when_failed == "landmarks":
            cases = {name: self._rescued(points[name], case, mean) for name, case in cases.items()}
        alone = sum(scan.image is None and scan.transform is None for scan in scans)
        if alone:
            notes.append(f"{alone} cases with landmarks only carry no transform; they were aligned by their landmarks.")
        return CohortAlignment(cases, mean, mean.mean(axis=0), tuple(notes))

    def _templates(
        self,
        shaping: Sequence[AnnotatedScan],
        anatomy: Anatomy,
        mean: np.ndarray,
        notes: list[str],
        on_case: Callable[[str], None],
    ) -> dict[Modality, AnnotatedScan]:
        grid = axis_aligned_grid(mean.mean(axis=0), np.array(self.config.spacing_mm), self.config.shape)
        with_image = [scan for scan in shaping if scan.image is not None]
        if not with_image:
            raise AnnotationError("No case for training has an image; align the cohort by landmarks instead.")
        patients = [{scan.patient for scan in with_image if scan.modality is modality} for modality in Modality]
        both = patients[0] & patients[1]
        templates: dict[Modality, AnnotatedScan] = {}
        for modality, named in ((Modality.MRA, self.config.mra_template), (Modality.CTA, self.config.cta_template)):
            own = [scan for scan in with_image if scan.modality is modality]
            if not own:
                continue
            if not named and not templates and both and all(scan.role.value == "case" for scan in own):
                own = [scan for scan in own if scan.patient in both]
            partner = templates[Modality.MRA].patient if templates else None
            candidates = Candidates(own, anatomy, mean, grid, self.config.largest_residual_mm)
            templates[modality], sentence = chosen_template(
                candidates, named, modality, lambda pairs: self._tried(pairs, anatomy, mean, on_case), partner
            )
            notes.append(sentence)
        return templates

    def _tried(
        self,
        pairs: Sequence[tuple[AnnotatedScan, AnnotatedScan]],
        anatomy: Anatomy,
        mean: np.ndarray,
        on_case: Callable[[str], None],
    ) -> list[float]:
        """Residual (mm) of coarse registrations of pairs (template, scan); infinite where nothing was found."""
        ways = {
            template.name: fit_similarity_robustly(placed_landmarks(template, anatomy), mean).transform
            for template, _ in pairs
        }
        jobs = [self._job(scan, template, ways[template.name], trial=True) for template, scan in pairs]
        residuals = {}
        for job, result in in_processes(register_scan, jobs, self.config.processes):
            residual = float("inf")
            if result.scan_to_template is not None:
                way = ways[job.template.name] @ result.scan_to_template
                residual = residual_mm(placed_landmarks(job.scan, anatomy), way, mean)
            residuals[job.template.name, job.scan.name] = residual
            on_case(f"{job.scan.name} to {job.template.name} (trial)")
        return [residuals[template.name, scan.name] for template, scan in pairs]

    def _job(
        self, scan: AnnotatedScan, template: AnnotatedScan, to_reference: np.ndarray, trial: bool = False
    ) -> RegistrationJob:
        settings = (tuple(self.config.pitch_starts_deg), self.config.registration_spacing_mm)
        return RegistrationJob(scan, template, upright_turn(to_reference), *settings, self.out / scan.name, trial)

    def _between_templates(
        self,
        templates: Mapping[Modality, AnnotatedScan],
        points: Mapping[str, np.ndarray],
        mean: np.ndarray,
        notes: list[str],
    ) -> dict[Modality, np.ndarray]:
        """RAS of each template -> reference frame."""
        ways = {
            modality: fit_similarity_robustly(points[scan.name], mean).transform for modality, scan in templates.items()
        }
        if len(templates) < len(Modality):
            return ways
        mra, cta = templates[Modality.MRA], templates[Modality.CTA]
        by_landmarks = "MRA and CTA were aligned with each other by landmarks, not by the vessels of one patient"
        if mra.patient != cta.patient:
            notes.append(f"{by_landmarks}: the two templates are of different patients.")
            return ways
        try:
            pair = paired_by_vessels(mra, cta, points[mra.name], points[cta.name], self.config.pitch_starts_deg)
        except CoWLandmarksError as error:
            notes.append(f"{by_landmarks}: {error}")
            return ways
        apart = residual_mm(points[cta.name], pair, points[mra.name])
        if apart > _PAIR_LIMIT_MM:
            notes.append(f"{by_landmarks}: by the vessels, the landmarks of the two scans lie {apart:.1f} mm apart.")
            return ways
        notes.append(
            f"MRA and CTA were aligned by the vessels of patient '{mra.patient}'; "
            f"the landmarks of the two scans then lie {apart:.1f} mm apart."
        )
        return {Modality.MRA: ways[Modality.MRA], Modality.CTA: ways[Modality.MRA] @ pair}

    def _registered(
        self,
        scans: Sequence[AnnotatedScan],
        templates: Mapping[Modality, AnnotatedScan],
        to_reference: Mapping[Modality, np.ndarray],
        on_case: Callable[[str], None],
    ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        transforms = {templates[modality].name: matrix for modality, matrix in to_reference.items()}
        failures: dict[str, str] = {}
        jobs = []
        for scan in scans:
            if scan.name in transforms or scan.image is None:
                continue
            if scan.modality not in templates:
                failures[scan.name] = f"there is no {scan.modality.value.upper()} case for training to be its template."
                continue
            jobs.append(self._job(scan, templates[scan.modality], to_reference[scan.modality]))
        for job, result in in_processes(register_scan, jobs, self.config.processes):
            if result.scan_to_template is None:
                failures[job.scan.name] = result.failure
            else:
                transforms[job.scan.name] = to_reference[job.scan.modality] @ result.scan_to_template
            on_case(job.scan.name)
        return transforms, failures

    def _rescued(self, points: np.ndarray, case: CaseAlignment, mean: np.ndarray) -> CaseAlignment:
        """A case whose registration has failed, by its landmarks; as it was if they do not fit either."""
        fitted = fitted_by_landmarks(points, mean, self.config.largest_residual_mm)
        if case.accepted or not fitted.accepted:
            return case
        return replace(fitted, reason=f"{case.reason} It was aligned by its landmarks instead.")

    def _settled(
        self,
        scans: Sequence[AnnotatedScan],
        shaping: Sequence[AnnotatedScan],
        points: Mapping[str, np.ndarray],
        transforms: Mapping[str, np.ndarray],
        failures: Mapping[str, str],
        mean: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """The registered scans, moved together so that their mean landmarks rest on `mean`.

        The templates lie where their own landmarks fit best, and one person is not the mean of all.
        """
        cases = self._judged(scans, points, transforms, failures, mean, _FIRST_LIMITS)
        registered = [scan for scan in shaping if scan.image is not None]
        rest = _mean_landmarks([points[s.name] for s in registered], [cases[s.name] for s in registered], mean)
        together = fit_similarity_robustly(rest, mean).transform
        return {name: together @ matrix for name, matrix in transforms.items()}

    def _judged(
        self,
        scans: Sequence[AnnotatedScan],
        points: Mapping[str, np.ndarray],
        transforms: Mapping[str, np.ndarray],
        failures: Mapping[str, str],
        mean: np.ndarray,
        limits: float = 1.0,
    ) -> dict[str, CaseAlignment]:
        """Every case against the mean landmarks, by `limits` times the limit."""
        limit = limits * self.config.largest_residual_mm
        cases = {}
        for scan in scans:
            own = points[scan.name]
            if scan.name in failures:
                cases[scan.name] = CaseAlignment(np.eye(4), float("nan"), False, failures[scan.name])
            elif scan.image is None and scan.transform is None:
                cases[scan.name] = fitted_by_landmarks(own, mean, limit)
            else:
                transform = scan.transform if scan.image is None else transforms[scan.name]
                assert transform is not None
                cases[scan.name] = _judged_by_landmarks(own, transform, mean, limit)
        return cases


def _judged_by_landmarks(points: np.ndarray, transform: np.ndarray, mean: np.ndarray, limit: float) -> CaseAlignment:
    residual = residual_mm(points, transform, mean)
    if not np.isfinite(residual):
        return CaseAlignment(
            transform, residual, False, "it has no placed landmark, so that nobody can tell whether it is right."
        )
    if residual > limit:
        best = fitted_by_landmarks(points, mean, limit).residual_mm
        reason = (
            f"the registration has failed: its landmarks lie {residual:.1f} mm from their mean places (at most "
            f"{limit:g} mm), where a fit of the landmarks leaves {best:.1f} mm."
        )
        return CaseAlignment(transform, residual, False, reason)
    return CaseAlignment(transform, residual)


def _mean_landmarks(points: Sequence[np.ndarray], cases: Sequence[CaseAlignment], fallback: np.ndarray) -> np.ndarray:
    """Mean of the accepted cases; `fallback` where a landmark is placed in none of them."""
    laid = [apply_affine(case.ras_to_reference, own) for own, case in zip(points, cases, strict=True) if case.accepted]
    if not laid:
        raise AnnotationError(
            "Every registration has failed; choose other templates (mra_template, cta_template), or align by landmarks."
        )
    stacked = np.array(laid)
    known = np.isfinite(stacked).all(axis=2)
    total = np.where(known[:, :, None], stacked, 0.0).sum(axis=0)
    count = known.sum(axis=0)[:, None]
    mean: np.ndarray = np.where(count > 0, total / np.maximum(count, 1), fallback)
    return mean


def paired_by_vessels(
    mra: AnnotatedScan, cta: AnnotatedScan, mra_points: np.ndarray, cta_points: np.ndarray, pitches: Sequence[float]
) -> np.ndarray:
    """(4, 4) RAS of the CTA -> RAS of the MRA of one patient, rigid, by their vessel masks; raises VolumeError."""
    masks = [vessel_mask(scan, network_volume(scan), points) for scan, points in ((mra, mra_points), (cta, cta_points))]
    found = register(masks[0], masks[1], pitch_starts_deg=pitches, finest_mm=1.5, affine=False, masks=True)
    return found.moving_to_fixed


def aligner_of(config: AlignConfig, out: Path) -> CohortAligner:
    """The aligner that `config.by` names; `out` is the aligned folder, where registrations are kept."""
    if config.by == "landmarks":
        return LandmarkAligner(config.largest_residual_mm)
    return TemplateAligner(config, out)
