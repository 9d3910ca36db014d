"""How the landmarks of one head lie together: a mixture of Gaussians over layouts, of which any part may be known.

Coordinates are mm of the reference frame in the order R, A, S; a landmark with a NaN coordinate is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .alignment import ShapeModel

_CACHED_MARGINALS = 256


@dataclass(frozen=True)
class LayoutMarginal:
    """The distribution of d = 3 x (number of known landmarks) coordinates, the missing ones integrated out.

    For each of the c components: `means` (c, d) mm, `precisions` (c, d, d) per mm^2 and `log_heights` (c,), the
    logarithm of its weight times its density at its mean.
    """

    means: np.ndarray
    precisions: np.ndarray
    log_heights: np.ndarray

    def log_terms(self, known: np.ndarray) -> np.ndarray:
        """(m, c) logarithm of weight times density of each component, for coordinates `known` (m, d) mm."""
        residual = np.swapaxes(known[:, None] - self.means, 0, 1)
        return self.log_heights - 0.5 * ((residual @ self.precisions) * residual).sum(axis=2).T

    def responsibilities(self, known: np.ndarray) -> np.ndarray:
        """(m, c) share of each component in the density of coordinates `known` (m, d) mm (Bishop 2006, Eq. 9.13)."""
        terms = self.log_terms(known)
        return np.exp(terms - log_sum_exp(terms)[:, None])


@dataclass(frozen=True)
class ConditionalPosition:
    """Where one landmark is expected, given others: `mean` (3,) mm and `covariance` (3, 3) mm^2."""

    mean: np.ndarray
    covariance: np.ndarray

    @property
    def sd_mm(self) -> float:
        """Standard deviation per coordinate (root of the mean variance)."""
        return float(np.sqrt(np.trace(self.covariance) / 3.0))

    def distance(self, position: np.ndarray) -> float:
        """Mahalanobis distance, in SD, of a `position` (3,) mm from the mean."""
        residual = np.asarray(position, float) - self.mean
        return float(np.sqrt(residual @ np.linalg.solve(self.covariance, residual)))


@dataclass(frozen=True, eq=False)
class LayoutModel:
    """A mixture of c Gaussians over the layouts of n landmarks (Bishop 2006, sections 2.3 and 9.2).

    `weights` (c,) sum to one; `means` (c, n, 3) mm; `covariances` (c, 3n, 3n) mm^2 of the flattened coordinates;
    `presence` (c, n) is the probability that a landmark exists in a head of that component, independent of the other
    landmarks, or None. Raises ValueError where the arrays do not fit together or a covariance is not positive definite.

    Methods take the landmarks known to be `absent` as booleans, or None, which says nothing about absence. A landmark
    that is missing but not absent (outside the scan, not annotated, not seen) is integrated out. With `absent`, the
    components also count by how probable they make that the absent landmarks are absent and the placed ones present;
    without `presence` it has no effect.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    presence: np.ndarray | None = None
    _marginals: dict[bytes, LayoutMarginal] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        count, landmarks = self.means.shape[:2] if self.means.ndim == 3 else (0, 0)
        shapes = [self.weights.shape, self.means.shape, self.covariances.shape]
        if count == 0 or shapes != [(count,), (count, landmarks, 3), (count, 3 * landmarks, 3 * landmarks)]:
            raise ValueError(f"the shapes {shapes} are not those of weights, means and covariances of a mixture")
        if not all(np.isfinite(array).all() for array in (self.weights, self.means, self.covariances)):
            raise ValueError("weights, means and covariances of a mixture must be finite")
        if (self.weights < 0).any() or abs(self.weights.sum() - 1.0) > 1e-6:
            raise ValueError("the weights of a mixture must not be negative, and their sum must be one")
        if self.presence is not None and (
            self.presence.shape != (count, landmarks) or not ((self.presence > 0) & (self.presence < 1)).all()
        ):
            raise ValueError("the presence of each landmark must be a probability between 0 and 1")
        try:
            np.linalg.cholesky(self.covariances)
        except np.linalg.LinAlgError as error:
            raise ValueError("the covariances of a mixture must be positive definite") from error

    def __len__(self) -> int:
        return self.means.shape[1]

    @property
    def components(self) -> int:
        """Number of Gaussians."""
        return len(self.weights)

    def marginal(self, known: np.ndarray, absent: np.ndarray | None = None) -> LayoutMarginal:
        """Distribution of the landmarks `known` (n,); those `absent` (n,), or None, are as in the class.

        Raises ValueError where a landmark is both.
        """
        known = np.asarray(known, bool)
        absent = None if absent is None else np.asarray(absent, bool)
        if absent is not None and (known & absent).any():
            raise ValueError("a landmark cannot be placed and absent at once; leave one of both out")
        key = known.tobytes() + (b"" if absent is None else absent.tobytes())
        if key not in self._marginals:
            if len(self._marginals) >= _CACHED_MARGINALS:
                self._marginals.clear()
            self._marginals[key] = self._marginal(known, absent)
        return self._marginals[key]

    def _marginal(self, known: np.ndarray, absent: np.ndarray | None) -> LayoutMarginal:
        coordinates = np.repeat(known, 3)
        factors = np.linalg.cholesky(self.covariances[:, coordinates][:, :, coordinates])
        inverse = np.linalg.inv(factors)
        with np.errstate(divide="ignore"):
            log_heights = np.log(self.weights)
        log_heights = log_heights - np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        log_heights -= 0.5 * coordinates.sum() * np.log(2.0 * np.pi)
        if absent is not None and self.presence is not None:
            log_heights += np.log(self.presence[:, known]).sum(axis=1)
            log_heights += np.log1p(-self.presence[:, absent]).sum(axis=1)
        means = self.means.reshape(self.components, -1)[:, coordinates]
        return LayoutMarginal(means, np.swapaxes(inverse, 1, 2) @ inverse, log_heights)

    def log_densities(self, positions: np.ndarray, absent: np.ndarray | None = None) -> np.ndarray:
        """(m,) log-density of layouts `positions` (m, n, 3) mm with NaN; `absent` (m, n) or None.

        With `absent` and `presence` it is that of positions and presence together. Raises ValueError.
        """
        densities = np.zeros(len(positions))
        for rows, marginal, known in self.by_pattern(positions, absent):
            densities[rows] = log_sum_exp(marginal.log_terms(known))
        return densities

    def energies(self, positions: np.ndarray, absent: np.ndarray | None = None) -> np.ndarray:
        """(m,) energies of layouts `positions` (m, n, 3) mm with NaN; `absent` (m, n) or None. See `energy`."""
        energies = np.zeros(len(positions))
        for rows, marginal, known in self.by_pattern(positions, absent):
            energies[rows] = log_sum_exp(marginal.log_heights[None]) - log_sum_exp(marginal.log_terms(known))
        return np.maximum(energies, 0.0)

    def energy(self, positions: np.ndarray, absent: np.ndarray | None = None) -> float:
        """How badly a layout `positions` (n, 3) mm with NaN fits; `absent` (n,) or None. Raises ValueError.

        Half the squared Mahalanobis distance of the known landmarks; for several components the negative logarithm of
        the mean of exp(-half squared distance), each component weighted by its density at its own mean: the
        negative log-density but for a term that depends only on which landmarks are known. Never negative.
        """
        return float(self.energies(positions[None], None if absent is None else absent[None])[0])

    def gradient(self, positions: np.ndarray, absent: np.ndarray | None = None) -> np.ndarray:
        """(n, 3) derivative of `energy` by the positions, per mm; 0 for missing landmarks. Raises ValueError."""
        gradient = np.zeros(positions.shape)
        [(_, marginal, known)] = self.by_pattern(positions[None], None if absent is None else absent[None])
        pulls = (marginal.precisions @ (known - marginal.means)[:, :, None])[:, :, 0]
        gradient[known_landmarks(positions)] = (marginal.responsibilities(known)[0] @ pulls).reshape(-1, 3)
        return gradient

    def conditional(self, positions: np.ndarray, index: int, absent: np.ndarray | None = None) -> ConditionalPosition:
        """Where landmark `index` is expected, if present, given the others of `positions` (n, 3) mm with NaN.

        Its own position is not read. `absent` (n,) or None. Mean and covariance are those of the conditional mixture
        (Bishop 2006, Eqs. 2.73 and 2.75). Raises ValueError.
        """
        known = known_landmarks(positions)
        known[index] = True
        if absent is not None:
            absent = absent & (np.arange(len(self)) != index)
        marginal = self.marginal(known, absent)
        own = 3 * int(known[:index].sum()) + np.arange(3)
        residual = positions[known].reshape(-1) - marginal.means
        residual[:, own] = 0.0
        precision = marginal.precisions[:, own][:, :, own]
        covariances = np.linalg.inv(precision)
        shifts = -(covariances @ (marginal.precisions[:, own] @ residual[:, :, None]))[:, :, 0]
        # At its conditional mean a landmark adds nothing to the distance of the others.
        residual[:, own] = shifts
        distances = ((marginal.precisions @ residual[:, :, None])[:, :, 0] * residual).sum(axis=1)
        terms = marginal.log_heights - 0.5 * distances - 0.5 * np.linalg.slogdet(precision)[1]
        shares = np.exp(terms - log_sum_exp(terms[None]))
        means = marginal.means[:, own] + shifts
        mean = shares @ means
        between = (means - mean)[:, :, None] * (means - mean)[:, None, :]
        return ConditionalPosition(mean, np.tensordot(shares, covariances + between, axes=1))

    def by_pattern(
        self, positions: np.ndarray, absent: np.ndarray | None = None
    ) -> list[tuple[np.ndarray, LayoutMarginal, np.ndarray]]:
        """Layouts (m, n, 3) mm with NaN, grouped by which landmarks are known; `absent` (m, n) or None.

        For each group: indices of its layouts, their marginal and their known coordinates (rows, d) mm.
        """
        if positions.shape[1:] != (len(self), 3):
            raise ValueError(f"layouts of {len(self)} landmarks are needed, not an array of shape {positions.shape}")
        known = known_landmarks(positions)
        pattern = known if absent is None else np.concatenate([known, np.asarray(absent, bool)], axis=1)
        patterns, group = np.unique(np.packbits(pattern, axis=1), axis=0, return_inverse=True)
        groups = []
        for number in range(len(patterns)):
            rows = np.nonzero(group.reshape(-1) == number)[0]
            first = rows[0]
            marginal = self.marginal(known[first], None if absent is None else absent[first])
            groups.append((rows, marginal, positions[rows][:, known[first]].reshape(len(rows), -1)))
        return groups


def known_landmarks(positions: np.ndarray) -> np.ndarray:
    """(..., n) which landmarks of `positions` (..., n, 3) have a position."""
    return np.asarray(np.isfinite(positions).all(axis=-1))


def log_sum_exp(terms: np.ndarray) -> np.ndarray:
    """(m,) log of the sum of exp over the components of `terms` (m, c), of which one at least is finite."""
    highest = terms.max(axis=1)
    return np.asarray(highest + np.log(np.exp(terms - highest[:, None]).sum(axis=1)))


def layout_model_of_shape(shape: ShapeModel) -> LayoutModel:
    """The Gaussian of a shape model as a layout model of one component; raises ValueError where it is singular."""
    return LayoutModel(np.ones(1), shape.mean[None], shape.covariance[None])


def layout_model_to_arrays(model: LayoutModel) -> dict[str, np.ndarray]:
    """The arrays of a model by name, for `numpy.savez` or a model file; `presence` only where it has one."""
    arrays = {"weights": model.weights, "means": model.means, "covariances": model.covariances}
    return arrays if model.presence is None else {**arrays, "presence": model.presence}


def layout_model_from_arrays(arrays: dict[str, np.ndarray]) -> LayoutModel:
    """Inverse of `layout_model_to_arrays`; raises KeyError or ValueError where arrays are missing or do not fit."""
    weights, means, covariances = (np.asarray(arrays[name], float) for name in ("weights", "means", "covariances"))
    presence = np.asarray(arrays["presence"], float) if "presence" in arrays else None
    return LayoutModel(weights, means, covariances, presence)
