"""The predictor of ``hardest``: which of two cells will have the larger error."""

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from torch import Generator, Tensor

from maskwise.pretrain.policies.hardest.predictor import (
    Predictor,
    pair_loss,
    standardised_loss,
)
from maskwise.pretrain.policies.random_cells import RandomCells
from pretrain.hardest_toys import (
    GRID,
    Blank,
    a_batch,
    a_network,
    build,
    difficulty_of,
    noisy,
    step,
)


def errors_of_some(seed: int = 0) -> Tensor:
    """Return errors ``(3, 12)`` of 6 cells an image, two of them equal, NaN elsewhere."""
    generator = Generator().manual_seed(seed)
    errors = torch.rand(3, 12, generator=generator)
    hidden = torch.rand(3, 12, generator=generator).argsort(1)
    errors[0, hidden[0, 0]] = errors[0, hidden[0, 1]]
    return errors.scatter(1, hidden[:, 6:], torch.nan)


def pair_loss_by_loop(predicted: Tensor, errors: Tensor) -> float:
    """Go through all ordered pairs of cells with unequal errors, as the paper's formula."""
    losses = []
    for image in range(len(errors)):
        hidden = [c for c in range(errors.shape[1]) if not math.isnan(errors[image, c])]
        for i, j in itertools.permutations(hidden, 2):
            if errors[image, i] == errors[image, j]:
                continue
            chance = 1 / (1 + math.exp(float(predicted[image, j] - predicted[image, i])))
            right = chance if errors[image, i] > errors[image, j] else 1 - chance
            losses.append(-math.log(right))
    return sum(losses) / len(losses)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999))
def test_the_pair_loss_is_that_of_a_loop_over_pairs(seed: int) -> None:
    predicted = torch.randn(3, 12, generator=Generator().manual_seed(seed))
    errors = errors_of_some(seed)
    made = float(pair_loss(predicted, errors, 6))
    assert made == pytest.approx(pair_loss_by_loop(predicted, errors), rel=1e-5)


def test_the_pair_loss_of_equal_predictions_is_ln_2() -> None:
    assert float(pair_loss(torch.full((3, 12), 4.0), errors_of_some(), 6)) == pytest.approx(
        math.log(2)
    )


def test_the_pair_loss_vanishes_as_the_margin_grows_in_the_right_order_only() -> None:
    errors = errors_of_some()
    ranks = errors.nan_to_num(0.0).argsort(1).argsort(1).float()
    losses = [float(pair_loss(margin * ranks, errors, 6)) for margin in (1, 4, 16, 64)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-6
    assert float(pair_loss(-64 * ranks, errors, 6)) > 64


@settings(max_examples=20, deadline=None)
@given(st.floats(-50, 50))
def test_a_constant_added_to_an_image_s_predictions_does_not_change_the_pair_loss(
    constant: float,
) -> None:
    predicted = torch.randn(3, 12, generator=Generator().manual_seed(1))
    shifted = predicted + torch.tensor([[0.0], [constant], [-constant]])
    losses = [float(pair_loss(each, errors_of_some(), 6)) for each in (predicted, shifted)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_where_all_errors_are_equal_there_is_nothing_to_learn() -> None:
    predicted = torch.randn(3, 12, requires_grad=True)
    loss = pair_loss(predicted, torch.ones(3, 12), 12)
    loss.backward()
    assert float(loss.detach()) == 0
    assert predicted.grad is not None
    assert predicted.grad.abs().max() == 0


@pytest.mark.parametrize("relative", [True, False])
def test_predictions_for_visible_cells_are_not_judged(relative: bool) -> None:
    errors = errors_of_some()
    predicted = torch.randn(3, 12, requires_grad=True)
    (
        pair_loss(predicted, errors, 6) if relative else standardised_loss(predicted, errors)
    ).backward()
    assert predicted.grad is not None
    assert ((predicted.grad == 0) == errors.isnan()).all()


def test_the_absolute_loss_is_to_each_image_s_standardised_errors() -> None:
    errors = errors_of_some()
    predicted = torch.randn(3, 12, generator=Generator().manual_seed(1))
    total = 0.0
    for row, target in zip(predicted.numpy(), errors.numpy(), strict=True):
        hidden = ~np.isnan(target)
        values = target[hidden].astype(float)
        goal = (values - values.mean()) / np.sqrt(values.var() + 1e-6)
        total += float(((row[hidden] - goal) ** 2).sum())
    assert float(standardised_loss(predicted, errors)) == pytest.approx(total / 18, rel=1e-5)


@pytest.mark.parametrize("relative", [True, False])
def test_a_predictor_learns_which_cells_are_hard_and_then_hides_them(relative: bool) -> None:
    images, network = noisy(96), Blank()
    policy = build(
        network,
        source="predictor",
        relative=relative,
        learning_rate=0.01,
        ratio=0.25,
        share_end=1.0,
        order="constant",
    )
    losses = []
    for number in range(80):
        rows = torch.arange(8) + 8 * (number % 8)
        batch = a_batch(images[rows], number / 80)
        # Against masks at random, so that all cells are seen; the network is not taught.
        mask = RandomCells(16).choose_masks(batch.images, GRID, Generator().manual_seed(number))
        proposal = policy.propose(batch, GRID, Generator())
        proposal = type(proposal)(mask, batch, proposal.hard)
        losses.append(float(policy.learn(proposal, network(batch, mask))["policy_loss"]))
    assert losses[-1] < 0.6 * losses[0]
    unseen, hard = images[64:], difficulty_of(images[64:])
    opinion = policy.maps(unseen, GRID).values.flatten(1)
    correlation = np.mean(
        [spearmanr(a, b).statistic for a, b in zip(opinion, hard, strict=True)]
    )
    assert correlation > 0.6
    made = policy.choose_masks(unseen, GRID, Generator().manual_seed(0)).flatten(1)
    assert float(hard[made].mean()) > 1.5 * float(hard.mean())
    assert [set(m.nonzero()[:, 0].tolist()) for m in made] == [
        set(row.argsort()[-16:].tolist()) for row in opinion
    ]


def test_the_predictor_s_gradient_never_reaches_the_network() -> None:
    network: Any = a_network().eval()
    policy = build(network, source="predictor", order="constant")
    batch = a_batch(noisy())
    assert isinstance(policy.judge, Predictor)
    ours = {id(weight) for weight in policy.judge.network.parameters()}
    assert not ours & {id(weight) for weight in network.parameters()}
    proposal = policy.propose(batch, GRID, Generator().manual_seed(0))
    before = copy.deepcopy(network.state_dict())
    old = [weight.detach().clone() for weight in policy.judge.network.parameters()]
    policy.learn(proposal, network(batch, proposal.mask))
    assert all(weight.grad is None for weight in network.parameters())
    assert all(before[name].equal(now) for name, now in network.state_dict().items())
    assert not all(map(torch.equal, old, policy.judge.network.parameters()))


def test_a_predictor_that_has_learnt_nothing_finds_all_cells_equal() -> None:
    policy = build(source="predictor", learnt=False)
    assert policy.maps(noisy(), GRID).values.abs().max() == 0


def test_a_predictor_goes_on_where_it_was_saved() -> None:
    policy, again = build(source="predictor"), build(source="predictor", seed=1)
    for number in range(3):
        step(policy, Blank(), noisy(), number / 4, number)
    again.load_state_dict(copy.deepcopy(policy.state_dict()))
    for each in (policy, again):
        step(each, Blank(), noisy(), 0.75, 3)
    first, second = (each.maps(noisy(), GRID).values for each in (policy, again))
    assert first.equal(second)
    assert first.abs().max() > 0
