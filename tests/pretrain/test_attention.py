"""Policy attention: what is hidden, by whose attention, and who cannot be asked."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from maskwise.config import parse
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.vit import VitConfig
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, Objective, Outcome, Setting
from maskwise.pretrain.objectives.multiscale import MaeConfig
from maskwise.pretrain.objectives.simclr import SimclrConfig
from maskwise.pretrain.policies.attention import Attention, AttentionConfig
from pretrain.toys import make_setting

GRID: Grid = (4, 8)
IMAGES = torch.randn(5, 1, 32, 64, generator=Generator().manual_seed(0))
ROWS = torch.arange(5)


def a_setting() -> Setting:
    setting = make_setting(height=32, width=64, grid=GRID, batch_size=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network: Objective = MaeConfig(width=16, heads=4).build(setting, VitConfig().build(1))
    return replace(setting, objective=network)


def made(options: Mapping[str, Any] | None = None) -> Attention:
    policy: Attention = parse(AttentionConfig, options or {}, "policy").build(a_setting())
    return policy


def masks(policy: Attention, seed: int = 0, grid: Grid = GRID) -> Tensor:
    return policy.choose_masks(IMAGES, grid, Generator().manual_seed(seed))


def test_the_cells_that_the_class_token_attends_to_most_are_hidden() -> None:
    policy = made({"ratio": 0.25})
    weights = policy.teacher.attended(IMAGES)
    expected = torch.zeros(5, 32, dtype=torch.bool)
    for image, row in enumerate(weights.tolist()):
        for place in sorted(range(32), key=lambda each: -row[each])[:8]:
            expected[image, place] = True
    assert masks(policy).equal(expected.reshape(5, *GRID))


def test_high_and_low_halves_are_complements() -> None:
    high, low = (made({"variant": each}) for each in ("high", "low"))
    assert masks(high).equal(~masks(low))


def test_a_hint_leaves_some_of_the_most_attended_and_hides_as_many() -> None:
    high, hint = (made({"variant": each, "shown": 0.25}) for each in ("high", "hint"))
    attended, hinted = masks(high), masks(hint)
    assert hinted.sum((1, 2)).tolist() == [16] * 5
    # Of the 8 most attended 4 are seen; 4 that are next take their places.
    assert (attended & ~hinted).sum((1, 2)).tolist() == [4] * 5
    most = made({"variant": "high", "ratio": 0.25})
    assert (masks(most) & ~hinted).equal(attended & ~hinted)
    assert not masks(hint, seed=1).equal(hinted)


def test_a_cell_of_several_patches_has_the_mean_of_their_attention() -> None:
    policy, coarse = made(), (2, 4)
    weights = policy.teacher.attended(IMAGES).reshape(5, 2, 2, 4, 2).mean((2, 4))
    assert torch.allclose(policy.maps(IMAGES, coarse).values, weights)
    fine = policy.maps(IMAGES, (8, 16)).values
    own = policy.maps(IMAGES, GRID).values
    assert fine.equal(own.repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_the_teacher_follows_the_encoder_and_gives_it_no_gradient() -> None:
    policy = made()
    batch = Batch(IMAGES, ROWS, ROWS, ROWS, 0.5)
    proposal = policy.propose(batch, GRID, Generator().manual_seed(0))
    with torch.no_grad():
        for weight in policy.student.parameters():
            weight.add_(1.0)
    before = [weight.clone() for weight in policy.teacher.parameters()]
    policy.progress = 0.49
    nothing = Outcome(torch.zeros(()), torch.zeros(5, *GRID))
    policy.learn(proposal, nothing)
    decay = policy.config.teacher.decay(0.49, 0.5, policy.steps_per_epoch)
    assert 0 < decay < 1
    pairs = zip(before, policy.teacher.parameters(), policy.student.parameters(), strict=True)
    for old, new, now in pairs:
        assert torch.allclose(new, decay * old + (1 - decay) * now, atol=1e-6)
        assert not new.requires_grad


def test_an_encoder_without_attention_is_refused() -> None:
    setting = make_setting()
    network = SimclrConfig().build(setting, ContextCnnConfig().build(1))
    with pytest.raises(UserError, match="take encoder vit, or policy hardest"):
        AttentionConfig().build(replace(setting, objective=network))
