"""Learning rates, epochs and moments."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.pretrain.optimisation import OptimisationConfig
from maskwise.pretrain.schedule import epoch_ends, learning_rate, moments


def test_the_rate_rises_in_a_line_and_falls_along_half_a_cosine() -> None:
    rates = [learning_rate("cosine", 1.0, 0.2, step, 10) for step in range(10)]
    rising = [1 / 3, 2 / 3]
    falling = [0.5 * (1 + math.cos(math.pi * done / 8)) for done in range(8)]
    assert rates == pytest.approx([*rising, *falling])


def test_thirds_are_the_milestones_of_the_release() -> None:
    rates = [learning_rate("thirds", 1e-3, 0.0, step, 9) for step in range(9)]
    assert rates == pytest.approx([1e-3] * 3 + [0.33e-3] * 3 + [0.1089e-3] * 3)


def test_an_epoch_ends_with_the_step_that_completes_it_and_the_last_with_the_run() -> None:
    # 10 images in steps of 4: 2.5 steps per epoch.
    assert epoch_ends(9, 2.5) == [3, 5, 8, 9]
    assert epoch_ends(10, 2.5) == [3, 5, 8, 10]


def test_a_run_shorter_than_an_epoch_is_one_epoch() -> None:
    assert epoch_ends(3, 100.0) == [3]


def test_epochs_shorter_than_a_step_end_together() -> None:
    assert epoch_ends(3, 0.25) == [1, 2, 3]


@given(st.integers(1, 200), st.floats(0.1, 300))
def test_epochs_end_in_order_and_inside_the_run(steps: int, steps_per_epoch: float) -> None:
    ends = epoch_ends(steps, steps_per_epoch)
    assert ends == sorted(set(ends))
    assert ends[-1] == steps
    assert ends[0] >= 1


@pytest.mark.parametrize(
    ("epochs", "number", "expected"),
    [(15, 8, {1, 3, 5, 7, 9, 11, 13, 15}), (3, 8, {1, 2, 3}), (9, 1, {9}), (1, 8, {1})],
)
def test_moments_are_spread_from_the_first_epoch_to_the_last(
    epochs: int, number: int, expected: set[int]
) -> None:
    assert moments(epochs, number) == expected


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"schedule": "cosin"}, r"recipe.optimisation.schedule: .*'cosine' or 'thirds'"),
        ({"learning_rat": 1}, r"recipe.optimisation.learning_rat: .*mean 'learning_rate'"),
    ],
)
def test_a_wrong_option_of_optimisation_is_named(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(OptimisationConfig, block, "recipe.optimisation")
