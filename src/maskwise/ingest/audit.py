"""The file-facts audit: do format, mode, size and bytes alone give the label away?

A small random forest sees no pixel, is cross-validated by group, and its AUROC should lie at
0.5. Where it does not, a network can score without having looked at anatomy.

A slice's place in its volume is another such fact: tumours are rarely in the first or the last
slices. What it alone predicts is the bar for whatever looks at the slice.

The bytes of a compressed file depend on what is shown: speckle takes more of them than a cyst.
So a label that only the bytes predict need not have been given away, and the audit is run
without them as well.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.model_selection import StratifiedKFold

from maskwise.array_types import Floats
from maskwise.fact_forest import (
    LARGEST,
    MOST_CLASSES,
    NOTHING_TOLD,
    drawn,
    grown,
    judged,
    strongest,
    telling,
)
from maskwise.seeds import stream
from maskwise.wording import count

FOLDS = 3
"""Each costs one forest per question. Where facts tell nothing, 3 err no more often than 5."""
BYTES = ("bytes", "bytes_per_pixel")
"""Facts that depend on what is shown, where a file is compressed."""
_SEED = 0

Folds = list[tuple[NDArray[np.int64], NDArray[np.int64]]]
"""Rows to learn from and rows to judge by."""


def file_facts(images: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of each file without looking at it, as numbers."""
    pixels = images["width"] * images["height"]
    facts = pd.DataFrame(
        {
            "width": images["width"],
            "height": images["height"],
            "aspect": images["width"] / images["height"],
            "bytes": np.log(images["bytes"]),
            "bytes_per_pixel": images["bytes"] / pixels,
        }
    )
    names = images[["format", "mode"]].astype(str)
    return facts.join(pd.get_dummies(names, dtype=float)).astype(float)


def audit(images: pd.DataFrame, column: str) -> dict[str, Any]:
    """Return the macro AUROC with a 95 % interval over groups, or why there is none.

    ``without_bytes`` holds the same of format, mode and size in pixels alone.
    """
    question = _ask_about(images, column)
    if isinstance(question, str):
        return {"auroc": None, "why_not": question}
    facts = file_facts(question.images)
    with ThreadPoolExecutor(2) as pool:  # trees grow outside Python's lock
        whole, less = pool.map(question.answer, (facts, facts.drop(columns=list(BYTES))))
    return {**whole, "without_bytes": less}


def slice_audit(images: pd.DataFrame, column: str) -> dict[str, Any] | None:
    """Return the same of a model that knows ``relative_slice`` only; None without slices."""
    if "relative_slice" not in images or not is_numeric_dtype(images["relative_slice"]):
        return None
    question = _ask_about(images.dropna(subset=["relative_slice"]), column)
    if isinstance(question, str):
        return {"auroc": None, "why_not": question}
    return question.answer(question.images[["relative_slice"]].astype(float))


@dataclass(frozen=True)
class _Question:
    """What is to be predicted of which images, and how it is asked."""

    images: pd.DataFrame
    truth: NDArray[np.int64]
    groups: NDArray[np.int64]
    classes: tuple[str, ...]
    folds: Folds
    counts: NDArray[np.int64]
    """``(B, G)`` of the bootstrap."""

    def answer(self, facts: pd.DataFrame) -> dict[str, Any]:
        """Return how well ``facts``, one row per image, predict the truth."""
        return {
            **_ask(facts, self.truth, self.groups, self.folds, self.counts),
            "images": len(self.truth),
            "groups": self.counts.shape[1],
            "classes": list(self.classes),
        }


def _ask_about(images: pd.DataFrame, column: str) -> _Question | str:
    """Return the question whether facts predict ``column``, or why it cannot be asked."""
    labelled = _draw_groups(images.dropna(subset=[column]))
    groups, group_names = pd.factorize(labelled["group"])
    truth, classes = pd.factorize(labelled[column], sort=True)
    if not 2 <= len(classes) <= MOST_CLASSES:
        return f"the label has {count(len(classes), 'class', 'classes')}"
    smallest = labelled.groupby(column)["group"].nunique().min()
    if smallest < 2:
        return "a class has fewer than 2 groups"
    counts = drawn(len(group_names), "file facts")
    folds = _deal(truth, groups, min(FOLDS, int(smallest)))
    names = tuple(str(name) for name in classes)
    return _Question(labelled, truth, groups, names, folds, counts)


def _deal(truth: NDArray[np.int64], groups: NDArray[np.int64], number: int) -> Folds:
    """Deal whole groups into folds, stratified by a group's commonest class.

    scikit-learn's StratifiedGroupKFold weighs every group against every fold in Python: half
    of the audit's time, for shares that are no better where groups are small.
    """
    votes = np.zeros((groups.max() + 1, truth.max() + 1), dtype=np.int64)
    np.add.at(votes, (groups, truth), 1)
    classes = votes.argmax(axis=1)
    sizes = np.bincount(classes)
    # A class that is one group's alone cannot be in every fold: it is dealt with the largest.
    classes = np.where(sizes[classes] < 2, sizes.argmax(), classes)
    number = max(2, min(number, int(np.unique(classes, return_counts=True)[1].min())))
    splitter = StratifiedKFold(number, shuffle=True, random_state=_SEED)
    fold = np.zeros(len(classes), dtype=np.int64)
    for k, (_, held_out) in enumerate(splitter.split(classes, classes)):
        fold[held_out] = k
    dealt = fold[groups]
    return [(np.flatnonzero(dealt != k), np.flatnonzero(dealt == k)) for k in range(number)]


def _ask(
    facts: pd.DataFrame,
    truth: NDArray[np.int64],
    groups: NDArray[np.int64],
    folds: Folds,
    counts: NDArray[np.int64],
) -> dict[str, Any]:
    """Predict ``truth`` from ``facts``; ``counts`` ``(B, G)`` are the bootstrap's."""
    facts = telling(facts)
    if facts.empty:
        return dict(NOTHING_TOLD)
    scores, importances = _predict(facts, truth, folds)
    return judged(scores, truth, groups, counts, strongest(importances, list(facts.columns)))


def _predict(
    facts: pd.DataFrame, truth: NDArray[np.int64], folds: Folds
) -> tuple[Floats, Floats]:
    """Return out-of-fold probabilities ``(N, K)`` and the mean importance of each fact."""
    values = facts.to_numpy()
    scores = np.zeros((len(truth), truth.max() + 1))
    importances = np.zeros(values.shape[1])
    for train, test in folds:
        forest = grown(values[train], truth[train])
        scores[np.ix_(test, forest.classes_)] = forest.predict_proba(values[test])
        importances += forest.feature_importances_ / len(folds)
    return scores, importances


def _draw_groups(images: pd.DataFrame) -> pd.DataFrame:
    if len(images) <= LARGEST:
        return images
    groups, names = pd.factorize(images["group"], sort=True)
    order = stream(_SEED, "file facts", "groups").permutation(len(names))
    rank = np.argsort(order)[groups]
    taken = np.argsort(rank, kind="stable")[:LARGEST]
    return images.iloc[np.sort(taken[rank[taken] < rank[taken].max()])]
