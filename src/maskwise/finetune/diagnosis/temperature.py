"""One number that makes probabilities honest: Guo et al., "On calibration" (ICML 2017)."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

SPREAD = 1.0
"""Of the prior on log temperature: a handful of images cannot push it to 0 or infinity."""


def fit_temperature(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Return the T that makes softmax(logits / T) likeliest on held-out images.

    Minimises the summed log loss + (ln T)^2 / (2 SPREAD^2) over T in [1/20, 20].

    Args:
        logits: ``(N, K)``, of images that the model did not learn from.
        targets: ``(N,)`` class indices.
    """
    if len(targets) == 0:
        return 1.0

    def cost(log_temperature: float) -> float:
        fit = log_loss(logits / np.exp(log_temperature), targets) * len(targets)
        return fit + log_temperature**2 / (2 * SPREAD**2)

    found = minimize_scalar(cost, bounds=(-np.log(20), np.log(20)), method="bounded")
    return float(np.exp(found.x))


def log_loss(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> float:
    """Return the mean of -ln(probability of the truth), in nats."""
    chosen = log_softmax(logits, axis=1)[np.arange(len(targets)), targets]
    return float(-chosen.mean())
