"""Whether a result can be trusted at all: is this a circle of Willis, of plausible size, tilt and configuration?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ..core.alignment import ShapeModel, fit_similarity_robustly, side_turn_deg
from ..core.detection import LandmarkEstimate, LandmarkState, Verdict
from ..core.volume import Sides
from .states import must_be_earned

FEWEST_LANDMARKS = 5
LEAST_CONFIDENCE = 0.5
LEAST_SURE = 0.35
LEAST_RECOGNITION = 1.0
"""For models whose file sets no limit of its own; arteries of knees and mirrored heads reached up to 1.04."""
LEAST_INLIERS = 0.6
LARGEST_MAHALANOBIS = 4.0
LARGEST_TILT_DEG = 65.0
PLAUSIBLE_SCALE = (0.82, 1.22)
_INLIER_WEIGHT = 0.25
_LOG_ODDS = {"circle": 19.9, "from_fine_mm": -3.5, "from_coarse_mm": -1.27, "tilt_deg": -0.135}
_LOG_ODDS_OF_NOTHING = -4.4
"""Logistic regression between readings of what is no head angiogram and of phantoms of version 4 with at least 65 % of
the points within 4 mm (seeds 22501 to 22504 and 22511 to 22519, with both intensity rules)."""
_FARTHEST_FROM_FINE_MM, _FARTHEST_FROM_COARSE_MM = 3.0, 6.0
_BARELY_RECOGNISED = "The circle of Willis was only just recognised; check every point."
LEAST_LOG_ODDS = 2.0
FEWEST_ON_ODDS = 16
"""Part of a circle is no evidence: the two heads stored upside down (of 14) whose log odds came to 2.0 and 3.4 had 14
and 10 landmarks in the scan; with 16 and more what is no head angiogram reached 0.1 (seeds 22514 to 22525)."""


@dataclass(frozen=True)
class VerdictEvidence:
    """Evidence for or against a result.

    `landmarks` placed inside the scan; `confidence` their mean; `sure` share of them that need no check; `inliers`
    share of them that fits one configuration;
    `recognition` how sure both networks are (see there); `least_recognition` what the model asks of a circle of Willis;
    `mahalanobis` squared Mahalanobis distance of the configuration per coordinate (about 1 for a usual one);
    `sides` what the file says of left and right;
    `tilt_deg` rotation of the head against the axes of the scan (with a hint: of its sides alone); `scale` mean circle
    over this circle; `log_odds` that this is a circle of Willis (`log_odds_of_circle`), None for models without a
    circle network.
    """

    landmarks: int
    confidence: float
    sure: float
    inliers: float
    mahalanobis: float
    tilt_deg: float
    scale: float
    recognition: float = 2.0
    least_recognition: float = LEAST_RECOGNITION
    sides: Sides = Sides.RECORDED
    log_odds: float | None = None

    @property
    def recognised(self) -> bool:
        """Whether the networks are as sure as in nearly all scans that the model was calibrated on."""
        return self.recognition >= self.least_recognition

    @property
    def barely_recognised(self) -> bool:
        """Whether they are less sure than that, but it is far likelier a circle of Willis than anything else."""
        return (
            not self.recognised
            and self.landmarks >= FEWEST_ON_ODDS
            and self.log_odds is not None
            and self.log_odds >= LEAST_LOG_ODDS
        )

    def to_dict(self) -> dict[str, Any]:
        """As the provenance of a result keeps it; the distance has the key that version 0.1.0 wrote."""
        return {"strangeness" if name == "mahalanobis" else name: value for name, value in asdict(self).items()}


def recognition(coarse_confidence: np.ndarray, second: np.ndarray) -> float:
    """How surely a circle of Willis was recognised, 0 to 2: mean of the coarse network's confidence plus that of
    `second`.

    Both (m,). `second` is the confidence of the circle network, over all landmarks that should lie in the scan, absent
    ones too: in a head stored upside down it still sees some. For a model without one it is whether the fine network's
    reading needs no check, over the landmarks that were placed.
    """
    return float(np.mean(coarse_confidence) + np.mean(second)) if len(second) else 0.0


@dataclass(frozen=True)
class CircleReading:
    """How the networks read all landmarks that should lie in the scan: means of the confidences of the coarse and the
    circle network, and median distances of the circle network's points from those of the fine and the coarse one."""

    coarse: float
    circle: float
    from_fine_mm: float
    from_coarse_mm: float

    @property
    def recognition(self) -> float:
        """As `recognition` has it."""
        return self.coarse + self.circle


def circle_reading(
    confidences: tuple[np.ndarray, np.ndarray],
    positions: tuple[np.ndarray, np.ndarray, np.ndarray],
    inside: np.ndarray,
) -> CircleReading:
    """From the confidences (n,) of the coarse and the circle network, the positions (n, 3) of the coarse, the circle
    and the fine one, in mm, and which landmarks (n,) should lie in the scan (none: nothing was read)."""
    if not inside.any():
        return CircleReading(0.0, 0.0, float("inf"), float("inf"))
    coarse, circle, fine = (places[inside] for places in positions)
    return CircleReading(
        *(float(confidence[inside].mean()) for confidence in confidences),
        *(float(np.median(np.linalg.norm(circle - other, axis=1))) for other in (fine, coarse)),
    )


def log_odds_of_circle(reading: CircleReading, tilt_deg: float) -> float:
    """How likely this is a circle of Willis rather than another part of the body, a brain without contrast or noise.

    Coarse voxels and narrow windows take most from the coarse network's confidence, which is left out. Where nothing
    is, the networks do not see it in the same place, and the head seems to lie oddly.
    """
    values = {
        "circle": reading.circle,
        "from_fine_mm": min(reading.from_fine_mm, _FARTHEST_FROM_FINE_MM),
        "from_coarse_mm": min(reading.from_coarse_mm, _FARTHEST_FROM_COARSE_MM),
        "tilt_deg": tilt_deg,
    }
    return _LOG_ODDS_OF_NOTHING + sum(weight * values[name] for name, weight in _LOG_ODDS.items())


def gather_evidence(
    positions: np.ndarray,
    confidence: np.ndarray,
    error_mm: np.ndarray,
    ras_to_reference: np.ndarray,
    shape: ShapeModel,
    uncertain_below: float = 0.7,
    coarse_confidence: np.ndarray | None = None,
    least_recognition: float = LEAST_RECOGNITION,
    by_circle: CircleReading | None = None,
) -> VerdictEvidence:
    """Evidence from a detection.

    `positions` (n, 3) mm in the reference frame, NaN for landmarks that are absent or outside; `confidence`,
    `error_mm` (n,) of the same landmarks; `ras_to_reference` (4, 4); a confidence below `uncertain_below` needs a
    check. `coarse_confidence` (n,) of the coarse network (None: a person showed where the circle is, so that
    the head may be pitched by any angle), `least_recognition` the model's limit. `by_circle` is there where
    the model has a circle network.
    """
    placed = np.isfinite(positions).all(axis=1)
    tilt = side_turn_deg(ras_to_reference) if coarse_confidence is None else rotation_deg(ras_to_reference)
    scale = float(np.cbrt(np.linalg.det(ras_to_reference[:3, :3])))
    if placed.sum() < FEWEST_LANDMARKS:
        return VerdictEvidence(int(placed.sum()), 0.0, 0.0, 0.0, np.inf, tilt, scale, 0.0, least_recognition)
    fit = fit_similarity_robustly(positions, shape.mean)
    flat = np.repeat(placed, 3)
    residual = (positions - shape.mean)[placed].reshape(-1)
    noise = np.repeat(np.maximum(error_mm[placed], 0.5) ** 2 / 3.0, 3)
    covariance = shape.covariance[np.ix_(flat, flat)] + np.diag(noise)
    sure = confidence[placed] >= uncertain_below
    coarse = np.ones(len(placed)) if coarse_confidence is None else coarse_confidence
    seen = recognition(coarse[placed], sure) if by_circle is None else by_circle.recognition
    mahalanobis = float(residual @ np.linalg.solve(covariance, residual) / len(residual))
    return VerdictEvidence(
        landmarks=int(placed.sum()),
        confidence=float(confidence[placed].mean()),
        sure=float(sure.mean()),
        inliers=float((fit.weights[placed] > _INLIER_WEIGHT).mean()),
        mahalanobis=mahalanobis,
        tilt_deg=tilt,
        scale=scale * fit.scale,
        recognition=seen,
        least_recognition=least_recognition,
        log_odds=None if by_circle is None else log_odds_of_circle(by_circle, tilt),
    )


def verdict_of(evidence: VerdictEvidence, estimates: Sequence[LandmarkEstimate]) -> tuple[Verdict, tuple[str, ...]]:
    """Verdict and the sentences behind it."""
    reasons = []
    if evidence.sides is Sides.CONTRADICTORY:
        reasons.append("The file says two things about left and right; convert it again from the original images.")
    if (
        evidence.landmarks < FEWEST_LANDMARKS
        or evidence.confidence < LEAST_CONFIDENCE
        or evidence.sure < LEAST_SURE
        or not (evidence.recognised or evidence.barely_recognised)
    ):
        reasons.append(
            "The circle of Willis was not recognised in this scan; if it is a brain angiogram, place three or four "
            "points as a hint and try again."
        )
    elif evidence.inliers < LEAST_INLIERS or evidence.mahalanobis > LARGEST_MAHALANOBIS:
        reasons.append("The points do not form a plausible circle of Willis; check every point, or try with a hint.")
    if not reasons and not PLAUSIBLE_SCALE[0] <= evidence.scale <= PLAUSIBLE_SCALE[1]:
        reasons.append("The circle has an implausible size; check the voxel size of the scan.")
    if not reasons and evidence.tilt_deg > LARGEST_TILT_DEG:
        reasons.append("The head lies implausibly in the scan; check the orientation in its header (left and right!).")
    if reasons:
        return Verdict.DO_NOT_TRUST, tuple(reasons)
    return _by_points(evidence.sides, estimates, barely_recognised=evidence.barely_recognised)


def verdict_after_tracing(
    verdict: Verdict | None, reasons: Sequence[str], sides: Sides, estimates: Sequence[LandmarkEstimate]
) -> tuple[Verdict | None, tuple[str, ...]]:
    """Verdict and reasons of a detection whose states tracing may have changed; "do not trust" and None stay."""
    if verdict in (None, Verdict.DO_NOT_TRUST):
        return verdict, tuple(reasons)
    return _by_points(sides, estimates, barely_recognised=_BARELY_RECOGNISED in reasons)


def _by_points(
    sides: Sides, estimates: Sequence[LandmarkEstimate], *, barely_recognised: bool
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict on a plausible circle, and what there is to check."""
    check = []
    if sides is Sides.UNRECORDED:
        check.append("The file does not say which side is left; check it against the original images.")
    if barely_recognised:
        check.append(_BARELY_RECOGNISED)
    doubtful = [estimate.code for estimate in estimates if estimate.state is LandmarkState.UNCERTAIN]
    if doubtful:
        check.append(f"To check: {', '.join(doubtful)}.")
    missing = [e.code for e in estimates if e.state is LandmarkState.ABSENT and must_be_earned(e.code)]
    if missing:
        check.append(f"Absent, though hardly anybody lacks it: {', '.join(missing)}.")
    return (Verdict.REVIEW if check else Verdict.OK), tuple(check)


def rotation_deg(transform: np.ndarray) -> float:
    """Angle (degrees) by which a similarity transform (4, 4) turns."""
    rotation = transform[:3, :3] / np.cbrt(np.linalg.det(transform[:3, :3]))
    return float(np.degrees(Rotation.from_matrix(rotation).magnitude()))
