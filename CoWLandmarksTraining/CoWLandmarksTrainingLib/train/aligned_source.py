"""Training cases from an aligned cohort: the arrays that `align` has made, laid before every stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from CoWLandmarksLib.core.errors import ConfigurationError
from CoWLandmarksLib.core.volume import Grid, apply_affine, axis_aligned_grid
from CoWLandmarksLib.detect.circle import halved
from CoWLandmarksLib.detect.coarse import SAMPLING_SPACING_MM, WINDOW, pool_for_localizer
from CoWLandmarksLib.networks.resampling import resample
from scipy.spatial.transform import Rotation

from ..augment.augmentation import Deformation, draw_deformation, sample_image
from ..augment.earlier_errors import simulated_alignment, simulated_estimate
from ..config.settings import AugmentationSettings, CoarseSettings
from ..records.aligned_folder import INSIDE, UNKNOWN, AlignedCase, AlignedFrame
from .posed_case import LandmarkSet, PosedCase
from .stages import Posing, Stage

OFF_TARGET_SHARE = 0.08
"""How often a window of the coarse network lies anywhere in the scan, instead of near the circle."""
FIELD_SHIFT_MM = (40.0, 40.0, 30.0)
_WINDOW_JITTER_MM = 9.0


@dataclass(frozen=True)
class AlignedSource:
    """The cases of a cohort in a new order every epoch; `seed` draws the orders.

    Raises ConfigurationError when there is no case.
    """

    cases: tuple[AlignedCase, ...]
    frame: AlignedFrame
    coarse: CoarseSettings
    augmentation: AugmentationSettings
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.cases:
            raise ConfigurationError("There is no training case with an image and landmarks; check the splits.")

    def case(self, stage: Stage, position: int, rng: np.random.Generator) -> PosedCase:
        """A case for a stage."""
        epoch, place = divmod(position, len(self.cases))
        order = np.random.Generator(np.random.Philox(key=[self.seed, epoch])).permutation(len(self.cases))
        return self.posed(self.cases[int(order[place])], stage, rng)

    def posed(self, case: AlignedCase, stage: Stage, rng: np.random.Generator) -> PosedCase:
        """One case, laid at random."""
        if stage.posing is Posing.FIELD:
            return self._field(case, rng)
        deformation = drawn_deformation(rng, stage, self.augmentation, self.frame, case.landmarks, case.status)
        moved = deformation.moved(case.landmarks)
        status = status_on(stage.grid, case.landmarks, case.status)
        expected = None
        if stage.priors:
            mean = self.frame.mean_landmarks  # a doubtful point is pulled to its usual place in this very head
            expected = deformation.moved(simulated_estimate(case.landmarks, rng, mean, with_circle=stage.after_circle))
        grid = stage.grid
        if stage.posing is Posing.WINDOWS:
            grid = drawn_window(rng, stage, moved, status)
        return self.laid(case, stage, grid, deformation, status, expected)

    def laid(
        self,
        case: AlignedCase,
        stage: Stage,
        grid: Grid,
        deformation: Deformation,
        status: np.ndarray,
        expected: np.ndarray | None,
    ) -> PosedCase:
        """A case on `grid` of the reference frame, deformed."""
        if stage.posing is Posing.CIRCLE:
            half = halved(grid)
            region, region_grid = case.region(), self.frame.region
            image, _ = pool_for_localizer(sample_image(region, region_grid, half, deformation), half)
        else:
            image = sample_image(case.crop(), self.frame.grid, grid, deformation)[None]
        return PosedCase(image, grid, deformation.moved(case.landmarks), status, expected, case.modality, case.name)

    def _field(self, case: AlignedCase, rng: np.random.Generator) -> PosedCase:
        """A window of the whole scan at 2 mm, turned, scaled and shifted."""
        assert case.coarse_grid is not None
        window = field_window(case.coarse_grid, case.landmarks_in_scan(), rng)
        return self.field(case, window, self._turn(window.centre, rng))

    def field(self, case: AlignedCase, window: Grid, pose: np.ndarray) -> PosedCase:
        """A `window` at 1 mm of the whole scan, pooled to 2 mm; `pose` (4, 4) takes its places to the scan."""
        assert case.coarse_grid is not None
        scan, landmarks = case.coarse_grid, case.landmarks_in_scan()
        image = resample(torch.from_numpy(np.array(case.coarse())), scan, window.transformed(pose), padding=0.0)
        pooled, grid = pool_for_localizer(image, window)
        local = apply_affine(np.linalg.inv(pose), landmarks)
        return PosedCase(pooled, grid, local, case.status, None, case.modality, case.name)

    def _turn(self, centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Random similarity (4, 4), window -> scan, about the window's centre."""
        own = self.coarse
        angles = rng.uniform(-1, 1, 3) * (own.pitch_deg, own.roll_yaw_deg, own.roll_yaw_deg)
        matrix = np.eye(4)
        matrix[:3, :3] = (1.0 + rng.uniform(-1, 1) * own.scale) * Rotation.from_euler(
            "xyz", angles, degrees=True
        ).as_matrix()
        matrix[:3, 3] = centre - matrix[:3, :3] @ centre
        return matrix


@dataclass(frozen=True)
class AlignedLandmarkSets:
    """Annotated sets for the discriminator, drawn at random from cases; images are not needed."""

    cases: tuple[AlignedCase, ...]

    def draw(self, rng: np.random.Generator) -> LandmarkSet:
        """One set as it lies in the reference frame."""
        case = self.cases[int(rng.integers(len(self.cases)))]
        return LandmarkSet(case.landmarks, case.status)


def drawn_deformation(
    rng: np.random.Generator,
    stage: Stage,
    augmentation: AugmentationSettings,
    frame: AlignedFrame,
    landmarks: np.ndarray,
    status: np.ndarray,
) -> Deformation:
    """How landmarks (n, 3) of the reference frame, and their image, are laid before a stage at random.

    For the circle stage the errors of an alignment by the coarse one take the place of rotation and scale.
    """
    if stage.posing is not Posing.CIRCLE:
        return draw_deformation(rng, augmentation, frame.grid)
    drawn = draw_deformation(rng, replace(augmentation, rotation_deg=0.0, scale=0.0), frame.grid)
    known = np.where((status == INSIDE)[:, None], landmarks, np.nan)
    back = np.linalg.inv(simulated_alignment(known, frame.mean_landmarks, drawn.centre, rng))
    shift = apply_affine(back, drawn.centre) - drawn.centre + drawn.shift
    return replace(drawn, matrix=back[:3, :3], shift=shift)


def central_field_window(landmarks: np.ndarray) -> Grid:
    """The window of the coarse network about landmarks (n, 3; NaN: none) of a scan."""
    placed = landmarks[np.isfinite(landmarks).all(axis=1)]
    return _field_window_about(placed.mean(axis=0))


def status_on(grid: Grid, landmarks: np.ndarray, status: np.ndarray) -> np.ndarray:
    """(n,) status of landmarks (n, 3); one beyond a grid, of which there is no image, does not count."""
    seen = np.nan_to_num(landmarks, nan=1e6)
    return np.where((status == INSIDE) & (grid.depth_mm(seen) < 0.0), UNKNOWN, status)


def field_window(scan: Grid, landmarks: np.ndarray, rng: np.random.Generator) -> Grid:
    """The grid of 1 mm, along R, A, S, that becomes one window of the coarse network: near the circle, or anywhere."""
    placed = landmarks[np.isfinite(landmarks).all(axis=1)]
    if len(placed) and rng.random() >= OFF_TARGET_SHARE:
        centre = placed.mean(axis=0) + rng.uniform(-1, 1, 3) * FIELD_SHIFT_MM
    else:
        corners = scan.corners()
        centre = rng.uniform(corners.min(axis=0), corners.max(axis=0))
    return _field_window_about(centre)


def _field_window_about(centre: np.ndarray) -> Grid:
    shape = tuple(2 * n for n in WINDOW)
    return axis_aligned_grid(centre, np.full(3, SAMPLING_SPACING_MM), (shape[0], shape[1], shape[2]))


def drawn_window(rng: np.random.Generator, stage: Stage, landmarks: np.ndarray, status: np.ndarray) -> Grid:
    """A window of the reference grid about one of the landmarks (n, 3), with a random shift."""
    reference = stage.grid
    placed = np.nonzero(status == INSIDE)[0]
    around = landmarks[rng.choice(placed)] if placed.size else reference.centre
    centre = apply_affine(reference.ras_to_ijk, around + rng.uniform(-1, 1, 3) * _WINDOW_JITTER_MM)
    first = np.rint(centre - np.array(stage.shape[::-1]) / 2.0).astype(int)
    return reference.window((int(first[0]), int(first[1]), int(first[2])), stage.shape)


def usable(cases: Sequence[AlignedCase]) -> tuple[AlignedCase, ...]:
    """Cases with at least three placed landmarks; a half-annotated case teaches what it has."""
    return tuple(case for case in cases if (case.status == INSIDE).sum() >= 3)
