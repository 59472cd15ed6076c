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
from maskwise.evaluate.tasks.contract import Measures, nothing_to_score
from maskwise.evaluate.tasks.diagnosis import origin
from maskwise.evaluate.weighing import TestSet

CURVE = ["recipe", "mode", "fraction"]

Curve = tuple[str, str, float]
"""Recipe, mode, fraction."""


@dataclass(frozen=True)
class Arrangement:
    """All predictions of one source's test images."""

    measures: Measures
    """What they are scored by."""
    repetitions: tuple[tuple[int, ...], ...]
    """The seeds of each repetition: one, or those of one fold, whose figures are averaged."""
    folds: bool
    tests: tuple[TestSet, ...]
    """A repetition."""
    values: dict[Curve, list[list[NDArray[np.float64]]]]
    """``(n, C)`` per repetition and seed, the measures' ``columns``; in the order of the
    predictions."""
    sizes: tuple[int, ...]
    """Groups of the one test set, or of each fold's: they lie below one another in draws."""
    left_out: dict[float, list[int]]
    """Fraction -> the seeds without it, of fractions that not all seeds could learn from."""

    def curves(self) -> Iterator[Curve]:
        """Yield recipe, mode and fraction of everything that was predicted."""
        yield from self.values

    @property
    def n_groups(self) -> int:
        """Groups tested."""
        return sum(self.sizes)

    @property
    def networks(self) -> int:
        """Networks behind each repetition, the fewest."""
        return min(map(len, self.repetitions))

    @property
    def tested(self) -> tuple[TestSet, ...]:
        """What each repetition was tested on: of folds another part, else the same images."""
        return self.tests if self.folds else self.tests[:1] * len(self.repetitions)

    def images(self) -> pd.DataFrame:
        """Return the distinct test images: ``image_id, truth, group``."""
        parts = [
            pd.DataFrame({"image_id": t.image_ids, "truth": t.truth, "group": t.group})
            for t in self.tests
        ]
        return pd.concat(parts).drop_duplicates("image_id")


def arrange(
    predictions: pd.DataFrame, task: str, config: EvaluateConfig, where: str
) -> Arrangement:
    """Bring the test rows of all replicates of a source into arrays.

    Raises:
        UserError: naming the replicate, if columns are missing, values are impossible, or
            recipes did not predict the same test images with the same seeds.
    """
    check_columns(predictions, PREDICTIONS, where)
    measures = read_measures(predictions, task, config, where)
    test = predictions[(predictions["split"] == "test") & predictions["truth"].notna()]
    if test.empty:
        raise nothing_to_score(where)
    measures.check(test, where)
    _refuse_repeated(test, where)
    left_out = _incomplete(test)
    test = test[~test["fraction"].isin(left_out)]
    predictions = predictions[~predictions["fraction"].isin(left_out)]
    _refuse_missing_seeds(test, where)
    test = test.sort_values("image_id", kind="stable")
    repetitions, folds = _repetitions(test)
    parts = _groups(test, repetitions if folds else repetitions[:1], where)
    groups = pd.Index([group for part in parts for group in part])
    rows_of = dict(iter(test.groupby([*CURVE, "seed"], sort=False)))
    curves = list(dict.fromkeys(zip(*(predictions[name] for name in CURVE), strict=True)))
    tests: list[TestSet] = []
    values: dict[Curve, list[list[NDArray[np.float64]]]] = {curve: [] for curve in curves}
    for seeds in repetitions:
        for curve in curves:
            values[curve].append([])
            for seed in seeds:
                rows = rows_of[*curve, seed]
                found = _test_set(rows, measures, groups)
                if (curve, seed) == (curves[0], seeds[0]):
                    tests.append(found)
                first = tests[-1] if folds else tests[0]
                _refuse_other_images(found, first, (curve, seed), curves[0], where)
                values[curve][-1].append(rows[list(measures.columns)].to_numpy(np.float64))
    return Arrangement(
        measures=measures,
        repetitions=repetitions,
        folds=folds,
        tests=tuple(tests),
        values=values,
        sizes=tuple(map(len, parts)),
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


def _repetitions(test: pd.DataFrame) -> tuple[tuple[tuple[int, ...], ...], bool]:
    """Return the seeds of each repetition, and whether these are folds.

    A fold is one repetition, whatever the number of its networks: its test groups share them.
    """
    folds = test.groupby("seed")["fold"].first()
    if (folds < 0).any() or folds.nunique() == 1:
        return tuple((int(seed),) for seed in folds.index), False
    return tuple(
        tuple(int(seed) for seed in folds.index[folds == fold]) for fold in sorted(set(folds))
    ), True


def _groups(
    test: pd.DataFrame, repetitions: tuple[tuple[int, ...], ...], where: str
) -> list[list[str]]:
    """Return the test groups of each repetition; of folds they may not meet."""
    parts = [sorted(set(test.loc[test["seed"].isin(seeds), "group"])) for seeds in repetitions]
    together = [group for part in parts for group in part]
    repeated = pd.Index(together)[pd.Index(together).duplicated()]
    if len(repeated):
        raise UserError(
            f"{where}: the group {repeated[0]} is tested in several folds; a group belongs in "
            "one: run preprocess and the later stages again"
        )
    return parts


def _refuse_repeated(test: pd.DataFrame, where: str) -> None:
    repeated = test[test.duplicated([*CURVE, "seed", "image_id"])]
    if len(repeated):
        row = repeated.iloc[0]
        raise UserError(f"{where}: {origin(row)} predicts image {row['image_id']} twice")


def _incomplete(test: pd.DataFrame) -> dict[float, list[int]]:
    """Find the fractions that some seeds lack in every recipe; some fraction all must have.

    A mean over other seeds, or other folds, would be of other images.
    """
    seeds = set(test["seed"])
    have = {float(name): set(rows["seed"]) for name, rows in test.groupby("fraction")}
    if seeds not in have.values():
        return {}
    return {name: sorted(seeds - own) for name, own in have.items() if own != seeds}


def _refuse_missing_seeds(test: pd.DataFrame, where: str) -> None:
    seeds = set(test["seed"])
    for (recipe, mode, fraction), rows in test.groupby(CURVE, sort=False):
        missing = sorted(seeds - set(rows["seed"]))
        if missing:
            raise UserError(
                f"{where}: {recipe} ({mode}, fraction {fraction}) lacks seed "
                f"{', '.join(map(str, missing))}, which others have; run its finetune, or take "
                "the seed out of conf/base/experiment.yml"
            )


def _refuse_other_images(
    found: TestSet, first: TestSet, at: tuple[Curve, int], reference: Curve, where: str
) -> None:
    same = all(
        np.array_equal(getattr(found, name), getattr(first, name))
        for name in ("image_ids", "truth", "group", "unit")
    )
    if not same:
        curve, seed = at
        raise UserError(
            f"{where}: {curve[0]} seed {seed} ({curve[1]}, fraction {curve[2]}) and "
            f"{reference[0]} ({reference[1]}, fraction {reference[2]}) were tested on "
            "different images, groups or labels; they come from different splits: run finetune "
            "of both again"
        )
