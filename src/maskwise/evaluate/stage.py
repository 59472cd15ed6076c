"""Evaluate: predictions in; scores, paired differences and label-efficiency curves out."""

import logging
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from maskwise.artefacts.tables import PAIRED, SUBSETS, check_columns
from maskwise.errors import UserError, hint
from maskwise.evaluate import coverage, scales, shrinkage
from maskwise.evaluate.arrangement import arrange
from maskwise.evaluate.comparisons import COVERS, adjust, chosen_pairs, sign_flip
from maskwise.evaluate.config import EvaluateConfig, Primary
from maskwise.evaluate.figures import rounded
from maskwise.evaluate.notes import count_validation
from maskwise.evaluate.output import all_figures, label_efficiency, scores_of
from maskwise.evaluate.resampling import draw, interval, p_value, resample
from maskwise.evaluate.results import Results, apart, score_all
from maskwise.wording import count

__all__ = ["EvaluateConfig", "Evaluated", "evaluate"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """The stage's outputs; the same predictions give the same figures, of 6 digits."""

    scores: dict[str, Any]
    """``scores.json``: ``scores[recipe][mode][fraction][metric]`` with ``value``, ``low``,
    ``high``, and ``seeds_low``, ``seeds_high``, ``groups_low``, ``groups_high`` for the
    interval of training alone (null where that is not known) or of the test images alone; of
    the calibration error as well ``if_perfect``, what perfectly calibrated predictions would
    get on so few images, of outlines ``left_out``, how many images x classes a metric is not
    defined for; ``covers``, what chance ``low`` and ``high`` hold; ``primary``, what was named
    beforehand, or null; ``shrinkage``, what ``evaluate.shrinkage`` makes of several fractions;
    ``sets``, how often sets of answers hold the truth, null where none are made;
    ``stuck``, what nearly all images got alike; ``task``, ``leading``, the
    metric to speak of first, and ``smaller_is_better``; numbers of everything; ``notes``."""
    paired: pd.DataFrame
    """``tables.PAIRED``."""
    label_efficiency: pd.DataFrame
    """``tables.LABEL_EFFICIENCY``."""


def evaluate(
    predictions: pd.DataFrame,
    subsets: pd.DataFrame,
    config: EvaluateConfig,
    source: str,
    task: str,
) -> Evaluated:
    """Score the test predictions of all replicates of a source.

    A score is the mean over repetitions: seeds that share a test set, or folds, of which each
    is scored by itself, with the mean of its networks. ``resampling`` says what its interval
    holds, ``scales`` what it keeps to. All recipes, fractions and modes meet the same draws.
    Each group counts once (``weigh: group``), so that a duplicated image counts once. Only
    comparisons that ``config.primary`` named have a p, and only where training was repeated
    enough.

    Args:
        predictions: ``tables.PREDICTIONS`` of all replicates; scores read the test part, and
            sets of answers are calibrated on the validation part.
        subsets: ``tables.SUBSETS`` of all replicates.
        config: the options.
        source: its name, for messages.
        task: what was learnt, a name in ``evaluate.tasks.TASKS``.

    Raises:
        UserError: naming the replicate that is missing or does not fit the others.
    """
    where = f"the predictions of {source}"
    check_columns(subsets, SUBSETS, f"the subsets of {source}")
    arrangement = arrange(predictions, task, config, where)
    draws = draw(len(arrangement.repetitions), arrangement.sizes, config.draws, config.seed)
    results = score_all(arrangement, draws, config)
    primary = config.primary.get(source)
    _check_metric(primary, arrangement.measures.metrics, source)
    _warn_of_a_day_to_come(primary, source)
    paired = _compare(results, config, primary)
    validation = count_validation(subsets, arrangement.measures.task)
    log.info(
        "%s: scored %s on %s in %s, %s, %s; %s, %d of them named beforehand",
        source,
        count(len(results.values), "curve"),
        count(len(arrangement.images()), "test image"),
        count(arrangement.n_groups, "group"),
        count(len(arrangement.repetitions), "repetition"),
        count(config.draws, "draw"),
        count(len(paired), "comparison"),
        paired["primary"].sum(),
    )
    figures = all_figures(results)
    scores = scores_of(results, figures, config, source, validation)
    recipes = [recipe for recipe, _, _ in results.values]
    left = shrinkage.summarise(results, subsets, chosen_pairs(recipes, config, primary))
    notes = [*scores["notes"], *shrinkage.notes(left)]
    names = arrangement.measures.classes
    sets = coverage.measure(predictions, subsets, names, config.coverage)
    return Evaluated(
        scores={**scores, "shrinkage": left, "sets": sets, "notes": notes},
        paired=paired,
        label_efficiency=label_efficiency(figures, subsets),
    )


def _compare(results: Results, config: EvaluateConfig, primary: Primary | None) -> pd.DataFrame:
    recipes = [recipe for recipe, _, _ in results.values]
    rows = [
        _row(results, (recipe, other), (mode, fraction), metric, config)
        for metric in results.arrangement.measures.metrics
        for mode, fraction in dict.fromkeys(curve[1:] for curve in results.values)
        for recipe, other in chosen_pairs(recipes, config, primary)
        if (recipe, mode, fraction) in results.values
        and (other, mode, fraction) in results.values
    ]
    paired = pd.DataFrame(rows, columns=list(PAIRED))
    named = _named_beforehand(paired, primary, results.arrangement.measures.leading)
    paired = paired.assign(primary=named, p=paired["p"].astype(float).where(named))
    paired = adjust(paired)
    numbers = ["difference", "low", "high", "p", "p_holm"]
    return paired.assign(**{name: paired[name].map(rounded).astype(float) for name in numbers})


def _check_metric(primary: Primary | None, metrics: tuple[str, ...], source: str) -> None:
    """Raise ``UserError`` where a metric was named that this task has not."""
    if primary and primary.metric is not None and primary.metric not in metrics:
        raise UserError(
            f"evaluate.primary.{source}.metric: this task has no metric {primary.metric!r}; "
            f"{hint(primary.metric, metrics)}"
        )


def _warn_of_a_day_to_come(primary: Primary | None, source: str) -> None:
    if primary and primary.written > date.today() + timedelta(days=1):  # it is later elsewhere
        log.warning(
            "evaluate.primary.%s.written: %s is still to come; it should be the day on which "
            "the comparisons were written down (or this machine's clock is slow)",
            source,
            primary.written,
        )


def _named_beforehand(
    paired: pd.DataFrame, primary: Primary | None, leading: str
) -> "pd.Series[bool]":
    if primary is None:
        return pd.Series(False, paired.index)
    pairs = pd.Series(list(zip(paired["recipe"], paired["against"], strict=True)), paired.index)
    return (
        pairs.isin(primary.comparisons)
        & (paired["metric"] == (primary.metric or leading))
        & (paired["mode"] == primary.mode)
        & (paired["fraction"] == primary.fraction)
    )


def _row(
    results: Results,
    pair: tuple[str, str],
    point: tuple[str, float],
    metric: str,
    config: EvaluateConfig,
) -> dict[str, Any]:
    one, other = ((recipe, *point) for recipe in pair)
    arrangement = results.arrangement
    values = (results.values[one] - results.values[other])[results.place(metric)]
    images = len(arrangement.images())
    if metric in arrangement.measures.partly_defined:
        both, images = apart(results, one, other)
        values = both[results.place(metric)]
    found = resample(values, results.draws, results.groups[metric])
    most = scales.most(arrangement.measures.scale(metric))
    low, high = np.clip(interval(found.draws), -most, most)
    p, test = float("nan"), ""
    if results.draws.tells_training:
        p, test = p_value(found.draws), "two-level draws"
        if config.test == "sign_flip":
            p, test = (
                sign_flip(values[:, 0], arrangement.folds, "evaluate"),
                "sign-flip over seeds",
            )
    return {
        "mode": point[0],
        "fraction": point[1],
        "metric": metric,
        "recipe": pair[0],
        "against": pair[1],
        "difference": found.value,
        "low": low,
        "high": high,
        "covers": COVERS[results.draws.tells_training],
        "p": p,
        "test": test,
        "n_images": images,
        "n_groups": arrangement.n_groups,
        "n_seeds": sum(map(len, arrangement.repetitions)),
    }
