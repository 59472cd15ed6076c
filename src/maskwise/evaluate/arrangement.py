"""Predictions as arrays, checked: what every recipe said of the same test images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.tables import PREDICTIONS, check_columns
from maskwise.errors import UserError
from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.tasks import read_measures
from maskwise.evaluate.tasks.contract import Measures
from maskwise.evaluate.tasks.diagnosis import cell_of
from maskwise.evaluate.weighing import TestSet

CELL = ["recipe", "mode", "fraction"]

Curve = tuple[str, str, float]
"""Recipe, mode, fraction."""


@dataclass(frozen=True)
class Arrangement:
    """All predictions of one source's test images."""

    measures: Measures
    """What they are scored by."""
    repetitions: tuple[tuple[int, ...], ...]
    """The seeds of each repetition: one, or with folds those that cover the images together."""
    folds: bool
    tests: tuple[TestSet, ...]
    """A repetition."""
    values: dict[Curve, list[NDArray[np.float64]]]
    """``(n, C)`` a repetition, the measures' ``columns``; in the order of the predictions."""
    n_groups: int
    left_out: dict[float, list[int]]
    """Fraction -> the seeds without it, of fractions that not all seeds could learn from."""

    def curves(self) -> Iterator[Curve]:
        """Yield recipe, mode and fraction of everything that was predicted."""
        yield from self.values

    def images(self) -> pd.DataFrame:
        """Return the distinct test images: ``image_id, truth, group``."""
        parts = [
            pd.DataFrame({"image_id": t.image_ids, "truth": t.truth, "group": t.group})
            for t in self.tests
        ]
        return pd.concat(parts).drop_duplicates("image_id")


def arrange(predictions: pd.DataFrame, config: EvaluateConfig, where: str) -> Arrangement:
    """Bring the test rows of all cells of a source into arrays.

    Raises:
        UserError: naming the cell, if columns are missing, values are impossible, or recipes
            did not predict the same test images with the same seeds.
    """
    check_columns(predictions, PREDICTIONS, where)
    measures = read_measures(predictions, config, where)
    test = predictions[(predictions["split"] == "test") & predictions["truth"].notna()]
    if test.empty or measures is None:
        raise UserError(
            f"{where}: holds no labelled test image of two or more classes, so there is "
            "nothing to score; look at the split of the source"
        )
    measures.check(test, where)
    _refuse_repeated(test, where)
    left_out = _incomplete(test)
    test = test[~test["fraction"].isin(left_out)]
    predictions = predictions[~predictions["fraction"].isin(left_out)]
    _refuse_missing_cells(test, where)
    test = test.sort_values("image_id", kind="stable")
    repetitions = _repetitions(test)
    groups = pd.Index(sorted(set(test["group"])))
    cells = dict(iter(test.groupby([*CELL, "seed"], sort=False)))
    curves = list(dict.fromkeys(zip(*(predictions[name] for name in CELL), strict=True)))
    tests: list[TestSet] = []
    values: dict[Curve, list[NDArray[np.float64]]] = {curve: [] for curve in curves}
    for seeds in repetitions:
        for curve in curves:
            rows = pd.concat([cells[*curve, seed] for seed in seeds])
            found = _test_set(rows, measures, groups)
            if curve == curves[0]:
                tests.append(found)
            _refuse_other_images(found, tests[-1], curve, curves[0], where)
            values[curve].append(rows[list(measures.columns)].to_numpy(np.float64))
    return Arrangement(
        measures=measures,
        repetitions=repetitions,
        folds=bool((test["fold"] >= 0).any()),
        tests=tuple(tests),
        values=values,
        n_groups=len(groups),
        left_out=left_out,
    )


def _test_set(rows: pd.DataFrame, measures: Measures, groups: "pd.Index[str]") -> TestSet:
    # Where the predictions name no unit every image is one.
    unit = pd.factorize(rows["unit"])[0] if "unit" in rows else np.arange(len(rows))
    return TestSet(
        rows["image_id"].to_numpy(object),
        pd.Index(measures.kinds).get_indexer(pd.Index(rows["truth"])).astype(np.int64),
        groups.get_indexer(pd.Index(rows["group"])).astype(np.int64),
        unit.astype(np.int64),
    )


def _repetitions(test: pd.DataFrame) -> tuple[tuple[int, ...], ...]:
    """Put seeds that hold out different folds together: pooled, they test every image once."""
    folds = test.groupby("seed")["fold"].first()
    if (folds < 0).any():
        return tuple((int(seed),) for seed in folds.index)
    turn = folds.groupby(folds).cumcount()
    return tuple(
        tuple(int(seed) for seed in turn.index[turn == number])
        for number in range(int(turn.max()) + 1)
    )


def _refuse_repeated(test: pd.DataFrame, where: str) -> None:
    repeated = test[test.duplicated([*CELL, "seed", "image_id"])]
    if len(repeated):
        row = repeated.iloc[0]
        raise UserError(f"{where}: {cell_of(row)} predicts image {row['image_id']} twice")


def _incomplete(test: pd.DataFrame) -> dict[float, list[int]]:
    """Find the fractions that some seeds lack in every recipe; some fraction all must have.

    A mean over other seeds, or other folds, would be of other images.
    """
    seeds = set(test["seed"])
    have = {float(name): set(rows["seed"]) for name, rows in test.groupby("fraction")}
    if seeds not in have.values():
        return {}
    return {name: sorted(seeds - own) for name, own in have.items() if own != seeds}


def _refuse_missing_cells(test: pd.DataFrame, where: str) -> None:
    seeds = set(test["seed"])
    for (recipe, mode, fraction), rows in test.groupby(CELL, sort=False):
        missing = sorted(seeds - set(rows["seed"]))
        if missing:
            raise UserError(
                f"{where}: {recipe} ({mode}, fraction {fraction}) lacks seed "
                f"{', '.join(map(str, missing))}, which others have; run its finetune, or take "
                "the seed out of conf/base/experiment.yml"
            )


def _refuse_other_images(
    found: TestSet, first: TestSet, curve: Curve, reference: Curve, where: str
) -> None:
    same = all(
        np.array_equal(getattr(found, name), getattr(first, name))
        for name in ("image_ids", "truth", "group", "unit")
    )
    if not same:
        raise UserError(
            f"{where}: {curve[0]} ({curve[1]}, fraction {curve[2]}) and {reference[0]} "
            f"({reference[1]}, fraction {reference[2]}) were tested on different images, "
            "groups or labels; they come from different splits: run finetune of both again"
        )
