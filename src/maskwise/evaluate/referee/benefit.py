"""Decision curves (Vickers and Elkin 2006): is a network worth asking, and at what trade?

Who treats from a probability t on takes t / (1 - t) needless treatments to be as bad as one
missed case. Net benefit = true positives / n - false positives / n x t / (1 - t).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskwise.array_types import Floats
from maskwise.evaluate.figures import figure, rounded
from maskwise.evaluate.referee.networks import Asked, Networks, drawn
from maskwise.evaluate.resampling import Draws, interval, resample

GRID = tuple(n / 100 for n in (*range(1, 10), *range(10, 100, 2)))
"""Threshold probabilities of the curve."""


def net_benefit(networks: Networks, thresholds: Sequence[float]) -> list[dict[str, Any]]:
    """Return, at each threshold, the net benefit and how far above the better default it is.

    The defaults are to treat all and to treat none, whose net benefit is 0. Draws of the
    network and of the defaults are the same, so that the difference is paired.
    """
    at = np.array(sorted({*thresholds, *GRID}))
    draws = networks.draws
    values = networks.over(lambda one: _benefits(one.test, at, draws))  # (2, T, R, D)
    found = []
    for place, one in enumerate(at):
        network = resample(values[0, place], draws)
        everyone = resample(values[1, place], draws)
        above = resample(values[0, place] - np.maximum(values[1, place], 0.0), draws)
        found.append(
            {
                "threshold": rounded(float(one)),
                **figure(network.value, interval(network.draws)),
                "treat_all": rounded(everyone.value),
                "above": figure(above.value, interval(above.draws)),
            }
        )
    return found


def _benefits(asked: Asked, at: Floats, draws: Draws) -> Floats:
    """Return the net benefit of the network and of treating all, ``(2, T, D)``."""
    called = asked.probabilities[:, None] >= at  # (n, T)
    right, wrong = called & asked.shows[:, None], called & ~asked.shows[:, None]
    columns = [right, wrong, asked.shows[:, None], np.ones((len(called), 1), bool)]
    sums = drawn(asked, np.concatenate(columns, axis=1).astype(np.float64), draws)
    whole, odds = sums[:, -1], (at / (1 - at))[:, None]
    hits, alarms = np.split(sums[:, :-2].T / whole, 2)  # (T, D) each
    common = sums[:, -2] / whole
    return np.stack([hits - odds * alarms, common - odds * (1 - common)])
