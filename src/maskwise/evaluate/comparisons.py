"""Paired differences between recipes: which, with what p, and Holm's adjustment."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.errors import UserError
from maskwise.evaluate.config import EvaluateConfig, Pair, Primary

COVERS = {True: "training and test images", False: "test images only"}
"""What an interval says that it covers, by whether there are repetitions enough."""
SIGN_FLIP_SEEDS = (8, 16)
"""Fewer than 8 cannot go below p = 2 / 2 ** 7 = .016; more than 16 are 65,536 sign patterns."""


def chosen_pairs(
    recipes: Iterable[str], config: EvaluateConfig, primary: Primary | None = None
) -> list[Pair]:
    """Return the comparisons of the page, recipe minus other, among ``recipes``.

    Those named beforehand come first.
    """
    present = list(dict.fromkeys(recipes))
    pairs = list(primary.comparisons) if primary else []
    pairs += [
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


def sign_flip(differences: NDArray[np.float64], folds: bool, where: str) -> float:
    """Return the exact two-sided p of the seeds' ``differences`` ``(S,)``.

    Under no effect each sign is as likely as its opposite; p is the share of all 2 ** S sign
    patterns whose mean is at least as far from 0 as the one seen. It speaks of the seeds
    alone, not of the test images.

    Raises:
        UserError: with fewer than 8 seeds, or more than 16; of folds, whose networks share
            training images and so are not independent.
    """
    if folds:
        raise UserError(
            f"{where}.test: `sign_flip` takes seeds as independent, which folds are not; take "
            "`test: bootstrap`"
        )
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


def adjust(paired: pd.DataFrame) -> pd.DataFrame:
    """Fill ``p_holm``: the family is all comparisons that have a p, the primary ones."""
    return paired.assign(p_holm=holm(paired["p"].to_numpy(np.float64)))
