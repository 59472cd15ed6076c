"""Shares and rankings under many weightings of the same rows at once, without a loop."""

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Floats


def share(part: Floats, whole: Floats, otherwise: float = np.nan) -> Floats:
    """Divide; ``otherwise`` where there is nothing to divide by."""
    shares: Floats = np.full(np.shape(whole), otherwise)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def shared_weight(group: NDArray[np.int64]) -> Floats:
    """Return what each row counts where the rows of a group share the weight 1, ``(n,)``.

    ``group`` ``(n,)`` are codes from 0.
    """
    own: Floats = 1.0 / np.bincount(group)[group]
    return own


def ranking(
    scores: Floats, positive: NDArray[np.bool_], weights: Floats
) -> tuple[Floats, Floats]:
    """Return AUROC and average precision, each ``(D,)``; NaN where they are undefined.

    ``scores`` and ``positive`` are ``(n,)``, ``weights`` ``(n, D)``. One sort serves all draws:
    a draw only weighs the sorted rows anew. Rows of equal score make one threshold.
    """
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    here = weights[order]  # (n, D), then (thresholds, D)
    hits = here * positive[order][:, None]
    if len(starts) < len(order):
        here, hits = (np.add.reduceat(rows, starts, axis=0) for rows in (here, hits))
    # Only thresholds with positives add anything: the rest is not computed.
    some = np.flatnonzero(np.logical_or.reduceat(positive[order], starts))
    taken = here.cumsum(axis=0)
    everything = taken[-1]
    here, hits, taken = here[some], hits[some], taken[some]
    found = hits.cumsum(axis=0)
    positives = hits.sum(axis=0)
    negatives = everything - positives
    negatives[negatives < 1e-9 * everything] = 0.0  # what rounding leaves of none at all
    # Of each positive: the negatives below it, and half of those beside it.
    won = (hits * (negatives - (taken - found) + (here - hits) / 2)).sum(axis=0)
    precision = np.divide(found, taken, out=np.zeros_like(found), where=taken > 0)
    area = share(won, positives * negatives)
    return area, share((hits * precision).sum(axis=0), positives)
