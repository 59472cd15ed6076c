"""The pixel-facts audit: do border, margins, brightness and sharpness give the label away?

Ten figures of each stored image, which know nothing of anatomy, go into the same small forest
as the facts of its file. It learns from training images and is judged by validation images,
never by test images: what they hold is for evaluation to read. A network whose score lies no
higher need not have looked at what the label is about.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.labels import LABEL, label_columns
from maskwise.artefacts.splits import for_seed
from maskwise.artefacts.store import Store
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

DARK, LIGHT = 2 / 255, 253 / 255
"""Intensities up to which a pixel counts as black, and from which on as white."""
FLAT = 2 / 255
"""Deviation under which a line of pixels shows nothing."""
_CHUNK = 256
"""Images in memory at once."""
_SEED = 0


def audit_pixels(store: Store, splits: pd.DataFrame) -> dict[str, Any]:
    """Return, by label, how well facts of the stored images predict it, or why that is unknown.

    Each entry has ``auroc``, ``low``, ``high`` (95 %, over groups of validation images),
    ``importances``, ``images`` and ``groups`` (that were judged), ``trained_on`` (images) and
    ``classes``; without an answer ``auroc`` is None and ``why_not`` says why. With folds the
    parts are those of seed 0.
    """
    parts = for_seed(splits, _SEED).set_index("image_id")["split"]
    part = store.index["image_id"].map(parts)
    return {
        column.removeprefix(LABEL): _asked(store, part, column)
        for column in label_columns(store.index)
    }


def pixel_facts(images: NDArray[np.float32]) -> pd.DataFrame:
    """Return ten facts of each image; ``images`` ``(B, C, H, W)`` are intensities in [0, 1]."""
    grey = images.mean(axis=1)
    rows, columns = grey.std(axis=2) < FLAT, grey.std(axis=1) < FLAT
    return pd.DataFrame(
        {
            "mean": grey.mean(axis=(1, 2)),
            "deviation": grey.std(axis=(1, 2)),
            "black_share": (grey <= DARK).mean(axis=(1, 2)),
            "white_share": (grey >= LIGHT).mean(axis=(1, 2)),
            "top_line": grey[:, 0].mean(axis=1),
            "bottom_line": grey[:, -1].mean(axis=1),
            "left_line": grey[:, :, 0].mean(axis=1),
            "right_line": grey[:, :, -1].mean(axis=1),
            "margins": _margins(rows) + _margins(columns),
            "sharpness": _sharpness(grey),
        }
    ).astype(float)


def _asked(store: Store, part: pd.Series, column: str) -> dict[str, Any]:
    """Ask whether facts predict the label in ``column``."""
    known = store.index[column].notna() & part.isin(["train", "validation"])
    truth = np.full(len(known), -1)
    truth[known], names = pd.factorize(store.index[column][known], sort=True)
    learnt = _some(np.flatnonzero(known & (part == "train")))
    asked = _some(np.flatnonzero(known & (part == "validation")))
    groups, group_names = pd.factorize(store.index["group"].iloc[asked])
    why = _why_not(truth[learnt], truth[asked], len(names), len(group_names))
    if why:
        return {"auroc": None, "why_not": why}
    described = {
        "images": len(asked),
        "groups": len(group_names),
        "trained_on": len(learnt),
        "classes": [str(name) for name in names],
    }
    facts = telling(pd.concat(_facts(store, np.concatenate([learnt, asked]))))
    if facts.empty:
        return {**NOTHING_TOLD, **described}
    values = facts.to_numpy()
    forest = grown(values[: len(learnt)], truth[learnt])
    scores = np.zeros((len(asked), len(names)))
    scores[:, forest.classes_] = forest.predict_proba(values[len(learnt) :])
    found = judged(
        scores,
        truth[asked],
        groups,
        drawn(len(group_names), "pixel facts"),
        strongest(forest.feature_importances_, list(facts.columns)),
    )
    return {**found, **described}


def _why_not(
    learnt: NDArray[np.int64], asked: NDArray[np.int64], classes: int, groups: int
) -> str:
    if not 2 <= classes <= MOST_CLASSES:
        return f"the label has {count(classes, 'class', 'classes')}"
    if groups < 2:
        return f"validation images with a label are of {count(groups, 'group')} in all"
    for name, part in (("training", learnt), ("validation", asked)):
        lacking = classes - len(np.unique(part))
        if lacking:
            verb = "lacks" if lacking == 1 else "lack"
            return f"{count(lacking, 'class', 'classes')} {verb} {name} images"
    return ""


def _some(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return all of ``rows``, or as many as are audited, drawn at random."""
    if len(rows) <= LARGEST:
        return rows
    generator = stream(_SEED, "pixel facts", "images")
    return np.sort(generator.choice(rows, LARGEST, replace=False))


def _facts(store: Store, rows: NDArray[np.intp]) -> Iterator[pd.DataFrame]:
    for first in range(0, len(rows), _CHUNK):
        yield pixel_facts(store.intensities(rows[first : first + _CHUNK]))


def _margins(flat: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of lines, ``(B,)``, that are flat from one edge or the other on."""
    before = np.logical_and.accumulate(flat, axis=1)
    after = np.logical_and.accumulate(flat[:, ::-1], axis=1)[:, ::-1]
    margins: NDArray[np.float64] = (before | after).mean(axis=1)
    return margins


def _sharpness(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean size of the Laplacian, ``(B,)``: how pixels differ from those beside."""
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    sharpness: NDArray[np.float32] = np.abs(around - 4 * grey[:, 1:-1, 1:-1]).mean(axis=(1, 2))
    return sharpness
