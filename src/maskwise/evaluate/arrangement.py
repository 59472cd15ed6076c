"""Predictions as arrays, checked: what every recipe said of the same test images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.tables import PREDICTIONS, check_columns
from maskwise.errors import UserError

CELL = ["recipe", "mode", "fraction"]

Curve = tuple[str, str, float]
"""Recipe, mode, fraction."""


@dataclass(frozen=True)
class TestSet:
    """The test images of one repetition, in the order of their ids."""

    image_ids: NDArray[np.object_]
    """``(n,)``."""
    truth: NDArray[np.int64]
    """``(n,)``, codes of ``Arrangement.classes``."""
    group: NDArray[np.int64]
    """``(n,)``, rows of the draws' group counts."""


@dataclass(frozen=True)
class Arrangement:
    """All predictions of one source's test images."""

    classes: tuple[str, ...]
    repetitions: tuple[tuple[int, ...], ...]
    """The seeds of each repetition: one, or with folds those that cover the images together."""
    folds: bool
    tests: tuple[TestSet, ...]
    """A repetition."""
    probabilities: dict[Curve, list[NDArray[np.float64]]]
    """``(n, K)`` a repetition; in the order of the predictions."""
    n_groups: int

    def curves(self) -> Iterator[Curve]:
        """Yield recipe, mode and fraction of everything that was predicted."""
        yield from self.probabilities

    def images(self) -> pd.DataFrame:
        """Return the distinct test images: ``image_id, truth, group``."""
        parts = [
            pd.DataFrame({"image_id": t.image_ids, "truth": t.truth, "group": t.group})
            for t in self.tests
        ]
        return pd.concat(parts).drop_duplicates("image_id")


def arrange(predictions: pd.DataFrame, where: str) -> Arrangement:
    """Bring the test rows of all cells of a source into arrays.

    Raises:
        UserError: naming the cell, if columns are missing, probabilities are none, or recipes
            did not predict the same test images with the same seeds.
    """
    check_columns(predictions, PREDICTIONS, where)
    columns = [str(name) for name in predictions if str(name).startswith("p_")]
    classes = tuple(name.removeprefix("p_") for name in columns)
    test = predictions[(predictions["split"] == "test") & predictions["truth"].notna()]
    if test.empty or len(classes) < 2:
        raise UserError(
            f"{where}: holds no labelled test image of two or more classes, so there is "
            "nothing to score; look at the split of the source"
        )
    _refuse_wrong_values(test, columns, classes, where)
    _refuse_missing_cells(test, where)
    test = test.sort_values("image_id", kind="stable")
    repetitions = _repetitions(test)
    groups = pd.Index(sorted(set(test["group"])))
    cells = dict(iter(test.groupby([*CELL, "seed"], sort=False)))
    curves = list(dict.fromkeys(zip(*(predictions[name] for name in CELL), strict=True)))
    tests: list[TestSet] = []
    probabilities: dict[Curve, list[NDArray[np.float64]]] = {curve: [] for curve in curves}
    for seeds in repetitions:
        for curve in curves:
            rows = pd.concat([cells[*curve, seed] for seed in seeds])
            found = TestSet(
                rows["image_id"].to_numpy(object),
                pd.Index(classes).get_indexer(pd.Index(rows["truth"])).astype(np.int64),
                groups.get_indexer(pd.Index(rows["group"])).astype(np.int64),
            )
            if curve == curves[0]:
                tests.append(found)
            _refuse_other_images(found, tests[-1], curve, curves[0], where)
            probabilities[curve].append(rows[columns].to_numpy(np.float64))
    return Arrangement(
        classes=classes,
        repetitions=repetitions,
        folds=bool((test["fold"] >= 0).any()),
        tests=tuple(tests),
        probabilities=probabilities,
        n_groups=len(groups),
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


def _refuse_wrong_values(
    test: pd.DataFrame, columns: list[str], classes: tuple[str, ...], where: str
) -> None:
    values = test[columns].to_numpy(np.float64)
    # NaN fails every comparison, and so is found as well.
    right = (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < 1e-3)
    if not right.all():
        row = test[~right].iloc[0]
        raise UserError(
            f"{where}: {_cell(row)}, image {row['image_id']}: {list(row[columns])} are no "
            "probabilities (they add to 1, none is negative); run its finetune again"
        )
    unknown = sorted(set(test["truth"]) - set(classes))
    if unknown:
        raise UserError(
            f"{where}: the class {unknown[0]!r} has no column p_{unknown[0]}; the cells were "
            "not trained on the same labels: run finetune again"
        )
    repeated = test[test.duplicated([*CELL, "seed", "image_id"])]
    if len(repeated):
        row = repeated.iloc[0]
        raise UserError(f"{where}: {_cell(row)} predicts image {row['image_id']} twice")


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
        for name in ("image_ids", "truth", "group")
    )
    if not same:
        raise UserError(
            f"{where}: {curve[0]} ({curve[1]}, fraction {curve[2]}) and {reference[0]} "
            f"({reference[1]}, fraction {reference[2]}) were tested on different images, "
            "groups or labels; they come from different splits: run finetune of both again"
        )


def _cell(row: pd.Series) -> str:
    return f"{row['recipe']} seed {row['seed']} ({row['mode']}, fraction {row['fraction']})"
