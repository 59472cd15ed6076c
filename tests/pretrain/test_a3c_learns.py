"""That every valid pair finds planted rewards, and that the wrong reading does not (7)."""

from typing import Any

import pytest
import torch
from torch import Generator

from pretrain.a3c_toys import AT_ACTION, PAIRS, a_policy, paid, planted
from pretrain.policy_toys import GRID, a_batch

STEPS = 150


def hit_rate(**options: Any) -> float:
    """Learn in 150 steps of 32 images; return the paid share of held-out images' masks."""
    images, cells = planted(1_600, 0)
    policy = a_policy(images, learning_rate=2e-2, **options)
    generator = Generator().manual_seed(0)
    for number in range(STEPS):
        rows = torch.arange(32) + 32 * (number % 50)
        proposal = policy.propose(a_batch(images, rows, number / STEPS), GRID, generator)
        policy.learn(proposal, paid(proposal.mask, cells[rows]))
    held_out, theirs = planted(100, 1)
    masks = policy.choose_masks(held_out, GRID, generator)
    return float((masks & theirs).sum() / masks.sum())


@pytest.mark.parametrize("name", PAIRS)
def test_every_valid_pair_finds_the_cells_that_pay(name: str) -> None:
    assert hit_rate(**PAIRS[name]) > 0.95


def test_the_wrong_reading_does_not() -> None:
    assert hit_rate(**AT_ACTION) < 0.7


def test_a_control_that_is_told_nothing_true_finds_nothing() -> None:
    assert hit_rate(reward={"told": "shuffled"}) < 0.4
