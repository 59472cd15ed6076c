"""That it learns where to look, that its control does not, and that nothing leaks (3, 7)."""

from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from maskwise.config import parse
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.masks import to_pixels
from maskwise.pretrain.objectives.context_encoder import ContextEncoderConfig
from pretrain.dqn_toys import a_policy
from pretrain.policy_toys import GRID, a_batch, a_setting, step


def patches(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return flat images with one noisy patch of 2 x 2 of the 8 x 8 cells, and its cells."""
    generator = Generator().manual_seed(seed)
    corner = torch.randint(7, (2, number), generator=generator)
    rows, columns = torch.arange(8)[:, None], torch.arange(8)[None]
    inside_y = (rows >= corner[0][:, None, None]) & (rows < corner[0][:, None, None] + 2)
    inside_x = (columns >= corner[1][:, None, None]) & (columns < corner[1][:, None, None] + 2)
    cells = inside_y & inside_x
    noise = 1 + torch.randn(number, 1, 32, 32, generator=generator)
    return torch.where(to_pixels(cells, 32, 32), noise, 0.0), cells


def after_training(**options: Any) -> tuple[float, float]:
    """Train on patches against a network that draws 0, and look at held-out ones.

    Returns the share of images whose greedy box covers the patch whole, and how far Q at the
    places that would cover it lies above Q elsewhere, in deviations of the reward.
    """
    images, _ = patches(640, 0)
    policy = a_policy(images, epsilon={"schedule": "linear", "share": 0.6}, **options)
    generator = Generator().manual_seed(0)
    for number in range(250):
        rows = torch.randint(len(images), (32,), generator=generator)
        step(policy, a_batch(images, rows, number / 250), generator)
    held_out, cells = patches(200, 1)
    masks = policy.choose_masks(held_out, GRID, generator)
    covered = (masks & cells).sum((1, 2)).eq(4).double().mean()
    best = policy.places.box_sums(cells.float()) > 3.5
    q = policy.maps(held_out, GRID).values.flatten(1)
    return float(covered), float(q[best].mean() - q[~best].mean())


def test_the_greedy_box_learns_to_cover_the_patch_and_not_from_rewards_of_others() -> None:
    covered, above = after_training()
    # Greedily, a taste born of noise may cover every patch, or none: its size tells them apart.
    _, above_of_control = after_training(told="shuffled")
    assert covered >= 0.9
    assert above > 1.0
    assert abs(above_of_control) < 0.2


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_hidden_pixels_never_reach_the_network(skips: bool, training: bool) -> None:
    images = torch.randn(4, 1, 32, 32, generator=Generator().manual_seed(0))
    mask = torch.zeros(4, 8, 8, dtype=torch.bool)
    mask[:, 2:5, 1:4] = True
    hidden = to_pixels(mask, 32, 32)
    encoder = parse(
        ContextCnnConfig, {"widths": [8, 16, 16], "norm": "batch"}, "encoder"
    ).build(1)
    objective = ContextEncoderConfig(skips=skips).build(a_setting(images), encoder)
    seen: list[Tensor] = []
    encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    changed = torch.where(hidden, images + 3.0, images)
    objective.train(training)
    drawn = [objective(a_batch(x), mask).reconstruction for x in (images, changed)]
    assert seen[0].equal(seen[1])
    assert seen[0].equal(torch.where(hidden, 0.0, images))
    assert drawn[0] is not None
    assert drawn[1] is not None
    assert drawn[0].equal(drawn[1])
