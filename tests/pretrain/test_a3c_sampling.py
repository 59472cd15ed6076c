"""Drawing cells in order, and how probable that was (invariants 1 to 4)."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from maskwise.pretrain.policies.a3c.sampling import (
    Choice,
    gumbel_topk,
    in_order,
    plackett_luce_terms,
    softmax_entropy,
    softmax_terms,
    topk,
)
from pretrain.a3c_toys import normal, uniform

ORDERS = torch.tensor(list(permutations(range(5), 3)))
SCORES = torch.tensor([0.3, -1.2, 2.0, 0.0, 0.7], dtype=torch.float64)


def probabilities(scores: Tensor) -> Tensor:
    """Return the law's probability of each of ``ORDERS``."""
    rows = scores.expand(len(ORDERS), -1)
    return plackett_luce_terms(rows, in_order(ORDERS, 5)).sum(dim=1).exp()


def slow_terms(scores: Tensor, order: Tensor) -> Tensor:
    """Return each pick's log-probability, image by image and pick by pick."""
    rows = []
    for image, picks in zip(scores, order.tolist(), strict=True):
        left = list(range(len(image)))
        terms = []
        for pick in picks:
            terms.append(image[pick] - image[left].logsumexp(0))
            left.remove(pick)
        rows.append(torch.stack(terms))
    return torch.stack(rows)


def test_the_probabilities_of_all_ordered_choices_sum_to_one() -> None:
    assert float(probabilities(SCORES).sum()) == pytest.approx(1, abs=1e-6)


def test_gumbel_noise_draws_each_ordered_choice_as_often_as_its_probability_says() -> None:
    draws = 200_000
    order = gumbel_topk(SCORES.expand(draws, 5), 3, uniform(draws, 5)).picks
    keys = (order * torch.tensor([25, 5, 1])).sum(1)
    counts = keys.bincount(minlength=125)[(ORDERS * torch.tensor([25, 5, 1])).sum(1)]
    assert int(counts.sum()) == draws
    expected = draws * probabilities(SCORES)
    assert chisquare(counts.numpy(), expected.numpy()).pvalue > 0.001
    assert float((counts - expected).abs().max()) / draws < 0.003


def test_inclusion_probabilities_sum_to_k_and_are_equal_for_equal_scores() -> None:
    hidden = in_order(ORDERS, 5).mask.double()
    assert float((probabilities(SCORES) @ hidden).sum()) == pytest.approx(3)
    even = probabilities(torch.zeros(5, dtype=torch.float64)) @ hidden
    torch.testing.assert_close(even, torch.full((5,), 0.6, dtype=torch.float64))


def test_a_constant_added_to_the_scores_changes_nothing() -> None:
    scores, draws = normal(40, 64), uniform(40, 64)
    torch.testing.assert_close(probabilities(SCORES + 7), probabilities(SCORES))
    assert gumbel_topk(scores + 7, 16, draws).picks.equal(gumbel_topk(scores, 16, draws).picks)


@pytest.mark.parametrize("number", [1, 16, 63, 64])
def test_the_fast_log_probability_equals_a_loop_over_picks(number: int) -> None:
    scores = normal(3, 64, scale=2.0).requires_grad_()
    choice = gumbel_topk(scores, number, uniform(3, 64))
    weights = normal(3, number, seed=1)
    fast = plackett_luce_terms(scores, choice)
    slow = slow_terms(scores, choice.picks)
    torch.testing.assert_close(fast, slow, atol=1e-12, rtol=1e-12)
    gradients = [torch.autograd.grad((weights * terms).sum(), scores) for terms in (fast, slow)]
    torch.testing.assert_close(*gradients, atol=1e-12, rtol=1e-12)


def test_the_gradient_of_the_log_probability_is_right_to_finite_differences() -> None:
    scores = normal(2, 6).requires_grad_()
    choice = gumbel_topk(scores, 4, uniform(2, 6))
    assert torch.autograd.gradcheck(lambda z: plackett_luce_terms(z, choice), scores)


@pytest.mark.parametrize("number", [16, 64])
def test_the_log_probability_is_finite_where_scores_are_far_apart(number: int) -> None:
    scores = torch.where(uniform(4, 64) < 0.5, -50.0, 50.0).requires_grad_()
    choice = gumbel_topk(scores, number, uniform(4, 64, seed=1))
    terms = plackett_luce_terms(scores, choice)
    (gradient,) = torch.autograd.grad(terms.sum(), scores)
    assert terms.isfinite().all()
    assert gradient.isfinite().all()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_exactly_k_cells_are_hidden_and_none_twice(data: st.DataObject) -> None:
    cells = data.draw(st.integers(2, 20))
    number = data.draw(st.integers(1, cells - 1))
    seed = data.draw(st.integers(0, 2**31))
    scale = data.draw(st.sampled_from([0.0, 1.0, 100.0]))
    scores = normal(5, cells, seed=seed, scale=scale)
    for sampler in (gumbel_topk, topk):
        choice = sampler(scores, number, uniform(5, cells, seed=seed))
        assert choice.mask.sum(1).tolist() == [number] * 5
        assert all(len(set(order)) == number for order in choice.picks.tolist())
        assert in_order(choice.picks, cells).mask.equal(choice.mask)


def test_images_with_equal_scores_are_hidden_differently() -> None:
    for sampler in (gumbel_topk, topk):
        masks = sampler(torch.zeros(64, 64), 16, uniform(64, 64)).mask
        assert len(masks.unique(dim=0)) == 64


def test_draws_of_zero_and_nearly_one_choose_cells_like_any_other() -> None:
    draws = torch.tensor([[0.0, 1 - 2**-24, 0.5, 0.0]])
    assert gumbel_topk(torch.zeros(1, 4), 2, draws).mask.tolist() == [
        [True, False, False, True]
    ]


def test_the_literal_reading_takes_the_highest_scores_whatever_is_drawn() -> None:
    scores = normal(10, 64)
    choices = [topk(scores, 16, uniform(10, 64, seed=seed)) for seed in (0, 1)]
    assert choices[0].picks.equal(choices[1].picks)
    assert choices[0].picks.equal(scores.topk(16).indices)


def test_among_equal_scores_the_literal_reading_draws_by_lot() -> None:
    scores = torch.tensor([1.0, 0, 0, 0, 0]).expand(20_000, 5)
    counts = topk(scores, 2, uniform(20_000, 5)).mask.sum(0)
    assert int(counts[0]) == 20_000
    assert chisquare(counts[1:].numpy()).pvalue > 0.001


def test_the_softmax_reading_forgets_which_cells_are_gone() -> None:
    choice = in_order(ORDERS[:1], 5)
    terms = softmax_terms(SCORES[None], choice)
    torch.testing.assert_close(terms[0].exp(), SCORES.softmax(0)[ORDERS[0]])
    assert not terms[0, 1:].allclose(plackett_luce_terms(SCORES[None], choice)[0, 1:])


def test_entropy_is_one_for_equal_scores_and_falls_to_zero() -> None:
    assert float(softmax_entropy(torch.zeros(3, 64))) == pytest.approx(1)
    certain = torch.tensor([[100.0, 0, 0, 0]])
    assert float(softmax_entropy(certain)) == pytest.approx(0, abs=1e-6)


def test_cells_without_an_order_have_no_picks() -> None:
    with pytest.raises(ValueError, match="have no order"):
        _ = Choice(torch.ones(1, 3, dtype=torch.bool)).picks
