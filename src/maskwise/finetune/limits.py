"""What a model's sets of answers and its flag of strangers rest on, from held-out images."""

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.finetune.classification.contract import Likelihood, Targets
from maskwise.limits.conformal import Calibration, chances_of_labels, of_labels


def calibrate(
    likelihood: Likelihood,
    classes: tuple[str, ...],
    logits: Floats,
    targets: Targets,
    patients: NDArray[np.object_],
) -> Calibration:
    """Score the answers to held-out images.

    The probabilities are those that `evaluate` reads: before a temperature, so that what it
    measures on test images is what `predict` does.

    Args:
        likelihood: of the task.
        classes: K names.
        logits: ``(N, K)`` of the held-out images.
        targets: of the same.
        patients: the group of each.
    """
    chances = likelihood.chances(logits)
    shows = likelihood.indicators(targets, len(classes)) > 0
    if likelihood.activation == "sigmoid":
        classes, chances = of_labels(classes), chances_of_labels(chances)
        shows = np.concatenate([shows, ~shows], axis=1)
    return Calibration.of(classes, chances, shows, patients)
