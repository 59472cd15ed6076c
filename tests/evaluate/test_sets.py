"""How often sets of answers hold the truth on test images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluate.test_evaluate import CLASSES, replicate
from evaluate.test_multilabel_scores import LABELS, predicted
from maskwise.evaluate.coverage import expected, measure, wilson

LEVEL = 0.8


def halves(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Let every other group be held out, and all of these be used but the last."""
    number = table["group"].str[1:].astype(int)
    table = table.assign(split=np.where(number % 2, "validation", "test"))
    used = table[(table["split"] == "validation") & (number < number.max() - 1)]
    keys = ["recipe", "seed", "fraction", "image_id", "group"]
    return table, used[keys].assign(role="validation")


def by_hand(
    table: pd.DataFrame,
    subsets: pd.DataFrame,
    chance: "pd.Series[float]",
    truth: "pd.Series[bool]",
) -> tuple[int, float]:
    """Return the held-out patients of an answer, and the share of test patients covered."""
    used = table["image_id"].isin(subsets["image_id"]) & (table["split"] == "validation")
    held_out = (1 - chance)[used & truth].groupby(table["group"]).max()
    covered = []
    for _, rows in table[truth & (table["split"] == "test")].groupby("group"):
        inside = [
            (1 + sum(other >= 1 - chance[row] for other in held_out)) / (1 + len(held_out))
            > 1 - LEVEL + 1e-9
            for row in rows.index
        ]
        covered.append(all(inside))
    return len(held_out), float(np.mean(covered))


def test_a_patient_of_a_class_is_covered_where_all_its_images_are() -> None:
    table, subsets = halves(replicate("dqn", 0, images=240))
    found = measure(table, subsets, CLASSES, LEVEL)
    assert found is not None
    answers = {one["name"]: one for one in found["scores"]["dqn"]["probe"]["1.0"]["answers"]}
    assert list(answers) == list(CLASSES)
    assert not any(one["absent"] for one in answers.values())
    for name in CLASSES:
        count, share = by_hand(table, subsets, table[f"p_{name}"], table["truth"] == name)
        assert answers[name]["held_out"] == count
        assert answers[name]["value"] == pytest.approx(share, abs=1e-5)
        assert answers[name]["low"] <= share <= answers[name]["high"]
    assert found["needed"] == 4


def test_of_several_labels_presence_and_absence_are_covered_each() -> None:
    table, subsets = halves(predicted(images=240))
    found = measure(table, subsets, LABELS, LEVEL)
    assert found is not None
    check_labels(found, table, subsets, LABELS)


def test_a_label_called_like_the_absence_of_another_has_figures_of_its_own() -> None:
    table, subsets = halves(predicted(images=240))
    first, second, *others = LABELS
    names = (first, f"not {first}", *others)
    columns = {f"{kind}_{second}": f"{kind}_not {first}" for kind in ("p", "truth")}
    table = table.rename(columns=columns)
    found = measure(table, subsets, names, LEVEL)
    assert found is not None
    check_labels(found, table, subsets, names)


def check_labels(
    found: dict[str, Any], table: pd.DataFrame, subsets: pd.DataFrame, names: Sequence[str]
) -> None:
    """Check what was found of each label's presence and absence by hand."""
    listed = found["scores"]["scratch"]["probe"]["1.0"]["answers"]
    answers = {(one["name"], one["absent"]): one for one in listed}
    assert len(answers) == len(listed) == 2 * len(names)
    for name in names:
        p, shown = table[f"p_{name}"], table[f"truth_{name}"] > 0
        for absent, chance, truth in ((False, p, shown), (True, 1 - p, ~shown)):
            count, share = by_hand(table, subsets, chance, truth)
            assert answers[name, absent]["held_out"] == count
            assert answers[name, absent]["value"] == pytest.approx(share, abs=1e-5)


def test_seeds_are_averaged_and_each_is_calibrated_by_itself() -> None:
    tables = [halves(replicate("dqn", seed, images=240)) for seed in (0, 1)]
    both, used = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    found = measure(both, used, CLASSES, LEVEL)
    alone = [measure(*each, CLASSES, LEVEL) for each in tables]

    def value(scores: dict[str, Any] | None) -> float:
        assert scores is not None
        answers = scores["scores"]["dqn"]["probe"]["1.0"]["answers"]
        return next(float(one["value"]) for one in answers if one["name"] == "benign")

    assert value(found) == pytest.approx(np.mean([value(one) for one in alone]), abs=1e-5)


def test_with_too_few_held_out_patients_every_set_holds_the_answer() -> None:
    table, subsets = halves(replicate("dqn", 0, images=240))
    few = subsets[subsets["group"].isin(subsets["group"].unique()[:3])]
    found = measure(table, few, CLASSES, LEVEL)
    assert found is not None
    figures = found["scores"]["dqn"]["probe"]["1.0"]
    assert figures["size"] == 3
    for one in figures["answers"]:
        assert one["held_out"] < found["needed"]
        assert (one["value"], one["expected_low"], one["expected_high"]) == (1, 1, 1)


def test_a_table_of_outlines_has_no_sets() -> None:
    table = pd.DataFrame({"tp_mass": [1]})
    assert measure(table, pd.DataFrame(), ("mass",), LEVEL) is None


def test_coverage_lies_where_it_is_expected_as_often_as_it_should() -> None:
    generator, inside = np.random.default_rng(0), 0
    low, high = expected(14, 30, 0.9)
    for _ in range(2000):
        held_out = np.sort(generator.random(14))
        p = (1 + (held_out >= generator.random((30, 1))).sum(axis=1)) / 15
        inside += low - 1e-9 <= (p > 0.1 + 1e-9).mean() <= high + 1e-9
    assert 0.945 < inside / 2000 < 0.99


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
