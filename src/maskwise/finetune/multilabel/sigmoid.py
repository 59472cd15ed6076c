"""Several labels per image: of each the probability that the image shows it."""

import numpy as np
import torch
from scipy.special import expit, logit
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from maskwise.array_types import Floats
from maskwise.encoders.classifier import Activation
from maskwise.finetune.classification.contract import LEAST_CHANCE


class Sigmoid:
    """Targets ``(N, K)`` are 1 where an image shows a label, else 0.

    The weights are those of the positives, of which a balanced loss makes more than there are.
    What that adds to a logit is the logarithm of the weight (King and Zeng, "Logistic
    regression in rare events data", 2001, prior correction). It is taken off again: otherwise
    what is said to be 70 % likely would not be seen in 70 of 100 images, and labels of
    different weights could not be ranked together.
    """

    activation: Activation = "sigmoid"

    def solve(
        self, features: Floats, targets: Floats, weights: Floats, strength: float
    ) -> tuple[Floats, Floats]:
        """Solve one logistic regression per label.

        Of a label that all or none of the images show the answer is its frequency, (n + 1/2) /
        (N + 1), whatever the image.
        """
        # Late: every run looks at its options first, which import this as well.
        from sklearn.linear_model import LogisticRegression

        weight = np.zeros((targets.shape[1], features.shape[1]))
        bias = logit((targets.sum(axis=0) + 0.5) / (len(targets) + 1))
        for k in np.flatnonzero(targets.min(axis=0) < targets.max(axis=0)):
            model = LogisticRegression(
                C=strength, max_iter=2000, class_weight={0: 1.0, 1: weights[k]}
            )
            model.fit(features, targets[:, k].astype(np.int64))
            weight[k] = model.coef_[0]
            bias[k] = model.intercept_[0] - np.log(weights[k])
        return weight, bias

    def chances(self, logits: Floats) -> Floats:
        return np.asarray(expit(logits))

    def logits(self, chances: Floats) -> Floats:
        return np.asarray(logit(chances.clip(LEAST_CHANCE, 1 - LEAST_CHANCE)))

    def indicators(self, targets: Floats, classes: int) -> Floats:
        return targets

    def log_loss(self, logits: Floats, targets: Floats) -> float:
        """Return the mean over images and labels."""
        return float((np.logaddexp(0, logits) - targets * logits).mean())

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(
            logits, targets.to(logits.dtype), pos_weight=weights.to(torch.float32)
        )

    def shift(self, weights: Floats) -> Floats:
        return np.log(weights)
