"""What was computed of every curve: figures of all draws, and what stands beside them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maskwise.evaluate.arrangement import Arrangement, Curve
from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.notes import Stuck, class_counts
from maskwise.evaluate.resampling import Draws, Resampled, resample
from maskwise.evaluate.tasks.contract import Asides, Measures
from maskwise.evaluate.weighing import Weights


@dataclass(frozen=True)
class Results:
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
    """Metric -> test groups that it depends on."""
    on_both: dict[tuple[Curve, Curve], tuple[NDArray[np.float64], int]] = field(
        default_factory=dict
    )
    """What ``apart`` found of two curves."""

    def resampled(self, curve: Curve, metric: str) -> Resampled:
        """Return a curve's metric with its spread."""
        values = self.values[curve][self.place(metric)]
        return resample(values, self.draws, self.groups[metric])

    def place(self, metric: str) -> int:
        """Return the metric's row of ``values``."""
        return self.arrangement.measures.metrics.index(metric)


def score_all(arrangement: Arrangement, draws: Draws, config: EvaluateConfig) -> Results:
    """Score all curves in all draws."""
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
        networks = [(rows, weight) for each, weight in both for rows in each]
        asides[curve] = _mean([measures.asides(*one) for one in networks])
        said = [measures.stuck(*one) for one in networks]
        if 2 * sum(map(bool, said)) >= len(said):
            stuck.append(
                Stuck(curve, next(filter(None, said)), sum(map(bool, said)), len(said))
            )
    counts, every = class_counts(arrangement), arrangement.n_groups
    groups = {
        metric: min(
            (counts[name]["n_groups"] or every for name in measures.rests_on(metric)),
            default=every,
        )
        for metric in measures.metrics
    }
    return Results(arrangement, draws, weights, values, asides, tuple(stuck), groups)


def _score(
    networks: list[NDArray[np.float64]], weight: Weights, measures: Measures
) -> NDArray[np.float64]:
    """Return the mean ``(metrics, 1 + B)`` over the networks of one repetition."""
    scored = np.stack([measures.score(rows, weight) for rows in networks])
    return np.asarray(scored.mean(axis=0))


def _mean(asides: list[Asides]) -> Asides:
    """Average over networks; all have the same entries."""
    return {
        metric: {name: float(np.mean([one[metric][name] for one in asides])) for name in names}
        for metric, names in asides[0].items()
    }


def apart(results: Results, one: Curve, other: Curve) -> tuple[NDArray[np.float64], int]:
    """Subtract metrics ``(metrics, R, 1 + B)`` on images where both recipes have a value.

    And say how many these are, of several networks the mean number. Otherwise the recipe that
    finds the easy lesions only would have the smaller distances.
    """
    if (one, other) not in results.on_both:
        arrangement, known, gaps = results.arrangement, [], []
        measures = arrangement.measures
        pairs = zip(arrangement.values[one], arrangement.values[other], strict=True)
        for networks, weight in zip(pairs, results.weights, strict=True):
            first, second, images = zip(
                *(measures.together(*rows) for rows in zip(*networks, strict=True)), strict=True
            )
            known.append(np.mean(images))
            gaps.append(
                _score(list(first), weight, measures) - _score(list(second), weight, measures)
            )
        # Folds test different images, whose numbers add up.
        number = np.sum(known) if arrangement.folds else np.mean(known)
        results.on_both[one, other] = np.stack(gaps, axis=1), round(float(number))
    return results.on_both[one, other]
