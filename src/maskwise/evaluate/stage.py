"""Evaluate: predictions in; scores, paired differences and label-efficiency curves out."""

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.tables import LABEL_EFFICIENCY, PAIRED, SUBSETS, check_columns
from maskwise.evaluate import scales
from maskwise.evaluate.arrangement import Arrangement, Curve, arrange
from maskwise.evaluate.comparisons import COVERS, adjust, chosen_pairs, sign_flip
from maskwise.evaluate.config import EvaluateConfig, Primary
from maskwise.evaluate.notes import (
    Stuck,
    Validation,
    about_primary,
    class_counts,
    count_validation,
    write_notes,
)
from maskwise.evaluate.resampling import Draws, Resampled, draw, interval, p_value, resample
from maskwise.evaluate.tasks.contract import Asides, Measures
from maskwise.evaluate.weighing import Weights

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
    beforehand, or null; ``stuck``, what nearly all images got alike; ``task``, ``leading``, the
    metric to speak of first, and ``smaller_is_better``; numbers of everything; ``notes``."""
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
    values: dict[Curve, NDArray[np.float64]]
    """``(metrics, R, 1 + B)``."""
    asides: dict[Curve, Asides]
    """What stands beside metrics, the mean over repetitions."""
    stuck: tuple[Stuck, ...]
    groups: dict[str, int]
    """Metric -> test groups that it hangs on."""
    on_both: dict[tuple[Curve, Curve], tuple[NDArray[np.float64], int]] = field(
        default_factory=dict
    )
    """What ``_on_both`` found of two curves."""

    def resampled(self, curve: Curve, metric: str) -> Resampled:
        """Return a curve's metric with its spread."""
        values = self.values[curve][self.place(metric)]
        return resample(values, self.draws, self.groups[metric])

    def place(self, metric: str) -> int:
        """Return the metric's row of ``values``."""
        return self.arrangement.measures.metrics.index(metric)


def evaluate(
    predictions: pd.DataFrame, subsets: pd.DataFrame, config: EvaluateConfig, source: str
) -> Evaluated:
    """Score the test predictions of all cells of a source.

    A score is the mean over repetitions: seeds that share a test set, or folds, of which each
    is scored by itself, with the mean of its networks. ``resampling`` says what its interval
    holds, ``scales`` what it keeps to. All recipes, fractions and modes meet the same draws.
    Each group counts once (``weigh: group``), so that a duplicated image counts once. A p have
    only the comparisons that ``config.primary`` named, where training was repeated enough.

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
    draws = draw(len(arrangement.repetitions), arrangement.sizes, config.draws, config.seed)
    results = _score_all(arrangement, draws, config)
    primary = config.primary.get(source)
    paired = _compare(results, config, primary)
    validation = count_validation(subsets, arrangement.measures.task)
    log.info(
        "%s: scored %d curves on %d test images in %d groups, %d repetitions, %d draws; "
        "%d comparisons, %d of them named beforehand",
        source,
        len(results.values),
        len(arrangement.images()),
        arrangement.n_groups,
        len(arrangement.repetitions),
        config.draws,
        len(paired),
        paired["primary"].sum(),
    )
    return Evaluated(
        scores=_scores(results, config, (source, primary), validation),
        paired=paired,
        label_efficiency=_label_efficiency(results, subsets),
    )


def _score_all(arrangement: Arrangement, draws: Draws, config: EvaluateConfig) -> _Results:
    measures = arrangement.measures
    weights = [Weights(test, draws, config.weigh) for test in arrangement.tests]
    if not arrangement.folds:
        weights = weights[:1] * len(arrangement.repetitions)
    values: dict[Curve, NDArray[np.float64]] = {}
    asides: dict[Curve, Asides] = {}
    stuck: list[Stuck] = []
    for curve in arrangement.curves():
        both = list(zip(arrangement.values[curve], weights, strict=True))
        values[curve] = np.stack([_score(rows, w, measures) for rows, w in both], axis=1)
        every = [(rows, weight) for each, weight in both for rows in each]
        asides[curve] = _mean([measures.asides(*one) for one in every])
        said = [measures.stuck(*one) for one in every]
        if all(said):
            stuck.append(Stuck(curve, said[0]))
    rarest = min(
        n["n_groups"] or arrangement.n_groups for n in class_counts(arrangement).values()
    )
    groups = {
        name: rarest if name in measures.by_class else arrangement.n_groups
        for name in measures.metrics
    }
    return _Results(arrangement, draws, weights, values, asides, tuple(stuck), groups)


def _score(
    networks: list[NDArray[np.float64]], weight: Weights, measures: Measures
) -> NDArray[np.float64]:
    """Return the mean ``(metrics, 1 + B)`` over the networks of one repetition."""
    return np.mean([measures.score(rows, weight) for rows in networks], axis=0)


def _mean(asides: list[Asides]) -> Asides:
    """Average over networks; all have the same entries."""
    return {
        metric: {name: float(np.mean([one[metric][name] for one in asides])) for name in names}
        for metric, names in asides[0].items()
    }


def _compare(
    results: _Results, config: EvaluateConfig, primary: Primary | None
) -> pd.DataFrame:
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
    return paired.assign(**{name: paired[name].map(_rounded).astype(float) for name in numbers})


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
    results: _Results,
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
        apart, images = _on_both(results, one, other)
        values = apart[results.place(metric)]
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


def _on_both(results: _Results, one: Curve, other: Curve) -> tuple[NDArray[np.float64], int]:
    """Subtract metrics ``(metrics, R, 1 + B)`` on images where both recipes have a value.

    And say how many these are, of several networks the mean number. Otherwise the recipe that
    finds the easy lesions only would have the smaller distances.
    """
    if (one, other) not in results.on_both:
        measures, known, apart = results.arrangement.measures, [], []
        pairs = zip(
            results.arrangement.values[one], results.arrangement.values[other], strict=True
        )
        for networks, weight in zip(pairs, results.weights, strict=True):
            both = [measures.together(*rows) for rows in zip(*networks, strict=True)]
            known += [images for *_, images in both]
            first, second = (
                _score([each[side] for each in both], weight, measures) for side in (0, 1)
            )
            apart.append(first - second)
        # Of folds each image is tested by one: their numbers add up.
        images = np.sum(known) if results.arrangement.folds else np.mean(known)
        images = images / results.arrangement.networks if results.arrangement.folds else images
        results.on_both[one, other] = np.stack(apart, axis=1), round(float(images))
    return results.on_both[one, other]


def _scores(
    results: _Results,
    config: EvaluateConfig,
    named: tuple[str, Primary | None],
    validation: Validation,
) -> dict[str, Any]:
    arrangement, (source, primary) = results.arrangement, named
    counts = class_counts(arrangement)
    measures = arrangement.measures
    nested: dict[str, Any] = {}
    for recipe, mode, fraction in results.values:
        curve = (recipe, mode, fraction)
        figures = {name: _figures(results, curve, name) for name in measures.metrics}
        for metric, beside in results.asides[curve].items():
            figures[metric] |= {name: _rounded(value) for name, value in beside.items()}
        nested.setdefault(recipe, {}).setdefault(mode, {})[str(float(fraction))] = figures
    undefined = max(
        int(np.isnan(values[results.place(name), :, 1:].mean(axis=0)).sum())
        for values in results.values.values()
        for name in measures.surely_defined
    )
    folds = len(arrangement.repetitions) if arrangement.folds else 0
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
        "n_folds": folds,
        "networks_a_fold": arrangement.networks if folds else None,
        "draws": config.draws,
        "undefined_draws": undefined,
        "covers": COVERS[results.draws.tells_training],
        "primary": _written(primary, measures.leading),
        "weigh": config.weigh,
        "test": config.test,
        "classes": counts,
        "stuck": [stuck.entry() for stuck in results.stuck],
        "validation": validation.entry(),
        "notes": about_primary(primary, frozenset(results.values))
        + write_notes(arrangement, counts, undefined, config)
        + [stuck.note() for stuck in results.stuck]
        + validation.notes(),
        "scores": nested,
    }


def _written(primary: Primary | None, leading: str) -> dict[str, Any] | None:
    """Return what was named beforehand as JSON."""
    if primary is None:
        return None
    return {
        "metric": primary.metric or leading,
        "mode": primary.mode,
        "fraction": primary.fraction,
        "comparisons": [list(pair) for pair in primary.comparisons],
        "written": primary.written.isoformat(),
    }


def _figures(results: _Results, curve: Curve, metric: str) -> dict[str, float | None]:
    found, groups = results.resampled(curve, metric), results.groups[metric]
    scale = results.arrangement.measures.scale(metric)
    figures = {"value": found.value}
    for name, part in (("", found.both), ("seeds_", found.training), ("groups_", found.test)):
        ends = (float("nan"), float("nan"))
        if part is not None:
            ends = scales.interval(found.value, part, groups, scale)
        figures |= dict(zip((f"{name}low", f"{name}high"), ends, strict=True))
    return {name: _rounded(value) for name, value in figures.items()}


def _label_efficiency(results: _Results, subsets: pd.DataFrame) -> pd.DataFrame:
    train = subsets[subsets["role"] == "train"]
    counted = train.groupby(["fraction", "recipe", "seed"]).agg(
        n_images=("image_id", "nunique"), n_groups=("group", "nunique")
    )
    sizes = counted.groupby("fraction").mean()
    rows = []
    for recipe, mode, fraction in results.values:
        n_images, n_groups = (
            sizes.loc[fraction] if fraction in sizes.index else (np.nan, np.nan)
        )
        for name in results.arrangement.measures.metrics:
            found = _figures(results, (recipe, mode, fraction), name)
            numbers = [found[end] for end in ("value", "low", "high")]
            rows.append([mode, fraction, n_images, n_groups, recipe, name, *numbers])
    return pd.DataFrame(rows, columns=list(LABEL_EFFICIENCY))


def _rounded(value: float) -> float | None:
    """Keep 6 significant digits, sign and all; None (``null``) where there is no number."""
    return None if np.isnan(value) else float(f"{value:.6g}")
