"""Paired differences between recipes: which, with what p, and Holm's adjustment."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.errors import UserError
from maskwise.evaluate.config import EvaluateConfig

SIGN_FLIP_SEEDS = (8, 16)
"""Fewer than 8 cannot go below p = 2 / 2 ** 7 = .016; more than 16 are 65,536 sign patterns."""


def chosen_pairs(recipes: Iterable[str], config: EvaluateConfig) -> list[tuple[str, str]]:
    """Return the comparisons of the page, recipe minus other, among ``recipes``."""
    present = list(dict.fromkeys(recipes))
    pairs = [
        (recipe, config.against)
        for recipe in present
        if recipe != config.against and recipe not in config.except_recipes
    ]
    pairs += config.pairs
    return [
        (one, other)
        for one, other in dict.fromkeys(pairs)
        if one in present and other in present
    ]


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjust a family of p-values (Holm 1979); NaN stays NaN and counts for nothing."""
    adjusted = np.full(len(p), np.nan)
    defined = np.flatnonzero(~np.isnan(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def sign_flip(differences: NDArray[np.float64], where: str) -> float:
    """Return the exact two-sided p of the seeds' ``differences`` ``(S,)``.

    Under no effect each sign is as likely as its opposite; p is the share of all 2 ** S sign
    patterns whose mean is at least as far from 0 as the one seen. It speaks of the seeds
    alone, not of the test images.

    Raises:
        UserError: with fewer than 8 seeds, or more than 16.
    """
    seeds = len(differences)
    least, most = SIGN_FLIP_SEEDS
    if not least <= seeds <= most:
        raise UserError(
            f"{where}.test: `sign_flip` needs {least} to {most} seeds, but there are {seeds} "
            f"(with S seeds its p cannot go below 2 / 2^S); take `test: bootstrap`"
        )
    patterns = (np.arange(2**seeds)[:, None] >> np.arange(seeds)) & 1
    sums = np.abs((1 - 2 * patterns) @ differences)
    # Sums that are equal but for their order of summation are equal.
    return float((sums >= abs(differences.sum()) - 1e-12).mean())


def least_p(draws: int) -> float:
    """Return the least p that so many draws of the bootstrap can give."""
    return 2 / (draws + 1)


def largest_family(paired: pd.DataFrame) -> int:
    """Return how many comparisons Holm's correction counts, of the metric that has most."""
    counts = paired.groupby("metric")["p"].count()
    return int(counts.max()) if len(counts) else 0


def adjust(paired: pd.DataFrame) -> pd.DataFrame:
    """Fill ``p_holm``: a family is all comparisons of one metric on the page."""
    adjusted = paired.groupby("metric", sort=False)["p"].transform(
        lambda p: pd.Series(holm(p.to_numpy(np.float64)), index=p.index)
    )
    return paired.assign(p_holm=adjusted)
