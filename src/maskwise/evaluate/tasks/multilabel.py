"""The task ``multilabel``: of each label its probability, and whether it was called.

Every label is scored by itself; means are over the labels that some test image shows and some
other does not, and so are the figures of all pairs of image and label together (micro).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.artefacts.tables import check_columns
from maskwise.combinations import BETWEEN, NONE, shown_by
from maskwise.errors import UserError, listed
from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.scales import Scale
from maskwise.evaluate.tasks.contract import Asides, nothing_to_score, other_task
from maskwise.evaluate.tasks.diagnosis import NEARLY_ALL, origin
from maskwise.evaluate.weighing import Weights
from maskwise.weighted import ranking, share

MACRO = ("macro_auroc", "macro_average_precision", "macro_f1")
MICRO = ("micro_auroc", "micro_average_precision")
OF_LABEL = ("auroc", "average_precision", "f1")
"""Metrics of each label, ``<name>_<label>``; the means over labels are in the same order."""
COLUMNS = ("p", "truth", "threshold")
"""Columns of each label, ``<name>_<label>``."""
_BLOCK, _FEWEST = 2**17, 64
"""Weights worked on at once: a megabyte, which stays in a core's cache; but columns of them, of
which each block sorts the images anew, are no fewer than so many."""


@dataclass(frozen=True)
class Multilabel:
    """AUROC, average precision and F1 at the model's thresholds."""

    classes: tuple[str, ...]
    """The labels, in the order of the columns."""
    scored: tuple[str, ...]
    """Those that some test images of every seed show, and others do not."""
    kinds: tuple[str, ...]
    """Which combinations of labels a test image shows."""
    config: EvaluateConfig
    task: str = "multilabel"
    noun: str = "label"
    partly_defined: tuple[str, ...] = ()
    leading: str = "macro_auroc"
    chance: float = 0.5
    smaller_is_better: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        return (*MACRO, *MICRO, *(f"{kind}_{one}" for one in self.scored for kind in OF_LABEL))

    @property
    def surely_defined(self) -> tuple[str, ...]:
        return self.metrics

    def scale(self, metric: str) -> Scale:
        return "outcome"

    def rests_on(self, metric: str) -> tuple[str, ...]:
        if metric in MICRO:
            return ()
        if metric in MACRO:
            return self.scored
        return tuple(one for one in self.scored if metric in _metrics_of(one))

    @cached_property
    def shows(self) -> NDArray[np.bool_]:
        named = [() if kind == NONE else tuple(kind.split(BETWEEN)) for kind in self.kinds]
        return shown_by(named, self.classes)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"{kind}_{name}" for kind in COLUMNS for name in self.classes)

    @property
    def conventions(self) -> Mapping[str, Any]:
        return {"scored": list(self.scored)}

    def together(self, one: Floats, other: Floats) -> tuple[Floats, Floats, int]:
        return one, other, len(one)

    def check(self, test: pd.DataFrame, where: str) -> None:
        parts = np.split(test[list(self.columns)].to_numpy(np.float64), 3, axis=1)
        truth = parts[1]
        # NaN fails every comparison, and so is found as well.
        right = ((parts[0] >= 0) & (parts[0] <= 1) & (parts[2] >= 0)).all(axis=1)
        kind = pd.Index(self.kinds).get_indexer(pd.Index(test["truth"]))
        right &= (truth == self.shows[kind]).all(axis=1)
        if not right.all():
            row = test[~right].iloc[0]
            raise UserError(
                f"{where}: {origin(row)}, image {row['image_id']}: a probability or a "
                f"threshold does not lie between 0 and 1, or {row['truth']!r} is not what its "
                "columns `truth_` say; run its finetune again"
            )

    def score(self, values: Floats, weights: Weights) -> Floats:
        images = weights.images
        step = max(_FEWEST, _BLOCK // max(values.size, 1))
        parts = [
            self._score(values, images[:, first : first + step])
            for first in range(0, images.shape[1], step)
        ]
        return np.concatenate(parts, axis=1)

    def _score(self, values: Floats, weights: Floats) -> Floats:
        chances, truth, called = self._of_scored(values)
        table = np.stack(
            [
                of_label(chances[:, k], truth[:, k], called[:, k], weights)
                for k in range(len(self.scored))
            ]
        )  # (labels, 3, D)
        # A mean over labels is undefined where one of them is: it would be of another thing.
        macro = table.mean(axis=0)
        pairs = np.repeat(weights, len(self.scored), axis=0)
        micro = np.stack(ranking(chances.ravel(), truth.ravel(), pairs))
        return np.concatenate([macro, micro, table.reshape(-1, weights.shape[1])])

    def _of_scored(self, values: Floats) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        """Return probability, truth and call of each image and scored label, ``(n, L)``."""
        chances, truth, thresholds = np.split(values, 3, axis=1)
        places = [self.classes.index(name) for name in self.scored]
        chances = chances[:, places]
        return chances, truth[:, places] > 0, chances >= thresholds[:, places]

    def asides(self, values: Floats, weights: Weights) -> Asides:
        return {}

    def undefined(self, draws: int, of: int) -> str:
        return (
            f"{draws} of {of} draws held no image that shows some label, or none that does "
            "not, so that means over labels are undefined there; they were left out of the "
            "intervals."
        )

    def stuck(self, values: Floats, weights: Weights) -> str:
        _, truth, called = self._of_scored(values)
        weight = weights.images[:, 0] / weights.images[:, 0].sum()
        answers, which = np.unique(called, axis=0, return_inverse=True)
        shares = np.bincount(which.reshape(-1), weight)
        if shares.max() >= NEARLY_ALL:
            answer = answers[int(shares.argmax())]
            name = BETWEEN.join(np.asarray(self.scored, object)[answer]) or NONE
            return f"{shares.max():.0%} of the test images were called {name}"
        if weight @ (called == truth).all(axis=1) >= NEARLY_ALL:
            return f"at least {NEARLY_ALL:.0%} of the test images were called rightly"
        return ""

    def notes(self) -> list[str]:
        notes = [
            "An image counts for every label that it shows. Macro figures are means over "
            f"{len(self.scored)} labels, each counting as much as another; micro figures rank "
            "all pairs of an image and a label together, so that common labels count for more.",
            "F1 is computed at each label's threshold, which validation images chose: the one "
            "of their highest F1, or 0.5 where too few of them show the label.",
        ]
        left_out = [name for name in self.classes if name not in self.scored]
        if left_out:
            notes.append(
                "Not scored, because of the test images of some seed all or none show it: "
                f"{listed(left_out)}."
            )
        return notes


def _metrics_of(label: str) -> tuple[str, ...]:
    return tuple(f"{kind}_{label}" for kind in OF_LABEL)


def of_label(
    chances: Floats, truth: NDArray[np.bool_], called: NDArray[np.bool_], weights: Floats
) -> Floats:
    """Return ``OF_LABEL`` ``(3, D)`` of one label, from ``(n,)`` and ``weights`` ``(n, D)``.

    F1 is 2 TP / (2 TP + FP + FN). All are NaN where no image that shows the label has weight,
    or none that does not.
    """
    auroc, precision = ranking(chances, truth, weights)
    right = weights.T @ (truth & called)
    f1 = share(2 * right, weights.T @ truth + weights.T @ called)
    return np.where(np.isnan(auroc), np.nan, np.stack([auroc, precision, f1]))


def _differs(truth: pd.Series, seed: pd.Series) -> bool:
    """Say whether some test images of every seed show a label, and others do not.

    In folds seeds test different images, and a figure is the mean over all folds.
    """
    by_seed = truth.groupby(seed)
    return len(truth) > 0 and bool((by_seed.min() < by_seed.max()).all())


def read(predictions: pd.DataFrame, config: EvaluateConfig, where: str) -> Multilabel:
    """Return the measures of several labels per image."""
    names = [str(name) for name in predictions if str(name).startswith("threshold_")]
    if not names:
        raise other_task(where, "multilabel", "threshold_")
    labels = tuple(name.removeprefix("threshold_") for name in names)
    check_columns(
        predictions, tuple(f"{kind}_{name}" for kind in COLUMNS for name in labels), where
    )
    test = predictions[(predictions["split"] == "test") & predictions["truth"].notna()]
    scored = tuple(name for name in labels if _differs(test[f"truth_{name}"], test["seed"]))
    if not scored:
        raise nothing_to_score(where)
    return Multilabel(labels, scored, tuple(sorted(set(test["truth"]))), config)
