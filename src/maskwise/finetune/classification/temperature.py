"""One number that makes probabilities honest: Guo et al., "On calibration" (ICML 2017)."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from maskwise.finetune.classification.contract import Likelihood, Targets

SPREAD = 1.0
"""Of the prior on log temperature: a handful of images cannot push it to 0 or infinity."""


def calibrated(
    likelihood: Likelihood, logits: NDArray[np.float64], targets: Targets
) -> tuple[float, int]:
    """Return the temperature, and on how many images it was fitted.

    They are 1 and 0 where no image is held out, and where an image has one of several classes
    but no held-out image has one of these: the rest cannot say how sure an answer may be, and
    images of one class alone would only say "surer".

    Arguments are those of ``fit_temperature``.
    """
    shown = likelihood.indicators(targets, logits.shape[1]).any(axis=0)
    if likelihood.activation == "softmax" and not shown.all():
        return 1.0, 0
    return fit_temperature(likelihood, logits, targets), len(targets)


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
