"""The weighted metrics are scikit-learn's, on rows repeated as often as their weights say."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from maskwise.array_types import Codes, Floats
from maskwise.evaluate import metrics
from maskwise.evaluate.metrics import METRICS, score


def _by_scikit_learn(probabilities: Floats, truth: Codes, bins: int) -> dict[str, float]:
    predicted = probabilities.argmax(axis=1)
    there = np.unique(truth)
    one_vs_rest = [
        (truth == k, probabilities[:, k]) for k in range(probabilities.shape[1]) if k in there
    ]
    several = len(there) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class that is predicted and absent
        return {
            "accuracy": sk.accuracy_score(truth, predicted),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
            "macro_f1": sk.f1_score(truth, predicted, average="macro"),
            "macro_auroc": np.mean([sk.roc_auc_score(*pair) for pair in one_vs_rest])
            if several
            else np.nan,
            "average_precision": np.mean(
                [sk.average_precision_score(*pair) for pair in one_vs_rest]
            ),
            "calibration_error": _slow_calibration_error(probabilities, truth, bins),
        }


def _slow_calibration_error(probabilities: Floats, truth: Codes, bins: int) -> float:
    highest, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    error = 0.0
    for b in range(bins):
        inside = (highest > b / bins) & (highest <= (b + 1) / bins)
        if inside.any():
            right = (predicted[inside] == truth[inside]).mean()
            error += inside.mean() * abs(right - highest[inside].mean())
    return float(error)


@st.composite
def _weighted_predictions(draw: st.DrawFn) -> tuple[Floats, Codes, Codes]:
    n, classes = draw(st.integers(2, 12)), draw(st.integers(2, 4))
    # Few distinct values, so that many scores are equal.
    raw = draw(st.lists(st.integers(1, 4), min_size=n * classes, max_size=n * classes))
    values = np.array(raw, np.float64).reshape(n, classes)
    truth = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
    weights = draw(st.lists(st.integers(0, 3), min_size=3 * n, max_size=3 * n))
    table = np.array(weights, np.int64).reshape(n, 3)
    table[0] += table.sum(axis=0) == 0
    return values / values.sum(axis=1, keepdims=True), np.array(truth), table


@given(_weighted_predictions())
@settings(max_examples=40, deadline=None)
def test_a_weighted_metric_is_scikit_learns_on_repeated_rows(
    case: tuple[Floats, Codes, Codes],
) -> None:
    probabilities, truth, weights = case
    fast = score(probabilities, truth, weights.astype(np.float64), bins=7)
    for column in range(weights.shape[1]):
        rows = np.repeat(np.arange(len(truth)), weights[:, column])
        slow = _by_scikit_learn(probabilities[rows], truth[rows], bins=7)
        if set(truth[rows]) != set(truth):  # a class of the test set is not in the draw
            slow |= dict.fromkeys(metrics.MACRO, np.nan)
        for name, value in zip(METRICS, fast[:, column], strict=True):
            assert value == pytest.approx(slow[name], abs=1e-12, nan_ok=True), name


def test_scores_do_not_depend_on_how_many_draws_are_worked_on_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(3), 20)
    truth, weights = generator.integers(0, 3, 20), generator.random((20, 50))
    together = score(probabilities, truth, weights, bins=15)
    monkeypatch.setattr(metrics, "_BLOCK", 60)
    assert np.allclose(score(probabilities, truth, weights, bins=15), together, atol=1e-14)


def test_a_perfect_ranking_has_area_one_and_a_reversed_one_zero() -> None:
    high = np.array([0.9, 0.8, 0.2, 0.1])
    probabilities, truth = np.stack([high, 1 - high], axis=1), np.array([0, 0, 1, 1])
    auroc: Callable[[Floats], float] = lambda p: score(p, truth, np.ones((4, 1)), 15)[0, 0]  # noqa: E731
    assert auroc(probabilities) == 1.0
    assert auroc(probabilities[:, ::-1]) == 0.0


def test_the_calibration_error_of_two_bins_is_the_hand_made_one() -> None:
    # Sure at 0.9 and right in 1 of 2; sure at 0.6 and right in 2 of 2.
    sure = np.array([0.9, 0.9, 0.6, 0.6])
    probabilities, truth = np.stack([sure, 1 - sure], axis=1), np.array([0, 1, 0, 0])
    error = metrics.calibration_error(probabilities, truth, np.ones((4, 1)), bins=10)
    assert error[0] == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_a_test_set_of_one_class_has_accuracy_but_no_auroc() -> None:
    probabilities = np.array([[0.7, 0.3], [0.4, 0.6]])
    # Weights that do not add up exactly, as thirds do not.
    values = score(probabilities, np.array([0, 0]), np.full((2, 1), 1 / 3), bins=15)
    found = dict(zip(METRICS, values[:, 0], strict=True))
    assert np.isnan(found["macro_auroc"])
    assert found["accuracy"] == pytest.approx(0.5)


def test_a_draw_without_a_class_has_no_mean_over_classes() -> None:
    generator = np.random.default_rng(0)
    probabilities, truth = generator.dirichlet(np.ones(3), 9), np.arange(9) % 3
    weights = np.stack([np.ones(9), np.where(truth == 2, 0.0, 1.0)], axis=1)
    values = dict(zip(METRICS, score(probabilities, truth, weights, 15), strict=True))
    for name, (whole, without) in values.items():
        assert np.isfinite(whole), name
        assert np.isnan(without) == (name in metrics.MACRO), name


def test_perfect_predictions_of_few_images_still_get_a_calibration_error() -> None:
    # 95 images, top probability from 0.4 to 1: about 9 bins of 10 images, each off by about
    # 0.8 * sqrt(0.21 / 10) = 0.12.
    generator = np.random.default_rng(0)
    top = generator.uniform(0.4, 1, 95)
    rest = (1 - top) * generator.uniform(0.4, 0.6, 95)
    probabilities = np.stack([top, rest, 1 - top - rest], axis=1)
    weights = generator.random(95)
    found = metrics.calibration_error_if_perfect(
        probabilities, weights, np.arange(95), 15, generator
    )
    slow = []
    for _ in range(300):
        truth = np.array([generator.choice(3, p=p) for p in probabilities])
        slow.append(metrics.calibration_error(probabilities, truth, weights[:, None], 15)[0])
    assert found == pytest.approx(np.mean(slow), abs=0.01)
    assert 0.08 < found < 0.16


def test_the_calibration_error_of_perfect_predictions_falls_with_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    top = np.full(20_000, 0.7)
    probabilities = np.stack([top, 1 - top], axis=1)

    def error() -> float:
        generator = np.random.default_rng(1)
        return metrics.calibration_error_if_perfect(
            probabilities, top, np.arange(20_000), 15, generator
        )

    assert error() < 0.005
    several = error()
    monkeypatch.setattr(metrics, "_BLOCK", 20_000)  # one simulation at once
    assert error() == pytest.approx(several, abs=1e-12)
