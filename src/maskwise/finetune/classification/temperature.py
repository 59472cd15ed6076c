"""One number that makes probabilities honest: Guo et al., "On calibration" (ICML 2017)."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from maskwise.finetune.classification.contract import Likelihood, Targets

SPREAD = 1.0
"""Of the prior on log temperature: a handful of images cannot push it to 0 or infinity."""


def fit_temperature(
    likelihood: Likelihood, logits: NDArray[np.float64], targets: Targets
) -> float:
    """Return the T whose logits / T are likeliest on held-out images.

    Minimises the summed log loss + (ln T)^2 / (2 SPREAD^2) over T in [1/20, 20].

    Args:
        likelihood: of the task.
        logits: ``(N, K)``, of images that the model did not learn from.
        targets: of the same images.
    """
    if len(targets) == 0:
        return 1.0

    def cost(log_temperature: float) -> float:
        fit = likelihood.log_loss(logits / np.exp(log_temperature), targets) * len(targets)
        return fit + log_temperature**2 / (2 * SPREAD**2)

    found = minimize_scalar(cost, bounds=(-np.log(20), np.log(20)), method="bounded")
    return float(np.exp(found.x))
