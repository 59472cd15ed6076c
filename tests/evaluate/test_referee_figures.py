"""The figures of one class for a referee, held against slow and obvious references."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwise.evaluate.referee.benefit import net_benefit
from maskwise.evaluate.referee.calibration import calibration
from maskwise.evaluate.referee.networks import Asked, Network, Networks, found_and_spared
from maskwise.evaluate.referee.operating import (
    Goal,
    operating_point,
    predictive_values,
    threshold,
)
from maskwise.evaluate.resampling import draw
from maskwise.evaluate.weighing import own_weight

DRAWS = 199


def asked(probabilities: Any, shows: Any, group: Any = None) -> Asked:
    """Ask of images of so many groups, each of which counts once."""
    probabilities = np.asarray(probabilities, float)
    group = np.arange(len(probabilities)) if group is None else np.asarray(group)
    return Asked(probabilities, np.asarray(shows, bool), group, own_weight(group, "group"))


def networks(*pairs: tuple[Asked, Asked], draws: int = DRAWS) -> Networks:
    """Return seeds that chose on one part and were tested on the other."""
    groups = int(pairs[0][1].group.max()) + 1
    return Networks(
        tuple((Network(seed, one, other),) for seed, (one, other) in enumerate(pairs)),
        draw(len(pairs), (groups,), draws, 0),
    )


answers = st.lists(
    st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.booleans(), st.integers(0, 5)),
    min_size=4,
    max_size=30,
).filter(lambda rows: len({shows for _, shows, _ in rows}) == 2)
"""Chance, truth and group of each image; some show the class and others do not."""


def of(rows: Any) -> Asked:
    probabilities, shows, group = zip(*rows, strict=True)
    codes = pd.factorize(np.asarray(group))[0]
    return asked(probabilities, shows, codes)


def rates(one: Asked, at: float) -> dict[str, float]:
    """Count, image by image, what is called from a threshold on."""
    found = spared = shows = others = 0.0
    for chance, truth, weight in zip(one.probabilities, one.shows, one.weights, strict=True):
        if truth:
            shows += weight
            found += weight * (chance >= at)
        else:
            others += weight
            spared += weight * (chance < at)
    return {"sensitivity": found / shows, "specificity": spared / others}


@given(rows=answers, target=st.sampled_from([0.5, 0.8, 0.9, 1.0]), fixed=st.booleans())
def test_a_threshold_is_the_best_of_all_that_reach_the_goal(
    rows: Any, target: float, fixed: bool
) -> None:
    one = of(rows)
    goal = Goal("sensitivity" if fixed else "specificity", target)
    other = "specificity" if fixed else "sensitivity"
    every = [np.inf, *sorted(set(one.probabilities), reverse=True)]
    reach = [at for at in every if rates(one, at)[goal.fixed] >= target - 1e-9]
    best = max(rates(one, at)[other] for at in reach)
    wanted = next(at for at in reach if rates(one, at)[other] >= best - 1e-9)
    assert threshold(one, goal) == wanted


def test_a_threshold_needs_both_kinds_of_validation_images() -> None:
    assert np.isnan(threshold(asked([0.1, 0.9], [True, True]), Goal("sensitivity", 0.9)))
    nobody = (asked([0.1, 0.9], [True, True]), asked([0.1, 0.9, 0.4], [True, False, True]))
    point = operating_point(networks(nobody), Goal("specificity", 0.9), 0.1)
    assert not point["chosen"]
    assert "sensitivity" not in point


@settings(max_examples=25)
@given(rows=answers)
def test_rates_in_each_draw_are_those_of_images_repeated_as_drawn(rows: Any) -> None:
    one = of(rows)
    draws = draw(1, (int(one.group.max()) + 1,), DRAWS, 1)
    sensitivity, specificity = found_and_spared(one, one.probabilities >= 0.5, draws)
    for column in (0, 1, 7):
        times = draws.groups[one.group, column]
        repeated = replace(one, weights=one.weights * times)
        shown = (times * one.weights)[one.shows].sum(), (times * one.weights)[~one.shows].sum()
        if min(shown) > 0:
            wanted = rates(repeated, 0.5)
            assert sensitivity[column] == pytest.approx(wanted["sensitivity"])
            assert specificity[column] == pytest.approx(wanted["specificity"])


def test_each_network_is_measured_on_test_images_at_the_threshold_of_its_own_validation() -> (
    None
):
    validation = asked([0.1, 0.2, 0.6, 0.4, 0.7, 0.9], [0, 0, 0, 1, 1, 1])
    test = asked([0.3, 0.65, 0.8, 0.1, 0.75, 0.9], [0, 0, 0, 1, 1, 1])
    shy = replace(validation, probabilities=validation.probabilities / 2)
    point = operating_point(
        networks((validation, test), (shy, test)), Goal("specificity", 1.0), None
    )
    assert point["thresholds"] == [0.7, 0.35]
    # By hand: from .7 on 2 of 3 are found and 2 of 3 spared; from .35 on 2 of 3 and 1 of 3.
    assert point["sensitivity"]["value"] == pytest.approx(2 / 3, rel=1e-5)
    assert point["specificity"]["value"] == pytest.approx(1 / 2)
    assert point["validation"] == {
        "sensitivity": pytest.approx(2 / 3, rel=1e-5),
        "specificity": 1,
    }
    assert point["ppv"] is None


def test_predictive_values_are_those_of_ten_thousand_patients_counted() -> None:
    ill, well = 500, 9_500  # a prevalence of 5 %
    found, alarms = 0.8 * ill, 0.1 * well
    same = dict.fromkeys(("value", "low", "high"))
    values = predictive_values({**same, "value": 0.8}, {**same, "value": 0.9}, 0.05)
    assert values["ppv"] is not None
    assert values["npv"] is not None
    assert values["ppv"]["value"] == pytest.approx(found / (found + alarms), rel=1e-5)
    spared, missed = well - alarms, ill - found
    assert values["npv"]["value"] == pytest.approx(spared / (spared + missed), rel=1e-5)
    assert values["ppv"]["low"] is None


def test_the_calibration_error_is_that_of_bins_filled_one_by_one() -> None:
    generator = np.random.default_rng(3)
    probabilities = generator.random(60).round(2)
    one = asked(probabilities, generator.random(60) < probabilities**2, np.arange(60) // 2)
    error = 0.0
    for low in np.arange(10) / 10:
        # One on an edge lies in the bin below it; 0 lies in the first.
        inside = [
            i
            for i, chance in enumerate(probabilities)
            if round(low, 1) < chance <= round(low + 0.1, 1) or (low == 0 == chance)
        ]
        error += abs(sum(one.weights[i] * (one.shows[i] - probabilities[i]) for i in inside))
    found = calibration(networks((one, one)), 10, 0)
    assert found["error"]["value"] == pytest.approx(error / one.weights.sum(), rel=1e-5)
    gap = np.average(probabilities, weights=one.weights) - np.average(
        one.shows, weights=one.weights
    )
    assert found["gap"]["value"] == pytest.approx(gap, rel=1e-5)
    assert sum(each["n_answers"] for each in found["bins"]) == 60
    first = next(each for each in found["bins"] if each["from"] == 0.4)
    there = (probabilities > 0.4) & (probabilities <= 0.5)
    assert first["n_answers"] == there.sum()
    assert first["observed"]["value"] == pytest.approx(one.shows[there].mean(), rel=1e-5)
    assert 0.01 < found["error"]["if_perfect"] < 0.25


@settings(max_examples=25)
@given(rows=answers, at=st.sampled_from([0.1, 0.25, 0.5, 0.8]))
def test_net_benefit_is_counted_image_by_image(rows: Any, at: float) -> None:
    one = of(rows)
    n = right = wrong = common = 0.0
    for chance, truth, weight in zip(one.probabilities, one.shows, one.weights, strict=True):
        n += weight
        common += weight * truth
        right += weight * (truth and chance >= at)
        wrong += weight * (not truth and chance >= at)
    odds = at / (1 - at)
    everyone = (common - (n - common) * odds) / n
    points = {each["threshold"]: each for each in net_benefit(networks((one, one)), [at])}
    value = (right - wrong * odds) / n
    assert points[at]["value"] == pytest.approx(value, rel=1e-5, abs=1e-9)
    assert points[at]["treat_all"] == pytest.approx(everyone, rel=1e-5, abs=1e-9)
    above = value - max(0.0, everyone)
    assert points[at]["above"]["value"] == pytest.approx(above, rel=1e-5, abs=1e-9)
