"""Draws, intervals and p-values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwise.evaluate.resampling import (
    LEVEL,
    combine,
    difference,
    draw,
    interval,
    p_value,
)


def test_every_draw_holds_as_many_seeds_and_groups_as_there_are() -> None:
    draws = draw(repetitions=5, groups=30, draws=200, seed=0)
    assert draws.repetitions.shape == (5, 201)
    assert (draws.repetitions.sum(axis=0) == 5).all()
    assert (draws.groups.sum(axis=0) == 30).all()


def test_column_zero_is_the_data_themselves() -> None:
    draws = draw(repetitions=5, groups=30, draws=200, seed=0)
    assert (draws.repetitions[:, 0] == 1).all()
    assert (draws.groups[:, 0] == 1).all()


def test_the_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    first, again, other = (draw(3, 10, 200, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.groups, again.groups)
    assert not np.array_equal(first.groups, other.groups)


def test_a_resampled_score_is_the_mean_over_the_seeds_of_the_draw() -> None:
    draws = draw(repetitions=3, groups=4, draws=199, seed=0)
    values = np.random.default_rng(0).random((3, 200))
    mixed = combine(values, draws)
    for b in (0, 7, 199):
        seeds = np.repeat(np.arange(3), draws.repetitions[:, b].astype(int))
        assert mixed.both[b] == pytest.approx(np.mean([values[s, b] for s in seeds]))
        assert mixed.seeds[b] == pytest.approx(np.mean([values[s, 0] for s in seeds]))
        assert mixed.groups[b] == pytest.approx(values[:, b].mean())


def test_the_interval_of_199_draws_leaves_four_out_on_each_side() -> None:
    # 2.5 % of (199 + 1) is the fifth from each end.
    assert interval(np.arange(-1, 199, dtype=np.float64)) == (4.0, 194.0)


def test_p_counts_the_draws_on_the_rarer_side_of_zero() -> None:
    # 3 of 199 draws at or below 0: 2 x (3 + 1) / 200.
    draws = np.concatenate([[1.0], np.full(3, -1.0), np.full(196, 1.0)])
    assert p_value(draws) == pytest.approx(0.04)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(199, 400), st.sampled_from([-1, 1]))
@settings(max_examples=300, deadline=None)
def test_p_and_interval_never_contradict(below: int, at: int, count: int, sign: int) -> None:
    above = count - below - at
    draws = sign * np.repeat([0.0, -1.0, 0.0, 1.0], [1, below, at, above])
    low, high = interval(draws)
    assert (low > 0 or high < 0) == (p_value(draws) <= 1 - LEVEL)


def test_identical_recipes_differ_by_nothing_and_p_is_one() -> None:
    draws = draw(5, 30, 1999, seed=0)
    values = np.random.default_rng(0).random((5, 2000))
    none = difference(combine(values, draws), combine(values.copy(), draws))
    assert interval(none.both) == (0.0, 0.0)
    assert p_value(none.both) == 1.0


def test_draws_without_a_score_are_left_out() -> None:
    draws = np.concatenate([[0.5, np.nan, np.nan], np.linspace(0, 1, 199)])
    assert interval(draws) == interval(draws[~np.isnan(draws)])
    assert np.isnan(interval(np.full(200, np.nan))).all()
    assert np.isnan(p_value(np.full(200, np.nan)))


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # Right answers of 20 seeds on 40 groups, each with a chance of its own: the truth is 0.
    generator = np.random.default_rng(0)
    seeds, groups, studies = 20, 40, 300
    draws = draw(seeds, groups, 999, seed=0)
    covered = {"both": 0, "groups": 0}
    for _ in range(studies):
        rows, columns = generator.normal(size=(seeds, 1)), generator.normal(size=groups)
        answers = rows + columns + generator.normal(size=(seeds, groups))
        mixed = combine(answers @ draws.groups / groups, draws)
        for part in covered:
            low, high = interval(getattr(mixed, part))
            covered[part] += low <= 0 <= high
    assert 0.90 < covered["both"] / studies < 0.98
    # What an interval over test groups alone leaves out.
    assert covered["groups"] / studies < 0.80
