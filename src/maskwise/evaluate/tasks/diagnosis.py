"""The task ``diagnosis``: probabilities of classes against the true one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.errors import UserError
from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.metrics import MACRO, METRICS, calibration_error_if_perfect, score
from maskwise.evaluate.scales import Scale
from maskwise.evaluate.tasks.contract import Asides, nothing_to_score, other_task
from maskwise.evaluate.weighing import Weights
from maskwise.seeds import stream

NEARLY_ALL = 0.98
"""Share of the test images that were called alike, or rightly, from which little is told."""


@dataclass(frozen=True)
class Diagnosis:
    """The metrics of ``evaluate.metrics``."""

    kinds: tuple[str, ...]
    """The classes, in the order of the columns."""
    config: EvaluateConfig
    task: str = "diagnosis"
    noun: str = "class"
    metrics: tuple[str, ...] = METRICS
    partly_defined: tuple[str, ...] = ()
    leading: str = "macro_auroc"
    chance: float = 0.5
    smaller_is_better: tuple[str, ...] = ("calibration_error",)
    surely_defined: tuple[str, ...] = METRICS

    @property
    def classes(self) -> tuple[str, ...]:
        return self.kinds

    @property
    def shows(self) -> NDArray[np.bool_]:
        return np.eye(len(self.kinds), dtype=bool)

    def rests_on(self, metric: str) -> tuple[str, ...]:
        return self.classes if metric in MACRO else ()

    def scale(self, metric: str) -> Scale:
        return "outcome"

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(f"p_{name}" for name in self.kinds)

    @property
    def conventions(self) -> Mapping[str, Any]:
        return {}

    def together(self, one: Floats, other: Floats) -> tuple[Floats, Floats, int]:
        return one, other, len(one)

    def check(self, test: pd.DataFrame, where: str) -> None:
        values = test[list(self.columns)].to_numpy(np.float64)
        # NaN fails every comparison, and so is found as well.
        right = (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < 1e-3)
        if not right.all():
            row = test[~right].iloc[0]
            raise UserError(
                f"{where}: {origin(row)}, image {row['image_id']}: "
                f"{list(row[list(self.columns)])} are not probabilities (which add to 1, and "
                "none is negative); run its finetune again"
            )
        unknown = sorted(set(test["truth"]) - set(self.kinds))
        if unknown:
            raise UserError(
                f"{where}: the class {unknown[0]!r} has no column p_{unknown[0]}; the "
                "replicates were not trained on the same labels: run finetune again"
            )

    def score(self, values: Floats, weights: Weights) -> Floats:
        bins = self.config.calibration_bins
        return score(values, weights.test.truth, weights.images, bins)

    def asides(self, values: Floats, weights: Weights) -> Asides:
        perfect = calibration_error_if_perfect(
            values,
            weights.images[:, 0],
            weights.test.group,
            self.config.calibration_bins,
            stream(self.config.seed, "calibration"),
        )
        return {"calibration_error": {"if_perfect": perfect}}

    def undefined(self, draws: int, of: int) -> str:
        return (
            f"{draws} of {of} draws held no image of some class, so that means "
            "over classes are undefined there; they were left out of the intervals."
        )

    def stuck(self, values: Floats, weights: Weights) -> str:
        called, weight = (
            values.argmax(axis=1),
            weights.images[:, 0] / weights.images[:, 0].sum(),
        )
        shares = np.bincount(called, weight, len(self.kinds))
        if shares.max() >= NEARLY_ALL:
            name = self.kinds[int(shares.argmax())]
            return f"{shares.max():.0%} of the test images were called {name}"
        if weight @ (called == weights.test.truth) >= NEARLY_ALL:
            return f"at least {NEARLY_ALL:.0%} of the test images were called rightly"
        return ""

    def notes(self) -> list[str]:
        return []


def origin(row: pd.Series) -> str:
    """Name what a row of predictions is from."""
    return f"{row['recipe']} seed {row['seed']} ({row['mode']}, fraction {row['fraction']})"


def read(predictions: pd.DataFrame, config: EvaluateConfig, where: str) -> Diagnosis:
    """Return the measures of a diagnosis of two classes or more."""
    names = [str(name) for name in predictions if str(name).startswith("p_")]
    if not names:
        raise other_task(where, "diagnosis", "p_")
    if len(names) < 2:
        raise nothing_to_score(where)
    return Diagnosis(tuple(name.removeprefix("p_") for name in names), config)
