"""The linear probe: what a frozen encoder's features say by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from maskwise.bounds import Length, Positive, Within
from maskwise.finetune.classification.contract import Likelihood, Targets
from maskwise.finetune.classification.features import Features
from maskwise.finetune.classification.folds import Folds
from maskwise.finetune.classification.heads import LinearHead

Stages = tuple[int, ...]


@dataclass(frozen=True)
class ProbeConfig:
    """How the probe looks at features, and what it may choose from."""

    pooling: Literal["mean", "mean_max", "class"] = "mean_max"
    """Over an image's places: the mean, or mean and maximum side by side; or ``class``, the
    class token of a transformer (of an encoder without one the mean)."""
    strengths: Annotated[tuple[Positive, ...], Length(1, 100)] = (0.0003, 0.001, 0.01, 0.1, 1.0)
    """scikit-learn's C, inverse strength of the penalty on standardised features."""
    folds: Annotated[int, Within(2, 100)] = 5
    """Parts of a fraction's images, each held out once to choose by; unused with
    ``validation: full``."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and how it did on images when they were held out."""

    stages: Stages
    strength: float
    loss: float
    """Log loss, nats per image."""
    logits: NDArray[np.float64]
    """``(n, K)``."""
    targets: Targets


def candidates(stages: int) -> list[Stages]:
    """Return what a probe may look at: each stage alone, deepest first, and all together."""
    single: list[Stages] = [(stage,) for stage in reversed(range(stages))]
    return [*single, tuple(range(stages))] if stages > 1 else single


def choose(
    likelihood: Likelihood,
    features: Features,
    targets: Targets,
    weights: NDArray[np.float64],
    folds: Folds,
    stages: Sequence[Stages],
    strengths: Sequence[float],
) -> list[Choice]:
    """Choose the strength for each of ``stages`` by the log loss of held-out images.

    Of equally good strengths the smallest wins.

    Args:
        likelihood: of the task.
        features: a stage's pooled features of the images that ``folds`` counts.
        targets: of the same images.
        weights: ``(K,)`` of the classes.
        folds: every fold's images to fit on hold every stratum.
        stages: what to look at, one answer each.
        strengths: candidates.
    """
    held_out = np.concatenate([judge for _, judge in folds])
    truth = targets[held_out]
    choices = []
    for chosen in stages:
        seen = select(features, chosen)
        tried = []
        for strength in sorted(strengths):
            parts = [
                fit(likelihood, seen[rows], targets[rows], weights, strength).logits(
                    seen[judge]
                )
                for rows, judge in folds
            ]
            logits = np.concatenate(parts)
            loss = likelihood.log_loss(logits, truth)
            tried.append(Choice(chosen, strength, loss, logits, truth))
        choices.append(min(tried, key=lambda choice: choice.loss))
    return choices


def fit(
    likelihood: Likelihood,
    features: NDArray[np.float32],
    targets: Targets,
    weights: NDArray[np.float64],
    strength: float,
) -> LinearHead:
    """Fit a logistic regression on features standardised by themselves.

    Args:
        likelihood: of the task.
        features: ``(N, F)``.
        targets: of the same images.
        weights: ``(K,)`` of the classes, by class index.
        strength: scikit-learn's C.
    """
    exact = features.astype(np.float64)
    mean, std = exact.mean(axis=0), exact.std(axis=0)
    std[std < 1e-6 * (1 + np.abs(mean))] = 1.0
    weight, bias = likelihood.solve((exact - mean) / std, targets, weights, strength)
    return LinearHead(mean, std, weight, bias)


def select(features: Features, stages: Stages) -> NDArray[np.float32]:
    """Put the features of ``stages`` side by side, ``(N, F)``."""
    return np.concatenate([features[stage] for stage in stages], axis=1)
