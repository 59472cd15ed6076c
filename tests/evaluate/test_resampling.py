"""Draws, what a figure spreads by, intervals and p-values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from maskwise.evaluate.resampling import LEVEL, Draws, draw, interval, p_value, resample

SHARED = (30,)
"""Groups of one test set that all seeds share."""


def test_every_draw_holds_as_many_groups_of_each_fold_as_there_are() -> None:
    draws = draw(repetitions=3, sizes=(4, 6, 20), draws=200, seed=0)
    assert draws.groups.shape == (30, 201)
    for rows, size in ((slice(0, 4), 4), (slice(4, 10), 6), (slice(10, 30), 20)):
        assert (draws.groups[rows].sum(axis=0) == size).all()


def test_column_zero_is_the_data_themselves() -> None:
    assert (draw(5, SHARED, 200, seed=0).groups[:, 0] == 1).all()


def test_the_same_seed_gives_the_same_draws_and_another_seed_others() -> None:
    first, again, other = (draw(3, (10,), 200, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.groups, again.groups)
    assert np.array_equal(first.student, again.student)
    assert not np.array_equal(first.groups, other.groups)


@pytest.mark.parametrize("seeds", [3, 5, 12])
def test_without_luck_in_test_images_the_interval_is_student_s_of_the_seeds_mean(
    seeds: int,
) -> None:
    values = np.random.default_rng(1).normal(3, 2, (seeds, 1))
    draws = draw(seeds, (1,), 200_000, seed=0)
    found = resample(np.repeat(values, 200_001, axis=1), draws)
    error = values.std(ddof=1) / np.sqrt(seeds)
    exact = stats.t.interval(LEVEL, seeds - 1, values.mean(), error)
    assert interval(found.draws) == pytest.approx(exact, abs=0.02 * (exact[1] - exact[0]))
    assert found.both.variance == pytest.approx(error**2)
    assert found.both.freedom == seeds - 1


@pytest.mark.parametrize("seeds", [1, 2])
def test_of_one_seed_or_two_nothing_is_said_of_another_training(seeds: int) -> None:
    draws = draw(seeds, SHARED, 200, seed=0)
    values = np.array([[0.0], [100.0]])[:seeds] + np.linspace(0, 1, 201)
    found = resample(values, draws)
    assert found.training is None
    assert found.both == found.test
    assert found.draws.std() < 1


def seen_by(draws: Draws, answers: np.ndarray) -> np.ndarray:
    """Average each network's answers ``(R, G)`` over the groups of every draw."""
    return np.asarray(answers @ draws.groups / draws.groups.sum(axis=0))


def test_what_each_network_has_by_luck_is_not_counted_twice() -> None:
    # Networks that are equally good, each with luck of its own: var / (R G) and nothing else.
    generator, seeds, groups = np.random.default_rng(0), 8, 200
    draws = draw(seeds, (groups,), 999, seed=0)
    found = [
        resample(seen_by(draws, generator.normal(size=(seeds, groups))), draws)
        for _ in range(40)
    ]
    right = 1 / (seeds * groups)
    assert np.mean([one.both.variance for one in found]) == pytest.approx(right, rel=0.25)
    # Student's draws with 7 degrees of freedom spread by 7 / 5 of it.
    drawn = np.mean([one.draws.var() for one in found])
    assert drawn == pytest.approx(7 / 5 * right, rel=0.25)


def test_what_all_networks_share_comes_from_the_test_groups() -> None:
    generator = np.random.default_rng(0)
    draws = draw(5, SHARED, 4999, seed=0)
    hard = generator.normal(size=30)
    found = resample(seen_by(draws, np.repeat(hard[None], 5, axis=0)), draws)
    assert found.both.variance == pytest.approx(hard.var(ddof=1) / 30, rel=0.06)
    assert found.training is not None
    assert found.training.variance == pytest.approx(0, abs=1e-12)


def folds_of(networks: np.ndarray, groups: int, luck: float = 0.0) -> tuple[np.ndarray, Draws]:
    """Return values of folds whose networks are so good, and their draws."""
    k = len(networks)
    draws = draw(k, (groups,) * k, 999, seed=0)
    answers = networks[:, None] + luck * np.random.default_rng(0).normal(size=(k, groups))
    values = [
        own @ draws.groups[fold * groups : (fold + 1) * groups] / groups
        for fold, own in enumerate(answers)
    ]
    return np.stack(values), draws


def test_the_networks_of_folds_get_nadeau_and_bengio_s_correction() -> None:
    networks = np.array([0.1, 0.4, 0.2, 0.5, 0.3])
    found = resample(*folds_of(networks, groups=6))
    # No luck in test groups: the whole variance is the networks', 1 / 5 + 1 / 4 of it.
    assert found.both.variance == pytest.approx(networks.var(ddof=1) * (1 / 5 + 1 / 4))
    assert found.both.freedom == 4


@pytest.mark.parametrize("seed", range(20))
def test_an_interval_of_folds_is_no_narrower_than_that_of_their_test_images(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values, draws = folds_of(generator.normal(size=5) * 0.01, groups=12, luck=1.0)
    found = resample(values, draws)
    assert found.training is not None
    assert found.both.variance >= found.test.variance * 0.999
    assert found.both.variance >= found.training.variance


def test_the_interval_of_199_draws_leaves_four_out_on_each_side() -> None:
    # 2.5 % of (199 + 1) is the fifth from each end.
    assert interval(np.arange(199, dtype=np.float64)) == (4.0, 194.0)


def test_p_counts_the_draws_on_the_rarer_side_of_zero() -> None:
    # 3 of 199 draws at or below 0: 2 x (3 + 1) / 200.
    assert p_value(np.concatenate([np.full(3, -1.0), np.full(196, 1.0)])) == pytest.approx(0.04)


@given(st.integers(0, 12), st.integers(0, 12), st.integers(199, 400), st.sampled_from([-1, 1]))
@settings(max_examples=300, deadline=None)
def test_p_and_interval_never_contradict(below: int, at: int, count: int, sign: int) -> None:
    above = count - below - at
    draws = sign * np.repeat([-1.0, 0.0, 1.0], [below, at, above])
    low, high = interval(draws)
    assert (low > 0 or high < 0) == (p_value(draws) <= 1 - LEVEL)


def test_identical_recipes_differ_by_nothing_and_p_is_one() -> None:
    draws = draw(5, SHARED, 1999, seed=0)
    none = resample(np.zeros((5, 2000)), draws)
    assert interval(none.draws) == (0.0, 0.0)
    assert p_value(none.draws) == 1.0


def test_draws_without_a_score_are_left_out() -> None:
    draws = np.concatenate([[np.nan, np.nan], np.linspace(0, 1, 199)])
    assert interval(draws) == interval(draws[~np.isnan(draws)])
    assert np.isnan(interval(np.full(200, np.nan))).all()
    assert np.isnan(p_value(np.full(200, np.nan)))


def test_a_metric_that_one_repetition_lacks_has_no_value() -> None:
    values = np.array([[0.5, 0.4], [np.nan, np.nan], [0.6, 0.7]])
    found = resample(values, draw(3, SHARED, 1, seed=0))
    assert np.isnan(found.value)
    assert np.isnan(found.both.variance)
