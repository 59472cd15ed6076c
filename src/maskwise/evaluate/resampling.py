"""The two-level bootstrap: how often repetitions and test groups are in a draw; intervals; p.

The unit of the test set is the group; the second source of variation is the repetition (a
seed). All recipes, modes and fractions share the draws, so their differences are paired.
Column 0 of the counts is no draw but the data themselves: every repetition and group once.
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
    """How often each unit is in each draw."""

    repetitions: Floats
    """``(R, 1 + B)``."""
    groups: Floats
    """``(G, 1 + B)``."""


def draw(repetitions: int, groups: int, draws: int, seed: int) -> Draws:
    """Draw repetitions and groups with replacement, ``draws`` times."""
    return Draws(
        _counts(repetitions, draws, stream(seed, "bootstrap", "repetitions")),
        _counts(groups, draws, stream(seed, "bootstrap", "groups")),
    )


def _counts(units: int, draws: int, generator: np.random.Generator) -> Floats:
    counts = generator.multinomial(units, np.full(units, 1 / units), size=draws)
    return np.concatenate([np.ones((units, 1)), counts.T], axis=1)


@dataclass(frozen=True)
class Resampled:
    """One number's draws ``(1 + B,)``, the first of them its value."""

    both: Floats
    """Repetitions and groups resampled."""
    seeds: Floats
    """Repetitions only."""
    groups: Floats
    """Groups only."""


def combine(values: Floats, draws: Draws) -> Resampled:
    """Average a metric ``(R, 1 + B)`` over the repetitions that each draw holds."""
    share = draws.repetitions / len(values)
    return Resampled(
        both=(share * values).sum(axis=0),
        seeds=(share * values[:, :1]).sum(axis=0),
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
