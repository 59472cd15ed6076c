"""``splits.parquet``: one split for all stages, made before pre-training."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.atomic import replacing
from maskwise.errors import UserError

SPLITS = ("train", "validation", "test")
COLUMNS = ("image_id", "group", "split", "fold")
"""``image_id`` and ``group`` str, ``split`` one of ``SPLITS``, ``fold`` int (-1 = in no fold).

With k folds seed s tests on fold s mod k, validates on the next one and trains on the others:
``for_seed``. The column ``split`` then is seed 0's.
"""


THINNED = "thinned"
"""Column of sources that are thinned, bool: True = pre-training leaves the image out whenever
it trains, because a neighbouring slice looks the same."""


def learnt_from(splits: pd.DataFrame, parts: Iterable[str]) -> pd.DataFrame:
    """Return the rows of ``splits``, a seed's own, in ``parts`` that pre-training sees."""
    rows = splits["split"].isin(list(parts))
    if THINNED in splits:
        rows &= ~(splits[THINNED] & (splits["split"] == "train"))
    return splits[rows]


def for_seed(splits: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the splits that every stage of ``seed`` uses; without folds, the same table."""
    folds = count_folds(splits)
    if not folds:
        return splits
    return splits.assign(split=split_of_fold(splits["fold"].to_numpy(), folds, seed))


def count_folds(splits: pd.DataFrame) -> int:
    """Return k, or 0 where the source has no folds."""
    return int(splits["fold"].max()) + 1 if len(splits) else 0


def split_of_fold(fold: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.object_]:
    """Return the split of each ``fold`` ``(N,)`` for ``seed``; fold -1 always trains."""
    turn = np.where(fold < 0, folds, (fold - seed) % folds)
    return np.select([turn == 0, turn == 1], ["test", "validation"], "train").astype(object)


def leaking_groups(splits: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the groups that stand in more than one split."""
    several = splits.groupby("group")["split"].transform("nunique") > 1
    return splits[several]


def write_splits(splits: pd.DataFrame, path: Path) -> None:
    """Write ``splits`` after checking it."""
    check_splits(splits, str(path))
    with replacing(path) as temporary:
        splits.to_parquet(temporary, index=False)


def read_splits(path: Path) -> pd.DataFrame:
    """Read and check a split."""
    splits = pd.read_parquet(path)
    check_splits(splits, str(path))
    return splits


def check_splits(splits: pd.DataFrame, where: str) -> None:
    """Raise ``UserError`` unless columns, names and identities are right."""
    missing = [name for name in COLUMNS if name not in splits.columns]
    if missing:
        raise UserError(f"{where}: the columns {', '.join(missing)} are missing")
    unknown = sorted(set(splits["split"].unique()) - set(SPLITS))
    if unknown:
        raise UserError(f"{where}: split {unknown[0]!r} is none of {', '.join(SPLITS)}")
    repeated = splits["image_id"][splits["image_id"].duplicated()]
    if len(repeated):
        raise UserError(f"{where}: image {repeated.iloc[0]} appears twice")
