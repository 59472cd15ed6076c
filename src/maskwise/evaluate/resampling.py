"""Two-level draws: what repetitions and test groups weigh in each; intervals; p.

The unit of the test set is the group; the second source of variation is the repetition (a
seed). Groups are drawn with replacement (bootstrap). Of repetitions there are too few for that:
over 5 of them a bootstrap interval holds the truth 85 times in 100, and a p corrected for 51
comparisons falls below .05 in one study of three in which nothing differs. Their mean is drawn
from Student's distribution about what was found, with R - 1 degrees of freedom.

All recipes, modes and fractions share the draws, so their differences are paired. Column 0 is
no draw but the data themselves: every repetition and group once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskwise.seeds import stream

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Of all intervals."""
_DIGITS = 12
"""Differences are rounded to so many decimals, for equal scores summed in another order."""


@dataclass(frozen=True)
class Draws:
    """What each unit weighs in each draw."""

    repetitions: Floats
    """``(R, 1 + B)``, of sum 1; a weight may be negative."""
    groups: Floats
    """``(G, 1 + B)``: how often the group is in the draw."""


def draw(repetitions: int, groups: int, draws: int, seed: int) -> Draws:
    """Draw ``draws`` times; equal arguments give equal draws."""
    return Draws(
        _student(repetitions, draws, stream(seed, "bootstrap", "repetitions")),
        _counts(groups, draws, stream(seed, "bootstrap", "groups")),
    )


def _student(units: int, draws: int, generator: np.random.Generator) -> Floats:
    """Return weights that turn numbers x into draws of mean(x) + sd(x) / sqrt(R) * t.

    They are the same for all x, so that the draws of a difference are the difference of draws.
    """
    weights = np.full((units, 1 + draws), 1 / units)
    if units == 1:  # nothing is known of how another repetition would differ
        return weights
    freedom = units - 1
    normal = generator.standard_normal((units, draws))
    scale = np.sqrt(freedom / generator.chisquare(freedom, draws) / (units * freedom))
    weights[:, 1:] += scale * (normal - normal.mean(axis=0))
    return weights


def _counts(units: int, draws: int, generator: np.random.Generator) -> Floats:
    counts = generator.multinomial(units, np.full(units, 1 / units), size=draws)
    return np.concatenate([np.ones((units, 1)), counts.T], axis=1)


@dataclass(frozen=True)
class Resampled:
    """One number's draws ``(1 + B,)``, the first of them its value."""

    both: Floats
    """Repetitions and groups drawn."""
    seeds: Floats
    """Repetitions only."""
    groups: Floats
    """Groups only."""


def combine(values: Floats, draws: Draws) -> Resampled:
    """Average a metric ``(R, 1 + B)`` over the repetitions, as each draw weighs them."""
    return Resampled(
        both=(draws.repetitions * values).sum(axis=0),
        seeds=(draws.repetitions * values[:, :1]).sum(axis=0),
        groups=values.mean(axis=0),
    )


def interval(draws: Floats) -> tuple[float, float]:
    """Return the ends of the percentile interval of ``draws`` ``(1 + B,)``.

    They are order statistics chosen so that 0 lies outside exactly when ``p_value`` is at most
    1 - LEVEL. Undefined draws (a class is missing in the resample) are left out; NaN where
    fewer than 39 draws are defined.
    """
    ordered = np.sort(_defined(draws))
    k = _tail(len(ordered))
    if k < 1:
        return float("nan"), float("nan")
    return float(ordered[k - 1]), float(ordered[-k])


def p_value(differences: Floats) -> float:
    """Return the two-sided p of ``differences`` ``(1 + B,)``, from the interval's own draws."""
    drawn = _defined(differences)
    if _tail(len(drawn)) < 1:
        return float("nan")
    fewer = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return float(min(1.0, 2 * (fewer + 1) / (len(drawn) + 1)))


def difference(one: Resampled, other: Resampled) -> Resampled:
    """Subtract draw by draw."""
    return Resampled(
        both=np.round(one.both - other.both, _DIGITS),
        seeds=np.round(one.seeds - other.seeds, _DIGITS),
        groups=np.round(one.groups - other.groups, _DIGITS),
    )


def _tail(draws: int) -> int:
    """Return how many draws lie outside on each side, the interval's end included."""
    # 1e-9: 0.025 * 40 is 1, not 0.9999999999999999.
    return int((1 - LEVEL) / 2 * (draws + 1) + 1e-9)


def _defined(draws: Floats) -> Floats:
    """Return the draws proper, without the data themselves."""
    drawn = draws[1:]
    return drawn[~np.isnan(drawn)]
