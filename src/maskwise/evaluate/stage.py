"""Evaluate: predictions in; scores, paired differences and label-efficiency curves out."""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.tables import LABEL_EFFICIENCY, PAIRED, SUBSETS, check_columns
from maskwise.evaluate.arrangement import Arrangement, Curve, arrange
from maskwise.evaluate.comparisons import adjust, chosen_pairs, largest_family, sign_flip
from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.notes import cannot_pass, class_counts, write_notes
from maskwise.evaluate.resampling import (
    Draws,
    Resampled,
    combine,
    difference,
    draw,
    interval,
    p_value,
)
from maskwise.evaluate.tasks.contract import Asides
from maskwise.evaluate.weighing import Weights

__all__ = ["EvaluateConfig", "Evaluated", "evaluate"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """The stage's outputs; the same predictions give the same figures, of 6 digits."""

    scores: dict[str, Any]
    """``scores.json``: ``scores[recipe][mode][fraction][metric]`` with ``value``, ``low``,
    ``high``, and ``seeds_low``, ``seeds_high``, ``groups_low``, ``groups_high`` for the
    interval with only seeds or only test groups resampled; of the calibration error as well
    ``if_perfect``, what perfectly calibrated predictions would get on so few images, of
    outlines ``left_out``, how many images x classes a metric is not defined for; ``task``,
    ``leading``, the metric to speak of first, and ``smaller_is_better``; numbers of everything;
    ``notes``; ``cannot_pass``, why no comparison could be shown, or null."""
    paired: pd.DataFrame
    """``tables.PAIRED``."""
    label_efficiency: pd.DataFrame
    """``tables.LABEL_EFFICIENCY``."""


@dataclass(frozen=True)
class _Results:
    """What was computed of every curve."""

    arrangement: Arrangement
    draws: Draws
    weights: list[Weights]
    """A repetition."""
    by_seed: dict[Curve, NDArray[np.float64]]
    """``(metrics, R)``: the metrics of each repetition."""
    resampled: dict[Curve, dict[str, Resampled]]
    asides: dict[Curve, Asides]
    """What stands beside metrics, the mean over repetitions."""
    on_both: dict[tuple[Curve, Curve], tuple[dict[str, Resampled], int]] = field(
        default_factory=dict
    )
    """What ``_on_both`` found of two curves."""


def evaluate(
    predictions: pd.DataFrame, subsets: pd.DataFrame, config: EvaluateConfig, source: str
) -> Evaluated:
    """Score the test predictions of all cells of a source.

    A score is the mean over repetitions (seeds) of the metric on the test set. A draw takes as
    many test groups with replacement, and the repetitions' mean from Student's distribution;
    all recipes, fractions and modes meet the same draws. Each group counts once (``weigh:
    group``), so that a duplicated image counts once.

    Args:
        predictions: ``tables.PREDICTIONS`` of all cells; rows of other splits are passed over.
        subsets: ``tables.SUBSETS`` of all cells.
        config: the options.
        source: its name, for messages.

    Raises:
        UserError: naming the cell that is missing or does not fit the others.
    """
    where = f"the predictions of {source}"
    check_columns(subsets, SUBSETS, f"the subsets of {source}")
    arrangement = arrange(predictions, config, where)
    draws = draw(len(arrangement.repetitions), arrangement.n_groups, config.draws, config.seed)
    results = _score_all(arrangement, draws, config)
    paired = _compare(results, config)
    log.info(
        "%s: scored %d curves on %d test images in %d groups, %d repetitions, %d draws; "
        "%d comparisons",
        source,
        len(results.resampled),
        len(arrangement.images()),
        arrangement.n_groups,
        len(arrangement.repetitions),
        config.draws,
        len(paired),
    )
    seeds = len(arrangement.repetitions)
    warning = cannot_pass(largest_family(paired), seeds, config)
    if warning:
        log.warning("%s: %s", source, warning)
    return Evaluated(
        scores=_scores(results, config, source, warning),
        paired=paired,
        label_efficiency=_label_efficiency(results, subsets),
    )


def _score_all(arrangement: Arrangement, draws: Draws, config: EvaluateConfig) -> _Results:
    measures = arrangement.measures
    weights = [Weights(test, draws, config.weigh) for test in arrangement.tests]
    by_seed: dict[Curve, NDArray[np.float64]] = {}
    resampled: dict[Curve, dict[str, Resampled]] = {}
    asides: dict[Curve, Asides] = {}
    for curve in arrangement.curves():
        both = list(zip(arrangement.values[curve], weights, strict=True))
        # (metrics, R, 1 + B)
        values = np.stack([measures.score(rows, weight) for rows, weight in both], axis=1)
        by_seed[curve] = values[:, :, 0]
        resampled[curve] = {
            name: combine(values[i], draws) for i, name in enumerate(measures.metrics)
        }
        asides[curve] = _mean([measures.asides(rows, weight) for rows, weight in both])
    return _Results(arrangement, draws, weights, by_seed, resampled, asides)


def _mean(asides: list[Asides]) -> Asides:
    """Average over repetitions; all have the same entries."""
    return {
        metric: {name: float(np.mean([one[metric][name] for one in asides])) for name in names}
        for metric, names in asides[0].items()
    }


def _compare(results: _Results, config: EvaluateConfig) -> pd.DataFrame:
    recipes = [recipe for recipe, _, _ in results.resampled]
    rows = [
        _row(results, (recipe, other), (mode, fraction), metric, config)
        for metric in results.arrangement.measures.metrics
        for mode, fraction in dict.fromkeys(curve[1:] for curve in results.resampled)
        for recipe, other in chosen_pairs(recipes, config)
        if (recipe, mode, fraction) in results.resampled
        and (other, mode, fraction) in results.resampled
    ]
    paired = adjust(pd.DataFrame(rows, columns=list(PAIRED)))
    numbers = ["difference", "low", "high", "p", "p_holm"]
    return paired.assign(**{name: paired[name].map(_rounded).astype(float) for name in numbers})


def _row(
    results: _Results,
    pair: tuple[str, str],
    point: tuple[str, float],
    metric: str,
    config: EvaluateConfig,
) -> dict[str, Any]:
    one, other = ((recipe, *point) for recipe in pair)
    drawn = difference(results.resampled[one][metric], results.resampled[other][metric])
    images = len(results.arrangement.images())
    if metric in results.arrangement.measures.partly_defined:
        on_both, images = _on_both(results, one, other)
        drawn = on_both[metric]
    low, high = interval(drawn.both)
    p, test = p_value(drawn.both), "two-level draws"
    if config.test == "sign_flip":
        place = results.arrangement.measures.metrics.index(metric)
        seeds = results.by_seed[one][place] - results.by_seed[other][place]
        p, test = sign_flip(seeds, "evaluate"), "sign-flip over seeds"
    return {
        "mode": point[0],
        "fraction": point[1],
        "metric": metric,
        "recipe": pair[0],
        "against": pair[1],
        "difference": drawn.both[0],
        "low": low,
        "high": high,
        "p": p,
        "p_holm": np.nan,
        "test": test,
        "n_images": images,
        "n_groups": results.arrangement.n_groups,
        "n_seeds": sum(map(len, results.arrangement.repetitions)),
    }


def _on_both(results: _Results, one: Curve, other: Curve) -> tuple[dict[str, Resampled], int]:
    """Subtract metrics on the images alone where both recipes have a value.

    And say how many these are, of several repetitions the mean number. Otherwise the recipe
    that finds the easy lesions only would have the smaller distances.
    """
    if (one, other) in results.on_both:
        return results.on_both[one, other]
    arrangement, known = results.arrangement, []
    scored: tuple[list[NDArray[np.float64]], ...] = ([], [])
    for first, second, weight in zip(
        arrangement.values[one], arrangement.values[other], results.weights, strict=True
    ):
        *pair, images = arrangement.measures.together(first, second)
        known.append(images)
        for rows, found in zip(pair, scored, strict=True):
            found.append(arrangement.measures.score(rows, weight))
    values = [np.stack(found, axis=1) for found in scored]
    differences = {
        name: difference(*(combine(each[place], results.draws) for each in values))
        for place, name in enumerate(arrangement.measures.metrics)
        if name in arrangement.measures.partly_defined
    }
    results.on_both[one, other] = differences, round(float(np.mean(known)))
    return results.on_both[one, other]


def _scores(
    results: _Results, config: EvaluateConfig, source: str, warning: str
) -> dict[str, Any]:
    arrangement = results.arrangement
    counts = class_counts(arrangement)
    nested: dict[str, Any] = {}
    for (recipe, mode, fraction), metrics in results.resampled.items():
        figures = {name: _figures(drawn, arrangement) for name, drawn in metrics.items()}
        for metric, named in results.asides[recipe, mode, fraction].items():
            figures[metric] |= {name: _rounded(value) for name, value in named.items()}
        nested.setdefault(recipe, {}).setdefault(mode, {})[str(float(fraction))] = figures
    measures = arrangement.measures
    undefined = max(
        int(np.isnan(metrics[name].both[1:]).sum())
        for metrics in results.resampled.values()
        for name in measures.surely_defined
    )
    return {
        "source": source,
        "task": measures.task,
        "leading": measures.leading,
        "smaller_is_better": list(measures.smaller_is_better),
        **measures.conventions,
        "n_images": len(arrangement.images()),
        "n_groups": arrangement.n_groups,
        "n_seeds": sum(map(len, arrangement.repetitions)),
        "n_repetitions": len(arrangement.repetitions),
        "draws": config.draws,
        "undefined_draws": undefined,
        "cannot_pass": warning or None,
        "weigh": config.weigh,
        "test": config.test,
        "classes": counts,
        "notes": [warning] * bool(warning)
        + write_notes(arrangement, counts, undefined, config),
        "scores": nested,
    }


def _figures(drawn: Resampled, arrangement: Arrangement) -> dict[str, float | None]:
    low, high = interval(drawn.both)
    groups = interval(drawn.groups)
    several = len(arrangement.repetitions) > 1
    seeds = interval(drawn.seeds) if several else (float("nan"), float("nan"))
    figures = {
        "value": float(drawn.both[0]),
        "low": low,
        "high": high,
        "seeds_low": seeds[0],
        "seeds_high": seeds[1],
        "groups_low": groups[0],
        "groups_high": groups[1],
    }
    return {name: _rounded(value) for name, value in figures.items()}


def _label_efficiency(results: _Results, subsets: pd.DataFrame) -> pd.DataFrame:
    train = subsets[subsets["role"] == "train"]
    counted = train.groupby(["fraction", "recipe", "seed"]).agg(
        n_images=("image_id", "nunique"), n_groups=("group", "nunique")
    )
    sizes = counted.groupby("fraction").mean()
    rows = []
    for (recipe, mode, fraction), metrics in results.resampled.items():
        n_images, n_groups = (
            sizes.loc[fraction] if fraction in sizes.index else (np.nan, np.nan)
        )
        for name, drawn in metrics.items():
            low, high = interval(drawn.both)
            numbers = [_rounded(v) for v in (drawn.both[0], low, high)]
            rows.append([mode, fraction, n_images, n_groups, recipe, name, *numbers])
    return pd.DataFrame(rows, columns=list(LABEL_EFFICIENCY))


def _rounded(value: float) -> float | None:
    """Keep 6 significant digits, sign and all; None (``null``) where there is no number."""
    return None if np.isnan(value) else float(f"{value:.6g}")
