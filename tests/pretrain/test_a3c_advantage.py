"""Baselines that leave the gradient what it is, and one that does not (invariants 5, 6, 10)."""

from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import Generator, Tensor

from maskwise.pretrain.policies.a3c.advantage import (
    ADVANTAGES,
    Advantage,
    cell_expected,
    cell_value,
    expected_value,
    standardised,
    to_go,
    value_loss,
)
from maskwise.pretrain.policies.a3c.sampling import (
    Choice,
    in_order,
    plackett_luce_terms,
    softmax_terms,
)
from pretrain.a3c_toys import normal

ORDERS = torch.tensor(list(permutations(range(5), 3)))
CHOICE = in_order(ORDERS, 5)
Terms = Callable[[Tensor, Choice], Tensor]


def gradient(advantages: Tensor, scores: Tensor, terms: Terms = plackett_luce_terms) -> Tensor:
    """Return the expected policy gradient over all 60 ordered choices of 3 of 5 cells."""
    leaf = scores.clone().requires_grad_()
    rows = leaf.expand(60, 5)
    chances = plackett_luce_terms(rows, CHOICE).detach().sum(dim=1).exp()
    surrogate = (chances[:, None] * advantages * terms(rows, CHOICE)).sum()
    (result,) = torch.autograd.grad(surrogate, leaf)
    return result


def slow_expected(scores: Tensor, values: Tensor, order: Tensor) -> Tensor:
    """Return the mean value of the cells left before each pick, image by image."""
    rows = []
    for image, value, picks in zip(scores, values, order.tolist(), strict=True):
        left = list(range(len(image)))
        means = []
        for pick in picks:
            means.append((image[left].softmax(0) * value[left]).sum())
            left.remove(pick)
        rows.append(torch.stack(means))
    return torch.stack(rows)


@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_what_is_expected_of_a_pick_equals_a_loop_over_the_cells_left(scale: float) -> None:
    scores, values = normal(60, 5, scale=scale), normal(60, 5, seed=1)
    fast = expected_value(scores, values, CHOICE)
    torch.testing.assert_close(fast, slow_expected(scores, values, ORDERS))


def test_the_expected_baseline_leaves_the_gradient_of_a_cell_s_own_reward() -> None:
    scores, values, rewards = normal(5), normal(5, seed=1), normal(5, seed=2)[ORDERS]
    rows = scores.expand(60, 5), values.expand(60, 5)
    with_baseline = gradient(cell_expected(rewards, *rows, CHOICE), scores)
    torch.testing.assert_close(with_baseline, gradient(rewards, scores), atol=1e-5, rtol=0)
    assert with_baseline.norm() > 0.1


def test_the_baseline_of_rewards_to_come_leaves_their_gradient() -> None:
    scores, values, rewards = normal(5), normal(5, seed=1), normal(5, seed=2)[ORDERS]
    rows = scores.expand(60, 5), values.expand(60, 5)
    left = torch.tensor([3.0, 2.0, 1.0])
    plain = torch.stack([rewards[:, t:].sum(1) for t in range(3)], dim=1) / left.sqrt()
    ours = gradient(to_go(rewards, *rows, CHOICE), scores)
    torch.testing.assert_close(ours, gradient(plain, scores), atol=1e-5, rtol=0)


def test_rewards_to_come_are_compared_with_as_many_picks_of_what_is_left() -> None:
    scores, values, rewards = normal(60, 5), normal(60, 5, seed=1), normal(60, 3, seed=2)
    expected = slow_expected(scores, values, ORDERS)
    slow = [
        (rewards[:, turn:].sum(1) - (3 - turn) * expected[:, turn]) / (3 - turn) ** 0.5
        for turn in range(3)
    ]
    torch.testing.assert_close(to_go(rewards, scores, values, CHOICE), torch.stack(slow, 1))


def test_with_right_values_the_wrong_reading_learns_nothing_at_all() -> None:
    scores, values = normal(5), normal(5, seed=1)
    advantages = cell_value(values[ORDERS], scores.expand(60, 5), values.expand(60, 5), CHOICE)
    assert gradient(advantages, scores).abs().max() == 0


def image_rewards() -> Tensor:
    """Return a reward ``(60, 1)`` a set of cells, in which cells interact."""
    by_set = normal(32, seed=2)
    return by_set[(CHOICE.mask * 2 ** torch.arange(5)).sum(1)][:, None]


def true_gradient(scores: Tensor) -> Tensor:
    leaf = scores.clone().requires_grad_()
    chances = plackett_luce_terms(leaf.expand(60, 5), CHOICE).sum(1).exp()
    (result,) = torch.autograd.grad(chances @ image_rewards()[:, 0], leaf)
    return result


@pytest.mark.parametrize("name", ["image_batch", "image_value"])
def test_the_image_s_reward_gives_the_gradient_of_what_is_earned(name: Advantage) -> None:
    scores, values = normal(5), normal(5, seed=1).expand(60, 5)
    advantages = ADVANTAGES[name](image_rewards(), scores.expand(60, 5), values, CHOICE)
    torch.testing.assert_close(
        gradient(advantages, scores), true_gradient(scores), atol=1e-10, rtol=0
    )


def test_the_softmax_reading_points_elsewhere() -> None:
    cosines = []
    for seed in range(20):
        scores = normal(5, seed=seed, scale=1.5)
        ours = gradient(image_rewards(), scores, softmax_terms)
        cosines.append(torch.cosine_similarity(ours, true_gradient(scores), dim=0))
    assert float(torch.stack(cosines).mean()) < 0.9
    assert float(torch.stack(cosines).min()) < 0.5


@pytest.mark.parametrize("name", ["cell_expected", "to_go", "image_batch", "image_value"])
def test_a_constant_reward_moves_nothing_in_expectation(name: Advantage) -> None:
    scores, values = normal(5), normal(5, seed=1).expand(60, 5)
    rewards = torch.ones(60, 1 if "image" in name else 3, dtype=torch.float64)
    advantages = ADVANTAGES[name](rewards, scores.expand(60, 5), values, CHOICE)
    assert gradient(advantages, scores).abs().max() < 1e-12


def test_the_wrong_reading_follows_its_values_even_where_rewards_are_constant() -> None:
    scores, values = normal(5), normal(5, seed=1).expand(60, 5)
    rewards = torch.ones(60, 3, dtype=torch.float64)
    advantages = cell_value(rewards, scores.expand(60, 5), values, CHOICE)
    assert gradient(advantages, scores).abs().max() > 0.1


def test_advantages_have_mean_0_and_deviation_1_over_the_batch() -> None:
    rewards = normal(32, 16)
    weights, usable = standardised(3 + 2 * rewards, rewards)
    assert bool(usable)
    assert float(weights.mean()) == pytest.approx(0, abs=1e-9)
    assert float(weights.std(correction=0)) == pytest.approx(1, abs=1e-5)
    # Of the batch, not of each image.
    assert float(weights.mean(1).abs().max()) > 0.1


def test_rewards_without_spread_are_of_no_use() -> None:
    advantages = normal(8, 4)
    for rewards, expected in (
        (torch.full((8, 4), 3.0), False),
        (3 + 1e-7 * normal(8, 4), False),
        (torch.zeros(8, 4), False),
        (torch.full((8, 4), torch.nan), False),
        (3 + 1e-3 * normal(8, 4), True),
        (1e-6 * normal(8, 4), True),
    ):
        assert bool(standardised(advantages, rewards)[1]) == expected
    assert not bool(standardised(torch.zeros(8, 4), normal(8, 4))[1])


@pytest.mark.parametrize("name", list(ADVANTAGES))
def test_reordering_the_batch_reorders_advantages(name: Advantage) -> None:
    scores, values = normal(60, 5), normal(60, 5, seed=1)
    rewards = normal(60, 1 if "image" in name else 3, seed=2)
    order = torch.randperm(60, generator=Generator().manual_seed(0))
    straight = standardised(ADVANTAGES[name](rewards, scores, values, CHOICE), rewards)[0]
    moved = in_order(ORDERS[order], 5)
    shuffled = ADVANTAGES[name](rewards[order], scores[order], values[order], moved)
    shuffled = standardised(shuffled, rewards[order])[0]
    torch.testing.assert_close(shuffled, straight[order])


def test_independent_cells_have_their_values_taken_off_hidden_or_not() -> None:
    values, rewards = normal(60, 5), normal(60, 1)
    advantages = cell_value(rewards, values, values, Choice(CHOICE.mask))
    torch.testing.assert_close(advantages, rewards - values)


def test_values_learn_what_their_baseline_is_made_of() -> None:
    values, cells = normal(1, 5), torch.tensor([[4.0, torch.nan, 1.0, torch.nan, 7.0]])
    picks, independent = in_order(torch.tensor([[4, 0, 2]]), 5), Choice(~cells.isnan())
    image, own = torch.tensor([[2.0]]), torch.tensor([[7.0, 4.0, 1.0]])
    v = values[0].tolist()
    squares = [
        ("cell_expected", own, picks, [v[4] - 7, v[0] - 4, v[2] - 1]),
        ("to_go", own, picks, [v[4] - 7, v[0] - 4, v[2] - 1]),
        ("image_batch", image, picks, [v[4] - 7, v[0] - 4, v[2] - 1]),
        ("image_batch", image, independent, [v[4] - 7, v[0] - 4, v[2] - 1]),
        ("image_value", image, picks, [sum(v) / 5 - 2]),
        ("cell_value", image, independent, [value - 2 for value in v]),
        ("cell_value", own, picks, [v[4] - 7, v[0] - 4, v[2] - 1]),
    ]
    for name, rewards, choice, differences in squares:
        loss, _ = value_loss(name, values, rewards, cells, choice)  # type: ignore[arg-type]
        slow = sum(d * d for d in differences) / len(differences)
        assert float(loss) == pytest.approx(slow), name


@pytest.mark.parametrize(
    ("error", "share"),
    [([0.0] * 3, 1.0), ([-3.0, 0.0, 3.0], 0.0), ([-6.0, 0.0, 6.0], -3.0)],
)
def test_what_the_values_explain_is_told_against_the_mean(
    error: list[float], share: float
) -> None:
    cells = torch.tensor([[4.0, torch.nan, 1.0, 7.0]])  # mean 4, variance 6
    values = torch.tensor([[4.0, 9.0, 1.0, 7.0]])
    values[0, [3, 0, 2]] += torch.tensor(error)
    told = value_loss("image_batch", values, torch.ones(1, 1), cells, Choice(~cells.isnan()))
    assert float(told[1]) == pytest.approx(share)


def test_values_explain_nothing_of_a_reward_that_never_varies() -> None:
    values, picks = normal(2, 5), in_order(torch.tensor([[4, 0], [1, 2]]), 5)
    told = value_loss("cell_expected", values, torch.ones(2, 2), torch.ones(2, 5), picks)
    assert float(told[1]) == 0


def test_cells_without_a_reward_leave_no_gradient_in_their_values() -> None:
    values = normal(1, 5).requires_grad_()
    cells = torch.tensor([[4.0, torch.nan, 1.0, torch.nan, 7.0]])
    choice = Choice(~cells.isnan())
    value_loss("image_batch", values, torch.ones(1, 1), cells, choice)[0].backward()
    assert values.grad is not None
    assert (values.grad[cells.isnan()] == 0).all()
    assert (values.grad[~cells.isnan()] != 0).all()
