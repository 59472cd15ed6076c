"""The table of splits, and what a seed makes of folds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from maskwise.artefacts.splits import for_seed, leaking_groups, read_splits, write_splits
from maskwise.errors import UserError


def splits(**columns: object) -> pd.DataFrame:
    table = {
        "image_id": [f"i{n}" for n in range(6)],
        "group": ["a", "a", "b", "b", "c", "c"],
        "split": ["train", "train", "validation", "validation", "test", "test"],
        "fold": -1,
    }
    return pd.DataFrame({**table, **columns})


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_splits(splits(), tmp_path / "splits.parquet")
    pd.testing.assert_frame_equal(read_splits(tmp_path / "splits.parquet"), splits())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (splits().drop(columns="fold"), "the columns fold are missing"),
        (splits(split="val"), "split 'val' is none of train, validation, test"),
        (splits(image_id="i0"), "image i0 appears twice"),
    ],
)
def test_a_wrong_table_is_neither_written_nor_read(
    tmp_path: Path, wrong: pd.DataFrame, message: str
) -> None:
    path = tmp_path / "splits.parquet"
    with pytest.raises(UserError, match=message):
        write_splits(wrong, path)
    assert not path.exists()
    wrong.to_parquet(path)
    with pytest.raises(UserError, match=message):
        read_splits(path)


def test_without_folds_every_seed_has_the_same_split() -> None:
    assert for_seed(splits(), 3) is not None
    pd.testing.assert_frame_equal(for_seed(splits(), 3), splits())


def test_seed_s_tests_on_fold_s_mod_k_and_validates_on_the_next() -> None:
    table = splits(fold=[0, 0, 1, 1, 2, 2])
    assert (
        for_seed(table, 4)["split"].tolist()
        == ["train"] * 2 + ["test"] * 2 + ["validation"] * 2
    )


def test_over_k_seeds_every_image_is_tested_once_and_validated_once() -> None:
    table = splits(fold=[0, 1, 2, 3, 4, 2])
    parts = [for_seed(table, seed)["split"].to_numpy() for seed in range(5)]
    for name in ("test", "validation"):
        assert (np.stack(parts) == name).sum(axis=0).tolist() == [1] * 6


def test_an_image_in_no_fold_is_always_trained_on() -> None:
    table = splits(fold=[0, 1, 2, -1, -1, -1])
    for seed in range(3):
        assert for_seed(table, seed)["split"].tolist()[3:] == ["train"] * 3


def test_groups_in_two_splits_are_found() -> None:
    table = splits(group=["a", "a", "a", "b", "c", "c"])
    assert leaking_groups(table)["image_id"].tolist() == ["i0", "i1", "i2"]
