"""Agents that are told one negative error per image learn to spare what costs."""

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from maskwise.errors import UserError
from maskwise.pretrain.contracts import Outcome
from maskwise.pretrain.objectives.masked_views import Reward, image_errors
from maskwise.pretrain.policies.a3c.reward import scaled
from maskwise.pretrain.recipe import parse_recipe
from pretrain import a3c_toys, dqn_toys
from pretrain.policy_toys import GRID, a_batch
from pretrain.toys import SIMCLR

PER_IMAGE: dict[str, Any] = {"reward": {"credit": "image"}, "advantage": "image_batch"}


def contrasted(mask: Tensor, cells: Tensor, reward: Reward) -> Outcome:
    """Answer with a loss per image, 3 to 4: the more of ``cells`` is hidden, the larger."""
    hidden = (mask & cells).flatten(1).double().sum(1) / cells.flatten(1).sum(1)
    return Outcome(torch.zeros(()), image_errors(3 + hidden, mask, reward))


def share_hidden(policy: Any, reward: Reward, steps: int) -> float:
    """Teach ``policy`` on planted images; return how much of what costs it hides of others."""
    images, cells = a3c_toys.planted(1_600, 0)
    generator = Generator().manual_seed(0)
    for number in range(steps):
        rows = torch.arange(32) + 32 * (number % 50)
        proposal = policy.propose(a_batch(images, rows, number / steps), GRID, generator)
        policy.learn(proposal, contrasted(proposal.mask, cells[rows], reward))
    held_out, theirs = a3c_toys.planted(100, 1)
    masks = policy.choose_masks(held_out, GRID, generator)
    return float((masks & theirs).sum() / theirs.sum())


def agent(name: str) -> Any:
    images, _ = a3c_toys.planted(1_600, 0)
    if name == "dqn":
        return dqn_toys.a_policy(images, epsilon={"schedule": "linear", "share": 0.6})
    return a3c_toys.a_policy(images, learning_rate=2e-2, **PER_IMAGE)


@pytest.mark.parametrize(("name", "chance"), [("a3c", 0.25), ("dqn", 9 / 64)])
def test_an_agent_seeks_what_costs_or_spares_it_by_the_reward_s_sign(
    name: str, chance: float
) -> None:
    assert share_hidden(agent(name), "hard", 150) > 1.5 * chance
    assert share_hidden(agent(name), "easy", 150) < 0.5 * chance


@pytest.mark.parametrize("scale", ["raw", "relative"])
def test_a_scaled_reward_keeps_its_sign_and_its_size(scale: Any) -> None:
    errors = torch.tensor([[-1.0, -3.0, torch.nan], [-2.0, torch.nan, -2.0]])
    expected = torch.tensor([[-0.5, -1.5, torch.nan], [-1.0, torch.nan, -1.0]])
    torch.testing.assert_close(scaled(errors, scale), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            {"name": "hardest"},
            "mine.policy.name: hardest asks which of an image's hidden cells has the larger "
            "error, but objective simclr has one error for all of them; take dqn, or a3c with "
            "reward: {credit: image}",
        ),
        (
            {"name": "a3c"},
            "mine.policy.reward.credit: cell asks which of an image's hidden cells has the "
            "larger error, but objective simclr has one error for all of them; take reward: "
            "{credit: image} with advantage: image_batch",
        ),
        (
            {"name": "mean_map", "policy": {"name": "a3c"}},
            "mine.policy.policy.reward.credit: cell asks",
        ),
        ({"name": "dqn", "normalise": "variance"}, "mine.policy.normalise: variance asks"),
    ],
)
def test_a_policy_that_compares_cells_is_refused_where_all_have_one_error(
    policy: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe({**SIMCLR, "policy": policy}, "mine")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "policy",
    [{"name": "dqn"}, {"name": "a3c", **PER_IMAGE}, {"name": "a3c", "preset": "ahm"}],
)
def test_a_policy_that_is_told_one_error_per_image_is_not(policy: dict[str, Any]) -> None:
    assert parse_recipe({**SIMCLR, "policy": policy}, "mine").trains
