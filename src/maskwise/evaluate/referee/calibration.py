"""Whether stated probabilities of a class can be taken at face value: bins, and their error."""

from typing import Any

import numpy as np

from maskwise.array_types import Floats
from maskwise.evaluate import scales
from maskwise.evaluate.figures import figure, rounded
from maskwise.evaluate.metrics import error_if_perfect, in_bins
from maskwise.evaluate.referee.networks import Asked, Networks, drawn
from maskwise.evaluate.resampling import Draws, Part, interval, resample
from maskwise.seeds import stream
from maskwise.weighted import share


def calibration(networks: Networks, bins: int, seed: int) -> dict[str, Any]:
    """Return the expected calibration error of one class, the gap of the means, and the bins.

    The error is the mean over images of how far, in each bin of equal width of the stated
    probability, that lies from the share that shows the class. The gap is the mean stated
    probability minus that share, of all images.
    """
    draws = networks.draws
    pairs = networks.over(lambda one: _error_and_gap(one.test, bins, draws))  # (2, R, D)
    groups = sum(draws.sizes)
    error, gap = (resample(values, draws) for values in pairs)
    perfect = [
        error_if_perfect(
            one.test.probabilities,
            one.test.weights,
            one.test.group,
            bins,
            stream(seed, "calibration", "referee"),
        )
        for one in networks.each()
    ]
    return {
        "error": {
            **figure(error.value, scales.interval(error.value, error.both, groups, "outcome")),
            "if_perfect": rounded(float(np.mean(perfect))),
        },
        "gap": figure(gap.value, np.clip(interval(gap.draws), -1, 1)),
        "bins": _bins(networks, bins),
    }


def _error_and_gap(asked: Asked, bins: int, draws: Draws) -> Floats:
    """Return both, ``(2, D)``."""
    excess = (asked.probabilities - asked.shows)[:, None]
    columns = np.concatenate(
        [in_bins(asked.probabilities, bins) * excess, excess, np.ones_like(excess)], axis=1
    )
    sums = drawn(asked, columns, draws)
    whole = sums[:, -1]
    return np.stack(
        [share(np.abs(sums[:, :bins]).sum(axis=1), whole), share(sums[:, bins], whole)]
    )


def _bins(networks: Networks, bins: int) -> list[dict[str, Any]]:
    """Return the bins that hold an image, all networks' answers together.

    Their intervals hold the choice of test images alone.
    """
    draws, whole = networks.draws, np.zeros((networks.draws.groups.shape[1], 3 * bins))
    images, groups = np.zeros(bins, int), [set[int]() for _ in range(bins)]
    for network in networks.each():
        asked = network.test
        inside = in_bins(asked.probabilities, bins)
        columns = [inside, inside * asked.probabilities[:, None], inside & asked.shows[:, None]]
        whole += drawn(asked, np.concatenate(columns, axis=1).astype(np.float64), draws)
        images += inside.sum(axis=0)
        for place in range(bins):
            groups[place] |= set(asked.group[inside[:, place]].tolist())
    weight, stated, shows = np.split(whole, 3, axis=1)
    observed = share(shows, weight)
    found = []
    for place in np.flatnonzero(images).tolist():
        known = observed[1:, place][~np.isnan(observed[1:, place])]
        value, count = float(observed[0, place]), len(groups[place])
        ends = (float("nan"), float("nan"))
        if count > 1 and len(known):
            part = Part(float(known.var()) * count / (count - 1), count - 1.0)
            ends = scales.interval(value, part, count, "outcome")
        found.append(
            {
                "from": rounded(place / bins),
                "to": rounded((place + 1) / bins),
                "stated": rounded(float(stated[0, place] / weight[0, place])),
                "observed": figure(value, ends),
                "n_answers": int(images[place]),
                "n_groups": count,
            }
        )
    return found
