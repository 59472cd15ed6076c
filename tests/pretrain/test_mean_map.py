"""The control that has a learned policy's average opinion, and no image."""

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from maskwise.config import choose
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Proposal
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.policies.mean_map import MeanMap
from pretrain.policy_toys import GRID, a_batch, a_setting, zeros

IMAGES = torch.randn(16, 1, 32, 32, generator=Generator().manual_seed(0))
DQN: dict[str, Any] = {"name": "dqn", "box": [3, 3], "width": 8}
CELLS: dict[str, Any] = {"name": "a3c", "ratio": 0.25}


def build(block: dict[str, Any], **options: Any) -> MeanMap:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        whole = {"name": "mean_map", "policy": block, **options}
        policy = choose(POLICIES, whole, "recipe.policy").build(a_setting(IMAGES))
        assert isinstance(policy, MeanMap)
        return policy


def step(policy: MeanMap, progress: float, generator: Generator) -> Proposal:
    batch = a_batch(IMAGES[:8], progress=progress)
    proposal = policy.propose(batch, GRID, generator)
    policy.learn(proposal, zeros(batch, proposal.mask))
    return proposal


def trained(block: dict[str, Any], steps: int = 8) -> MeanMap:
    policy, generator = build(block), Generator().manual_seed(1)
    for number in range(steps):
        step(policy, number / steps, generator)
    return policy


@pytest.mark.parametrize("block", [DQN, CELLS], ids=["boxes", "cells"])
def test_in_the_end_masks_do_not_depend_on_the_image(block: dict[str, Any]) -> None:
    policy = trained(block)
    one, other = (
        policy.choose_masks(images, GRID, Generator().manual_seed(2))
        for images in (IMAGES[:8], IMAGES[8:])
    )
    assert torch.equal(one, other)
    maps = policy.maps(IMAGES, GRID)
    assert maps is not None
    assert torch.equal(maps.values, maps.values[:1].expand_as(maps.values))


@pytest.mark.parametrize(("block", "area"), [(DQN, 9), (CELLS, 16)], ids=["boxes", "cells"])
def test_as_much_is_hidden_as_by_the_policy_itself(block: dict[str, Any], area: int) -> None:
    masks = trained(block).choose_masks(IMAGES, GRID, Generator().manual_seed(2))
    assert (masks.sum((1, 2)) == area).all()


def test_before_that_the_policy_within_chooses_and_learns() -> None:
    policy, generator = build(DQN), Generator().manual_seed(1)

    def weights() -> Tensor:
        network = policy.state_dict()["within"]["network"]
        return torch.cat([tensor.flatten() for tensor in network.values()]).clone()

    start = weights()
    step(policy, 0.0, generator)
    early = weights()
    step(policy, 0.5, generator)
    assert not torch.equal(start, early)
    assert torch.equal(early, weights())


def test_the_mean_map_is_that_of_the_policy_s_last_steps() -> None:
    policy, generator = build(DQN), Generator().manual_seed(1)
    within: Any = policy.within
    maps = []
    for progress in (0.0, 0.2):
        step(policy, progress, generator)
        maps.append(within.maps(IMAGES[:8], GRID).values.mean(0))
    assert not torch.allclose(maps[0], maps[1], atol=1e-4)
    step(policy, 0.9, generator)
    shown = policy.maps(IMAGES, GRID)
    assert shown is not None
    assert torch.allclose(shown.values[0], (0.95 * maps[0] + maps[1]) / 1.95, atol=1e-6)


def test_the_policy_within_counts_its_own_progress() -> None:
    policy = build(DQN, learns=0.25)
    proposal: Any = policy.propose(a_batch(IMAGES[:8], progress=0.125), GRID, Generator())
    within: Any = policy.within
    assert proposal.within.epsilon == within.config.epsilon.at(0.5)


def test_a_policy_that_was_saved_goes_on_as_if_nothing_had_happened() -> None:
    policy, generator = trained(CELLS, steps=6), Generator().manual_seed(3)
    again = build(CELLS)
    again.load_state_dict(policy.state_dict())
    same = Generator().manual_seed(3)
    for progress in (0.2, 0.4, 0.8):
        first, second = step(policy, progress, generator), step(again, progress, same)
        assert torch.equal(first.mask, second.mask)


def test_processes_cannot_teach_the_policy_within() -> None:
    with pytest.raises(UserError, match=r"policy.policy.learner: asynchronous, .*synchronous"):
        build({"name": "a3c", "learner": "asynchronous", "workers": 2})


def test_a_policy_without_an_opinion_has_no_mean_map() -> None:
    with pytest.raises(UserError, match=r"'random_box' has no opinion on places"):
        build({"name": "random_box"})


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"name": "dqnn"}, r"recipe\.policy\.policy\.name: there is no 'dqnn'.*'dqn'"),
        ({"name": "dqn", "bx": [2, 2]}, r"policy\.bx: there is no such option.*'box'"),
        ({"name": "mean_map"}, r"there is no 'mean_map'"),
    ],
)
def test_a_mistake_in_the_block_within_is_named(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(block)
