"""Training samples from an aligned cohort: crops for the fine network, whole scans for the coarse one, and annotated
landmark sets for the discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from CoWLandmarksLib.errors import ConfigurationError
from CoWLandmarksLib.heatmap import encode
from CoWLandmarksLib.localizer import SAMPLING_SPACING_MM, WINDOW, pool_for_localizer
from CoWLandmarksLib.resampling import resample
from CoWLandmarksLib.volume import Grid, apply_affine, axis_aligned_grid
from scipy.spatial.transform import Rotation

from .aligned import ABSENT, INSIDE, UNKNOWN, AlignedCase, AlignedFrame
from .augmentation import AugmentationConfig, Deformation, draw_deformation, jittered, mirrored, sample_image
from .batch import Batch, RealSets, stacked
from .processes import Processes
from .samples import simulated_coarse_estimate, with_expected_places

_WINDOW_JITTER_MM = 9.0


@dataclass(frozen=True)
class FineTask:
    """What the fine network is to learn.

    `window` (K, J, I) voxels of the reference grid (its whole shape: no windows); `prior_sigma_mm` None: the network
    reads the image alone; `subvoxel` False: targets are centred on voxels, as when a landmark is a voxel;
    `learn_absence` False: a landmark that does not exist does not count, instead of having an empty target. Samples are
    made on `device`, so that a graphics card does not wait for the processor.
    """

    frame: AlignedFrame
    permutation: tuple[int, ...]
    window: tuple[int, int, int]
    sigma_mm: float
    prior_sigma_mm: float | None
    subvoxel: bool = True
    learn_absence: bool = True
    device: torch.device | None = None

    @property
    def whole(self) -> bool:
        """Whether the network sees the whole grid."""
        return self.window == self.frame.grid.shape


@dataclass(frozen=True)
class Placement:
    """A window of the deformed reference frame, and the landmarks (n, 3) RAS mm and their status (n,) in it."""

    deformation: Deformation
    grid: Grid
    flipped: bool
    landmarks: np.ndarray
    status: np.ndarray


def place(
    rng: np.random.Generator,
    landmarks: np.ndarray,
    status: np.ndarray,
    task: FineTask,
    augmentation: AugmentationConfig,
) -> Placement:
    """Draw a deformation and a window for landmarks (n, 3) of the reference frame.

    A landmark beyond the crop, of which there is no image, does not count. Left and right are not yet exchanged.
    """
    reference = task.frame.grid
    seen = np.nan_to_num(landmarks, nan=1e6)
    status = np.where((status == INSIDE) & (reference.depth_mm(seen) < 0.0), UNKNOWN, status)
    deformation = draw_deformation(rng, augmentation, reference)
    moved = deformation.moved(landmarks)
    grid = reference
    if not task.whole:
        placed = np.nonzero(status == INSIDE)[0]
        around = moved[rng.choice(placed)] if placed.size else reference.centre
        centre = apply_affine(reference.ras_to_ijk, around + rng.uniform(-1, 1, 3) * _WINDOW_JITTER_MM)
        first = np.rint(centre - np.array(task.window[::-1]) / 2.0).astype(int)
        grid = reference.window((int(first[0]), int(first[1]), int(first[2])), task.window)
    flipped = augmentation.mirror and bool(rng.random() < 0.5)
    return Placement(deformation, grid, flipped, moved, status)


def targets(placement: Placement, task: FineTask) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Heatmaps (n, K, J, I), channel mask (n,) and origin (3,) mm of a placement, mirrored if it is."""
    grid, status = placement.grid, placement.status
    landmarks = np.where((status == INSIDE)[:, None], placement.landmarks, np.nan)
    if not task.subvoxel:
        landmarks = apply_affine(grid.ijk_to_ras, np.rint(apply_affine(grid.ras_to_ijk, landmarks)))
    origin = grid.ijk_to_ras[:3, 3].copy()
    if placement.flipped:
        low, width = origin[0], (grid.size[0] - 1) * grid.spacing[0]
        landmarks = landmarks.copy()
        landmarks[:, 0] = 2.0 * low + width - landmarks[:, 0]
        landmarks, status = landmarks[list(task.permutation)], status[list(task.permutation)]
        origin[0] = 2.0 * task.frame.grid.centre[0] - low - width
    counts = status >= (ABSENT if task.learn_absence else INSIDE)
    mask = torch.from_numpy(counts.astype(np.float32)).to(task.device)
    return encode(landmarks, grid, task.sigma_mm, task.device), mask, origin


class AlignedFineSampler:
    """Batches for the fine network, case by case in a new order every epoch; processes share a batch.

    The random numbers of a sample do not depend on the number of processes. Raises ConfigurationError when there is
    no case, or the batch cannot be shared.
    """

    def __init__(
        self,
        cases: Sequence[AlignedCase],
        task: FineTask,
        augmentation: AugmentationConfig,
        batch_size: int,
        *,
        seed: int = 0,
        processes: Processes | None = None,
    ) -> None:
        self._order = EpochOrder(cases, batch_size, seed, processes or Processes())
        self._task, self._augmentation = task, augmentation
        self.position = 0

    def __call__(self, rng: np.random.Generator) -> Batch:
        """This process's share of the next batch."""
        shares = self._order.shares(self.position, rng)
        self.position += self._order.batch_size
        made = [self._sample(case, np.random.Generator(np.random.Philox(seed))) for case, seed in shares]
        samples, origins = zip(*made, strict=True)
        return stacked(samples, origins, tuple(case.name for case, _ in shares))

    def _sample(
        self, case: AlignedCase, rng: np.random.Generator
    ) -> tuple[tuple[torch.Tensor, torch.Tensor, torch.Tensor], np.ndarray]:
        task, augmentation = self._task, self._augmentation
        placement = place(rng, case.landmarks, case.status, task, augmentation)
        grid = placement.grid
        image = sample_image(case.crop(), task.frame.grid, grid, placement.deformation, task.device)[None]
        image = jittered(image, rng, augmentation.gain, augmentation.gamma, augmentation.noise)
        expected = placement.deformation.moved(_expected(case, task.frame.mean_landmarks, rng))
        if placement.flipped:
            local, width = grid.ijk_to_ras[:3, 3], (grid.size[0] - 1) * grid.spacing[0]
            image, expected, _ = mirrored(image, expected - local, placement.status, width, task.permutation)
            expected = expected + local
        heatmaps, mask, origin = targets(placement, task)
        if task.prior_sigma_mm is not None:
            image = torch.cat([image, encode(expected, grid, task.prior_sigma_mm, task.device)])
        return (image, heatmaps, mask), origin


@dataclass(frozen=True)
class RealSampler:
    """Annotated landmark sets as the discriminator is to know them, drawn at random from cases (images not needed)."""

    cases: tuple[AlignedCase, ...]
    task: FineTask
    augmentation: AugmentationConfig
    batch_size: int
    processes: Processes

    def __call__(self, rng: np.random.Generator) -> RealSets:
        """This process's share of a batch."""
        chosen = rng.integers(len(self.cases), size=self.batch_size)
        seeds = rng.integers(2**62, size=self.batch_size)
        mine = _share(self.batch_size, self.processes)
        heatmaps, masks, origins = [], [], []
        for number, seed in zip(chosen[mine], seeds[mine], strict=True):
            case = self.cases[int(number)]
            own = np.random.Generator(np.random.Philox(int(seed)))
            maps, mask, origin = targets(
                place(own, case.landmarks, case.status, self.task, self.augmentation), self.task
            )
            heatmaps.append(maps)
            masks.append(mask)
            origins.append(torch.from_numpy(origin.astype(np.float32)))
        return RealSets(torch.stack(heatmaps), torch.stack(masks), torch.stack(origins))


@dataclass(frozen=True)
class CoarsePose:
    """How scans are turned, scaled and cut for the coarse network, relative to how they were acquired."""

    pitch_deg: float = 25.0
    roll_yaw_deg: float = 15.0
    scale: float = 0.1
    off_target_share: float = 0.08


class AlignedCoarseSampler:
    """Windows of whole scans for the coarse network: mean and maximum channels at 2 mm, turned, scaled, shifted and
    mirrored; epochs and processes as in AlignedFineSampler."""

    def __init__(
        self,
        cases: Sequence[AlignedCase],
        permutation: tuple[int, ...],
        sigma_mm: float,
        batch_size: int,
        pose: CoarsePose,
        augmentation: AugmentationConfig,
        *,
        device: torch.device | None = None,
        seed: int = 0,
        processes: Processes | None = None,
    ) -> None:
        self._device = device
        self._order = EpochOrder(cases, batch_size, seed, processes or Processes())
        self._permutation, self._sigma_mm, self._pose, self._augmentation = permutation, sigma_mm, pose, augmentation
        self.position = 0

    def __call__(self, rng: np.random.Generator) -> Batch:
        """This process's share of the next batch."""
        shares = self._order.shares(self.position, rng)
        self.position += self._order.batch_size
        made = [self._sample(case, np.random.Generator(np.random.Philox(seed))) for case, seed in shares]
        return stacked(made, None, tuple(case.name for case, _ in shares))

    def _sample(self, case: AlignedCase, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        assert case.coarse_grid is not None
        scan, landmarks = case.coarse_grid, case.landmarks_in_scan()
        window = self._window(scan, landmarks, rng)
        pose = self._turn(window.centre, rng)
        voxels = torch.from_numpy(np.array(case.coarse())).to(self._device)
        image = resample(voxels, scan, window.transformed(pose), padding=0.0)
        local = apply_affine(np.linalg.inv(pose), landmarks)
        pooled, grid = pool_for_localizer(image, window)
        pooled = jittered(pooled, rng, self._augmentation.gain, self._augmentation.gamma, self._augmentation.noise)
        status, first = case.status, grid.ijk_to_ras[:3, 3]
        if rng.random() < 0.5 and self._augmentation.mirror:
            width = (grid.size[0] - 1) * grid.spacing[0]
            pooled, local, status = mirrored(pooled, local - first, status, width, self._permutation)
            local = local + first
        heatmaps = encode(np.where((status == INSIDE)[:, None], local, np.nan), grid, self._sigma_mm, self._device)
        return pooled, heatmaps, torch.from_numpy((status >= ABSENT).astype(np.float32)).to(self._device)

    def _window(self, scan: Grid, landmarks: np.ndarray, rng: np.random.Generator) -> Grid:
        """The grid of 1 mm, along R, A, S, that becomes one window of the coarse network."""
        shape = tuple(2 * n for n in WINDOW)
        placed = landmarks[np.isfinite(landmarks).all(axis=1)]
        if len(placed) and rng.random() >= self._pose.off_target_share:
            centre = placed.mean(axis=0) + rng.uniform(-1, 1, 3) * (40.0, 40.0, 30.0)
        else:
            corners = scan.corners()
            centre = rng.uniform(corners.min(axis=0), corners.max(axis=0))
        return axis_aligned_grid(centre, np.full(3, SAMPLING_SPACING_MM), (shape[0], shape[1], shape[2]))

    def _turn(self, centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Random similarity (4, 4), window -> scan, about the window's centre."""
        pose = self._pose
        angles = rng.uniform(-1, 1, 3) * (pose.pitch_deg, pose.roll_yaw_deg, pose.roll_yaw_deg)
        matrix = np.eye(4)
        matrix[:3, :3] = (1.0 + rng.uniform(-1, 1) * pose.scale) * Rotation.from_euler(
            "xyz", angles, degrees=True
        ).as_matrix()
        matrix[:3, 3] = centre - matrix[:3, :3] @ centre
        return matrix


class EpochOrder:
    """Which cases a batch holds: all of them in a new order every epoch, with a random seed for each sample."""

    def __init__(self, cases: Sequence[AlignedCase], batch_size: int, seed: int, processes: Processes) -> None:
        if not cases:
            raise ConfigurationError("There is no training case with an image and landmarks; check the splits.")
        if batch_size % processes.world:
            raise ConfigurationError(
                f"A batch of {batch_size} cannot be shared by {processes.world} processes; change batch_size."
            )
        self.batch_size = batch_size
        self._cases, self._seed, self._processes = tuple(cases), seed, processes

    def shares(self, position: int, rng: np.random.Generator) -> list[tuple[AlignedCase, int]]:
        """(case, seed) of this process's samples of the batch that begins at `position`."""
        seeds = rng.integers(2**62, size=self.batch_size)
        mine = range(self.batch_size)[_share(self.batch_size, self._processes)]
        return [(self._case(position + n), int(seeds[n])) for n in mine]

    def _case(self, position: int) -> AlignedCase:
        epoch, place_in_epoch = divmod(position, len(self._cases))
        order = np.random.Generator(np.random.Philox(key=[self._seed, epoch])).permutation(len(self._cases))
        return self._cases[int(order[place_in_epoch])]


def usable(cases: Sequence[AlignedCase]) -> tuple[AlignedCase, ...]:
    """Cases with at least three placed landmarks; a half-annotated case teaches what it has."""
    return tuple(case for case in cases if (case.status == INSIDE).sum() >= 3)


def _expected(case: AlignedCase, mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) where a coarse step might expect the landmarks, absent and unknown ones as well."""
    return simulated_coarse_estimate(with_expected_places(case.landmarks, mean), rng, mean)


def _share(size: int, processes: Processes) -> slice:
    part = size // processes.world
    return slice(processes.rank * part, (processes.rank + 1) * part)
