"""How well neighbours of other patients or groups tell a label: k-NN, with an interval."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.embeddings import Embeddings
from maskwise.artefacts.labels import named_column
from maskwise.embedding.config import EmbedConfig
from maskwise.errors import UserError, shown
from maskwise.evaluate import scales
from maskwise.evaluate.metrics import METRICS, score
from maskwise.evaluate.resampling import draw, resample
from maskwise.finetune.classification.knn import vote
from maskwise.wording import count

SHOWN = ("macro_auroc", "balanced_accuracy")
MOST_CLASSES = 100
WEIGHTS_AT_ONCE = 2**22
"""Scans x draws that are scored at once."""
_BINS = 15
"""Of the calibration error, which nobody asks for here."""


@dataclass(frozen=True)
class Figure:
    """One number and its interval."""

    metric: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class KnnScore:
    """What neighbours of other patients or groups say of a label."""

    label: str
    classes: tuple[str, ...]
    scans: int
    groups: int
    patients_known: bool
    """Whether groups are patients for all scans that were asked about; else duplicates alone,
    or nothing, are kept together."""
    left_out: tuple[str, ...]
    """Classes that only one patient or group shows."""
    test_left_out: int
    """Scans of the test part, which neither vote nor are asked about."""
    neighbours: int
    figures: tuple[Figure, ...]


def score_by_neighbours(embeddings: Embeddings, config: EmbedConfig) -> KnnScore | None:
    """Ask, about each labelled scan, the nearest ones of other patients or groups.

    None where no label is asked for. Scans of the test part are left out: a map is looked at
    again and again, and the test part answers once, in evaluate.

    Raises:
        UserError: if there is no such column, or it holds no two classes of two groups each.
    """
    if config.label is None:
        return None
    table = embeddings.table
    column = named_column(table, config.label, "embed.label")
    test = table["split"].eq("test").fillna(False).to_numpy(bool)
    label = table[column].map(_text)
    known = label.notna().to_numpy() & ~test
    groups_of = pd.DataFrame({"label": label[known], "group": table["group"][known]})
    spread = groups_of.groupby("label")["group"].nunique()
    classes = tuple(sorted(spread.index[spread >= 2]))
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise UserError(
            f"embed.label: {shown(config.label)} has {count(len(classes), 'class', 'classes')} "
            "that two or more patients or groups show, and a score needs 2 to "
            f"{MOST_CLASSES}; name a column of classes, or leave it out"
        )
    rows = np.flatnonzero(known & label.isin(classes).to_numpy())
    truth = pd.Index(classes).get_indexer(pd.Index(label.iloc[rows])).astype(np.int64)
    codes, names = pd.factorize(table["group"].iloc[rows])
    group: NDArray[np.int64] = codes.astype(np.int64)
    seen = embeddings.vectors[rows]
    shares = vote(
        seen,
        seen,
        np.eye(len(classes))[truth],
        config.neighbours,
        config.temperature,
        apart=(group, group),
    )
    return KnnScore(
        label=config.label,
        classes=classes,
        scans=len(rows),
        groups=len(names),
        patients_known=bool(table["patient"].iloc[rows].notna().all()),
        left_out=tuple(sorted(set(spread.index) - set(classes))),
        test_left_out=int((label.notna().to_numpy() & test).sum()),
        neighbours=min(config.neighbours, len(rows) - 1),
        figures=_figures(shares, truth, group, config),
    )


def check_columns(table: pd.DataFrame, config: EmbedConfig) -> None:
    """Raise ``UserError`` where an option names a column that ``table`` has not."""
    for option in ("label", "colour_by"):
        name = getattr(config, option)
        if name is not None:
            named_column(table, name, f"embed.{option}")


def _text(value: object) -> str | None:
    return None if pd.isna(value) or value == "" else str(value)


def _figures(
    shares: NDArray[np.float64],
    truth: NDArray[np.int64],
    group: NDArray[np.int64],
    config: EmbedConfig,
) -> tuple[Figure, ...]:
    groups = int(group.max()) + 1
    draws = draw(1, (groups,), config.draws, config.seed)
    step = max(1, WEIGHTS_AT_ONCE // len(truth))
    parts = [
        score(shares, truth, draws.groups[group, first : first + step], _BINS)
        for first in range(0, draws.groups.shape[1], step)
    ]
    values = np.concatenate(parts, axis=1)  # (metrics, 1 + draws)
    # An interval of a mean over classes rests on the groups of the rarest.
    rarest = min(len(np.unique(group[truth == code])) for code in np.unique(truth))
    figures = []
    for metric in SHOWN:
        found = resample(values[[METRICS.index(metric)]], draws, rarest)
        low, high = scales.interval(found.value, found.test, groups, "outcome")
        figures.append(Figure(metric, found.value, low, high))
    return tuple(figures)
