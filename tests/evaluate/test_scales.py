"""Intervals keep to the range of what they are of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maskwise.evaluate.resampling import Part
from maskwise.evaluate.scales import Scale, interval, most


@given(
    st.floats(0, 1),
    st.floats(0, 10),
    st.floats(1, 100),
    st.integers(1, 500),
    st.sampled_from(["unit", "outcome"]),
)
def test_a_share_stays_between_0_and_1_and_within_its_interval(
    value: float, variance: float, freedom: float, groups: int, scale: Scale
) -> None:
    low, high = interval(value, Part(variance, freedom), groups, scale)
    assert 0 <= low <= value <= high <= 1


def test_a_share_of_independent_trials_has_jeffreys_interval() -> None:
    # 45 of 60: the variance is that of 60 trials, so the Beta is that of 45.5 and 15.5.
    part = Part(0.75 * 0.25 / 60, 59)
    assert interval(0.75, part, 60, "unit") == pytest.approx(
        stats.beta.interval(0.95, 45.5, 15.5)
    )


@pytest.mark.parametrize(("value", "end"), [(1.0, 1), (0.0, 0)])
def test_all_right_or_all_wrong_is_still_uncertain(value: float, end: int) -> None:
    low, high = interval(value, Part(0.0, 59), 60, "outcome")
    assert (low, high)[end] == value
    assert high - low == pytest.approx(1 - stats.beta.ppf(0.025, 60.5, 0.5))


def test_a_mean_that_no_draw_moves_is_what_it_is() -> None:
    assert interval(0.3, Part(0.0, 9), 10, "unit") == (0.3, 0.3)


def test_few_degrees_of_freedom_widen_the_interval() -> None:
    few, many = (interval(0.9, Part(1e-4, n), 60, "unit") for n in (2, 59))
    assert few[0] < many[0] < many[1] < few[1]


def test_an_outcome_close_to_1_is_worth_few_trials_however_little_it_spreads() -> None:
    still, bounded = (
        interval(0.9995, Part(1e-9, 59), 60, scale) for scale in ("unit", "outcome")
    )
    assert bounded[0] < 0.995 < still[0]


@given(st.floats(1e-3, 1e3), st.floats(0, 1e3), st.floats(1, 100))
def test_a_distance_is_never_negative(value: float, variance: float, freedom: float) -> None:
    low, high = interval(value, Part(variance, freedom), 10, "distance")
    assert 0 <= low <= value <= high


def test_a_distance_has_student_s_interval() -> None:
    half = stats.t.ppf(0.975, 4) * 0.2
    found = interval(10.0, Part(0.04, 4), 10, "distance")
    assert found == pytest.approx((10 - half, 10 + half))


def test_no_value_has_no_interval() -> None:
    assert np.isnan(interval(float("nan"), Part(1.0, 4), 10, "unit")).all()


def test_shares_lie_at_most_1_apart_and_distances_any_length() -> None:
    assert (most("unit"), most("outcome"), most("distance")) == (1, 1, float("inf"))
