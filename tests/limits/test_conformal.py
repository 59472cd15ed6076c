"""Sets of answers that hold the truth as often as they say."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskwise.errors import UserError
from maskwise.limits.conformal import (
    Calibration,
    attainable,
    chances_of_labels,
    needed,
    of_labels,
    p_values,
    worst,
)

CALM = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Few distinct values, so that there are ties.
SCORES = st.lists(st.integers(0, 8).map(lambda n: n / 8), min_size=1, max_size=30)


def drawn(patients: int = 40, images: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities, one-hot truth and patients of images of two classes."""
    generator = np.random.default_rng(0)
    chances = generator.dirichlet((1, 1), patients * images)
    shows = np.eye(2, dtype=bool)[np.repeat(np.arange(patients) % 2, images)]
    names = np.array([f"patient {n}" for n in range(patients)], dtype=object)
    return chances, shows, np.repeat(names, images)


@CALM
@given(held_out=SCORES, scores=SCORES)
def test_p_counts_the_held_out_scores_that_are_as_high(
    held_out: list[float], scores: list[float]
) -> None:
    found = p_values(np.sort(held_out), np.array(scores))
    for p, score in zip(found, scores, strict=True):
        assert p == (1 + sum(other >= score for other in held_out)) / (1 + len(held_out))


@CALM
@given(scores=SCORES, level=st.sampled_from([0.5, 0.8, 0.9, 0.95]))
def test_whoever_of_a_group_is_left_out_the_set_misses_no_more_than_it_says(
    scores: list[float], level: float
) -> None:
    missed = 0
    for left_out, score in enumerate(scores):
        others = np.sort(np.delete(scores, left_out))
        held = Calibration(("a",), (others,)).sets(np.array([[1 - score]]), level)
        missed += not held[0, 0]
    assert missed <= (1 - level) * len(scores) + 1e-9


def test_a_patient_counts_once_by_the_image_that_the_model_gets_most_wrong() -> None:
    chances, shows, patients = drawn()
    calibration = Calibration.of(("benign", "malignant"), chances, shows, patients)
    for column, scores in enumerate(calibration.scores):
        expected = [
            max(1 - chances[row, column] for row in np.flatnonzero(patients == name))
            for name in dict.fromkeys(patients)
            if shows[patients == name, column].all()
        ]
        assert scores.tolist() == sorted(expected)
        assert len(scores) == 20


def test_an_image_of_another_class_says_nothing_of_a_class() -> None:
    chances, shows, patients = drawn()
    changed = np.where(shows, chances, 0.123)
    once, again = (
        Calibration.of(("a", "b"), each, shows, patients) for each in (chances, changed)
    )
    for one, other in zip(once.scores, again.scores, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_number_and_a_text_may_name_patients() -> None:
    assert worst(np.array([0.1, 0.5, 0.3]), np.array([7, "8", 7], object)).tolist() == [
        0.3,
        0.5,
    ]


@pytest.mark.parametrize("level", [0.5, 0.8, 0.85, 0.9, 0.95, 0.99])
def test_so_many_patients_are_needed_that_an_answer_can_be_left_out(level: float) -> None:
    def can_leave_out(count: int) -> bool:
        zeros = Calibration(("a",), (np.zeros(count),))
        return not zeros.sets(np.array([[0.0]]), level)[0, 0]

    least = needed(level)
    assert can_leave_out(least)
    assert not can_leave_out(least - 1)
    assert can_leave_out(least) == (attainable(least) >= level - 1e-9)


def test_too_few_held_out_patients_are_counted_with_the_level_that_they_allow() -> None:
    calibration = Calibration(("benign", "cyst"), (np.zeros(30), np.zeros(4)))
    with pytest.raises(UserError) as error:
        calibration.check(0.9, "predict.coverage")
    assert str(error.value) == (
        "predict.coverage: is 0.9, for which each answer needs 9 held-out patients, but 'cyst' "
        "has 4 (5 too few); set it to 0.8 or less, or label more patients and run finetune "
        "again"
    )
    calibration.check(0.8, "predict.coverage")


def test_an_answer_without_a_patient_allows_no_level() -> None:
    calibration = Calibration(("benign", "cyst"), (np.zeros(30), np.zeros(0)))
    with pytest.raises(UserError, match=r"'cyst' has 0 \(9 too few\); label more patients"):
        calibration.check(0.9, "predict.coverage")


def test_of_labels_both_presence_and_absence_are_answers() -> None:
    assert of_labels(("round", "oval")) == ("round", "oval", "not round", "not oval")
    both = chances_of_labels(np.array([[0.25, 1.0]]))
    assert both.tolist() == [[0.25, 1.0, 0.75, 0.0]]
