"""What a task says that asks a linear layer on an encoder about each image.

Shapes: N images, F features, K classes. ``targets`` are what a task makes of labels, an array
of N rows, which its likelihood understands.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from maskwise.array_types import Floats
from maskwise.artefacts.model import ClassifierMetadata, ModelMetadata
from maskwise.encoders.classifier import Activation
from maskwise.finetune.subsets import Validation

LEAST_CHANCE = 1e-3
"""What no neighbour votes for is taken to be this likely."""
Targets = NDArray[Any]


class Likelihood(Protocol):
    """How logits become probabilities, and what is lost on them."""

    @property
    def activation(self) -> Activation: ...

    def solve(
        self, features: Floats, targets: Targets, weights: Floats, strength: float
    ) -> tuple[Floats, Floats]:
        """Return weight ``(K, F)`` and bias ``(K,)`` of the logistic regression.

        Args:
            features: ``(N, F)``, standardised.
            targets: of the same images.
            weights: ``(K,)``, as ``Question.weights`` gives them.
            strength: scikit-learn's C.
        """

    def chances(self, logits: Floats) -> Floats:
        """Turn logits ``(N, K)`` into probabilities."""

    def logits(self, chances: Floats) -> Floats:
        """Turn probabilities, which may be 0 or 1, into finite logits."""

    def indicators(self, targets: Targets, classes: int) -> Floats:
        """Return 1 where an image shows a class, else 0, ``(N, classes)``."""

    def log_loss(self, logits: Floats, targets: Targets) -> float:
        """Return the mean of -ln(probability of the truth), in nats."""

    def loss(self, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """Return what training minimises, a scalar."""

    def shift(self, weights: Floats) -> Floats:
        """Return what the weights add to logits ``(K,)``; it is taken off what was learnt."""


class Question(Protocol):
    """A task on one source."""

    @property
    def name(self) -> str:
        """Of the task in the YAML."""

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the logits."""

    @property
    def likelihood(self) -> Likelihood: ...

    def labelled(self, index: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
        """Return those of ``rows`` that have a label.

        Args:
            index: of the store.
            rows: of a split: ``image_id, group, split, fold, row``, the last in the index.

        Returns:
            With a ``label``, text, and the ``stratum`` by which subsets and folds are drawn.
        """

    def subsets(
        self,
        labelled: pd.DataFrame,
        fractions: Sequence[float],
        validation: Validation,
        seed: int,
    ) -> pd.DataFrame:
        """Choose the images of every fraction, as ``finetune.subsets`` does.

        Raises:
            UserError: if they do not suffice.
        """

    def targets(self, labels: "pd.Series[str]") -> Targets: ...

    def weights(self, targets: Targets) -> Floats:
        """Return the weight of each class ``(K,)`` in training on ``targets``."""

    def completed(
        self, metadata: ModelMetadata, logits: Floats, targets: Targets
    ) -> ClassifierMetadata:
        """Add to the metadata what the task chooses by the logits of validation images."""

    def answers(
        self, metadata: ClassifierMetadata, logits: Floats, targets: Targets
    ) -> pd.DataFrame:
        """Return the task's own columns of the predictions."""
