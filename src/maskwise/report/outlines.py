"""Outlines of test images as the page shows them: which, how good, where they lie on disk."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.outlines import MODEL_OUTLINES, ModelOutlines, read_model_outlines
from maskwise.report.facts import Facts

EMPTY_MASKS = {
    "one": "Dice and IoU count as 1",
    "skip": "Dice and IoU are left out",
    "zero": "Dice and IoU count as 0",
}
"""Options of ``evaluate.empty_masks`` in words."""


@dataclass(frozen=True)
class Outlined:
    """One recipe's outlines of the test images, each by one of its networks."""

    recipe: str
    mode: str
    fraction: float
    outlines: dict[int, ModelOutlines]
    """A seed."""
    table: pd.DataFrame
    """One row per image: ``image_id, group, seed, dice, lesion`` (true pixels), ``called``."""

    def of(self, image_id: str) -> NDArray[np.bool_]:
        """Return what was called lesion of an image, ``(K, H, W)``."""
        return self.outlines[self._seeds[image_id]].of(image_id)

    def dice(self, image_id: str) -> float:
        """Return an image's Dice, the mean over classes that it shows or that were called."""
        return self._dice[image_id]

    @cached_property
    def _seeds(self) -> dict[str, int]:
        return dict(zip(self.table["image_id"], self.table["seed"], strict=True))

    @cached_property
    def _dice(self) -> dict[str, float]:
        return dict(zip(self.table["image_id"], self.table["dice"], strict=True))


def read_outlined(facts: Facts, recipe: str) -> Outlined | None:
    """Read the outlines that a recipe's models left; None where none did.

    Of an image that several seeds tested, the first seed's.
    """
    found = {
        seed: read_model_outlines(folder / MODEL_OUTLINES)
        for (name, seed), folder in sorted(facts.inputs.models.items())
        if name == recipe and (folder / MODEL_OUTLINES).exists()
    }
    if not found:
        return None
    first = next(iter(found.values()))
    mode, fraction = str(first.mode), float(first.fraction)
    table = facts.inputs.predictions
    rows = table[
        (table["recipe"] == recipe)
        & (table["split"] == "test")
        & (table["mode"] == mode)
        & (table["fraction"] == fraction)
        & table["seed"].isin(list(found))
    ]
    rows = rows.sort_values(["seed", "image_id"]).drop_duplicates("image_id")
    measured = rows[["image_id", "group", "seed"]].assign(
        dice=mean_dice(rows), lesion=count_lesions(rows), called=count_called(rows)
    )
    return Outlined(recipe, mode, fraction, found, measured.reset_index(drop=True))


def mean_dice(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Return each row's Dice ``(n,)``, mean over classes outlined or called; NaN of neither."""
    true, wrong, missed = (_counts(rows, kind) for kind in ("tp", "fp", "fn"))
    both = (2 * true + wrong + missed).astype(np.float64)
    dice = np.divide(2 * true, both, out=np.full(both.shape, np.nan), where=both > 0)
    defined = ~np.isnan(dice)
    total, n = np.where(defined, dice, 0.0).sum(axis=1), defined.sum(axis=1)
    means: NDArray[np.float64] = np.full(len(rows), np.nan)
    np.divide(total, n, out=means, where=n > 0)
    return means


def count_lesions(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return the pixels of true lesions of each row, ``(n,)``."""
    return np.asarray((_counts(rows, "tp") + _counts(rows, "fn")).sum(axis=1), np.int64)


def count_called(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return the pixels called lesion of each row, ``(n,)``."""
    return np.asarray((_counts(rows, "tp") + _counts(rows, "fp")).sum(axis=1), np.int64)


def _counts(rows: pd.DataFrame, kind: str) -> NDArray[np.int64]:
    columns = [name for name in rows.columns if str(name).startswith(f"{kind}_")]
    return np.asarray(rows[columns], np.int64)
