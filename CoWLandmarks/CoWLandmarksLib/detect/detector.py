"""Volume + Model -> Detection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

import numpy as np
import torch

from .. import PROGRAM
from ..core.alignment import ShapePosterior, SimilarityFit, fit_similarity_robustly
from ..core.calibration import Calibration
from ..core.circle_variant import summary_line
from ..core.detection import Detection, LandmarkEstimate, LandmarkState
from ..core.errors import is_out_of_memory
from ..core.intensity import hounsfield_offset, recognise_modality
from ..core.volume import Modality, Volume, apply_affine
from ..networks.generator import HeatmapReader, MirroredPair, SingleReading
from ..networks.global_to_local import GlobalToLocalConfig
from ..networks.network_image import NetworkImage
from .circle import read_circle
from .coarse import RoughLandmarks, localise, read_aligned
from .devices import GPU_FULL, choose_device
from .fine import DECODING_SLACK_MM, FineLandmarks, refine
from .hint import checked_hint
from .modality_trial import SEEN_AT_ONCE, decided, other_modality
from .model import Model, NetworkPart
from .orientation import stored_along_ras
from .states import LandmarkReadings, beyond_scan, estimates_of, sought, unseen
from .verdict import circle_reading, gather_evidence, verdict_of

Decoding = Literal["argmax", "subvoxel"]
ProgressCallback = Callable[[str, float, str], None]
REFINEMENT_PASSES = 2
COARSE_TURNS = 1
CIRCLE_READINGS = 1
CIRCLE_SURE, CIRCLE_SLACK_MM = 0.8, 2.5
"""From this confidence on the fine step looks where the circle network saw a landmark, and this near it."""
_TURNED_AT_LEAST = 0.9
HINT_REACH_MM = 15.0


class DetectionStage(str, Enum):
    """The steps a person waits for."""

    PREPARE = "prepare"
    LOCALISE = "localise"
    REFINE = "refine"
    JUDGE = "judge"


@dataclass(frozen=True)
class Alignment:
    """Where the circle lies: `fit` (scan RAS -> reference frame), the rough landmarks and the prior they give.

    `circle` are the landmarks of the circle network where the model has one; then fit and prior are theirs, and a
    landmark that it is sure of is expected where it lies. `slack_mm` (n,): how far from there it may well be.
    """

    fit: SimilarityFit
    coarse: RoughLandmarks
    coarse_confidence: np.ndarray
    prior: ShapePosterior
    circle: RoughLandmarks | None = None
    slack_mm: float | np.ndarray = DECODING_SLACK_MM


@dataclass(frozen=True)
class Measurement:
    """What the networks say of a scan before it is judged: alignment, fine landmarks, prepared volume."""

    volume: Volume
    modality: Modality
    alignment: Alignment
    fine: FineLandmarks
    warnings: tuple[str, ...]

    def positions(self, decoding: Decoding) -> np.ndarray:
        """(n, 3) RAS mm of the scan; where nothing was read, the place that the shape model expects."""
        chosen = self.fine.positions if decoding == "subvoxel" else self.fine.argmax_positions
        back = np.linalg.inv(self.alignment.fit.transform)
        return apply_affine(back, np.where(np.isfinite(chosen), chosen, self.alignment.prior.mean))

    def expected_positions(self) -> np.ndarray:
        """(n, 3) RAS mm where the coarse step and the shape model expect the landmarks."""
        return apply_affine(np.linalg.inv(self.alignment.fit.transform), self.alignment.prior.mean)


class Detector:
    """Finds the landmarks of scans with one model; keeps the networks loaded between scans."""

    def __init__(
        self,
        model: Model,
        device: str = "auto",
        decoding: Decoding = "subvoxel",
        passes: int = REFINEMENT_PASSES,
        mirror: bool = True,
        turns: int = COARSE_TURNS,
        circle_readings: int = CIRCLE_READINGS,
    ) -> None:
        """`passes` over a fine network that gets expected positions (another needs one); `mirror`: also read the mirror
        image and average (twice the time), where the model allows it; `turns`: how often the coarse network reads
        again with the head turned upright by what it found before; `circle_readings` of the circle network, where the
        model has one, each aligned by the one before."""
        self.turns = turns
        self.circle_readings = circle_readings
        self.model = model
        self.passes = max(1, passes) if model.reads_priors and "circle" not in dict(model.stages) else 1
        self.mirror = mirror
        self.decoding = decoding
        self._warnings: tuple[str, ...] = ()
        wanted, full = choose_device(device), False
        try:
            self._load_networks(wanted)
        except RuntimeError as error:
            full = wanted.type != "cpu" and is_out_of_memory(error)
            if not full:
                raise
        if full:
            self._leave_gpu()

    def detect(
        self,
        volume: Volume,
        *,
        modality: Modality | None = None,
        hint: Mapping[str, np.ndarray] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Detection:
        """All landmarks of a scan.

        `modality` overrides what the volume says; `hint` maps landmark codes to (3,) RAS mm placed by a
        person, which replace the coarse step where they are given (three or more: the alignment too).
        The scan is one that `validated` has checked, as `read_scan` does. Raises ConfigurationError for an unusable
        hint.
        """
        report = progress or (lambda stage, fraction, message: None)
        measurement = self.measure(volume, modality=modality, hint=hint, progress=report)
        report(DetectionStage.JUDGE.value, 0.95, "judging the result")
        detection = self.judge(measurement, hint or {})
        report(DetectionStage.JUDGE.value, 1.0, summary_line(detection.landmarks))
        return detection

    def measure(
        self,
        volume: Volume,
        *,
        modality: Modality | None = None,
        hint: Mapping[str, np.ndarray] | None = None,
        progress: ProgressCallback | None = None,
    ) -> Measurement:
        """Run the networks; arguments and errors as in `detect`. A full graphics card is left for the CPU, for good."""
        try:
            measurement = self._measure(volume, modality, hint, progress)
        except RuntimeError as error:
            if self.device.type == "cpu" or not is_out_of_memory(error):
                raise
            measurement = None
        if measurement is None:
            self._leave_gpu()
            measurement = self._measure(volume, modality, hint, progress)
        return replace(measurement, warnings=(*measurement.warnings, *self._warnings))

    def _leave_gpu(self) -> None:
        """Go on with the CPU; call it outside the handler, whose traceback holds the tensors on the GPU."""
        self._warnings = (GPU_FULL,)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._load_networks(torch.device("cpu"))

    def _load_networks(self, device: torch.device) -> None:
        self.device = device
        permutation = self.model.anatomy.mirror_permutation
        networks = {name: part.build(device) for name, part in self.model.stages}
        self._search: HeatmapReader = SingleReading(networks["coarse"], quick=True)
        self._readers: dict[str, HeatmapReader] = {}
        for name, network in networks.items():
            last = name == "fine"
            points = isinstance(self.model.fine.config, GlobalToLocalConfig)  # there are no heatmaps to average
            if self.mirror and ((self.model.read_mirrored and not points) or not last):
                with_priors = last and self.model.reads_priors
                self._readers[name] = MirroredPair(network, permutation, with_priors=with_priors)
            else:
                self._readers[name] = SingleReading(network)

    def _measure(
        self,
        volume: Volume,
        modality: Modality | None,
        hint: Mapping[str, np.ndarray] | None,
        progress: ProgressCallback | None,
    ) -> Measurement:
        report = progress or (lambda stage, fraction, message: None)
        report(DetectionStage.PREPARE.value, 0.0, "checking the scan")
        volume = stored_along_ras(volume)
        report(DetectionStage.LOCALISE.value, 0.15, "looking for the circle of Willis")
        kind, image, alignment, warnings = self._located(volume, modality, hint)
        for name, part in self.model.stages[1:-1]:
            report(DetectionStage.LOCALISE.value, 0.4, f"reading the whole {name}")
            alignment = self._align_by_circle(self._readers[name], part, image, alignment, hint)
        report(DetectionStage.REFINE.value, 0.5, "placing the landmarks")
        to_reference = alignment.fit.transform
        expected = apply_affine(np.linalg.inv(to_reference), alignment.prior.mean)
        wanted = sought(volume.grid.depth_mm(expected))
        prior = alignment.prior
        for _ in range(self.passes - 1):
            prior = self._updated_prior(refine(self._readers["fine"], self.model, image, to_reference, prior, wanted))
            report(DetectionStage.REFINE.value, 0.65, "looking again with what was learned")
        fine = refine(self._readers["fine"], self.model, image, to_reference, prior, wanted, alignment.slack_mm)
        return Measurement(volume, kind, alignment, fine, warnings)

    def _located(
        self, volume: Volume, modality: Modality | None, hint: Mapping[str, np.ndarray] | None
    ) -> tuple[Modality, NetworkImage, Alignment, tuple[str, ...]]:
        """Modality, the scan in network units, where the circle lies in it and what there is to say about these."""
        stated = modality or volume.modality
        kind, certain = (stated, True) if stated is not None else recognise_modality(volume.voxels)
        image = self._image(volume, kind)
        alignment, warnings = self._align(image, hint), list(volume.warnings)
        if not certain:
            kind, image, alignment, sentence = self._tried(volume, kind, image, alignment, hint)
            warnings.append(sentence)
        if image.offset and kind is Modality.CTA:
            shift = f"{image.offset:g} was subtracted to get Hounsfield units."
            warnings.append(f"Air lies near 0 in this CT scan; {shift}")
        return kind, image, alignment, tuple(warnings)

    def _image(self, volume: Volume, kind: Modality) -> NetworkImage:
        """The scan in network units, taken for an image of this kind."""
        offset = hounsfield_offset(volume.voxels) if kind is Modality.CTA else 0.0
        rule = self.model.intensity[kind]
        scale = rule.scale(volume.voxels, float(np.prod(volume.grid.spacing)))
        return NetworkImage(volume.voxels, volume.grid, self.device, rule, scale, offset)

    def _tried(
        self,
        volume: Volume,
        guess: Modality,
        image: NetworkImage,
        alignment: Alignment,
        hint: Mapping[str, np.ndarray] | None,
    ) -> tuple[Modality, NetworkImage, Alignment, str]:
        """Read the scan as the other modality too; the modality, image and alignment of the better reading, and why.

        Where the first reading saw the circle, the other looks for it there, and everywhere only if it sees it better.
        """
        other = other_modality(guess)
        images = {guess: image, other: self._image(volume, other)}
        height = alignment.coarse.peaks.mean()
        there = self._read_aligned(images[other], alignment.fit)
        if height < SEEN_AT_ONCE or there.peaks.mean() > height:
            second = self._align(images[other], hint)
        else:
            second = self._fitted(there, checked_hint(hint, image.grid, self.model.shape, self.model.anatomy))
        alignments = {guess: alignment, other: second}
        decision = decided(volume, {each: alignments[each].coarse for each in alignments})
        return decision.modality, images[decision.reading], alignments[decision.reading], decision.sentence

    def _read_aligned(self, image: NetworkImage, fit: SimilarityFit) -> RoughLandmarks:
        """What the coarse network sees where the circle was found, with the head turned upright."""
        model = self.model
        return read_aligned(
            self._readers["coarse"], image, fit.transform, model.shape.mean.mean(axis=0), model.coarse.sigma_mm
        )

    def _align(self, image: NetworkImage, hint: Mapping[str, np.ndarray] | None) -> Alignment:
        """Rough landmarks, robust similarity fit to the mean shape, expected places of all landmarks."""
        placed = checked_hint(hint, image.grid, self.model.shape, self.model.anatomy)
        coarse = localise(self._search, self._readers["coarse"], image, self.model.coarse.sigma_mm)
        alignment = self._fitted(coarse, placed)
        for _ in range(self.turns):
            turned = self._read_aligned(image, alignment.fit)
            if not placed and turned.peaks.sum() < _TURNED_AT_LEAST * coarse.peaks.sum():
                break
            coarse = turned
            alignment = self._fitted(coarse, placed)
        return alignment

    def _align_by_circle(
        self,
        read: HeatmapReader,
        part: NetworkPart,
        image: NetworkImage,
        coarse: Alignment,
        hint: Mapping[str, np.ndarray] | None,
    ) -> Alignment:
        """Alignment and expected places by what the circle network reads with the scan aligned as in `coarse`."""
        placed = checked_hint(hint, image.grid, self.model.shape, self.model.anatomy)
        alignment = coarse
        for _ in range(self.circle_readings):
            circle = read_circle(read, image, alignment.fit.transform, np.array(self.model.grid.centre), part.sigma_mm)
            fitted, prior, confidence = self._fit(circle, placed, part.calibration)
            sure = confidence >= CIRCLE_SURE
            sure[list(placed)] = False  # the prior holds what a person placed
            mean = np.where(sure[:, None], apply_affine(fitted.transform, circle.positions), prior.mean)
            slack = np.where(sure, CIRCLE_SLACK_MM, DECODING_SLACK_MM)
            alignment = replace(coarse, fit=fitted, prior=replace(prior, mean=mean), circle=circle, slack_mm=slack)
        return alignment

    def _fitted(self, coarse: RoughLandmarks, placed: Mapping[int, np.ndarray]) -> Alignment:
        """Alignment by the landmarks of the coarse network; `placed` as in `_fit`."""
        fit, prior, confidence = self._fit(coarse, placed, self.model.coarse.calibration)
        return Alignment(fit, coarse, confidence, prior)

    def _fit(
        self, found: RoughLandmarks, placed: Mapping[int, np.ndarray], table: Calibration
    ) -> tuple[SimilarityFit, ShapePosterior, np.ndarray]:
        """Similarity fit, expected places and confidences (n,) by rough landmarks and their calibration.

        Those with the indices `placed` were put by a person (RAS mm).
        """
        model = self.model
        confidence = table.confidence_of(found.peaks)
        error = table.expected_error_mm(found.peaks)
        positions = found.positions.copy()
        for index, point in placed.items():
            positions[index], confidence[index], error[index] = point, 1.0, 0.5
        if placed:
            source = np.where(np.isin(np.arange(len(positions)), list(placed))[:, None], positions, np.nan)
            rough = fit_similarity_robustly(source, model.shape.mean)
            off = np.linalg.norm(apply_affine(rough.transform, positions) - model.shape.mean, axis=1)
            positions[off > HINT_REACH_MM] = np.nan  # what the coarse network found elsewhere
        weights = np.maximum(confidence, 1e-3)
        fit = fit_similarity_robustly(positions, model.shape.mean, weights)
        observed = apply_affine(fit.transform, positions)
        noise = np.maximum(error, 0.5) / np.sqrt(3.0)
        prior = model.shape.posterior(np.where(confidence[:, None] > 0.02, observed, np.nan), noise)
        return fit, prior, confidence

    def _circle_confidence(self, alignment: Alignment) -> np.ndarray | None:
        """(n,) how sure the circle network was of each landmark; None where the model has none."""
        if self.model.circle is None or alignment.circle is None:
            return None
        return self.model.circle.calibration.confidence_of(alignment.circle.peaks)

    def _updated_prior(self, fine: FineLandmarks) -> ShapePosterior:
        """Where the landmarks are expected after a pass: sure ones pull the doubtful ones to where they fit."""
        error = self.model.fine.calibration.expected_error_mm(fine.peaks)
        return self.model.shape.posterior(fine.positions, np.maximum(error, 0.5) / np.sqrt(3.0))

    def judge(self, measurement: Measurement, hint: Mapping[str, np.ndarray]) -> Detection:
        """States, confidences and the verdict."""
        model, fine, volume = self.model, measurement.fine, measurement.volume
        alignment = measurement.alignment
        in_scan = measurement.positions(self.decoding)
        table, circle = model.fine.calibration, alignment.circle
        confidence, error = table.confidence_of(fine.peaks), table.expected_error_mm(fine.peaks)
        circle_confidence = self._circle_confidence(alignment)
        readings = LandmarkReadings(
            in_scan,
            volume.grid.depth_mm(in_scan),
            volume.grid.depth_mm(measurement.expected_positions()),
            confidence,
            error,
            unseen(
                fine.peaks,
                table,
                None if circle is None else circle.peaks,
                None if model.circle is None else model.circle.calibration,
                np.array([code in hint for code in model.anatomy.codes]),
            ),
            circle_confidence,
        )
        coarse_confidence = None if hint else alignment.coarse_confidence
        by_circle = None
        if circle is not None and circle_confidence is not None:
            inside = ~beyond_scan(readings)
            coarse = np.ones(len(inside)) if coarse_confidence is None else coarse_confidence
            places = (alignment.coarse.positions, circle.positions, in_scan)
            by_circle = circle_reading((coarse, circle_confidence), places, inside)
        recognised = by_circle is None or by_circle.recognition >= model.least_recognition
        estimates = estimates_of(model.anatomy.codes, readings, table.uncertain_below, recognised=recognised)
        not_seen = readings.not_seen & recognised
        placed = np.array([estimate.position is not None for estimate in estimates]) & ~not_seen
        reference = apply_affine(alignment.fit.transform, in_scan)
        evidence = gather_evidence(
            np.where(placed[:, None], reference, np.nan),
            confidence,
            error,
            alignment.fit.transform,
            model.shape,
            table.uncertain_below,
            coarse_confidence,
            model.least_recognition,
            by_circle,
        )
        verdict, reasons = verdict_of(replace(evidence, sides=volume.sides), estimates)
        provenance = {
            "program": PROGRAM,
            "model": model.name,
            "model_provenance": model.provenance,
            "device": self.device.type,
            "decoding": self.decoding,
            "hinted": sorted(hint),
            "evidence": evidence.to_dict(),
        }
        return Detection(
            scan=volume.name,
            modality=measurement.modality,
            verdict=verdict,
            reasons=reasons,
            landmarks=estimates,
            ras_to_reference=alignment.fit.transform,
            warnings=measurement.warnings,
            provenance=provenance,
            heatmaps=_heatmaps_of_doubtful(estimates, fine, alignment),
            not_seen=tuple(code for code, missed in zip(model.anatomy.codes, not_seen, strict=True) if missed),
        )


def _heatmaps_of_doubtful(
    estimates: Sequence[LandmarkEstimate], fine: FineLandmarks, alignment: Alignment
) -> tuple[Volume, ...]:
    """What the network saw round the uncertain landmarks, in RAS mm of the scan, named by their codes."""
    to_scan = np.linalg.inv(alignment.fit.transform)
    return tuple(
        Volume(fine.heatmaps[index].voxels, fine.heatmaps[index].grid.transformed(to_scan).ijk_to_ras, estimate.code)
        for index, estimate in enumerate(estimates)
        if estimate.state is LandmarkState.UNCERTAIN and index in fine.heatmaps
    )
