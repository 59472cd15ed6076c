"""A wrong manifest stops with the row and the column, when written and when read."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwise.artefacts.manifest import (
    _inside,
    _is_relative,
    check_manifest,
    classes_text,
    mask_classes,
    read_manifest,
    write_manifest,
)
from maskwise.errors import UserError


def manifest() -> pd.DataFrame:
    """Return a manifest of three images that is as it should be."""
    return pd.DataFrame(
        {
            "image_id": ["a", "b", "c"],
            "path": ["x.png", "y.png", "z.npz"],
            "frame": [0, 0, 4],
            "patient": ["p", None, None],
            "group": ["a", "b", "b"],
            "split": [None, "test", "train"],
            "label_diagnosis": ["benign", None, "normal"],
            "masks": [["x_mask.png"], [], []],
            "width": [3, 3, 3],
            "height": [2, 2, 2],
            "channels": [1, 3, 1],
            "bits": [8, 16, 1],
            "spacing_y": [0.2, np.nan, np.nan],
            "spacing_x": [0.2, np.nan, np.nan],
            "modality": "ultrasound",
            "sha256": "0" * 64,
            "phash": "0123456789abcdef",
            "table_age": [61, 70, 8],
        }
    )


def test_a_manifest_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    write_manifest(manifest(), tmp_path / "m.parquet")
    back = read_manifest(tmp_path / "m.parquet")
    pd.testing.assert_frame_equal(back, manifest(), check_dtype=False)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("path", "/absolute.png"),
        ("path", "../outside.png"),
        ("masks", ["/absolute.png"]),
        ("masks", "x_mask.png"),
        ("split", "val"),
        ("channels", 4),
        ("width", 0),
        ("frame", -1),
        ("image_id", "a"),
        ("sha256", "xyz"),
        ("phash", "0"),
        ("spacing_y", -0.2),
        ("label_diagnosis", ""),
        ("group", None),
    ],
)
def test_a_wrong_value_is_named_by_row_and_column(column: str, value: Any) -> None:
    wrong = manifest()
    values = list(wrong[column])
    values[1] = value
    wrong[column] = values
    with pytest.raises(UserError, match=f"column {column}, row 1"):
        check_manifest(wrong, "m.parquet")


def test_a_wrong_manifest_on_disk_is_refused_too(tmp_path: Path) -> None:
    manifest().assign(channels=2).to_parquet(tmp_path / "m.parquet")
    with pytest.raises(UserError, match=r"m\.parquet: column channels, row 0"):
        read_manifest(tmp_path / "m.parquet")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(UserError, match="the columns group are missing"):
        check_manifest(manifest().drop(columns="group"), "m.parquet")


def test_a_manifest_that_is_absent_or_no_parquet_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run the stage ingest"):
        read_manifest(tmp_path / "m.parquet")
    (tmp_path / "m.parquet").write_text("no parquet", encoding="utf-8")
    with pytest.raises(UserError, match="not a readable manifest"):
        read_manifest(tmp_path / "m.parquet")


def test_names_of_the_masks_classes_come_back_from_disk(tmp_path: Path) -> None:
    names = ("Vena, cava", 'the "other"', "Gefäß")
    write_manifest(manifest().assign(mask_classes=classes_text(names)), tmp_path / "m.parquet")
    assert mask_classes(read_manifest(tmp_path / "m.parquet")) == names
    assert mask_classes(manifest()) == ()


@pytest.mark.parametrize(
    "values",
    ['["a"] ["b"] ["a"]', "[] [] []", '["a","a"]', '[""]', "[1]", "null", "text", None],
)
def test_names_of_classes_that_make_no_sense_are_refused(values: str | None) -> None:
    texts = [None] * 3 if values is None else (values.split(" ") * 3)[:3]
    with pytest.raises(UserError, match=r"mask_classes should name the same classes"):
        check_manifest(manifest().assign(mask_classes=texts), "m.parquet")


@given(st.lists(st.text("a./\n", max_size=6), min_size=1, max_size=6))
def test_a_column_of_paths_is_judged_as_each_path_by_itself(paths: list[str]) -> None:
    together = _is_relative(pd.Series(paths, dtype="str"))
    assert together.tolist() == [_inside(path) for path in paths]
