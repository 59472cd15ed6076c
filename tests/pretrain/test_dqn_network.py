"""The Q-networks (invariant 11; departures 10 and 13)."""

import pytest
import torch
from torch import Tensor

from maskwise.errors import UserError
from maskwise.pretrain.policies.dqn.network import EncoderCopy, Head, SmallQ
from maskwise.pretrain.policies.dqn.places import Places

IMAGES = torch.randn(6, 1, 32, 32, generator=torch.Generator().manual_seed(0))
PLACES = Places((8, 8), (3, 3))


def a_network(head: Head = "box", dueling: bool = False, sees_hidden: bool = False) -> SmallQ:
    torch.manual_seed(0)
    network = SmallQ(1, PLACES, 8, "group", head, dueling, sees_hidden)
    generator = torch.Generator().manual_seed(1)  # fresh, it starts at 0
    torch.nn.init.normal_(network.advantage.weight, generator=generator)
    return network


def values(network: torch.nn.Module, images: Tensor, hidden: Tensor | None = None) -> Tensor:
    hidden = torch.zeros(len(images), 8, 8, dtype=torch.bool) if hidden is None else hidden
    q: Tensor = network(images, hidden, PLACES.allowed(hidden, 0.5))
    return q.detach()


@pytest.mark.parametrize("head", ["box", "cells"])
def test_an_image_has_the_same_q_whatever_else_is_in_its_batch(head: Head) -> None:
    network = a_network(head).train()
    alone, together = values(network, IMAGES[:1]), values(network, IMAGES)
    torch.testing.assert_close(alone[0], together[0], atol=1e-5, rtol=1e-4)


def test_the_release_q_depends_on_the_rest_of_the_batch() -> None:
    network = EncoderCopy(1, Places((8, 8), (2, 2), overhang=True), 32, 32).train()
    places = torch.ones(6, 64, dtype=torch.bool)
    hidden = torch.zeros(6, 8, 8, dtype=torch.bool)
    together = network(IMAGES, hidden, places)[:2]
    apart = network(IMAGES[:2], hidden[:2], places[:2])
    assert (together - apart).abs().max() > 1e-3


def test_a_fresh_network_prefers_no_place() -> None:
    network = SmallQ(1, PLACES, 8, "group", "box", False, False)
    assert values(network, IMAGES).unique().tolist() == [0.0]


def test_the_cells_head_is_the_mean_of_its_cells_over_each_box() -> None:
    network = a_network("cells")
    cells = network.advantage(network.trunk(torch.nn.functional.avg_pool2d(IMAGES, 2)))[:, 0]
    slow = torch.stack(
        [cells[:, row : row + 3, column : column + 3].mean((1, 2))
         for row in range(6) for column in range(6)], 1)  # fmt: skip
    torch.testing.assert_close(values(network, IMAGES), slow.detach())


def test_dueling_adds_one_value_an_image_to_centred_advantages() -> None:
    plain, dueling = a_network(), a_network(dueling=True)
    shared = plain.state_dict()
    assert all(dueling.state_dict()[name].equal(shared[name]) for name in shared)
    assert set(dueling.state_dict()) - set(shared) == {"value.weight", "value.bias"}
    hidden = torch.zeros(6, 8, 8, dtype=torch.bool)
    hidden[:, :5, :5] = True
    allowed = PLACES.allowed(hidden, 0.5)
    a, q = values(plain, IMAGES, hidden), values(dueling, IMAGES, hidden)
    for row in range(6):
        advantage = a[row] - a[row][allowed[row]].mean()
        offset = q[row] - advantage
        torch.testing.assert_close(offset, offset[0].expand_as(offset), atol=1e-5, rtol=0)


def test_with_dueling_off_q_is_the_plain_network_s_whatever_is_allowed() -> None:
    network = a_network(dueling=False)
    features = network.trunk(torch.nn.functional.avg_pool2d(IMAGES, 2))
    plain = network.advantage(features).flatten(1).detach()
    hidden = torch.zeros(6, 8, 8, dtype=torch.bool)
    hidden[:, :5, :5] = True
    assert values(network, IMAGES).equal(plain)
    assert values(network, IMAGES, hidden).equal(plain)


def test_the_network_sees_what_earlier_boxes_hid() -> None:
    network = a_network(sees_hidden=True)
    hidden = torch.zeros(6, 8, 8, dtype=torch.bool)
    before = values(network, IMAGES, hidden)
    hidden[:, 2:5, 2:5] = True
    assert not values(network, IMAGES, hidden).equal(before)


def test_q_is_float32_under_autocast() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        q = values(a_network(), IMAGES)
    assert q.equal(values(a_network(), IMAGES))


def test_the_encoder_copy_at_128_pixels_has_the_parameters_of_the_release() -> None:
    network = EncoderCopy(1, Places((4, 4), (2, 2), overhang=True), 128, 128)
    assert sum(weight.numel() for weight in network.parameters()) == 664_529
    assert network.channel_wise.kernel_size == (3, 3)  # 2 * (1 + 128 // 128) - 1


def test_the_encoder_copy_gives_one_value_a_place_at_288_and_at_64_pixels() -> None:
    for side, places in [
        (288, Places((9, 9), (2, 2), overhang=True)),
        (64, Places((16, 16), (4, 4), 2, overhang=True)),
        (64, Places((16, 16), (4, 4), 2)),
    ]:
        network = EncoderCopy(1, places, side, side)
        hidden = torch.zeros(1, *places.grid, dtype=torch.bool)
        q = network(torch.randn(1, 1, side, side), hidden, places.allowed(hidden, 0.5))
        assert q.shape == (1, places.number)


def test_the_encoder_copy_refuses_places_that_are_no_power_of_two() -> None:
    with pytest.raises(UserError, match=r"q_network: encoder_copy .* 12 x 12"):
        EncoderCopy(1, Places((8, 8), (2, 2)), 96, 96)
