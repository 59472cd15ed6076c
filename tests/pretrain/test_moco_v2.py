"""MoCo v2: the loss by a loop, the queue's rules, the slow encoder, and split batch norm."""

import logging
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Batch
from maskwise.pretrain.objectives.moco_v2 import MocoV2, MocoV2Config, look_up
from maskwise.pretrain.objectives.momentum import follow, slow_copy
from maskwise.pretrain.objectives.ring import Entries
from pretrain.contrast_toys import (
    NOTHING,
    SIZE,
    STRANGERS,
    a_batch,
    a_setting,
    an_encoder,
    unit,
)


def build(block: dict[str, Any] | None = None, norm: str = "group", **setting: Any) -> MocoV2:
    options = {"hidden": 8, "embedding": 8, "queue": 8, **(block or {})}
    config = parse(MocoV2Config, options, "objective")
    objective = config.build(a_setting(**setting), an_encoder(norm))
    return objective.train()


def go_on(objective: MocoV2, steps: int, rate: float = 0.0) -> None:
    """Make steps of gradient descent as the loop does."""
    for step in range(steps):
        objective(a_batch(step, STRANGERS + SIZE * step), NOTHING).loss.backward()
        with torch.no_grad():
            for parameter in objective.parameters():
                if parameter.grad is not None:
                    parameter.sub_(rate * parameter.grad)
                    parameter.grad = None
        objective.stepped((step + 1) / steps)


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_the_loss_is_that_of_a_loop_over_images(temperature: float) -> None:
    query, key, queue = unit(4, 5), unit(4, 5, seed=1), unit(6, 5, seed=2)
    allowed = torch.ones(4, 6, dtype=torch.bool)
    allowed[1, 2:] = False
    losses, _ = look_up(query, key, queue, allowed, temperature)
    for i in range(4):
        own = math.exp(float(query[i] @ key[i]) / temperature)
        others = [
            math.exp(float(query[i] @ queue[j]) / temperature)
            for j in range(6)
            if allowed[i, j]
        ]
        expected = -math.log(own / (own + sum(others)))
        assert float(losses[i]) == pytest.approx(expected, abs=1e-10)


def test_a_network_that_tells_no_images_apart_is_at_chance() -> None:
    one = torch.ones(4, 5) / 5**0.5
    allowed = torch.ones(4, 7, dtype=torch.bool)
    losses, _ = look_up(one, one, one[:1].expand(7, 5), allowed, 0.2)
    torch.testing.assert_close(losses, torch.full((4,), math.log(1 + 7)))


def keys_of(batch: Batch) -> Entries:
    return Entries(unit(SIZE, 8), batch.index, batch.group)


def test_a_step_s_keys_are_enqueued_after_it_and_are_never_its_negatives() -> None:
    objective = build()
    go_on(objective, 1)
    before = objective.queue.vectors.clone()
    batch = a_batch(1, STRANGERS + SIZE)
    negatives, allowed = objective._negatives(keys_of(batch), batch)
    assert negatives.equal(before)
    assert allowed.sum(1).tolist() == [SIZE] * SIZE  # those of the step before, no cold ones
    objective(batch, NOTHING)
    assert objective.queue.vectors.equal(before)
    objective.stepped(1.0)
    assert objective.queue.groups.tolist() == list(range(2 * SIZE))


def test_of_a_batch_in_parts_all_keys_are_enqueued_after_the_last() -> None:
    objective = build()
    for part in range(2):
        objective(a_batch(part, STRANGERS + SIZE * part), NOTHING)
    assert objective.queue.filled == 0
    objective.stepped(1.0)
    assert objective.queue.groups.tolist() == list(range(2 * SIZE))


def test_looking_at_the_network_enqueues_nothing() -> None:
    objective = build().eval()
    objective(a_batch(), NOTHING)
    objective.stepped(1.0)
    assert objective.queue.filled == 0


def test_while_the_queue_is_empty_the_batch_s_other_keys_are_the_negatives() -> None:
    objective, keys = build(), keys_of(a_batch())
    negatives, allowed = objective._negatives(keys, a_batch())
    assert negatives.equal(keys.vectors)
    assert allowed.equal(~torch.eye(SIZE, dtype=torch.bool))
    loss = objective(a_batch(), NOTHING).loss
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("kin", "negatives"), [("group", [1, 1, 1, 3]), ("image", [3] * 4), ("kept", [4] * 4)]
)
def test_a_planted_duplicate_in_the_queue_is_no_negative(
    kin: str, negatives: list[int]
) -> None:
    batch = a_batch(0, torch.tensor([0, 0, 0, 1]))
    objective = build({"false_negatives": kin})
    objective(batch, NOTHING)
    objective.stepped(0.5)
    _, allowed = objective._negatives(keys_of(batch), batch)
    assert allowed.sum(1).tolist() == negatives


def test_key_weights_are_the_running_mean_of_the_query_s() -> None:
    torch.manual_seed(0)
    fast = torch.nn.Linear(3, 2)
    slow = slow_copy(fast)
    first = slow.weight.clone()
    with torch.no_grad():
        fast.weight.add_(1.0)
    for _ in range(5):
        follow(slow, fast, 0.9)
    expected = 0.9**5 * first + (1 - 0.9**5) * fast.weight
    torch.testing.assert_close(slow.weight, expected.detach())


def test_a_mean_that_keeps_nearly_all_moves_in_float32_under_autocast() -> None:
    fast = torch.nn.Linear(1, 1)
    slow = slow_copy(fast)
    with torch.no_grad():
        slow.weight.fill_(1.0)
        fast.weight.fill_(1.5)
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(1000):
            follow(slow, fast, 0.999)
    assert float(slow.weight) == pytest.approx(1.5 - 0.5 * 0.999**1000, abs=1e-4)


def test_keys_follow_slowly_without_a_gradient_and_no_optimiser_holds_them() -> None:
    objective = build({"momentum": 0.5})
    start = {k: v.clone() for k, v in objective.key_encoder.state_dict().items()}
    go_on(objective, 1, rate=0.1)
    for name, key in objective.key_encoder.named_parameters():
        query = objective.encoder.get_parameter(name)
        assert key.grad is None
        assert not key.requires_grad
        torch.testing.assert_close(key, 0.5 * start[name] + 0.5 * query)


def test_swapping_the_views_changes_the_loss() -> None:
    objective = build()
    go_on(objective, 2, rate=0.5)
    batch = a_batch(5, STRANGERS + 50)
    swapped = Batch(
        batch.images, batch.index, batch.group, ~batch.augmentation_seed, progress=0.0
    )
    one, other = (float(objective(each, NOTHING).loss.detach()) for each in (batch, swapped))
    assert one != pytest.approx(other, rel=1e-6)


def test_queries_and_keys_are_normed_in_groups_and_keys_beside_other_images() -> None:
    objective = build({"norm_groups": 2}, norm="batch")
    seen: list[Tensor] = []
    objective.key_encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    assert objective.groups == 2
    objective(a_batch(), NOTHING)
    order = objective._order(a_batch())
    assert sorted(order.tolist()) == list(range(SIZE))
    assert order.tolist() != list(range(SIZE))
    second = objective.views(a_batch().images, ~STRANGERS)
    torch.testing.assert_close(seen[0], second[order])


def test_equal_seeds_give_equal_losses() -> None:
    first, again = build(), build()
    for objective in (first, again):
        go_on(objective, 3, rate=0.1)
    assert first(a_batch(9), NOTHING).loss == again(a_batch(9), NOTHING).loss


def test_with_a_mask_an_image_s_loss_is_the_error_of_its_hidden_cells() -> None:
    mask = NOTHING.clone()
    mask[:, 1:3, 1:3] = True
    outcome = build()(a_batch(), mask)
    errors = outcome.error_map[mask].reshape(SIZE, 4)
    assert torch.equal(outcome.error_map.isnan(), ~mask)
    torch.testing.assert_close(errors[:, 0].mean(), outcome.loss.detach())
    easy = build({"reward": "easy"})(a_batch(), mask)
    torch.testing.assert_close(easy.error_map, -outcome.error_map, equal_nan=True)


@pytest.mark.parametrize(
    ("queue", "images", "length"),
    [
        (None, 10_000, 4096),
        (None, 100, 48),  # (100 - 4) / 2, in batches of 4
        (64, 100, 48),
        (16, 100, 16),
        (None, 11, 0),
        (0, 100, 0),
    ],
)
def test_the_queue_is_at_most_half_of_the_other_images(
    queue: int | None, images: int, length: int
) -> None:
    assert build({"queue": queue}, trained_on=images).queue.length == length


def test_a_reduced_queue_and_one_that_cannot_be_are_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    build({"queue": 64}, trained_on=100)
    assert "a queue of 48, not of 64" in caplog.text
    build({"queue": None}, trained_on=11)
    assert "11 images are too few for a queue" in caplog.text


def test_a_queue_of_part_of_a_batch_is_refused_with_the_nearest_whole_one() -> None:
    with pytest.raises(UserError, match=r"queue: 30 is no number of whole batches.*take 32,"):
        build({"queue": 30}, trained_on=1000)


def test_a_queue_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UserError, match=r"objective.queue: 128 keys are more than the 100"):
        build({"queue": 128}, trained_on=100)


@pytest.mark.parametrize(
    ("block", "size", "message"),
    [
        ({}, 16, "norm_groups: a batch of 16 images cannot be cut"),
        ({"norm_groups": 3}, 16, "norm_groups: 3 groups .* do not divide a batch of 16"),
        ({"norm_groups": 16}, 16, "norm_groups: 16 groups of 2 images"),
    ],
)
def test_a_batch_too_small_for_split_batch_norm_is_refused(
    block: dict[str, Any], size: int, message: str
) -> None:
    config = parse(MocoV2Config, block, "objective")
    with pytest.raises(UserError, match=message):
        config.groups(_sized(size), an_encoder("batch"))


def _sized(size: int) -> Any:
    return replace(a_setting(), batch_size=size)


@pytest.mark.parametrize(("size", "groups"), [(32, 2), (48, 3), (64, 4), (128, 4)])
def test_batches_are_cut_into_up_to_four_groups_of_16_images_or_more(
    size: int, groups: int
) -> None:
    assert MocoV2Config().groups(_sized(size), an_encoder("batch")) == groups
    assert MocoV2Config().groups(_sized(size), an_encoder("group")) == 1


def test_the_release_has_no_hidden_layer_and_a_queue_of_random_vectors() -> None:
    options = {"preset": "wolf_release", "embedding": 8, "queue": 16}
    objective = parse(MocoV2Config, options, "objective").build(a_setting(), an_encoder())
    assert len(objective.projector) == 1
    torch.testing.assert_close(objective.queue.vectors.norm(dim=1), torch.ones(16))
    negatives, allowed = objective._negatives(keys_of(a_batch()), a_batch())
    assert len(negatives) == 16
    assert allowed.all()


def test_the_encoder_that_is_kept_has_the_plain_network_s_names() -> None:
    assert build().encoder.state_dict().keys() == an_encoder().state_dict().keys()
