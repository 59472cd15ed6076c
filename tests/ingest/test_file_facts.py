"""The file-facts audit finds a leak where there is one, and nothing where there is none."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from maskwise.fact_forest import drawn, judged, macro_auroc
from maskwise.ingest.audit import audit, slice_audit
from maskwise.ingest.summary import warn


def files(leak: bool, images: int = 240, seed: int = 0) -> pd.DataFrame:
    """Return facts of files of two classes; with a leak the sick ones are wider."""
    rng = np.random.default_rng(seed)
    sick = np.arange(images) % 2
    return pd.DataFrame(
        {
            "width": rng.integers(200, 260, images) + (30 * sick if leak else 0),
            "height": rng.integers(200, 260, images),
            "bytes": rng.integers(20_000, 40_000, images),
            "format": "PNG",
            "mode": "L",
            "group": [f"g{i // 2}" for i in rng.permutation(images)],
            "label_d": np.where(sick, "sick", "well"),
        }
    )


def test_width_that_tells_the_class_is_found_and_named() -> None:
    facts = audit(files(leak=True), "label_d")
    assert facts["low"] > 0.7
    assert next(iter(facts["importances"])) in ("width", "aspect")
    assert (facts["images"], facts["groups"]) == (240, 120)


def test_facts_that_tell_nothing_seldom_seem_to_tell_something() -> None:
    found = [audit(files(leak=False, seed=seed), "label_d") for seed in range(20)]
    # One in 40 by rights; more than 3 of 20 in 2 of 1,000 such tests.
    assert sum(facts["low"] > 0.5 for facts in found) <= 3
    assert abs(np.mean([facts["auroc"] for facts in found]) - 0.5) < 0.03


def test_facts_that_are_the_same_of_every_image_are_worth_exactly_one_half() -> None:
    images = files(leak=False)
    images[["width", "height"]] = 224
    less = audit(images, "label_d")["without_bytes"]
    assert (less["auroc"], less["low"], less["high"]) == (0.5, 0.5, 0.5)
    assert not less["importances"]


def test_a_label_that_only_the_bytes_tell_is_not_given_away_by_the_header() -> None:
    images = files(leak=False)
    images["bytes"] += np.where(images["label_d"] == "sick", 15_000, 0)
    facts = audit(images, "label_d")
    assert facts["low"] > 0.7
    assert facts["without_bytes"]["low"] < 0.5 < facts["without_bytes"]["high"]
    assert not set(facts["without_bytes"]["importances"]) & {"bytes", "bytes_per_pixel"}
    warned = warn(warned_of(facts))
    assert "need not be a leak" in warned[0]


def test_a_label_that_the_size_in_pixels_tells_is_warned_of_without_the_bytes() -> None:
    facts = audit(files(leak=True), "label_d")
    assert facts["without_bytes"]["low"] > 0.7
    assert warn(warned_of(facts))[0].startswith("Format and size in pixels alone predict d")


def warned_of(facts: dict[str, Any]) -> dict[str, Any]:
    """Return a summary without a blemish but these facts."""
    return {
        "images": 240,
        "contradictions": {"labels": [], "masks": {"contradictory": 0}},
        "official_split_leaks": {"groups": 0},
        "duplicates": {"largest_set": 0, "sets_across_patients": 0},
        "file_facts_audit": {"d": facts},
        "slice_number_audit": {},
        "remarks": {},
        "volumes": None,
    }


def in_volumes(tells: bool) -> pd.DataFrame:
    """Return 24 volumes of 10 slices; if it ``tells``, the place of a slice gives its label."""
    images = files(leak=False).iloc[np.repeat(np.arange(24), 10)].reset_index(drop=True)
    place = np.tile(np.arange(10), 24)
    images["group"] = [f"g{i // 10}" for i in range(240)]
    images["relative_slice"] = place / 9
    middle = np.isin(place, (3, 4, 5, 6))
    sick = middle if tells else np.random.default_rng(0).permutation(middle)
    images["label_d"] = np.where(sick, "sick", "well")
    return images


def test_what_a_slices_place_tells_is_found_though_it_rises_and_falls() -> None:
    facts = slice_audit(in_volumes(tells=True), "label_d")
    assert facts is not None
    assert (facts["auroc"], facts["groups"], facts["images"]) == (pytest.approx(1.0), 24, 240)
    assert list(facts["importances"]) == ["relative_slice"]
    summary = {**warned_of({"auroc": None}), "slice_number_audit": {"d": facts}}
    assert "place of a slice in its volume alone predicts d: AUROC 1.00" in warn(summary)[0]


def test_a_slices_place_that_tells_nothing_has_an_interval_that_holds_one_half() -> None:
    facts = slice_audit(in_volumes(tells=False), "label_d")
    assert facts is not None
    assert facts["low"] < 0.5 < facts["high"]
    assert not warn({**warned_of({"auroc": None}), "slice_number_audit": {"d": facts}})


def test_images_that_are_no_slices_are_not_asked_for_their_place() -> None:
    assert slice_audit(files(leak=False), "label_d") is None


def test_a_class_that_is_the_commonest_of_one_volume_only_is_asked_about_as_well() -> None:
    images = in_volumes(tells=True)
    images.loc[images["group"] == "g3", "label_d"] = "sick"
    facts = slice_audit(images, "label_d")
    assert facts is not None
    assert facts["auroc"] > 0.8


def test_a_group_that_repeats_its_class_cannot_be_learnt_by_heart() -> None:
    images = files(leak=False)
    # Ten files of each group are equal and of one class: only a cross-validation that kept
    # groups together does not find them again.
    rows = images.iloc[np.repeat(np.arange(24), 10)].reset_index(drop=True)
    rows["group"] = [f"g{i // 10}" for i in range(240)]
    facts = audit(rows, "label_d")
    assert facts["low"] < 0.5


def test_a_class_of_one_group_says_why_there_is_no_answer() -> None:
    images = files(leak=False)
    images.loc[images["label_d"] == "sick", "group"] = "one"
    assert audit(images, "label_d") == {
        "auroc": None,
        "why_not": "a class has fewer than 2 groups",
    }


@pytest.mark.parametrize("classes", [2, 4])
def test_auroc_equals_scikit_learns_with_and_without_weights(classes: int) -> None:
    rng = np.random.default_rng(1)
    truth = np.r_[np.arange(classes), rng.integers(0, classes, 80)]
    shares = np.full(classes, 1 / classes)
    scores = rng.multinomial(8, shares, len(truth)) / 8  # many ties
    weights = np.stack([np.ones(len(truth)), rng.integers(1, 4, len(truth))])
    expected = [
        np.mean(
            [roc_auc_score(truth == k, scores[:, k], sample_weight=row) for k in range(classes)]
        )
        for row in weights
    ]
    np.testing.assert_allclose(macro_auroc(scores, truth, weights), expected)


def test_the_images_of_a_group_share_its_weight_as_they_do_in_a_networks_score() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(12), rng.integers(1, 9, 12))
    truth = groups % 2
    chance = rng.uniform(size=len(truth))
    scores = np.stack([1 - chance, chance], axis=1)
    found = judged(scores, truth, groups, drawn(12, "t"), {})
    share = 1 / np.bincount(groups)[groups]
    assert found["auroc"] == pytest.approx(
        roc_auc_score(truth, scores[:, 1], sample_weight=share)
    )


def test_copies_of_an_image_in_its_own_group_change_neither_figure_nor_interval() -> None:
    rng = np.random.default_rng(3)
    groups, chance = np.arange(40), rng.uniform(size=40)
    again = np.repeat(groups, rng.integers(1, 9, 40))
    once, often = (
        judged(np.stack([1 - chance, chance], axis=1)[rows], rows % 2, rows, drawn(40, "t"), {})
        for rows in (groups, again)
    )
    for name in ("auroc", "low", "high"):
        assert often[name] == pytest.approx(once[name])


def test_a_resample_without_a_class_has_no_auroc() -> None:
    truth, scores = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    assert np.isnan(macro_auroc(scores, truth, np.array([[1, 0]]))).all()
