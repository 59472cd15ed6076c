"""One split for all stages: stratified, grouped, or the publisher's."""

import logging

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskwise.artefacts.splits import for_seed, leaking_groups
from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.preprocess.config import SourcePreprocessConfig
from maskwise.preprocess.splits import _deal, make_splits, refuse_leaks
from preprocess.miniature import manifest_of, source


@st.composite
def _manifests(draw: st.DrawFn) -> pd.DataFrame:
    """Draw groups of one to five images of up to four classes, some without a label."""
    classes = [*"abcd"[: draw(st.integers(2, 4))]]
    groups: list[str] = []
    labels: list[str | None] = []
    for name in classes:
        for number in range(draw(st.integers(3, 9))):
            size = draw(st.integers(1, 5))
            groups += [f"{name}{number}"] * size
            labels += [name] * size
    unlabelled = draw(st.integers(0, 4))
    groups += [f"x{number}" for number in range(unlabelled)]
    labels += [None] * unlabelled
    order = draw(st.permutations(range(len(groups))))
    return manifest_of([groups[i] for i in order], [labels[i] for i in order])


@given(_manifests(), st.sampled_from([0, 3]))
@settings(deadline=None, max_examples=25)
def test_no_group_is_ever_divided_and_every_part_has_every_class(
    manifest: pd.DataFrame, folds: int
) -> None:
    splits = make_splits(manifest, source(folds=folds), "busi.preprocess")
    assert splits["image_id"].tolist() == manifest["image_id"].tolist()
    assert leaking_groups(splits).empty
    assert (splits.groupby("group")["fold"].nunique() == 1).all()
    labelled = splits.assign(label=manifest["label_diagnosis"].to_numpy()).dropna()
    for name in ("train", "validation", "test"):
        found = labelled.loc[labelled["split"] == name, "label"]
        assert set(found) == set(labelled["label"])


@given(st.integers(0, 100), st.floats(0.1, 0.3), st.floats(0.1, 0.3))
@settings(deadline=None, max_examples=12)
def test_every_class_has_its_shares_to_within_one_group(
    seed: int, validation: float, test: float
) -> None:
    groups = [f"g{i // 2}" for i in range(400)]
    labels = ["benign" if i < 300 else "malignant" for i in range(400)]
    config = source(split_seed=seed, validation_share=validation, test_share=test)
    splits = make_splits(manifest_of(groups, labels), config, "busi.preprocess")
    for name, share in (("validation", validation), ("test", test)):
        inside = (splits["split"] == name).to_numpy()
        assert abs(inside[:300].sum() - 300 * share) <= 2
        assert abs(inside[300:].sum() - 100 * share) <= 2


def test_the_split_is_the_same_every_time_and_another_with_another_seed() -> None:
    manifest = manifest_of([f"g{i}" for i in range(40)], ["a", "b"] * 20)
    first, again, other = (
        make_splits(manifest, source(split_seed=seed), "x")["split"].tolist()
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_the_split_does_not_depend_on_the_order_of_the_files() -> None:
    manifest = manifest_of([f"g{i}" for i in range(40)], ["a", "b"] * 20)
    turned = manifest.iloc[::-1].reset_index(drop=True)
    one, two = (make_splits(m, source(), "x").set_index("image_id") for m in (manifest, turned))
    pd.testing.assert_series_equal(one["split"], two.loc[one.index, "split"])


def test_a_group_that_contradicts_itself_stands_with_its_rarer_class() -> None:
    # Three groups hold the only malignant images, each beside a benign one.
    groups = ["m0", "m0", "m1", "m1", "m2", "m2", *[f"b{i}" for i in range(30)]]
    labels = ["malignant", "benign"] * 3 + ["benign"] * 30
    splits = make_splits(manifest_of(groups, labels), source(), "x")
    assert set(splits["split"][:6]) == {"train", "validation", "test"}


def test_images_without_a_label_are_trained_on() -> None:
    labels: list[str | None] = [*["a", "b"] * 10, *[None] * 10]
    manifest = manifest_of([f"g{i}" for i in range(30)], labels)
    assert set(make_splits(manifest, source(), "x")["split"][20:]) == {"train"}
    folded = make_splits(manifest, source(folds=4), "x")
    for seed in range(4):
        assert set(for_seed(folded, seed)["split"][20:]) == {"train"}


def test_a_source_without_labels_is_trained_and_validated_on_by_group() -> None:
    manifest = manifest_of([f"g{i // 2}" for i in range(40)], [None] * 40)
    splits = make_splits(manifest.drop(columns="label_diagnosis"), source(label=None), "x")
    assert splits["split"].value_counts().to_dict() == {"train": 34, "validation": 6}
    assert leaking_groups(splits).empty


def test_a_source_without_labels_may_have_a_test_split() -> None:
    manifest = manifest_of([f"g{i}" for i in range(40)], [None] * 40)
    splits = make_splits(manifest, source(label=None, test_share=0.25), "x")
    assert splits["split"].value_counts()["test"] == 10


def test_folds_have_equal_shares_of_every_class() -> None:
    labels = ["a"] * 50 + ["b"] * 25
    splits = make_splits(
        manifest_of([f"g{i}" for i in range(75)], labels), source(folds=5), "x"
    )
    table = pd.crosstab(splits["fold"], pd.Series(labels))
    assert table["a"].tolist() == [10] * 5
    assert table["b"].tolist() == [5] * 5


OFFICIAL = ["train"] * 20 + ["validation"] * 6 + ["test"] * 8


def official(
    groups: list[str] | None = None, split: list[str | None] | None = None
) -> pd.DataFrame:
    labels: list[str | None] = [*["a", "b"] * 17]
    return manifest_of(groups or [f"g{i}" for i in range(34)], labels, split=split or OFFICIAL)


def test_an_official_split_is_kept() -> None:
    assert make_splits(official(), source(), "x")["split"].tolist() == OFFICIAL


def test_an_official_split_that_leaks_is_kept_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    groups = [f"g{i}" for i in range(33)] + [
        "g0"
    ]  # the last test image is a training image's twin
    with caplog.at_level(logging.WARNING):
        splits = make_splits(official(groups), source(), "medmnist.preprocess")
    assert splits["split"].tolist() == OFFICIAL
    assert "several parts share 1 group (2 of 34 images)" in caplog.text


def test_a_corrected_split_leaves_nothing_to_leak_and_only_shrinks_the_test() -> None:
    groups = [f"g{i}" for i in range(32)] + ["g0", "g20"]  # twins in training and in validation
    splits = make_splits(official(groups), source(split="corrected"), "x")
    assert leaking_groups(splits).empty
    assert splits["split"].tolist() == [*OFFICIAL[:32], "train", "validation"]


def test_an_official_split_can_be_passed_over() -> None:
    splits = make_splits(official(), source(split="own"), "x")
    assert splits["split"].tolist() != OFFICIAL
    assert make_splits(official(), source(folds=3), "x")["fold"].min() == 0


def test_a_part_that_the_publisher_left_out_is_drawn_from_training(
    caplog: pytest.LogCaptureFixture,
) -> None:
    split: list[str | None] = [*["train"] * 26, *["test"] * 8]
    splits = make_splits(official(split=split), source(), "x")
    assert splits["split"].tolist()[26:] == ["test"] * 8
    assert splits["split"].value_counts()["validation"] == 4  # 0.15 of 26
    assert "has no validation" in caplog.text


def refusal(manifest: pd.DataFrame, message: str, **options: object) -> None:
    with pytest.raises(UserError, match=message):
        make_splits(manifest, source(**options), "busi.preprocess")


def test_a_half_empty_official_split_is_refused_with_an_example() -> None:
    split = [*OFFICIAL[:33], None]
    refusal(official(split=split), r"busi\.preprocess\.split: 1 of 34 images .* 00033\.png")


def test_an_official_split_that_is_asked_for_and_absent_is_refused() -> None:
    manifest = manifest_of([f"g{i}" for i in range(20)], ["a", "b"] * 10)
    refusal(manifest, "has no official split; set `split: own`", split="official")


def test_one_class_only_is_refused_with_numbers() -> None:
    manifest = manifest_of([f"g{i}" for i in range(20)], ["benign"] * 20)
    refusal(
        manifest, r"'diagnosis' has one class only \(20 images of 'benign' among 20 images\)"
    )


def test_a_label_that_no_image_has_is_refused() -> None:
    manifest = manifest_of([f"g{i}" for i in range(20)], [None] * 20)
    refusal(manifest, "no image has a label among 20 images")


def test_a_misspelt_label_gets_the_close_match() -> None:
    manifest = manifest_of([f"g{i}" for i in range(20)], ["a", "b"] * 10)
    refusal(
        manifest, "there is no label 'diagnosys'; did you mean 'diagnosis'", label="diagnosys"
    )


def test_fewer_groups_than_splits_are_refused_with_numbers() -> None:
    manifest = manifest_of(["g0"] * 10 + ["g1"] * 10, ["a", "b"] * 10)
    refusal(manifest, r"20 images in 2 groups .* 3 parts \(train, validation, test\)")


def test_a_class_that_never_stands_alone_is_dealt_with_the_rarer_one() -> None:
    # Slices of patients who all have a tumour: "none" is in every group, and in none alone.
    labels = ["none", "none", "tumour"] * 20
    manifest = manifest_of([f"g{i // 3:02d}" for i in range(60)], labels)
    for options in ({}, {"folds": 5}):
        splits = make_splits(manifest, source(**options), "x.preprocess")
        parts = "fold" if options else "split"
        shown = pd.crosstab(splits[parts], np.array(labels))
        assert len(shown) == (5 if options else 3)
        assert (shown > 0).all(axis=None)


def test_a_part_that_a_class_did_not_come_to_is_named() -> None:
    # "common" is in three groups, which are dealt as groups of "rare", together with six more.
    groups = [f"large{g}" for g in range(3) for _ in range(11)] + [
        f"small{g}" for g in range(6)
    ]
    labels = (["common"] * 10 + ["rare"]) * 3 + ["rare"] * 6
    manifest = manifest_of(groups, labels)
    refusal(manifest, "no group with the class 'common' came to test; set another `split_seed`")
    splits = make_splits(manifest, source(split_seed=2), "x.preprocess")
    assert (pd.crosstab(splits["split"], np.array(labels)) > 0).all(axis=None)


def test_a_class_without_enough_groups_is_refused_by_name() -> None:
    manifest = manifest_of([f"g{i // 4}" for i in range(28)], ["a"] * 20 + ["b"] * 8)
    refusal(manifest, r"the class 'b' has 2 groups \(8 images\), fewer than the 3 parts")
    refusal(manifest, r"fewer than the 4 parts \(fold 0, fold 1, fold 2, fold 3\)", folds=4)


def test_a_patient_in_two_of_our_splits_is_refused() -> None:
    # Ingest must give one group to a patient; if it did not, this is the last door.
    manifest = manifest_of([f"g{i}" for i in range(40)], ["a", "b"] * 20)
    manifest["patient"] = [f"p{i % 2}" for i in range(40)]
    refusal(manifest, "the patient 'p0' stands in .* and .* 1 more")


def test_a_group_in_two_of_our_splits_is_refused() -> None:
    manifest = manifest_of(["g0", "g0", "g1"], ["a", "b", "a"])
    splits = pd.DataFrame({"split": ["train", "test", "test"], "fold": -1})
    with pytest.raises(UserError, match="the group 'g0' stands in train and test"):
        refuse_leaks(splits, manifest)


def test_a_group_in_two_folds_is_refused() -> None:
    manifest = manifest_of(["g0", "g0", "g1"], ["a", "b", "a"])
    splits = pd.DataFrame({"split": "train", "fold": [2, 3, 0]})
    with pytest.raises(UserError, match="the group 'g0' stands in fold 2 and fold 3"):
        refuse_leaks(splits, manifest)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modality": "ultrasonud"}, "did you mean 'ultrasound'"),
        ({"test_share": 0.0}, "above 0 where there is a label"),
        ({"validation_share": 0.5, "test_share": 0.5}, "nothing to train on"),
        ({"folds": 2}, "folds is 2, but should be 0, or 3"),
        ({"folds": 3, "split": "official"}, "exclude each other"),
        ({"geometry": {"name": "rezise"}}, r"busi\.preprocess\.geometry\.name: .* 'resize'"),
        ({"intensity": {"name": "window"}}, r"busi\.preprocess\.intensity\.low: missing"),
    ],
)
def test_a_refused_option_is_named(options: dict[str, object], message: str) -> None:
    block = {"height": 64, "width": 64, "label": "diagnosis", **options}
    with pytest.raises(UserError, match=message):
        parse(SourcePreprocessConfig, block, "busi.preprocess")


def test_the_normalisation_follows_the_modality_unless_it_is_named() -> None:
    names = [
        source(modality="mr", intensity=block).preparation().intensity["name"]
        for block in (None, {"name": "range"})
    ]
    assert names == ["percentile", "range"]


def test_a_hundred_thousand_images_are_split_with_the_same_promises() -> None:
    codes = np.random.default_rng(0).integers(0, 40_000, 100_000)
    manifest = manifest_of([f"g{c}" for c in codes], [f"c{c % 3}" for c in codes])
    splits = make_splits(manifest, source(), "x")
    assert leaking_groups(splits).empty
    assert splits["split"].value_counts(normalize=True)["test"] == pytest.approx(0.15, abs=1e-3)


def dealt_slowly(size: NDArray[np.int64], shares: NDArray[np.float64]) -> list[int]:
    """Look at every part for every group."""
    wanted = shares * size.sum()
    given, held = np.zeros(len(shares)), np.zeros(len(shares))
    parts = []
    for i, images in enumerate(size):
        lack = (wanted - given) / wanted
        if (held == 0).sum() >= len(size) - i:
            lack = np.where(held == 0, lack, -np.inf)
        parts.append(int(lack.argmax()))
        given[parts[-1]] += images
        held[parts[-1]] += 1
    return parts


@given(
    size=st.lists(st.integers(1, 9), min_size=1, max_size=40),
    weights=st.lists(st.integers(1, 20), min_size=1, max_size=8),
)
def test_groups_go_where_most_is_lacking_as_if_every_part_were_looked_at(
    size: list[int], weights: list[int]
) -> None:
    sizes, shares = np.array(size), np.array(weights) / sum(weights)
    assert _deal(sizes, shares).tolist() == dealt_slowly(sizes, shares)
