"""How far a scan lies from those that a model learnt from, in the model's own features.

The Mahalanobis distance (Lee et al., "A simple unified framework for detecting
out-of-distribution samples", NeurIPS 2018) to the one Gaussian of all training scans. There are
more features than scans, so its covariance has a simple form: that of probabilistic principal
components (Tipping and Bishop, JRSS B 1999), which has a variance of its own along each of a
few axes, and one common variance across all others. What is kept are means, deviations and axes
of features, and one distance per held-out patient: no scan, and no scan's features.

Calibrated as a conformal set is (``conformal``): a held-out patient counts once, with the
farthest of its scans, and p is the share of held-out patients that are at least as far away.

Shapes: N scans, F features, D axes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.errors import UserError
from maskwise.limits.conformal import NEAR, needed, p_values, worst

MOST_AXES = 32
SCANS_AN_AXIS = 4
"""Training scans for each axis at least: those of fewer are noise."""
MOST_SCANS = 2_048
"""Training scans that are looked at; of more, evenly spaced ones."""
FALSE_ALARMS = 0.05
CONSTANT = 1e-6
"""A feature whose deviation is below this part of 1 + its mean never varies."""


@dataclass(frozen=True)
class Space:
    """Where the training scans lie, and how far from there held-out patients do."""

    mean: Floats
    """``(F,)``."""
    std: Floats
    """``(F,)``, 1 where a feature never varied."""
    axes: Floats
    """``(F, D)``, orthonormal, of standardised features."""
    variances: Floats
    """``(D,)`` along them."""
    rest: float
    """Variance along every other direction."""
    held_out: Floats
    """Distance of each held-out patient, ascending."""

    @classmethod
    def of(
        cls, learnt: NDArray[Any], held_out: NDArray[Any], patients: NDArray[np.object_]
    ) -> "Space":
        """Describe the training scans ``learnt`` ``(N, F)``.

        Args:
            learnt: features of the scans that the model learnt from, or of ``evenly`` many.
            held_out: features of others, ``(M, F)``.
            patients: of those, ``(M,)``.
        """
        exact = learnt.astype(np.float64)
        mean, std = exact.mean(axis=0), exact.std(axis=0)
        std[std < CONSTANT * (1 + np.abs(mean))] = 1.0
        axes, variances, rest = _components((exact - mean) / std)
        space = cls(mean, std, axes, variances, rest, np.zeros(0))
        distances = worst(space.distances(held_out), patients)
        return cls(mean, std, axes, variances, rest, distances)

    def distances(self, features: NDArray[Any]) -> Floats:
        """Return the Mahalanobis distance of each row ``(N, F)``, per root of F: 1 is usual."""
        apart = (np.asarray(features, np.float64) - self.mean) / self.std
        along = apart @ self.axes
        across = np.maximum(0.0, (apart**2).sum(axis=1) - (along**2).sum(axis=1))
        squared = (along**2 / self.variances).sum(axis=1) + across / self.rest
        return np.asarray(np.sqrt(squared / len(self.mean)))

    def p_values(self, features: NDArray[Any]) -> Floats:
        """Return the share of held-out patients that are at least as far, ``(N,)``."""
        return p_values(self.held_out, self.distances(features))

    def false_alarms(self, asked: float | None, where: str) -> float:
        """Return the share of patients like those of training that may be flagged.

        ``asked``, or without it 5 %, or what so few held-out patients allow.

        Raises:
            UserError: if there are too few held-out patients for the share that is asked.
        """
        patients = len(self.held_out)
        least = 1 / (1 + patients)
        if asked is None:
            return max(FALSE_ALARMS, least)
        if asked < least - NEAR:
            raise UserError(
                f"{where}: is {asked:g}, which needs {needed(1 - asked)} held-out patients, "
                f"but the model was calibrated on {patients}; leave it out, or set it to "
                f"{np.ceil(1000 * least - NEAR) / 1000:g} or more"
            )
        return asked


def evenly(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``MOST_SCANS`` of the rows at most, evenly spaced."""
    return rows[:: max(1, -(-len(rows) // MOST_SCANS))]


def unlike(p: Floats, false_alarms: float) -> NDArray[np.bool_]:
    """Say which scans are flagged."""
    return p <= false_alarms + NEAR


def _components(apart: Floats) -> tuple[Floats, Floats, float]:
    """Return axes ``(F, D)``, variances along them and across, of centred rows ``(N, F)``."""
    scans, features = apart.shape
    axes = min(MOST_AXES, scans // SCANS_AN_AXIS, features)
    total = float((apart**2).sum()) / scans
    if scans < features:  # the two products have the same eigenvalues; the smaller is quicker
        values, vectors = np.linalg.eigh(apart @ apart.T / scans)
        values, vectors = values[::-1][:axes], apart.T @ vectors[:, ::-1][:, :axes]
        lengths = np.linalg.norm(vectors, axis=0)
        kept = lengths > CONSTANT
        found, variances = vectors[:, kept] / lengths[kept], values[kept]
    else:
        values, vectors = np.linalg.eigh(apart.T @ apart / scans)
        found, variances = vectors[:, ::-1][:, :axes], values[::-1][:axes]
        kept = variances > CONSTANT
        found, variances = found[:, kept], variances[kept]
    others = max(1, min(features, int((apart != 0).any(axis=0).sum())) - len(variances))
    rest = max((total - float(variances.sum())) / others, CONSTANT)
    # A principal axis varies more than the others do, or it would not be one.
    return found, np.maximum(variances, rest), rest
