"""How unsure a model is of each scan, from the probabilities that it gave."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from maskwise.array_types import Floats
from maskwise.errors import UserError, listed
from maskwise.wording import count

Measure = Literal["margin", "entropy", "least_confident"]


def _margin(chances: Floats) -> Floats:
    first, second = np.sort(chances, axis=1)[:, :-3:-1].T
    return np.asarray(1.0 - (first - second))


def _entropy(chances: Floats) -> Floats:
    logs = np.log(np.where(chances > 0, chances, 1.0))
    return np.asarray(-(chances * logs).sum(axis=1) / np.log(chances.shape[1]))


def _least_confident(chances: Floats) -> Floats:
    classes = chances.shape[1]
    return np.asarray((1.0 - chances.max(axis=1)) * classes / (classes - 1))


MEASURES: dict[str, Callable[[Floats], Floats]] = {
    "margin": _margin,
    "entropy": _entropy,
    "least_confident": _least_confident,
}
"""Of probabilities ``(N, K)`` that add to 1; each between 0 (sure) and 1."""


def uncertainty(chances: Floats, measure: Measure, alone: bool = False) -> Floats:
    """Return how unsure probabilities ``(N, K)`` are, between 0 and 1; NaN where one is.

    ``alone`` says that each is of a label by itself: then the label that is least sure counts.
    """
    known = np.asarray(np.isfinite(chances).all(axis=1))
    safe = np.where(known[:, None], chances, 1.0 / chances.shape[1])
    if alone:
        both = [MEASURES[measure](np.stack([p, 1.0 - p], axis=1)) for p in safe.T]
        unsure = np.max(both, axis=0)
    else:
        unsure = MEASURES[measure](safe)
    return np.asarray(np.where(known, unsure, np.nan))


def of_predictions(
    predictions: pd.DataFrame, scans: pd.DataFrame, measure: Measure, where: str
) -> Floats:
    """Return how unsure a model is of each of ``scans``, by what ``predict`` wrote of them.

    Args:
        predictions: ``path``, ``frame`` and ``p_<class>``.
        scans: ``path`` and ``frame``; one without a prediction becomes NaN.
        measure: which.
        where: what messages call ``predictions``.

    Raises:
        UserError: if there are no probabilities, or they are of none of the scans.
    """
    columns = [name for name in predictions.columns if str(name).startswith("p_")]
    missing = [name for name in ("path", "frame") if name not in predictions.columns]
    if missing:
        raise UserError(
            f"{where}: has no column {listed(missing)}; take the table that predict wrote of "
            "the same scans"
        )
    alone = any(str(name).startswith("called_") for name in predictions.columns)
    if len(columns) < 2 - alone:
        raise UserError(
            f"{where}: holds {count(len(columns), 'column')} of probabilities (p_<class>); the "
            "rule uncertainty asks a model that classifies, so take another model or rule"
        )
    table = predictions.drop_duplicates(["path", "frame"]).set_index(["path", "frame"])
    places = pd.MultiIndex.from_frame(scans[["path", "frame"]])
    chances = table[columns].reindex(places).to_numpy(np.float64)
    unsure = uncertainty(chances, measure, alone)
    if np.isnan(unsure).all():
        raise UserError(
            f"{where}: none of its paths is one of the embeddings'; predict and embed the same "
            "folder or table"
        )
    return unsure
