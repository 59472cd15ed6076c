"""What is left of a metric as labels vanish: one number per curve, and who has more of it.

The area under the metric against the logarithm of the number of labelled images, divided by
its width, is a mean over fractions in units of the metric: a recipe that needs fewer labels has
more of it. The drop says what share of what a recipe has above chance is lost from all labels
to the fewest. Of weak recipes, which have little to lose, it says little: areas give the order.
Who stands higher may lose more all the same, so that pairs are compared in both, draw by draw.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from maskwise.array_types import Floats
from maskwise.evaluate import scales
from maskwise.evaluate.config import Pair
from maskwise.evaluate.figures import figure
from maskwise.evaluate.resampling import Resampled, interval, resample
from maskwise.evaluate.results import Results


def summarise(results: Results, subsets: pd.DataFrame, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Return area and drop of each recipe, and their paired differences, by mode.

    Of the leading metric; nothing for a mode with fewer than two fractions. The draws are those
    of the curves' own intervals, so that recipes are compared in pairs. Areas over other
    fractions are of other widths, so a recipe that lacks one has none; ``lacking`` names it,
    and the fractions.

    Args:
        results: of all curves.
        subsets: ``tables.SUBSETS`` of all replicates: how many images a fraction has.
        pairs: the page's comparisons, of which drops are compared as well; the matrix ``wins``
            of areas has all.
    """
    sizes = images_of(subsets)
    found: dict[str, Any] = {}
    for mode in dict.fromkeys(mode for _, mode, _ in results.values):
        curves, lacking = _curves(results, mode, sizes)
        if curves:
            found[mode] = {
                "recipes": {
                    name: _one(results, curve, sizes) for name, curve in curves.items()
                },
                "wins": _wins(results, curves, sizes),
                "pairs": [
                    {"recipe": one, "against": other}
                    | _apart(results, (curves[one], curves[other]), sizes)
                    for one, other in pairs
                    if one in curves and other in curves
                ],
                "lacking": lacking,
            }
    return found


def notes(found: Mapping[str, Any]) -> list[str]:
    """Say which recipes have no area because they lack a fraction that others have."""
    return [
        f"{recipe} ({mode}) was not run at {_percentages(fractions)} of the labels, so it has "
        "no area under its curve and stands in no comparison of areas."
        for mode, entry in found.items()
        for recipe, fractions in entry["lacking"].items()
    ]


def _percentages(fractions: Sequence[float]) -> str:
    return ", ".join(f"{100 * fraction:g} %" for fraction in fractions)


def images_of(subsets: pd.DataFrame) -> Mapping[float, float]:
    """Return how many labelled images train at each fraction, the mean over replicates."""
    train = subsets[subsets["role"] == "train"]
    counted = train.groupby(["fraction", "recipe", "seed"])["image_id"].nunique()
    return {float(name): float(n) for name, n in counted.groupby("fraction").mean().items()}


def area(values: Floats, images: Floats) -> Floats:
    """Return the mean height of curves ``(F, ...)`` over the logarithm of ``images`` ``(F,)``.

    Straight lines between the points. ``images`` increases.
    """
    at = np.log(images)
    widths = np.diff(at).reshape(-1, *[1] * (values.ndim - 1))
    heights = (values[1:] + values[:-1]) / 2
    return np.asarray((heights * widths).sum(axis=0) / (at[-1] - at[0]))


def drop(fewest: Floats, all_labels: Floats, chance: float) -> Floats:
    """Return, for each repetition, what share of its height above chance is lost: ``(R, ...)``.

    The share is that of the means over repetitions, for one that is hardly above chance has a
    ratio of any size. What is returned averages to it, and spreads as it does: a ratio's own
    linear terms. NaN where the mean is not above chance.

    Args:
        fewest: the metric at the smallest fraction, ``(R, ...)``.
        all_labels: the same of all labels.
        chance: the metric of who knows nothing.
    """
    lost, above = all_labels - fewest, all_labels - chance
    mean = above.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = lost.mean(axis=0) / mean
        return np.where(mean > 0, share + (lost - share * above) / mean, np.nan)


Points = dict[float, Floats]
"""Fraction -> the leading metric ``(R, 1 + B)``, smallest fraction first."""


def _curves(
    results: Results, mode: str, sizes: Mapping[float, float]
) -> tuple[dict[str, Points], dict[str, list[float]]]:
    """Return the recipes of a mode that have all its fractions, and what the others lack."""
    place = results.place(results.arrangement.measures.leading)
    points: dict[str, Points] = {}
    for curve in sorted(results.values, key=lambda curve: curve[2]):
        recipe, own, fraction = curve
        if own == mode and sizes.get(fraction, 0) > 0:
            points.setdefault(recipe, {})[fraction] = results.values[curve][place]
    most = max((tuple(each) for each in points.values()), key=len, default=())
    if len(most) < 2:
        return {}, {}
    whole = {name: each for name, each in points.items() if tuple(each) == most}
    lacking = {
        name: sorted(set(most) - set(each), reverse=True)
        for name, each in points.items()
        if name not in whole
    }
    return whole, lacking


def _stacked(points: Points, sizes: Mapping[float, float]) -> tuple[Floats, Floats]:
    return np.stack(list(points.values())), np.array([sizes[each] for each in points])


def _one(results: Results, points: Points, sizes: Mapping[float, float]) -> dict[str, Any]:
    measures, arrangement = results.arrangement.measures, results.arrangement
    values, images = _stacked(points, sizes)
    whole = _drawn(results, area(values, images))
    scale = measures.scale(measures.leading)
    ends = scales.interval(whole.value, whole.both, arrangement.n_groups, scale)
    lost = _drawn(results, drop(values[0], values[-1], measures.chance))
    return {
        "images": [round(float(each)) for each in (images[0], images[-1])],
        "area": figure(whole.value, ends),
        "drop": figure(lost.value, interval(lost.draws)),
    }


def _drawn(results: Results, values: Floats) -> Resampled:
    return resample(values, results.draws, results.groups[results.arrangement.measures.leading])


def _wins(
    results: Results, curves: Mapping[str, Points], sizes: Mapping[float, float]
) -> dict[str, dict[str, Any]]:
    """Return recipe -> other -> by how much its area is larger, with an interval."""
    areas = {name: area(*_stacked(points, sizes)) for name, points in curves.items()}
    found: dict[str, dict[str, Any]] = {}
    for one, other in combinations(areas, 2):
        gap = _gap_of_areas(results, areas[one] - areas[other])
        found.setdefault(one, {})[other] = figure(gap[0], gap[1:])
        # Drawn once: from the other side the same figures say the same.
        found.setdefault(other, {})[one] = figure(-gap[0], (-gap[2], -gap[1]))
    return found


def _gap_of_areas(results: Results, apart: Floats) -> tuple[float, float, float]:
    """Return the value and the ends of its interval, of a difference ``(R, 1 + B)``."""
    measures = results.arrangement.measures
    most = scales.most(measures.scale(measures.leading))
    gap = _drawn(results, apart)
    low, high = (float(end) for end in np.clip(interval(gap.draws), -most, most))
    return gap.value, low, high


def _apart(
    results: Results, pair: tuple[Points, Points], sizes: Mapping[float, float]
) -> dict[str, Any]:
    """Return by how much the first recipe's area, and its drop, are larger than the other's.

    Both of the same draws; of drops a share of what stands above chance, and null where one of
    the two does not stand above it.
    """
    chance = results.arrangement.measures.chance
    first, second = (_stacked(points, sizes) for points in pair)
    gap = _gap_of_areas(results, area(*first) - area(*second))
    lost = [drop(values[0], values[-1], chance) for values, _ in (first, second)]
    more = _drawn(results, lost[0] - lost[1])
    return {
        "area": figure(gap[0], gap[1:]),
        "drop": figure(more.value, interval(more.draws)),
    }
