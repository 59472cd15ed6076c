"""What is left as labels vanish: areas and drops against loops, and who keeps more."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from evaluate.test_evaluate import CLASSES, QUICK, replicate
from maskwise.evaluate.shrinkage import area, drop
from maskwise.evaluate.stage import evaluate

IMAGES = {1.0: 200, 0.25: 50, 0.1: 20}


def subsets(recipes: list[str], seeds: list[int]) -> pd.DataFrame:
    rows = [
        (recipe, seed, fraction, "train", f"t{number}", f"g{number}", "benign")
        for recipe in recipes
        for seed in seeds
        for fraction, images in IMAGES.items()
        for number in range(images)
    ]
    names = ["recipe", "seed", "fraction", "role", "image_id", "group", "label"]
    return pd.DataFrame(rows, columns=names).assign(source="phantom")


def predictions(skills: dict[str, dict[float, float]], seeds: list[int]) -> pd.DataFrame:
    return pd.concat(
        [
            replicate(recipe, seed, skill, fraction=fraction)
            for recipe, points in skills.items()
            for fraction, skill in points.items()
            for seed in seeds
        ],
        ignore_index=True,
    )


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.integers(1, 100))
def test_the_area_is_the_mean_height_over_the_logarithm(
    heights: list[float], first: int
) -> None:
    images = np.array([first * 3.0**step for step in range(len(heights))])
    x = np.log(images)
    by_hand = sum(
        (x[i + 1] - x[i]) * (heights[i] + heights[i + 1]) / 2 for i in range(len(heights) - 1)
    ) / (x[-1] - x[0])
    assert area(np.array(heights), images) == pytest.approx(by_hand)
    assert min(heights) - 1e-9 <= area(np.array(heights), images) <= max(heights) + 1e-9


def test_fractions_count_by_how_far_apart_they_are() -> None:
    images = np.array([10.0, 20.0, 320.0])  # one doubling, and four
    assert area(np.array([0.0, 1.0, 1.0]), images) == pytest.approx((0.5 * 1 + 1 * 4) / 5)


def test_the_drop_is_the_share_of_means_that_is_lost_above_chance() -> None:
    fewest, most = (
        np.array([0.70, 0.70, 0.70, 0.70, 0.60]),
        np.array([0.8, 0.8, 0.8, 0.8, 0.51]),
    )
    lost = drop(fewest, most, 0.5)
    assert lost.mean() == pytest.approx((most - fewest).mean() / (most - 0.5).mean())
    assert abs(lost.mean()) < 1  # of ratios the mean is -1.5
    assert drop(most, most, 0.5) == pytest.approx(np.zeros(5))
    assert np.isnan(drop(fewest, np.full(5, 0.4), 0.5)).all()


def test_the_drop_spreads_as_a_ratio_of_means_does() -> None:
    generator = np.random.default_rng(0)
    most = 0.8 + 0.02 * generator.standard_normal((4000, 6))
    fewest = 0.7 + 0.02 * generator.standard_normal((4000, 6))
    ratios = [(b - a).mean() / (b - 0.5).mean() for a, b in zip(fewest, most, strict=True)]
    own = [drop(a, b, 0.5) for a, b in zip(fewest, most, strict=True)]
    error = np.mean([each.std(ddof=1) / 6**0.5 for each in own])
    assert error == pytest.approx(np.std(ratios), rel=0.1)


SKILLS = {
    "dqn": {1.0: 2.0, 0.25: 1.8, 0.1: 1.6},
    "scratch": {1.0: 2.0, 0.25: 1.0, 0.1: 0.2},
}
SEEDS = [0, 1, 2, 3]


def test_the_scores_hold_the_mean_over_seeds_of_each_recipes_area() -> None:
    table = predictions(SKILLS, SEEDS)
    found = evaluate(table, subsets(list(SKILLS), SEEDS), QUICK, "phantom", "diagnosis").scores[
        "shrinkage"
    ]
    for recipe, entry in found["probe"]["recipes"].items():
        areas = []
        for seed in SEEDS:
            rows = table[(table["recipe"] == recipe) & (table["seed"] == seed)]
            heights = [
                roc_auc_score(
                    part["truth"],
                    part[[f"p_{name}" for name in CLASSES]],
                    multi_class="ovr",
                    labels=CLASSES,
                )
                for _, part in sorted(rows.groupby("fraction"))
            ]
            areas.append(area(np.array(heights), np.array([20.0, 50.0, 200.0])))
        assert entry["area"]["value"] == pytest.approx(np.mean(areas), abs=1e-5)
        assert entry["area"]["low"] < entry["area"]["value"] < entry["area"]["high"]
        assert entry["images"] == [20, 200]


def test_who_keeps_more_is_told_both_ways_and_the_weaker_loses_more() -> None:
    table = predictions(SKILLS, SEEDS)
    found = evaluate(table, subsets(list(SKILLS), SEEDS), QUICK, "phantom", "diagnosis").scores[
        "shrinkage"
    ]
    recipes, wins = found["probe"]["recipes"], found["probe"]["wins"]
    gap, back = wins["dqn"]["scratch"], wins["scratch"]["dqn"]
    assert gap["value"] == pytest.approx(-back["value"])
    assert gap["low"] == pytest.approx(-back["high"])
    assert gap["low"] > 0
    assert recipes["dqn"]["drop"]["value"] < recipes["scratch"]["drop"]["value"]
    means = [recipes[name]["area"]["value"] for name in ("dqn", "scratch")]
    assert gap["value"] == pytest.approx(means[0] - means[1], abs=1e-5)


def test_one_fraction_has_no_area() -> None:
    table = predictions({"dqn": {1.0: 2.0}, "scratch": {1.0: 1.0}}, SEEDS)
    scores = evaluate(
        table, subsets(["dqn", "scratch"], SEEDS), QUICK, "phantom", "diagnosis"
    ).scores
    assert scores["shrinkage"] == {}


def pair_of(table: pd.DataFrame) -> dict[str, Any]:
    """Return the one comparison, and beside it what it is ``of``."""
    known = subsets(list(SKILLS), SEEDS)
    scores = evaluate(table, known, QUICK, "phantom", "diagnosis").scores
    found = scores["shrinkage"]["probe"]
    (pair,) = found["pairs"]
    return {**pair, "of": found}


def test_a_recipe_that_is_higher_everywhere_can_be_seen_to_lose_more() -> None:
    steep = predictions({"dqn": {1.0: 6.0, 0.25: 3.0, 0.1: 1.8}}, SEEDS)
    flat = [
        replicate("scratch", seed, 0.8).assign(fraction=f) for seed in SEEDS for f in IMAGES
    ]
    pair = pair_of(pd.concat([steep, *flat], ignore_index=True))
    assert (pair["recipe"], pair["against"]) == ("dqn", "scratch")
    assert pair["area"] == pair["of"]["wins"]["dqn"]["scratch"]
    assert pair["area"]["low"] > 0
    assert pair["of"]["recipes"]["scratch"]["drop"]["value"] == 0
    assert pair["drop"] == pair["of"]["recipes"]["dqn"]["drop"]
    assert pair["drop"]["low"] > 0


def test_drops_are_compared_on_the_same_draws_so_that_equal_recipes_do_not_differ() -> None:
    one = predictions({"dqn": SKILLS["dqn"]}, SEEDS)
    pair = pair_of(pd.concat([one, one.assign(recipe="scratch")], ignore_index=True))
    own = pair["of"]["recipes"]["dqn"]["drop"]
    assert own["high"] - own["low"] > 0.05
    assert pair["drop"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_the_drop_of_a_pair_is_unknown_where_one_recipe_is_not_above_chance() -> None:
    guessing = {1.0: -1.0, 0.25: -1.0, 0.1: -1.0}
    pair = pair_of(predictions({"dqn": SKILLS["dqn"], "scratch": guessing}, SEEDS))
    assert pair["area"]["low"] > 0
    assert set(pair["drop"].values()) == {None}
