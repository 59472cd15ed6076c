"""Intervals that keep to the range of what they are of.

A share, an AUROC or a Dice lies in [0, 1]: its interval is that of a proportion of as many
independent trials as would spread as much (an effective sample size, Korn and Graubard 1998,
degrees of freedom corrected for), from Jeffreys' Beta distribution, which has an answer at 0
and 1 as well. A distance lies above 0: its interval is Student's, cut there.
"""

from typing import Literal

import numpy as np
from scipy import stats

from maskwise.evaluate.resampling import LEVEL, Part

Scale = Literal["unit", "outcome", "distance"]
"""``unit``: in [0, 1]; ``outcome``: so as well, and made of images called rightly or wrongly;
``distance``: 0 or more."""
TRIALS = 9
"""Trials that a group is worth at most, of an ``outcome``.

Close to 1 a few images that happen to be called rightly have no spread at all, and without a
bound the interval would believe it. Chosen by simulation (docs/results/coverage.md).
"""
_TAIL = (1 - LEVEL) / 2
_NOTHING = 1e-14
"""Variance, or distance from 0 and 1, that is none: figures are written to 6 digits."""


def interval(value: float, part: Part, groups: int, scale: Scale) -> tuple[float, float]:
    """Return the ends of the interval of ``value``, which spreads as ``part`` says.

    ``groups`` is the number of test groups.
    """
    if np.isnan(value) or np.isnan(part.variance):
        return float("nan"), float("nan")
    if scale == "distance":
        return _above_zero(value, part)
    return _between_0_and_1(value, part, groups, scale)


def most(scale: Scale) -> float:
    """Return how far two values can lie apart."""
    return float("inf") if scale == "distance" else 1.0


def _above_zero(value: float, part: Part) -> tuple[float, float]:
    half = float(stats.t.isf(_TAIL, part.freedom)) * float(np.sqrt(part.variance))
    return max(0.0, value - half), value + half


def _between_0_and_1(
    value: float, part: Part, groups: int, scale: Scale
) -> tuple[float, float]:
    inside = _NOTHING < value < 1 - _NOTHING
    if inside and part.variance < _NOTHING:
        return value, value
    trials = value * (1 - value) / part.variance if inside else float(groups)
    known = stats.t.isf(_TAIL, max(1, groups - 1)) / stats.t.isf(_TAIL, part.freedom)
    trials *= float(known) ** 2
    if scale == "outcome" and inside:
        trials = 1 / (1 / trials + 1 / (TRIALS * groups))
    right, wrong = trials * value + 0.5, trials * (1 - value) + 0.5
    low = 0.0 if value <= _NOTHING else float(stats.beta.ppf(_TAIL, right, wrong))
    high = 1.0 if value >= 1 - _NOTHING else float(stats.beta.isf(_TAIL, right, wrong))
    # Very few trials draw the Beta's middle to a half.
    return min(low, value), max(high, value)
