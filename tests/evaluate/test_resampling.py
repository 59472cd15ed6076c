"""Draws, intervals and p-values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from maskwise.evaluate.resampling import (
    LEVEL,
    combine,
    difference,
    draw,
    interval,
    p_value,
)


def test_every_draw_holds_as_many_groups_as_there_are_and_weighs_the_seeds_to_one() -> None:
    draws = draw(repetitions=5, groups=30, draws=200, seed=0)
    assert draws.repetitions.shape == (5, 201)
    assert draws.repetitions.sum(axis=0) == pytest.approx(np.ones(201))
    assert (draws.groups.sum(axis=0) == 30).all()


def test_column_zero_is_the_data_themselves() -> None:
    draws = draw(repetitions=5, groups=30, draws=200, seed=0)
    assert draws.repetitions[:, 0] == pytest.approx(np.full(5, 0.2))
    assert (draws.groups[:, 0] == 1).all()


def test_the_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    first, again, other = (draw(3, 10, 200, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.groups, again.groups)
    assert not np.array_equal(first.groups, other.groups)


def test_a_drawn_score_weighs_what_each_seed_made_of_the_draw_s_groups() -> None:
    draws = draw(repetitions=3, groups=4, draws=199, seed=0)
    values = np.random.default_rng(0).random((3, 200))
    mixed = combine(values, draws)
    for b in (0, 7, 199):
        weights = draws.repetitions[:, b]
        assert mixed.both[b] == pytest.approx(sum(weights[s] * values[s, b] for s in range(3)))
        assert mixed.seeds[b] == pytest.approx(sum(weights[s] * values[s, 0] for s in range(3)))
        assert mixed.groups[b] == pytest.approx(values[:, b].mean())


@pytest.mark.parametrize("seeds", [2, 5, 12])
def test_the_seeds_part_is_student_s_interval_of_their_mean(seeds: int) -> None:
    values = np.random.default_rng(1).normal(3, 2, (seeds, 1))
    draws = draw(seeds, 1, 200_000, seed=0)
    found = interval(combine(np.repeat(values, 200_001, axis=1), draws).seeds)
    error = values.std(ddof=1) / np.sqrt(seeds)
    exact = stats.t.interval(0.95, seeds - 1, values.mean(), error)
    assert found == pytest.approx(exact, abs=0.02 * (exact[1] - exact[0]))


def test_one_seed_says_nothing_of_another_training() -> None:
    draws = draw(1, 30, 200, seed=0)
    assert (draws.repetitions == 1).all()


def test_a_difference_of_draws_is_the_draws_of_the_difference() -> None:
    draws = draw(5, 30, 200, seed=0)
    one, other = np.random.default_rng(0).random((2, 5, 201))
    apart = difference(combine(one, draws), combine(other, draws))
    assert apart.both == pytest.approx(combine(one - other, draws).both, abs=1e-11)


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


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(seeds: int) -> None:
    # Right answers of the seeds on 40 groups, each with a chance of its own: the truth is 0.
    generator = np.random.default_rng(0)
    groups, studies = 40, 300
    draws = draw(seeds, groups, 999, seed=0)
    covered = {"both": 0, "groups": 0}
    for _ in range(studies):
        rows, columns = generator.normal(size=(seeds, 1)), generator.normal(size=groups)
        answers = rows + columns + generator.normal(size=(seeds, groups))
        mixed = combine(answers @ draws.groups / groups, draws)
        for part in covered:
            low, high = interval(getattr(mixed, part))
            covered[part] += low <= 0 <= high
    assert 0.92 < covered["both"] / studies < 0.99
    # What an interval over test groups alone leaves out.
    assert covered["groups"] / studies < 0.80
