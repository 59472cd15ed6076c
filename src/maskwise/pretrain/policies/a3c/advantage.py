"""How much better a draw was than expected: baselines that leave the gradient what it is.

At the t-th pick a baseline may depend on the image and on the picks before, never on the pick
itself: its value there is what the pick is worth, and taking it off leaves nothing to learn
once the values are right. Independent cells may each have the value of their own place.

``rewards`` are ``(B, K)`` by pick or ``(B, 1)`` by image; ``scores`` and ``values`` ``(B, L)``.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from maskwise.pretrain.policies.a3c.sampling import Choice, remaining

Advantage = Literal["cell_expected", "to_go", "image_batch", "image_value", "cell_value"]
CONSTANT = 1e-6
"""Rewards that spread by less than this share of their size are constant."""


def expected_value(scores: Tensor, values: Tensor, choice: Choice) -> Tensor:
    """Return the value of a pick before it was made, ``(B, K)``: the mean over the cells left.

    Weights are the softmax over these cells.
    """
    # Positive numbers can be averaged by their logarithms, at any range of scores.
    lowest = values.amin(dim=1, keepdim=True)
    summed = remaining(scores + (values - lowest + 1).log(), choice)
    return torch.exp(summed - remaining(scores, choice)) + lowest - 1


def cell_expected(rewards: Tensor, scores: Tensor, values: Tensor, choice: Choice) -> Tensor:
    """Take off a pick's own reward what was expected of it."""
    return rewards - expected_value(scores, values, choice)


def to_go(rewards: Tensor, scores: Tensor, values: Tensor, choice: Choice) -> Tensor:
    """Take off the rewards still to come what is expected of as many picks from those left.

    Divided by the root of how many they are, so that early picks do not drown late ones.
    """
    number = rewards.shape[1]
    picks = torch.arange(number, 0, -1, device=rewards.device, dtype=rewards.dtype)
    to_come = rewards.flip(1).cumsum(dim=1).flip(1)
    return (to_come - picks * expected_value(scores, values, choice)) / picks.sqrt()


def image_batch(rewards: Tensor, scores: Tensor, values: Tensor, choice: Choice) -> Tensor:
    """Take the batch's mean off an image's reward."""
    return rewards - rewards.mean()


def image_value(rewards: Tensor, scores: Tensor, values: Tensor, choice: Choice) -> Tensor:
    """Take the image's mean value off its reward."""
    return rewards - values.mean(dim=1, keepdim=True)


def cell_value(rewards: Tensor, scores: Tensor, values: Tensor, choice: Choice) -> Tensor:
    """Take off each cell's own value: ``(B, L)`` for independent cells, hidden or not.

    For picks, ``(B, K)``, it is the wrong reading that the module's text speaks of.
    """
    return rewards - _own(values, choice)


ADVANTAGES: dict[Advantage, Callable[[Tensor, Tensor, Tensor, Choice], Tensor]] = {
    "cell_expected": cell_expected,
    "to_go": to_go,
    "image_batch": image_batch,
    "image_value": image_value,
    "cell_value": cell_value,
}


def value_loss(
    name: Advantage, values: Tensor, rewards: Tensor, cells: Tensor, choice: Choice
) -> tuple[Tensor, Tensor]:
    """Return the squared error ``()`` of what the value map is for, with that advantage.

    And the share of its goal's variance that the map explains, ``()``: 1 = all, 0 = no more
    than the mean does, and below 0 less than that; 0 where the goal is constant.

    Where the baseline is made of values, they predict the rewards. ``image_batch`` has no use
    for them: they predict each hidden cell's own reward, ``cells`` ``(B, L)``, NaN where there
    is none, which teaches the features that both maps share.
    """
    if name == "image_batch":
        predicted, goal = values, cells
    elif name == "image_value":
        predicted, goal = values.mean(dim=1, keepdim=True), rewards
    else:
        predicted = _own(values, choice)
        goal = rewards.expand_as(predicted)
    known = ~goal.isnan()
    number = known.sum()
    missed = torch.where(known, predicted - goal, 0.0).square().sum()
    from_mean = torch.where(known, goal - goal.nansum() / number, 0.0).square().sum()
    explained = torch.where(from_mean > 0, 1 - missed.detach() / from_mean, 0.0)
    return missed / number, explained


def _own(values: Tensor, choice: Choice) -> Tensor:
    return values if choice.order is None else values.gather(1, choice.order)


def standardised(advantages: Tensor, rewards: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean 0 and deviation 1 over the whole batch, and whether there was any spread.

    Not over one image's entries, of which there are few. Without spread, of rewards or of
    advantages, there is nothing to learn: bool ``()``, False also where a reward is not a
    number.
    """
    least = CONSTANT * rewards.abs().mean()
    deviation = advantages.std(correction=0)
    usable = (rewards.std(correction=0) > least) & (deviation > least)
    return (advantages - advantages.mean()) / (deviation + 1e-6), usable
