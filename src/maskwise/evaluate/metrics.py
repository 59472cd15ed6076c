"""Classification metrics of one set of predictions under many weightings at once.

Shapes: ``probabilities`` ``(n, K)``; ``truth`` ``(n,)`` class codes; ``weights`` ``(n, D)``,
one column per bootstrap draw. Every metric returns ``(D,)`` and equals scikit-learn's on the
rows repeated by a column of whole weights; NaN where it is undefined. A mean over classes is
undefined where a class of ``truth`` has no weight: without it the mean would be of another
thing. There is no loop over draws.
"""

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Codes, Floats
from maskwise.weighted import ranking, share

METRICS = (
    "macro_auroc",
    "balanced_accuracy",
    "accuracy",
    "macro_f1",
    "average_precision",
    "calibration_error",
)
"""Names, in the order of ``scores.json``; AUROC and average precision are one-vs-rest and
macro, the calibration error is the expected one of the top label."""

MACRO = ("macro_auroc", "balanced_accuracy", "macro_f1", "average_precision")
"""Means over classes."""

SIMULATIONS = 200
"""Sets of labels drawn for the calibration error of perfectly calibrated predictions."""

_BLOCK = 2**17
"""Weights worked on at once: a megabyte, which stays in a core's cache."""


def score(probabilities: Floats, truth: Codes, weights: Floats, bins: int) -> Floats:
    """Return all ``METRICS`` ``(6, D)``."""
    n, draws = weights.shape
    step = max(1, _BLOCK // max(n, 1))
    parts = [
        _score(probabilities, truth, weights[:, first : first + step], bins)
        for first in range(0, draws, step)
    ]
    return np.concatenate(parts, axis=1)


def _score(probabilities: Floats, truth: Codes, weights: Floats, bins: int) -> Floats:
    table = confusion(probabilities, truth, weights)
    auroc, precision = _rankings(probabilities, truth, weights)
    values: dict[str, Floats] = {
        "macro_auroc": auroc,
        "balanced_accuracy": balanced_accuracy(table),
        "accuracy": accuracy(table),
        "macro_f1": macro_f1(table),
        "average_precision": precision,
        "calibration_error": calibration_error(probabilities, truth, weights, bins),
    }
    gone = _lack_a_class(truth, weights)
    for name in MACRO:
        values[name] = np.where(gone, np.nan, values[name])
    return np.stack([values[name] for name in METRICS])


def _lack_a_class(truth: Codes, weights: Floats) -> NDArray[np.bool_]:
    """Say which columns of ``weights`` leave a class of ``truth`` without any."""
    there = np.equal.outer(truth, np.unique(truth)).astype(np.float64)  # (n, classes)
    return np.asarray((weights.T @ there <= 0).any(axis=1))


def confusion(probabilities: Floats, truth: Codes, weights: Floats) -> Floats:
    """Return ``(D, K, K)``: weight of each truth (rows) and most probable class (columns)."""
    classes = probabilities.shape[1]
    cell = truth * classes + probabilities.argmax(axis=1)
    indicator = np.equal.outer(cell, np.arange(classes**2)).astype(np.float64)  # (n, K * K)
    table: Floats = weights.T @ indicator
    return table.reshape(-1, classes, classes)


def accuracy(table: Floats) -> Floats:
    """Weight on the diagonal over all weight."""
    return share(np.trace(table, axis1=1, axis2=2), table.sum(axis=(1, 2)))


def balanced_accuracy(table: Floats) -> Floats:
    """Mean recall of the classes that have weight."""
    return _mean_over_classes(share(_diagonal(table), table.sum(axis=2)))


def macro_f1(table: Floats) -> Floats:
    """Mean F1 of the classes that have weight or were predicted."""
    both = table.sum(axis=1) + table.sum(axis=2)  # 2 TP + FP + FN
    return _mean_over_classes(share(2 * _diagonal(table), both))


def calibration_error(
    probabilities: Floats, truth: Codes, weights: Floats, bins: int
) -> Floats:
    """Expected calibration error of the top label (Guo et al. 2017), ``bins`` of equal width.

    The mean over images of how far, in each bin of the highest probability, that probability
    lies from the share of right answers.
    """
    highest = probabilities.max(axis=1)
    excess = (probabilities.argmax(axis=1) == truth) - highest
    by_bin = in_bins(highest, bins) * excess[:, None]  # (n, bins)
    return share(np.abs(weights.T @ by_bin).sum(axis=1), weights.sum(axis=0))


def calibration_error_if_perfect(
    probabilities: Floats,
    weights: Floats,
    groups: Codes,
    bins: int,
    generator: np.random.Generator,
) -> float:
    """Return what ``calibration_error`` would be on average if every probability were right.

    With few images it is far from 0: a bin's share of right answers lies off its probability
    by chance, and the error counts that, whatever its sign. Answers are drawn right with the
    probability that the predictions state, for all images of a group at once: duplicates are
    right or wrong together. ``weights`` and ``groups`` are ``(n,)``.
    """
    return error_if_perfect(probabilities.max(axis=1), weights, groups, bins, generator)


def error_if_perfect(
    stated: Floats,
    weights: Floats,
    groups: Codes,
    bins: int,
    generator: np.random.Generator,
) -> float:
    """Return the calibration error of ``stated`` ``(n,)`` if all of them held."""
    weighed = in_bins(stated, bins) * weights[:, None]  # (n, bins)
    step, errors = max(1, _BLOCK // len(stated)), []
    number_of_groups = int(groups.max()) + 1
    for first in range(0, SIMULATIONS, step):
        number = min(step, SIMULATIONS - first)
        right = generator.random((number, number_of_groups))[:, groups] < stated
        errors.append(np.abs((right - stated) @ weighed).sum(axis=1) / weights.sum())
    return float(np.concatenate(errors).mean())


def in_bins(stated: Floats, bins: int) -> NDArray[np.bool_]:
    """Return ``(n, bins)``: which bin of equal width holds each stated probability."""
    place = np.clip(np.ceil(stated * bins).astype(np.int64) - 1, 0, bins - 1)
    inside: NDArray[np.bool_] = np.equal.outer(place, np.arange(bins))
    return inside


def _rankings(probabilities: Floats, truth: Codes, weights: Floats) -> tuple[Floats, Floats]:
    """Return macro one-vs-rest AUROC and average precision, means over the classes there."""
    both = [
        ranking(probabilities[:, k], truth == k, weights) for k in range(probabilities.shape[1])
    ]
    areas, precisions = zip(*both, strict=True)
    return _mean_over_classes(np.stack(areas, axis=1)), _mean_over_classes(
        np.stack(precisions, axis=1)
    )


def _diagonal(table: Floats) -> Floats:
    return np.diagonal(table, axis1=1, axis2=2)


def _mean_over_classes(values: Floats) -> Floats:
    """Average ``(D, K)`` over the classes where a value is defined."""
    defined = ~np.isnan(values)
    return share(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(float))
