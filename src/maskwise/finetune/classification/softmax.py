"""One class per image: probabilities that add to 1."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax
from torch import Tensor
from torch.nn.functional import cross_entropy

from maskwise.array_types import Floats
from maskwise.encoders.classifier import Activation
from maskwise.finetune.classification.contract import LEAST_CHANCE


class Softmax:
    """Targets are class indices ``(N,)``; every class occurs where anything is fitted."""

    activation: Activation = "softmax"

    def solve(
        self,
        features: Floats,
        targets: NDArray[np.int64],
        weights: Floats,
        strength: float,
    ) -> tuple[Floats, Floats]:
        # Late: every run looks at its options first, which import this as well.
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(
            C=strength, max_iter=2000, class_weight=dict(enumerate(weights))
        )
        model.fit(features, targets)
        weight, bias = model.coef_, model.intercept_
        if (
            len(weights) == 2
        ):  # scikit-learn gives the second class alone: softmax over (-z/2, z/2)
            weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        return weight, bias

    def chances(self, logits: Floats) -> Floats:
        return np.asarray(softmax(logits, axis=1))

    def logits(self, chances: Floats) -> Floats:
        return np.asarray(np.log(np.maximum(chances, LEAST_CHANCE)))

    def indicators(self, targets: NDArray[np.int64], classes: int) -> Floats:
        return np.eye(classes)[targets]

    def log_loss(self, logits: Floats, targets: NDArray[np.int64]) -> float:
        chosen = log_softmax(logits, axis=1)[np.arange(len(targets)), targets]
        return float(-chosen.mean())

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return cross_entropy(logits, targets, weights.to(torch.float32))

    def shift(self, weights: Floats) -> Floats:
        # Weights of classes are asked for (`class_weights`), and left to do what they do.
        return np.zeros(len(weights))
