"""The teacher of ``hardest``: a slow copy of the network that is asked and never taught."""

import copy
import io
import math
from typing import Any

import pytest
import torch
from torch import Generator

from maskwise.config import choose
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.vit import VitConfig
from maskwise.masks import highest
from maskwise.pretrain.objectives import OBJECTIVES
from maskwise.pretrain.objectives.autoencoder import AutoencoderConfig
from maskwise.pretrain.policies.hardest.policy import HardestConfig
from maskwise.pretrain.policies.momentum import Momentum, follow
from pretrain.hardest_toys import (
    GRID,
    Blank,
    a_batch,
    a_network,
    build,
    difficulty_of,
    noisy,
    step,
    teacher_of,
)
from pretrain.toys import make_setting


def test_the_teacher_is_a_copy_that_keeps_what_the_papers_formula_says() -> None:
    teacher, student = a_network(), a_network()
    with torch.no_grad():
        for weight in (*student.parameters(), *student.buffers()):
            weight.add_(1)
    old = copy.deepcopy(teacher)
    follow(teacher, student, 0.9)
    for new, before, now in zip(
        teacher.parameters(), old.parameters(), student.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.9 * before + 0.1 * now)
    assert all(map(torch.equal, teacher.buffers(), student.buffers()))
    assert len(list(teacher.buffers())) > 0


def test_the_average_begins_with_the_network_that_the_first_step_leaves() -> None:
    network = Blank()
    policy = build(network, learnt=False)
    with torch.no_grad():
        network.level.fill_(3.0)  # taught while the policy was not
    step(policy, network, noisy(), 0.0)
    assert teacher_of(policy).network.level.equal(network.level)
    first = float(network.level.detach())
    step(policy, network, noisy() + 9, 0.1)
    # One epoch is 5 steps here, longer than 5 % of the run: exp(-1/5) is kept.
    kept = math.exp(-1 / 5)
    expected = kept * first + (1 - kept) * float(network.level.detach())
    assert float(teacher_of(policy).network.level) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("steps", "epoch"), [(100, 2.0), (1000, 2.0), (240, 12.0), (240, 60.0)]
)
def test_the_decay_follows_the_run_s_length_and_is_no_shorter_than_an_epoch(
    steps: int, epoch: float
) -> None:
    momentum = Momentum(memory=0.05)
    tau = max(epoch, 0.05 * steps)
    kept = momentum.decay(0.5, 0.5 + 1 / steps, epoch)
    assert kept == pytest.approx(math.exp(-1 / tau))
    quarter = math.prod(
        momentum.decay(i / steps, (i + 1) / steps, epoch) for i in range(steps // 4)
    )
    assert quarter == pytest.approx(math.exp(-steps / 4 / tau))


def test_the_papers_decay_hardly_moves_in_a_short_run_and_is_an_option() -> None:
    momentum = Momentum(scale="steps")
    decays = [momentum.decay(i / 240, (i + 1) / 240, 12.0) for i in range(240)]
    assert decays[0] == pytest.approx(0.999 + 0.0009 / 60)
    assert decays[59:] == pytest.approx([0.9999] * 181)
    assert math.prod(decays) > 0.94


@pytest.mark.parametrize("scale", ["run", "steps"])
def test_parts_of_one_batch_move_the_teacher_once(scale: str) -> None:
    network = Blank()
    policy = build(network, teacher={"scale": scale, "start": 0.5, "end": 0.5})
    step(policy, network, noisy(), 0.0)
    step(policy, network, noisy() + 9, 0.5)
    once = teacher_of(policy).network.level.clone()
    assert not once.equal(network.level)
    step(policy, network, noisy() + 9, 0.5)
    assert teacher_of(policy).network.level.equal(once)


@pytest.mark.parametrize("coverage", ["single", "complementary"])
def test_no_gradient_reaches_the_teacher_and_nothing_of_the_network_changes(
    coverage: str,
) -> None:
    network = a_network()
    policy = build(network, coverage=coverage, order="constant")
    before = copy.deepcopy(network.state_dict())
    batch = a_batch(noisy())
    with torch.enable_grad():
        proposal = policy.propose(batch, GRID, Generator().manual_seed(0))
        policy.learn(proposal, network.eval()(batch, proposal.mask))
    policy.maps(noisy(), GRID)
    policy.choose_masks(noisy(), GRID, Generator())
    assert all(not weight.requires_grad for weight in teacher_of(policy).network.parameters())
    assert all(weight.grad is None for weight in network.parameters())
    assert all(weight.requires_grad for weight in network.parameters())
    assert all(before[name].equal(now) for name, now in network.state_dict().items())


def test_the_teacher_answers_as_in_use_while_the_network_trains() -> None:
    network = a_network().train()
    policy = build(network, order="constant", share_end=1.0)
    assert not any(module.training for module in teacher_of(policy).network.modules())
    step(policy, network, noisy(), 0.5)
    assert not any(module.training for module in teacher_of(policy).network.modules())
    assert all(module.training for module in network.modules())


def test_a_teacher_goes_on_where_it_was_saved() -> None:
    network = a_network()
    policy = build(network)
    for number in range(3):
        step(policy, network, noisy(), number / 4, number)
    file = io.BytesIO()
    torch.save(policy.state_dict(), file)
    file.seek(0)
    again = build(a_network())
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.progress == policy.progress == 0.5
    teacher_of(again).student.load_state_dict(network.state_dict())
    for each in (policy, again):
        step(each, teacher_of(each).student, noisy(), 0.75, 3)
    states = [teacher_of(each).network.state_dict() for each in (policy, again)]
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert not states[0]["decoder.head.0.weight"].equal(network.decoder.head[0].weight)


@pytest.mark.parametrize(
    ("block", "encoder", "grid", "finer"),
    [
        (
            {"name": "multiscale", "width": 16, "heads": 4, "fine_width": 8, "fine_heads": 2},
            VitConfig(patch=4),
            (8, 8),
            "decoders.2",
        ),
        (
            {"name": "spark", "width": 16, "scales": [1, 2], "loss_weights": [1, 1]},
            ContextCnnConfig(widths=(8, 8), convolutions=(1, 1)),
            (4, 4),
            "light_decoder.finer.2",
        ),
    ],
)
def test_the_teacher_draws_no_finer_image_which_nobody_asks_it_for(
    block: dict[str, Any], encoder: Any, grid: tuple[int, int], finer: str
) -> None:
    chosen = choose(OBJECTIVES, {**block, "hi_target": "upsampled"}, "objective")
    network = chosen.build(make_setting(grid=grid), encoder.build(1)).eval()
    setting = make_setting(grid=grid, objective=network)
    policy = HardestConfig(order="constant").build(setting)
    images = noisy().repeat(1, 1, 2, 2)
    batch, drawn = a_batch(images), list[str]()
    for name, each in (("student", network), ("teacher", teacher_of(policy).network)):
        each.get_submodule(finer).register_forward_hook(
            lambda *_, name=name: drawn.append(name)
        )
    tests = torch.rand(8, grid[0] * grid[1], generator=Generator().manual_seed(0))
    answer = teacher_of(policy).difficulty(batch, tests, grid)
    errors = network(batch, highest(tests, policy.number, grid)).error_map.flatten(1)
    torch.testing.assert_close(answer[answer.isfinite()], errors[errors.isfinite()])
    assert drawn == ["student"]


def test_a_teacher_finds_what_is_hard_to_draw() -> None:
    images = 0.1 * noisy(64)
    images[:, :, 4:8, 10:14] += torch.randn(64, 1, 4, 4, generator=Generator().manual_seed(2))
    torch.manual_seed(0)
    encoder = ContextCnnConfig(widths=(8, 8), convolutions=(1, 1)).build(1)
    setting = make_setting(height=16, width=16, grid=GRID)
    network = AutoencoderConfig().build(setting, encoder)
    policy = build(network, ratio=0.25, share_end=0.5)
    for number in range(10):
        step(policy, network, images[:8], number / 10, number)
    made = policy.choose_masks(images, GRID, Generator().manual_seed(0)).double().mean(0)
    rest = torch.ones(GRID, dtype=torch.bool)
    rest[2:4, 5:7] = False
    # A quarter of the cells are tested, and of those 16 the 7 hardest are hidden.
    assert made[2:4, 5:7].mean() > made[rest].mean() + 0.1


def test_the_map_is_the_teacher_s_error_in_every_cell() -> None:
    images = noisy(20)
    maps = build(ratio=0.3).maps(images, GRID)
    assert (maps.box, maps.stride) == ((1, 1), 1)
    torch.testing.assert_close(maps.values.flatten(1), difficulty_of(images))


def test_a_teacher_needs_a_network_to_copy() -> None:
    with pytest.raises(ValueError, match="objective is None, but the teacher is a copy of it"):
        HardestConfig().build(make_setting(grid=GRID))
    HardestConfig(source="predictor").build(make_setting(grid=GRID))
