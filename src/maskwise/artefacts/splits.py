"""``splits.parquet``: one split for all stages, made before pre-training."""

from pathlib import Path

import pandas as pd

from maskwise.artefacts.atomic import replacing
from maskwise.errors import UserError

SPLITS = ("train", "validation", "test")
COLUMNS = ("image_id", "group", "split", "fold")
"""``image_id`` and ``group`` str, ``split`` one of ``SPLITS``, ``fold`` int (-1 = no folds)."""


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
    unknown = sorted(set(splits["split"]) - set(SPLITS))
    if unknown:
        raise UserError(f"{where}: split {unknown[0]!r} is none of {', '.join(SPLITS)}")
    repeated = splits["image_id"][splits["image_id"].duplicated()]
    if len(repeated):
        raise UserError(f"{where}: image {repeated.iloc[0]} stands twice")
