"""What the networks of one curve said of each class against the rest, and in all draws."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.array_types import Flags, Floats
from maskwise.evaluate.arrangement import Arrangement, Curve
from maskwise.evaluate.referee.chosen import values_of
from maskwise.evaluate.resampling import Draws
from maskwise.evaluate.tasks.contract import Measures
from maskwise.evaluate.weighing import TestSet, Weigh, own_weight
from maskwise.weighted import ranking, share

_BLOCK = 2**17
"""Weights worked on at once: a megabyte, which stays in a core's cache."""


@dataclass(frozen=True)
class Asked:
    """One class against the rest, of some images: what a network said, and what is true."""

    probabilities: Floats
    """``(n,)``."""
    shows: Flags
    """``(n,)``."""
    group: NDArray[np.int64]
    """``(n,)``, codes."""
    weights: Floats
    """``(n,)``, what each image counts by itself."""

    @property
    def both(self) -> bool:
        """Whether some images show the class and others do not."""
        return bool(self.shows.any() and not self.shows.all())


@dataclass(frozen=True)
class Network:
    """One network of the curve."""

    seed: int
    validation: Asked
    test: Asked


@dataclass(frozen=True)
class Networks:
    """All networks of a curve, asked for one class, a repetition in each entry."""

    repetitions: tuple[tuple[Network, ...], ...]
    draws: Draws

    def each(self) -> Iterator[Network]:
        """Yield them all."""
        for networks in self.repetitions:
            yield from networks

    def over(self, measure: Callable[[Network], Floats]) -> Floats:
        """Return the mean over networks of ``measure`` ``(..., D)``, ``(..., R, D)``."""
        return np.stack(
            [np.mean([measure(one) for one in each], axis=0) for each in self.repetitions],
            axis=-2,
        )

    @property
    def apart(self) -> tuple[int, int]:
        """Test groups with an image that shows the class, and with one that does not."""
        shows: set[int] = set()
        others: set[int] = set()
        for network in self.each():
            shows |= set(network.test.group[network.test.shows].tolist())
            others |= set(network.test.group[~network.test.shows].tolist())
        return len(shows), len(others)

    def auroc(self) -> Floats:
        """Return ``(R, D)``."""
        return self.over(lambda one: auroc(one.test, self.draws))


def ask(
    arrangement: Arrangement,
    predictions: pd.DataFrame,
    curve: Curve,
    name: str,
    draws: Draws,
    weigh: Weigh,
) -> Networks:
    """Return what a curve's networks said of the class ``name``."""
    recipe, mode, fraction = curve
    validation = predictions[
        (predictions["split"] == "validation")
        & (predictions["recipe"] == recipe)
        & (predictions["mode"] == mode)
        & (predictions["fraction"] == fraction)
        & predictions["truth"].notna()
    ].sort_values("image_id", kind="stable")
    measures = arrangement.measures
    return Networks(
        tuple(
            tuple(
                Network(
                    seed,
                    _of_validation(
                        validation[validation["seed"] == seed], measures, name, weigh
                    ),
                    _of_test(values, test, measures, name, weigh),
                )
                for seed, values in zip(seeds, arrangement.values[curve][r], strict=True)
            )
            for r, (seeds, test) in enumerate(
                zip(arrangement.repetitions, arrangement.tested, strict=True)
            )
        ),
        draws,
    )


def _of_test(
    values: Floats, test: TestSet, measures: Measures, name: str, weigh: Weigh
) -> Asked:
    probabilities, shows = one_against_rest(values, test.truth, measures, name)
    return Asked(probabilities, shows, test.group, own_weight(test.group, weigh))


def _of_validation(rows: pd.DataFrame, measures: Measures, name: str, weigh: Weigh) -> Asked:
    truth = pd.Index(measures.kinds).get_indexer(pd.Index(rows["truth"])).astype(np.int64)
    probabilities, shows = one_against_rest(values_of(rows, measures), truth, measures, name)
    group = pd.factorize(rows["group"])[0].astype(np.int64)
    return Asked(probabilities, shows, group, own_weight(group, weigh))


def one_against_rest(
    values: Floats, truth: NDArray[np.int64], measures: Measures, name: str
) -> tuple[Floats, Flags]:
    """Return the probability of a class and whether it is there, both ``(n,)``."""
    place = measures.classes.index(name)
    if measures.task == "multilabel":
        return values[:, place], values[:, len(measures.classes) + place] > 0
    return values[:, place], truth == place


def drawn(asked: Asked, columns: Floats, draws: Draws) -> Floats:
    """Return the weighted sums of ``columns`` ``(n, k)`` in the data and each draw, ``(D, k)``.

    Summed group by group first: a draw takes groups as a whole.
    """
    groups, place = np.unique(asked.group, return_inverse=True)
    sums = np.zeros((len(groups), columns.shape[1]))
    np.add.at(sums, place.reshape(-1), asked.weights[:, None] * columns)
    # Without folds these are all groups, and need no copy.
    own = draws.groups if len(groups) == len(draws.groups) else draws.groups[groups]
    total: Floats = own.T @ sums
    return total


def auroc(asked: Asked, draws: Draws) -> Floats:
    """Return the AUROC in the data and each draw, ``(D,)``."""
    step = max(1, _BLOCK // max(len(asked.group), 1))
    parts = []
    for first in range(0, draws.groups.shape[1], step):
        weights = asked.weights[:, None] * draws.groups[asked.group, first : first + step]
        parts.append(ranking(asked.probabilities, asked.shows, weights)[0])
    return np.concatenate(parts)


def found_and_spared(asked: Asked, called: Flags, draws: Draws) -> tuple[Floats, Floats]:
    """Return sensitivity and specificity of ``called`` ``(n,)``, ``(D,)`` each."""
    columns = np.stack(
        [asked.shows, asked.shows & called, ~asked.shows, ~asked.shows & ~called], axis=1
    )
    shows, found, others, spared = drawn(asked, columns.astype(np.float64), draws).T
    return share(found, shows), share(spared, others)
