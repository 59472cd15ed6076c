"""Which labels a fraction may use."""

import hashlib
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwise.errors import UserError
from maskwise.finetune.classification.folds import deal_folds
from maskwise.finetune.subsets import (
    draw_stratified,
    draw_subsets,
    group_order,
    group_strata,
    shortage,
)

FRACTIONS = (1.0, 0.5, 0.25)


def labelled(
    train: dict[str, list[int]], validation: dict[str, list[int]] | None = None
) -> pd.DataFrame:
    """Make a table: a list of images per group for every class."""
    rows = [
        (f"{split}{name}{group}_{image}", f"{split}{name}{group}", split, name)
        for split, classes in (("train", train), ("validation", validation or train))
        for name, sizes in classes.items()
        for group, size in enumerate(sizes)
        for image in range(size)
    ]
    table = pd.DataFrame(rows, columns=["image_id", "group", "split", "label"])
    return table.assign(stratum=table["label"])


tables = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.lists(st.integers(1, 4), min_size=4, max_size=30),
    min_size=2,
)


def images_of(subsets: pd.DataFrame, fraction: float, role: str = "train") -> set[str]:
    chosen = subsets[(subsets["fraction"] == fraction) & (subsets["role"] == role)]
    return set(chosen["image_id"])


@settings(max_examples=15, deadline=None)
@given(groups=tables, seed=st.integers(0, 9))
def test_in_every_prefix_each_class_has_its_share_of_groups_within_one(
    groups: dict[str, list[int]], seed: int
) -> None:
    images = labelled(groups).query("split == 'train'")
    classes = group_strata(images)
    order = group_order(images, np.random.default_rng(seed))
    assert Counter(order) == Counter(classes.index)
    shares = classes.value_counts(normalize=True)
    taken = dict.fromkeys(shares.index, 0)
    for k, group in enumerate(order, start=1):
        taken[classes[group]] += 1
        assert all(abs(taken[name] - share * k) < 1 for name, share in shares.items())


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=16, max_size=40), seed=st.integers(0, 9))
def test_smaller_fractions_lie_inside_larger_ones_and_never_cut_a_group(
    sizes: list[int], seed: int
) -> None:
    table = labelled({"a": sizes, "b": sizes})
    subsets = draw_subsets(table, FRACTIONS, "subset", seed)
    for role in ("train", "validation"):
        whole, half, quarter = (images_of(subsets, fraction, role) for fraction in FRACTIONS)
        assert quarter <= half <= whole == set(table[table["split"] == role]["image_id"])
        for part in (half, quarter):
            groups = set(table[table["image_id"].isin(part)]["group"])
            assert part == set(table[table["group"].isin(groups)]["image_id"])


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 4), min_size=16, max_size=40), seed=st.integers(0, 9))
def test_a_fraction_is_the_fewest_whole_groups_that_reach_its_share_of_the_images(
    sizes: list[int], seed: int
) -> None:
    table = labelled({"a": sizes, "b": sizes})
    subsets = draw_subsets(table, (0.25,), "subset", seed)
    images, largest = 2 * sum(sizes), max(sizes)
    assert 0.25 * images <= len(images_of(subsets, 0.25)) < 0.25 * images + largest


def test_a_seed_has_one_order_whatever_the_order_of_the_rows() -> None:
    table = labelled({"a": [1] * 20, "b": [2] * 20})
    shuffled = table.sample(frac=1, random_state=0)
    first, second = (draw_subsets(t, FRACTIONS, "subset", 3) for t in (table, shuffled))
    pd.testing.assert_frame_equal(first, second)


def test_another_seed_has_another_order() -> None:
    table = labelled({"a": [1] * 20, "b": [2] * 20})
    first, second = (images_of(draw_subsets(table, (0.25,), "subset", s), 0.25) for s in (0, 1))
    assert first != second


def test_a_fraction_draws_the_same_images_whichever_fractions_are_asked_for_beside_it() -> None:
    table = labelled({"a": [1] * 20, "b": [2] * 20})
    alone, beside = (draw_subsets(table, f, "subset", 0) for f in ((0.25,), FRACTIONS))
    assert images_of(alone, 0.25) == images_of(beside, 0.25)


def test_validation_shrinks_with_the_labels() -> None:
    table = labelled({"a": [1] * 20, "b": [1] * 20})
    subsets = draw_subsets(table, (1.0, 0.25), "subset", 0)
    assert len(images_of(subsets, 1.0, "validation")) == 40
    assert len(images_of(subsets, 0.25, "validation")) == 10


def test_the_published_protocol_keeps_the_whole_validation_part() -> None:
    table = labelled({"a": [1] * 20, "b": [1] * 20})
    subsets = draw_subsets(table, (1.0, 0.25), "full", 0)
    assert len(images_of(subsets, 0.25, "validation")) == 40


FEW = (1.0, 0.25, 0.1, 0.035)


@settings(max_examples=15, deadline=None)
@given(groups=tables, held_out=tables, seed=st.integers(0, 9))
def test_validation_images_show_every_class_and_are_else_what_the_share_alone_draws(
    groups: dict[str, list[int]], held_out: dict[str, list[int]], seed: int
) -> None:
    held_out = {name: held_out.get(name, [1, 2, 1]) for name in groups}
    table = labelled(groups, held_out)
    fractions = [each for each in FEW if shortage(table, [each], seed) is None]
    drawn = draw_subsets(table, fractions, "subset", seed)
    plain = draw_stratified(table, fractions, "subset", seed)
    sizes, larger = Counter(drawn["fraction"]), table
    for fraction in fractions:
        chosen, before = (each[each["fraction"] == fraction] for each in (drawn, plain))
        judged = chosen[chosen["role"] == "validation"]
        assert set(judged["label"]) == set(groups)
        lacked = set(groups) - set(before.loc[before["role"] == "validation", "label"])
        added = judged[~judged["image_id"].isin(before["image_id"])]
        # One whole group of each class that was lacking, and nothing else.
        assert len(added["group"].unique()) == len(lacked) == len(set(added["label"]))
        assert set(judged["image_id"]) <= set(larger["image_id"])
        if not lacked:
            pd.testing.assert_frame_equal(chosen, before)
        larger = judged
    assert sizes[1.0] == len(table)


def test_the_subsets_of_studies_that_were_run_are_the_same_images_as_then() -> None:
    table = labelled({"a": [1, 2] * 20, "b": [3, 1] * 10, "c": [1] * 12})
    drawn = pd.concat([draw_subsets(table, FEW[:3], "subset", seed) for seed in range(8)])
    text = "\n".join(drawn.astype(str).agg(" ".join, axis=1))
    assert hashlib.sha256(text.encode()).hexdigest().startswith("0f23bb851910e8b9")


def test_a_class_that_no_validation_image_has_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = labelled({"a": [1] * 4, "b": [1] * 4}, validation={"a": [1] * 4})
    drawn = draw_subsets(table, (1.0, 0.5), "subset", 7)
    assert len(images_of(drawn, 0.5, "validation")) == 2
    assert "Seed 7: no validation image is of the class 'b'" in caplog.text


def test_a_fraction_without_a_class_names_the_class_and_the_number_of_its_groups() -> None:
    table = labelled({"common": [1] * 38, "rare": [1] * 2})
    with pytest.raises(
        UserError,
        match=r"experiment.fractions: 0.05 .* are 2 groups \(2 images\), none of them of the "
        r"class 'rare', which has 2 of 40 groups; .* begins near 0\.",
    ):
        draw_subsets(table, (1.0, 0.05), "subset", 0)


def test_the_fraction_that_the_message_offers_works() -> None:
    table = labelled({"common": [1] * 38, "rare": [1] * 2})
    with pytest.raises(UserError) as caught:
        draw_subsets(table, (0.05,), "subset", 0)
    offered = float(str(caught.value).split("near ")[1].split(" ")[0])
    assert "rare" in set(draw_subsets(table, (offered,), "subset", 0)["label"])


def test_a_class_that_no_training_image_has_is_named() -> None:
    table = labelled({"a": [1] * 4}, validation={"a": [1], "b": [1]})
    with pytest.raises(UserError, match="no training image is of the class 'b'"):
        draw_subsets(table, (1.0,), "subset", 0)


def test_a_split_without_a_labelled_image_is_named() -> None:
    table = labelled({"a": [1] * 4, "b": [1] * 4}).query("split == 'train'")
    with pytest.raises(UserError, match="the validation part has no labelled image"):
        draw_subsets(table, (1.0,), "subset", 0)


def test_a_group_of_two_classes_counts_as_the_commoner_one_and_else_as_the_first() -> None:
    images = pd.DataFrame({"group": ["g"] * 3 + ["h"] * 2, "stratum": list("babba")})
    assert dict(group_strata(images)) == {"g": "b", "h": "a"}


@settings(max_examples=15, deadline=None)
@given(groups=tables, count=st.integers(2, 6))
def test_folds_hold_out_whole_groups_once_and_fit_on_every_class(
    groups: dict[str, list[int]], count: int
) -> None:
    images = labelled(groups)
    folds = deal_folds(images, count, seed=0)
    judged = np.concatenate([judge for _, judge in folds])
    assert len(judged) == len(set(judged)) == len(images)
    for rows, judge in folds:
        seen, unseen = images.iloc[rows], images.iloc[judge]
        assert not set(seen["group"]) & set(unseen["group"])
        assert set(seen["label"]) == set(images["label"])


def test_a_class_of_one_group_is_never_held_out() -> None:
    images = pd.DataFrame({"group": list("abcdef"), "stratum": ["x", *"yyyyy"]})
    folds = deal_folds(images, 3, seed=0)
    assert folds
    assert all(0 in rows for rows, _ in folds)
