"""The k-NN probe: what the labels of the most similar training images say, nothing trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.bounds import Length, Positive, Within
from maskwise.cosine import nearest, of_length_one
from maskwise.finetune.classification.contract import Likelihood, Targets
from maskwise.finetune.classification.features import Features
from maskwise.finetune.classification.folds import Folds
from maskwise.finetune.classification.probe import Choice, Stages, select

IMAGES_AT_ONCE = 1024


@dataclass(frozen=True)
class KnnConfig:
    """Which neighbours vote, and how much each counts."""

    neighbours: Annotated[tuple[Annotated[int, Within(1, 10_000)], ...], Length(1, 100)] = (20,)
    """k, or fewer where there are fewer training images; of several, held-out images choose."""
    temperature: Positive = 0.07
    """A neighbour of the cosine similarity s counts exp(s / temperature)."""


def vote(
    queries: NDArray[np.float32],
    bank: NDArray[np.float32],
    shown: Floats,
    neighbours: int,
    temperature: float,
    apart: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Floats:
    """Return the share of the votes that each class gets, ``(Q, K)``.

    Wu et al., "Unsupervised feature learning via non-parametric instance discrimination" (CVPR
    2018): the k most similar training images vote for what they show, each with the weight
    exp(s / temperature), s being the cosine of the angle between its features and the query's.

    Args:
        queries: ``(Q, F)`` features.
        bank: ``(N, F)`` features of the training images.
        shown: ``(N, K)``, 1 where a training image shows a class.
        neighbours: k; all of them where there are fewer.
        temperature: as above.
        apart: codes ``(Q,)`` and ``(N,)`` of whose images they are: nobody is asked about what
            shows the same patient. Some other's image must be left.
    """
    k, sides = min(neighbours, len(bank)), of_length_one(bank)
    shares = []
    for start in range(0, len(queries), IMAGES_AT_ONCE):
        similar = of_length_one(queries[start : start + IMAGES_AT_ONCE]) @ sides.T  # (B, N)
        if apart is not None:
            own = apart[0][start : start + IMAGES_AT_ONCE]
            similar[np.equal.outer(own, apart[1])] = -np.inf  # which weighs nothing
        voters, closeness = nearest(similar, k)
        weights = np.exp((closeness - closeness[:, :1]) / temperature)
        votes = (weights[:, :, None] * shown[voters]).sum(axis=1)
        shares.append(votes / weights.sum(axis=1, keepdims=True))
    return np.concatenate([np.zeros((0, shown.shape[1])), *shares])


def choose(
    likelihood: Likelihood,
    features: Features,
    targets: Targets,
    classes: int,
    folds: Folds,
    stages: Sequence[Stages],
    config: KnnConfig,
) -> Choice:
    """Choose stages and k, a choice's ``strength``, by the log loss of held-out images.

    Of equally good ones the first stages win, and the smallest k.

    Args:
        likelihood: of the task.
        features: a stage's pooled features of the images that ``folds`` counts.
        targets: of the same images.
        classes: K.
        folds: on which images each choice is judged.
        stages: what to look at.
        config: the options.
    """
    truth = targets[np.concatenate([judge for _, judge in folds])]
    shown = likelihood.indicators(targets, classes)
    tried = []
    for chosen in stages:
        seen = select(features, chosen)
        for k in sorted(config.neighbours):
            parts = [
                vote(seen[judge], seen[rows], shown[rows], k, config.temperature)
                for rows, judge in folds
            ]
            logits = likelihood.logits(np.concatenate(parts))
            loss = likelihood.log_loss(logits, truth)
            tried.append(Choice(chosen, float(k), loss, logits, truth))
    return min(tried, key=lambda choice: choice.loss)
