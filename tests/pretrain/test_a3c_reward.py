"""What hidden cells earn: scales, blur, balance and controls of ``a3c``."""

from typing import Any

import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata
from torch import Generator, Tensor

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.masks import to_pixels
from maskwise.pretrain.contracts import Outcome
from maskwise.pretrain.policies.a3c.reward import (
    RewardConfig,
    cell_errors,
    credited,
    scaled,
)
from maskwise.pretrain.policies.a3c.sampling import Choice, in_order
from pretrain.a3c_toys import a_policy
from pretrain.policy_toys import GRID, a_batch, step

IMAGES = torch.randn(40, 1, 32, 32, generator=Generator().manual_seed(0))
NAN = torch.nan


def some_errors(seed: int = 0) -> Tensor:
    """Return the errors ``(6, 64)`` of 16 hidden cells an image, some of them equal."""
    generator = Generator().manual_seed(seed)
    errors = torch.randint(1, 9, (6, 64), generator=generator).float()
    visible = torch.rand(6, 64, generator=generator).topk(48).indices
    return errors.scatter(1, visible, NAN)


def test_relative_rewards_are_errors_over_their_image_s_mean() -> None:
    errors = some_errors()
    for image, rewards in zip(errors, scaled(errors, "relative"), strict=True):
        hidden = ~image.isnan()
        torch.testing.assert_close(rewards[hidden], image[hidden] / image[hidden].mean())
        assert rewards[~hidden].isnan().all()


def test_raw_rewards_are_errors_over_the_batch_s_mean() -> None:
    errors = some_errors()
    mean = torch.stack([image[~image.isnan()].mean() for image in errors]).mean()
    torch.testing.assert_close(scaled(errors, "raw"), errors / mean, equal_nan=True)


def test_ranks_are_those_among_hidden_cells_and_equal_errors_share_theirs() -> None:
    errors = some_errors()
    for image, rewards in zip(errors, scaled(errors, "rank"), strict=True):
        hidden = ~image.isnan()
        slow = (rankdata(image[hidden].numpy()) - 1) / (int(hidden.sum()) - 1)
        torch.testing.assert_close(rewards[hidden].double(), torch.from_numpy(slow))
        assert rewards[~hidden].isnan().all()


@pytest.mark.parametrize("scale", ["relative", "raw", "rank"])
def test_errors_of_nothing_and_a_single_hidden_cell_leave_finite_rewards(scale: Any) -> None:
    for errors in (torch.zeros(2, 4), torch.tensor([[1.0, NAN, NAN], [2.0, NAN, NAN]])):
        rewards = scaled(errors, scale)
        assert rewards[~errors.isnan()].isfinite().all()


def test_credit_goes_to_the_picks_in_order_or_to_the_image() -> None:
    cells = torch.tensor([[4.0, NAN, 1.0, NAN, 7.0]])
    choice = in_order(torch.tensor([[4, 0, 2]]), 5)
    for credit in ("cell", "to_go"):
        assert credited(cells, choice, credit).tolist() == [[7.0, 4.0, 1.0]]
    assert credited(cells, Choice(choice.mask), "image").tolist() == [[4.0]]


def test_blurring_averages_the_residual_over_hidden_pixels_only() -> None:
    generator = Generator().manual_seed(0)
    residual = torch.randn(2, 2, 12, 12, generator=generator)
    mask = torch.rand(2, 3, 3, generator=generator) < 0.5
    outcome = Outcome(torch.zeros(()), torch.where(mask, 1.0, NAN), residual)
    fast = cell_errors(outcome, (3, 3), 1.5)
    hidden = to_pixels(mask, 12, 12)[:, 0].double().numpy()
    sums = torch.zeros(2, 12, 12, dtype=torch.float64)
    for image in range(2):
        weight = gaussian_filter(hidden[image], 1.5, mode="constant", radius=5)
        for channel in residual[image].double().numpy():
            smooth = gaussian_filter(channel * hidden[image], 1.5, mode="constant", radius=5)
            sums[image] += torch.from_numpy((smooth / weight.clip(1e-12)) ** 2) / 2
    slow = sums.reshape(2, 3, 4, 3, 4).mean((2, 4)).masked_fill(~mask, NAN).flatten(1)
    torch.testing.assert_close(fast.double(), slow, equal_nan=True, atol=1e-5, rtol=1e-4)


def test_blurring_forgets_speckle_and_keeps_structure() -> None:
    speckle = torch.randn(4, 1, 32, 32, generator=Generator().manual_seed(0))
    for residual, low, high in ((speckle, 0.0, 0.1), (torch.ones(4, 1, 32, 32), 0.99, 1.01)):
        outcome = Outcome(torch.zeros(()), torch.ones(4, *GRID), residual)
        assert low < float(cell_errors(outcome, GRID, 1.5).mean()) < high


def test_blurring_is_refused_where_no_pixels_are_drawn() -> None:
    policy = a_policy(IMAGES, reward={"blur_px": 1.5})
    proposal = policy.propose(a_batch(IMAGES[:8]), GRID, Generator().manual_seed(0))
    with pytest.raises(
        UserError, match=r"policy.reward.blur_px: needs an objective that draws"
    ):
        policy.learn(proposal, Outcome(torch.zeros(()), torch.zeros(8, *GRID)))


def test_blurring_is_an_option_that_changes_what_is_earned() -> None:
    rewards = []
    for blur in (0.0, 1.5):
        policy = a_policy(IMAGES, reward={"blur_px": blur})
        _, figures = step(policy, a_batch(IMAGES[:8]), Generator().manual_seed(0))
        rewards.append(float(figures["reward"]))
    assert rewards[0] == pytest.approx(1, abs=0.1)
    assert rewards[1] < 0.2


def test_balance_takes_off_what_a_place_was_hidden_too_often() -> None:
    policy = a_policy(IMAGES, reward={"balance": 0.5, "balance_decay": 0.9})
    for number in range(3):
        before = policy.frequency.clone()
        proposal, _ = step(policy, a_batch(IMAGES[:8]), Generator().manual_seed(number))
        hidden = proposal.mask.flatten(1).float().mean(0)
        torch.testing.assert_close(policy.frequency, 0.9 * before + 0.1 * hidden)
    errors = some_errors()
    expected = scaled(errors, "relative") - 0.5 * (policy.frequency - 0.25)
    torch.testing.assert_close(policy._cell_rewards(errors), expected, equal_nan=True)
    plain = a_policy(IMAGES)._cell_rewards(errors)
    torch.testing.assert_close(plain, scaled(errors, "relative"), equal_nan=True)


def test_the_shuffled_control_tells_every_image_the_reward_of_another() -> None:
    policy = a_policy(IMAGES, reward={"told": "shuffled"})
    rewards = torch.arange(8.0)[:, None]
    seen = set()
    for policy.step in range(7):
        told = policy._told(rewards)
        assert sorted(told[:, 0].tolist()) == list(range(8))
        assert (told != rewards).all()
        seen.add(tuple(told[:, 0].tolist()))
    assert len(seen) == 7
    assert policy._told(rewards[:1]).equal(rewards[:1])


def test_the_constant_control_tells_every_image_the_same() -> None:
    policy = a_policy(IMAGES, reward={"told": "constant"})
    assert policy._told(torch.arange(8.0)[:, None]).tolist() == [[1.0]] * 8


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"credit": "image", "scale": "relative"},
            "scale: relative makes every image's mean the same",
        ),
        ({"credit": "image", "scale": "rank"}, "scale: rank makes every image's mean the same"),
        ({"credit": "pixel"}, "reward.credit: .*'cell', 'to_go' or 'image'"),
    ],
)
def test_a_reward_that_means_nothing_is_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(RewardConfig, block, "policy.reward")


def test_the_scale_follows_the_credit_where_none_is_written() -> None:
    scales = [
        RewardConfig(credit="image").scaling,
        RewardConfig(credit="cell").scaling,
        RewardConfig(credit="to_go").scaling,
        RewardConfig(credit="cell", scale="raw").scaling,
    ]
    assert scales == ["raw", "relative", "relative", "raw"]
