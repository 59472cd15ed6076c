"""Splits of images that may have several labels: by combinations, rare ones pooled."""

import logging

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwise.artefacts.splits import leaking_groups
from maskwise.errors import UserError
from maskwise.preprocess.splits import make_splits
from preprocess.miniature import manifest_of, source

CELLS = [None, "a", "b", "a|b", "b|a", "a|c", "b|c", "c", "a|b|c"]


@st.composite
def _manifests(draw: st.DrawFn) -> pd.DataFrame:
    """Draw groups of one to three images, each with a combination of three labels or none."""
    images = st.lists(st.sampled_from(CELLS), min_size=1, max_size=3)
    cells = draw(st.lists(images, min_size=12))
    groups = [f"g{number}" for number, images in enumerate(cells) for _ in images]
    labels = [cell for images in cells for cell in images]
    # Two combinations at least, or there is nothing to tell apart.
    return manifest_of([*groups, "x", "y"], [*labels, "a", "b"])


@given(_manifests(), st.sampled_from([0, 3]))
@settings(deadline=None, max_examples=40)
def test_no_group_is_ever_divided_and_no_part_is_empty(
    manifest: pd.DataFrame, folds: int
) -> None:
    rated = manifest.dropna(subset=["label_diagnosis"])["group"].nunique()
    if rated < 3:
        return
    splits = make_splits(manifest, source(separator="|", folds=folds), "busi.preprocess")
    assert leaking_groups(splits).empty
    if folds:
        assert set(splits["fold"]) - {-1} == {0, 1, 2}
    else:
        assert set(splits["split"]) == {"train", "validation", "test"}


@given(_manifests())
@settings(deadline=None, max_examples=20)
def test_the_order_of_the_labels_in_a_cell_changes_no_split(manifest: pd.DataFrame) -> None:
    turned = manifest.assign(
        label_diagnosis=[
            None if pd.isna(cell) else "|".join(reversed(cell.split("|")))
            for cell in manifest["label_diagnosis"]
        ]
    )
    if manifest.dropna(subset=["label_diagnosis"])["group"].nunique() < 3:
        return
    options = source(separator="|")
    pd.testing.assert_frame_equal(
        make_splits(manifest, options, "busi"), make_splits(turned, options, "busi")
    )


def test_a_combination_has_its_share_of_every_part() -> None:
    cells = ["a"] * 60 + ["a|b"] * 40 + ["b"] * 20
    manifest = manifest_of([f"g{i}" for i in range(120)], cells)
    splits = make_splits(
        manifest, source(separator="|", validation_share=0.2, test_share=0.2), "busi"
    )
    counted = splits.groupby([manifest["label_diagnosis"], "split"]).size()
    assert counted["a|b"].to_dict() == {"train": 24, "validation": 8, "test": 8}
    assert counted["b"].to_dict() == {"train": 12, "validation": 4, "test": 4}


def test_rare_combinations_that_could_not_be_divided_are_no_obstacle() -> None:
    cells = ["a"] * 40 + ["b"] * 40 + ["a|b"]
    manifest = manifest_of([f"g{i}" for i in range(81)], cells)
    assert len(make_splits(manifest, source(separator="|"), "busi")) == 81
    with pytest.raises(UserError, match=r"the class 'a\|b' has 1 group"):
        make_splits(manifest, source(), "busi")


def test_a_label_that_does_not_come_to_every_part_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cells = ["a"] * 40 + ["b"] * 40 + ["a|rare"]
    manifest = manifest_of([f"g{i}" for i in range(81)], cells)
    with caplog.at_level(logging.WARNING):
        make_splits(manifest, source(separator="|"), "busi")
    (warned,) = [record.getMessage() for record in caplog.records]
    assert "no group with the label 'rare' came to " in warned
    assert "(it has 1 group in all)" in warned


def test_images_that_were_not_rated_are_trained_on() -> None:
    manifest = manifest_of(
        [f"g{i}" for i in range(60)], [*(["a", "b", "a|b"] * 20)[:56], None, None, "|", " "]
    )
    splits = make_splits(manifest, source(separator="|"), "busi")
    assert set(splits["split"].iloc[-4:]) == {"train"}


def test_a_part_that_the_publisher_left_out_is_drawn_by_combinations_as_well() -> None:
    cells = ["a", "b", "a|b", "b", "a"] * 24
    manifest = manifest_of([f"g{i}" for i in range(120)], cells).assign(
        split=["train"] * 100 + ["test"] * 20
    )
    splits = make_splits(manifest, source(separator="|", validation_share=0.2), "busi")
    drawn = manifest["label_diagnosis"][splits["split"] == "validation"].value_counts()
    assert drawn.to_dict() == {"a": 8, "b": 8, "a|b": 4}
    assert (splits["split"].iloc[100:] == "test").all()
