"""From which probability on a label is called: chosen by validation images alone."""

import numpy as np

from maskwise.array_types import Floats

LEAST_POSITIVES = 5
"""Validation images that show a label, below which nothing is chosen by them."""
OTHERWISE = 0.5
RULE = (
    "A label is called where its probability is at least its threshold. Of 0.5 and the values "
    "halfway between neighbouring probabilities of the validation images, and halfway from 0 "
    "to the smallest, the threshold is the one with the highest F1 on these images, of equally "
    f"good ones the nearest to 0.5; it is 0.5 where fewer than {LEAST_POSITIVES} validation "
    "images show the label."
)


def choose_thresholds(chances: Floats, targets: Floats) -> tuple[float, ...]:
    """Return the threshold of each label, as ``RULE`` says.

    Args:
        chances: ``(N, K)`` probabilities of the validation images.
        targets: ``(N, K)``, 1 where an image shows a label.
    """
    return tuple(
        _best(chances[:, k], targets[:, k] > 0)
        if targets[:, k].sum() >= LEAST_POSITIVES
        else OTHERWISE
        for k in range(chances.shape[1])
    )


def _best(chances: Floats, positive: np.ndarray) -> float:
    known = np.unique(chances)
    halfway = (known + np.concatenate([[0.0], known[:-1]])) / 2
    # Ordered by their distance from 0.5, so that the first maximum is the nearest.
    candidates = np.unique(np.append(halfway, OTHERWISE))
    candidates = candidates[np.argsort(np.abs(candidates - OTHERWISE), kind="stable")]
    called = chances >= candidates[:, None]  # (candidates, N)
    right = (called & positive).sum(axis=1)
    f1 = 2 * right / (called.sum(axis=1) + positive.sum())
    return float(candidates[f1.argmax()])
