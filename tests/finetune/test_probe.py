"""The linear probe and its temperature."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.metrics import log_loss as sklearn_log_loss

from maskwise.finetune.classification.heads import TrainableHead
from maskwise.finetune.classification.probe import candidates, choose, fit
from maskwise.finetune.classification.softmax import Softmax
from maskwise.finetune.classification.temperature import calibrated, fit_temperature
from maskwise.finetune.multilabel.sigmoid import Sigmoid

SOFTMAX = Softmax()


def problem(
    classes: int, n: int = 60, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    targets = np.arange(n) % classes
    features = generator.normal(targets[:, None] * [1.0, 0.0, 0.0], [1.0, 20.0, 0.01])
    return features.astype(np.float32), targets


@pytest.mark.parametrize("classes", [2, 3])
def test_the_probe_is_the_minimum_of_the_penalised_log_loss(classes: int) -> None:
    features, targets = problem(classes)
    head = fit(SOFTMAX, features, targets, np.ones(classes), strength=0.1)
    z = (features - features.mean(axis=0)) / features.std(axis=0)

    def cost(flat: NDArray[np.float64]) -> float:
        weight, bias = flat[:-classes].reshape(classes, 3), flat[-classes:]
        chances = log_softmax(z @ weight.T + bias, axis=1)
        # A binary problem has one weight vector, which is twice either of a symmetric pair.
        penalty = (weight[1] - weight[0]) ** 2 if classes == 2 else weight**2
        return float(-chances[np.arange(len(targets)), targets].sum() + penalty.sum() / 2 / 0.1)

    found = cost(np.concatenate([head.weight.ravel(), head.bias]))
    best = minimize(cost, np.zeros(4 * classes)).fun
    assert found == pytest.approx(best, rel=1e-4)


def test_features_are_standardised_by_the_images_that_are_learnt_from() -> None:
    features, targets = problem(3)
    head = fit(SOFTMAX, features, targets, np.ones(3), strength=1.0)
    np.testing.assert_allclose(head.mean, features.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(head.std, features.std(axis=0), rtol=1e-4)


def test_a_feature_that_never_varies_says_nothing_and_breaks_nothing() -> None:
    features, targets = problem(3)
    features[:, 1] = 7.0
    head = fit(SOFTMAX, features, targets, np.ones(3), strength=1.0)
    assert head.std[1] == 1.0
    assert np.isfinite(head.logits(features)).all()


def test_a_class_weight_moves_the_answer_towards_that_class() -> None:
    features, targets = problem(3)
    plain, heavy = (
        fit(SOFTMAX, features, targets, np.array(weights), 1.0).logits(features).argmax(axis=1)
        for weights in ([1.0, 1.0, 1.0], [1.0, 1.0, 20.0])
    )
    assert (heavy == 2).sum() > (plain == 2).sum()


def test_folding_the_standardisation_into_one_layer_changes_no_answer() -> None:
    features, targets = problem(3)
    head = fit(SOFTMAX, features, targets, np.ones(3), strength=1.0)
    with torch.inference_mode():
        folded = head.folded()(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(folded, head.logits(features), atol=1e-3)


def test_the_trainable_head_starts_where_the_probe_is_and_gives_back_what_it_holds() -> None:
    features, targets = problem(3)
    head = fit(SOFTMAX, features, targets, np.ones(3), strength=1.0)
    trainable = TrainableHead(head)
    with torch.inference_mode():
        np.testing.assert_allclose(
            trainable(torch.from_numpy(features)).numpy(), head.logits(features), atol=1e-3
        )
    np.testing.assert_allclose(trainable.frozen().weight, head.weight, rtol=1e-5)


def test_the_stage_that_separates_held_out_images_is_chosen() -> None:
    good, targets = problem(3, n=120)
    noise = np.random.default_rng(1).normal(size=(120, 3)).astype(np.float32)
    rows = np.arange(120)
    folds = [(rows[rows // 3 % 3 != k], rows[rows // 3 % 3 == k]) for k in range(3)]
    found = choose(
        SOFTMAX, [noise, good], targets, np.ones(3), folds, candidates(2), (0.01, 1.0)
    )
    assert min(found, key=lambda choice: choice.loss).stages == (1,)


def test_a_choice_is_judged_on_images_only_while_they_are_held_out() -> None:
    features, targets = problem(3)
    rows = np.arange(len(targets))
    fold = (rows[:40], rows[40:])
    (choice,) = choose(SOFTMAX, [features], targets, np.ones(3), [fold], [(0,)], (1.0,))
    alone = fit(SOFTMAX, features[:40], targets[:40], np.ones(3), 1.0).logits(features[40:])
    np.testing.assert_allclose(choice.logits, alone)
    np.testing.assert_array_equal(choice.targets, targets[40:])


def test_candidates_are_each_stage_deepest_first_and_all_together() -> None:
    assert candidates(3) == [(2,), (1,), (0,), (0, 1, 2)]
    assert candidates(1) == [(0,)]


def test_log_loss_is_scikit_learns() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3))
    targets = np.arange(50) % 3
    expected = sklearn_log_loss(targets, np.exp(log_softmax(logits, axis=1)))
    assert SOFTMAX.log_loss(logits, targets) == pytest.approx(expected)


def test_temperature_finds_by_how_much_logits_were_blown_up() -> None:
    generator = np.random.default_rng(0)
    honest = generator.normal(size=(5000, 3)) * 2
    chances = np.exp(log_softmax(honest, axis=1))
    targets = (chances.cumsum(axis=1) < generator.random((5000, 1))).sum(axis=1)
    assert fit_temperature(SOFTMAX, honest * 4, targets) == pytest.approx(4, rel=0.1)


def test_a_few_images_that_are_all_right_do_not_make_the_model_certain() -> None:
    logits, targets = np.eye(3) * 5, np.arange(3)
    assert fit_temperature(SOFTMAX, logits, targets) > 0.3


def test_without_held_out_images_the_temperature_is_one() -> None:
    assert fit_temperature(SOFTMAX, np.empty((0, 3)), np.empty(0, np.int64)) == 1.0


def test_images_that_lack_a_class_fit_no_temperature() -> None:
    logits = np.random.default_rng(0).normal(size=(8, 2))
    for truth in (np.zeros(8, np.int64), np.ones(8, np.int64)):
        assert calibrated(SOFTMAX, logits, truth) == (1.0, 0)
    both = np.arange(8) % 2
    assert calibrated(SOFTMAX, logits, both) == (fit_temperature(SOFTMAX, logits, both), 8)


def test_a_rare_one_of_several_labels_keeps_the_others_from_no_temperature() -> None:
    logits, shows = np.random.default_rng(0).normal(size=(8, 2)), np.eye(2)[np.zeros(8, int)]
    assert calibrated(Sigmoid(), logits, shows)[1] == 8
