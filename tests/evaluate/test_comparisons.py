"""Which recipes are compared, and the p-values' arithmetic."""

import itertools
from datetime import date
from typing import Any

import numpy as np
import pytest

from maskwise.errors import UserError
from maskwise.evaluate.comparisons import chosen_pairs, holm, sign_flip
from maskwise.evaluate.config import EvaluateConfig, Primary


def test_every_recipe_is_compared_with_scratch_and_each_named_pair() -> None:
    config = EvaluateConfig(pairs=(("dqn", "random_box"), ("dqn", "absent")))
    assert chosen_pairs(["scratch", "random_box", "dqn", "imagenet"], config) == [
        ("random_box", "scratch"),
        ("dqn", "scratch"),
        ("dqn", "random_box"),
    ]


def test_another_reference_and_other_exceptions_can_be_asked_for() -> None:
    config = EvaluateConfig(against="imagenet", except_recipes=("scratch",))
    assert chosen_pairs(["scratch", "dqn", "imagenet"], config) == [("dqn", "imagenet")]


def test_holm_is_the_hand_made_one() -> None:
    # .01 x 4; .02 x 3; .03 x 2 = .06, and no less than the one before; .5 x 1.
    p = np.array([0.02, 0.5, 0.01, 0.03])
    assert holm(p) == pytest.approx([0.06, 0.5, 0.04, 0.06])


def test_holm_never_exceeds_one_and_passes_over_what_is_undefined() -> None:
    adjusted = holm(np.array([0.6, np.nan, 0.4]))
    assert adjusted == pytest.approx([0.8, np.nan, 0.8], nan_ok=True)
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1.0, 1.0])


def test_the_sign_flip_p_counts_all_patterns_of_signs() -> None:
    differences = np.array([0.3, -0.1, 0.2, 0.4, 0.1, -0.2, 0.5, 0.2])
    slow = [
        abs(np.dot(signs, differences)) >= abs(differences.sum()) - 1e-9
        for signs in itertools.product((-1, 1), repeat=8)
    ]
    assert sign_flip(differences, False, "evaluate") == pytest.approx(np.mean(slow))


def test_eight_seeds_that_agree_reach_the_least_possible_p() -> None:
    assert sign_flip(np.full(8, 0.1), False, "evaluate") == pytest.approx(2 / 2**8)


def test_sign_flip_with_five_seeds_is_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match=r"evaluate\.test: .* 8 to 16 seeds, but there are 5"):
        sign_flip(np.ones(5), False, "evaluate")


def test_sign_flip_of_folds_is_refused_for_they_share_training_images() -> None:
    with pytest.raises(UserError, match=r"evaluate\.test: .* independent, which folds are not"):
        sign_flip(np.ones(8), True, "evaluate")


def test_what_was_named_beforehand_is_compared_first_and_once() -> None:
    primary = named((("dqn", "random_box"), ("dqn", "scratch")))
    pairs = chosen_pairs(["scratch", "random_box", "dqn"], EvaluateConfig(), primary)
    assert pairs == [("dqn", "random_box"), ("dqn", "scratch"), ("random_box", "scratch")]


def named(comparisons: Any, **options: Any) -> Primary:
    written = date(2026, 11, 29)
    return Primary(
        comparisons, **{"mode": "probe", "fraction": 1.0, "written": written, **options}
    )


@pytest.mark.parametrize(
    ("comparisons", "options", "message"),
    [
        ((), {}, "comparisons are 0, should be 1 to 3"),
        ((("a", "b"), ("a", "c"), ("a", "d"), ("a", "e")), {}, "comparisons are 4"),
        ((("a", "a"),), {}, "'a' is compared with itself"),
        ((("a", "b"), ("b", "a")), {}, "a pair appears twice"),
        ((("a", "b"),), {"fraction": 0.0}, "fraction is 0.0"),
    ],
)
def test_more_than_three_primary_comparisons_or_odd_ones_are_refused(
    comparisons: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        named(comparisons, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": (("dqn", "dqn"),)}, "'dqn' is compared with itself"),
    ],
)
def test_a_refused_option_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EvaluateConfig(**options)  # type: ignore[arg-type]
