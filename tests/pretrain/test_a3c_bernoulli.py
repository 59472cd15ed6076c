"""Hiding cells independently, with the area kept in expectation or exactly (invariant 14)."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from maskwise.pretrain.policies.a3c.bernoulli import (
    balanced,
    bernoulli,
    bernoulli_entropy,
    bernoulli_overlap,
    bernoulli_terms,
)
from maskwise.pretrain.policies.a3c.exact import (
    conditional_bernoulli,
    conditional_bernoulli_terms,
    inclusion,
    log_polynomials,
)
from maskwise.pretrain.policies.a3c.sampling import Choice
from pretrain.a3c_toys import normal, uniform

MASKS = torch.tensor(list(product([False, True], repeat=5)))[1:]
"""All masks of 5 cells that hide something."""
OF_TWO = MASKS[MASKS.sum(1) == 2]
SCORES = torch.tensor([0.3, -1.2, 2.0, 0.0, -0.7], dtype=torch.float64)


def terms(scores: Tensor) -> Tensor:
    """Return the terms of each of ``MASKS``, ``(31, 5)``."""
    return bernoulli_terms(scores.expand(len(MASKS), -1), Choice(MASKS))


def terms_of_two(scores: Tensor) -> Tensor:
    """Return the terms of each of ``OF_TWO`` under the exact law, ``(10, 5)``."""
    rows = scores.expand(len(OF_TWO), -1)
    return conditional_bernoulli_terms(rows, Choice(OF_TWO), 2)


def by_hand(scores: Tensor, masks: Tensor) -> Tensor:
    """Return the probability of each of ``masks`` among them, for independent cells."""
    shares = torch.sigmoid(scores)
    weights = torch.where(masks, shares, 1 - shares).prod(dim=1)
    return weights / weights.sum()


def counted(masks: Tensor, among: Tensor) -> Tensor:
    """Count how often each of ``among`` occurs."""
    binary = 2 ** torch.arange(among.shape[1])
    return (
        (masks * binary).sum(1).bincount(minlength=2 ** among.shape[1])[(among * binary).sum(1)]
    )


def test_probabilities_are_those_of_independent_cells_given_that_one_is_hidden() -> None:
    for scores in (SCORES, SCORES - 5):
        torch.testing.assert_close(terms(scores).sum(1).exp(), by_hand(scores, MASKS))


@pytest.mark.parametrize("offset", [0.0, -3.0])
def test_masks_are_drawn_as_often_as_their_probability_says(offset: float) -> None:
    draws, scores = 200_000, SCORES + offset
    masks = bernoulli(scores.expand(draws, 5), 2, uniform(draws, 5)).mask
    counts, expected = counted(masks, MASKS), draws * by_hand(scores, MASKS)
    assert int(counts.sum()) == draws  # so that none of them hides nothing
    assert ((counts - expected).abs() < 4 * expected.sqrt() + 4).all()


def test_the_ratio_is_kept_in_expectation() -> None:
    scores = balanced(normal(20_000, 64, scale=2.0).float(), 16)
    hidden = bernoulli(scores, 16, uniform(20_000, 64)).mask.sum(1).double()
    error = float(hidden.std()) / 20_000**0.5
    assert abs(float(hidden.mean()) - 16) < 3 * error
    assert float(hidden.std()) > 1


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("number", [1, 16, 63])
def test_balanced_probabilities_sum_to_k(number: int, scale: float) -> None:
    shares = torch.sigmoid(balanced(normal(50, 64, scale=scale).float(), number))
    torch.testing.assert_close(
        shares.sum(1), torch.full((50,), float(number)), rtol=1e-4, atol=0
    )


def test_a_constant_added_to_the_logits_is_balanced_away() -> None:
    logits = normal(4, 64)
    torch.testing.assert_close(balanced(logits + 3, 16), balanced(logits, 16))


def test_the_gradient_of_the_log_probability_goes_through_the_shift() -> None:
    logits = normal(2, 6).requires_grad_()
    choice = bernoulli(balanced(logits, 2), 2, uniform(2, 6))
    assert torch.autograd.gradcheck(lambda z: bernoulli_terms(balanced(z, 2), choice), logits)


def expected_reward(logits: Tensor, rewards: Tensor) -> Tensor:
    return by_hand(balanced(logits[None], 2), MASKS) @ rewards


def test_any_value_a_cell_leaves_the_gradient_of_the_expected_reward_as_it_is() -> None:
    logits, rewards, values = SCORES.clone().requires_grad_(), normal(31), normal(5, seed=1)
    (true,) = torch.autograd.grad(expected_reward(logits, rewards), logits)
    scores = terms(balanced(logits[None], 2))
    chances = scores.detach().sum(1).exp()
    surrogate = chances @ ((rewards[:, None] - values) * scores).sum(1)
    (ours,) = torch.autograd.grad(surrogate, logits)
    torch.testing.assert_close(ours, true, atol=1e-10, rtol=1e-10)
    # And so it is of a small step in each logit.
    steps = 1e-6 * torch.eye(5, dtype=torch.float64)
    with torch.no_grad():
        slopes = [
            (expected_reward(SCORES + h, rewards) - expected_reward(SCORES - h, rewards)) / 2e-6
            for h in steps
        ]
    torch.testing.assert_close(ours, torch.stack(slopes), atol=1e-7, rtol=1e-5)


def test_a_constant_reward_moves_nothing_in_expectation() -> None:
    logits, values = SCORES.clone().requires_grad_(), normal(5, seed=1)
    scores = terms(balanced(logits[None], 2))
    surrogate = scores.detach().sum(1).exp() @ ((1 - values) * scores).sum(1)
    (gradient,) = torch.autograd.grad(surrogate, logits)
    torch.testing.assert_close(
        gradient, torch.zeros(5, dtype=torch.float64), atol=1e-12, rtol=0
    )


def test_logits_far_apart_leave_everything_finite() -> None:
    logits = torch.where(uniform(4, 64) < 0.5, -50.0, 50.0).requires_grad_()
    scores = balanced(logits, 16)
    every = bernoulli_terms(scores, bernoulli(scores, 16, uniform(4, 64, seed=1)))
    (gradient,) = torch.autograd.grad(every.sum(), logits)
    assert every.isfinite().all()
    assert gradient.isfinite().all()


def test_entropy_is_one_where_all_cells_are_hidden_equally_often() -> None:
    even = balanced(torch.zeros(3, 64), 16)
    assert float(bernoulli_entropy(even, 16)) == pytest.approx(1, abs=1e-5)
    certain = balanced(torch.tensor([[60.0, 60.0, -60.0, -60.0]]), 2)
    assert float(bernoulli_entropy(certain, 2)) == pytest.approx(0, abs=1e-4)


def test_overlap_is_what_two_draws_share() -> None:
    scores = balanced(normal(1, 64, scale=2.0), 16).expand(20_000, -1)
    first, second = (bernoulli(scores, 16, uniform(20_000, 64, seed=s)).mask for s in (0, 1))
    shared = float((first & second).sum(1).double().mean()) / 16
    assert float(bernoulli_overlap(scores)) == pytest.approx(shared, abs=0.01)
    even = balanced(torch.zeros(1, 64), 16)
    assert float(bernoulli_overlap(even)) == pytest.approx(0.25, abs=1e-5)


def test_polynomials_equal_sums_over_all_masks() -> None:
    weights = SCORES.exp()
    table = log_polynomials(SCORES[None], 3)[0].exp()
    everything = torch.tensor(list(product([False, True], repeat=5)))
    for cell in range(6):
        for number in range(4):
            masks = everything[(everything.sum(1) == number) & ~everything[:, :cell].any(1)]
            slow = sum(float(weights[mask].prod()) for mask in masks)
            assert float(table[cell, number]) == pytest.approx(slow)


def test_exact_probabilities_are_those_of_independent_cells_given_their_number() -> None:
    torch.testing.assert_close(terms_of_two(SCORES).sum(1).exp(), by_hand(SCORES, OF_TWO))


def test_inclusion_shares_equal_sums_over_all_masks() -> None:
    slow = by_hand(SCORES, OF_TWO) @ OF_TWO.double()
    fast = inclusion(SCORES[None], 2, log_polynomials(SCORES[None], 2))[0]
    torch.testing.assert_close(fast, slow)
    assert float(fast.sum()) == pytest.approx(2)


def test_exact_masks_are_drawn_as_often_as_their_probability_says() -> None:
    draws = 100_000
    masks = conditional_bernoulli(SCORES.expand(draws, 5), 2, uniform(draws, 5)).mask
    counts = counted(masks, OF_TWO)
    assert int(counts.sum()) == draws
    assert chisquare(counts.numpy(), (draws * by_hand(SCORES, OF_TWO)).numpy()).pvalue > 0.001


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_the_exact_law_hides_exactly_k_cells(data: st.DataObject) -> None:
    cells = data.draw(st.integers(2, 20))
    number = data.draw(st.integers(1, cells - 1))
    seed, scale = data.draw(st.integers(0, 2**31)), data.draw(st.sampled_from([0.0, 1.0, 30.0]))
    scores = normal(4, cells, seed=seed, scale=scale).float()
    for draws in (uniform(4, cells, seed=seed), torch.full((4, cells), 1 - 2**-24)):
        mask = conditional_bernoulli(scores, number, draws).mask
        assert mask.sum(1).tolist() == [number] * 4


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 20), st.integers(0, 2**31), st.sampled_from([-20.0, -2.0, 0.0]))
def test_something_is_always_hidden(cells: int, seed: int, offset: float) -> None:
    scores = normal(4, cells, seed=seed).float() + offset
    for draws in (uniform(4, cells, seed=seed), torch.full((4, cells), 1 - 2**-24)):
        assert bernoulli(scores, 1, draws).mask.any(1).all()


@pytest.mark.parametrize("name", ["sum", "one value per cell"])
def test_the_exact_terms_have_the_gradient_of_the_expected_reward(name: str) -> None:
    logits, rewards = SCORES.clone().requires_grad_(), normal(len(OF_TWO))
    (true,) = torch.autograd.grad(by_hand(logits, OF_TWO) @ rewards, logits)
    values = normal(5, seed=1) if name == "one value per cell" else torch.zeros(5)
    scores = terms_of_two(logits)
    chances = scores.detach().sum(1).exp()
    surrogate = chances @ ((rewards[:, None] - values) * scores).sum(1)
    (ours,) = torch.autograd.grad(surrogate, logits)
    torch.testing.assert_close(ours, true, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("law", [terms, terms_of_two])
def test_terms_sum_to_a_law_whose_probabilities_sum_to_one(
    law: Callable[[Tensor], Tensor],
) -> None:
    for seed in range(5):
        chances = law(normal(5, seed=seed, scale=2.0)).sum(1).exp()
        assert float(chances.sum()) == pytest.approx(1, abs=1e-9)
