"""The network of ``a3c``."""

import pytest
import torch
from torch import Generator, Tensor, nn

from maskwise.pretrain.policies.a3c.config import A3cConfig
from maskwise.pretrain.policies.a3c.network import PolicyValueNetwork
from pretrain.toys import make_setting

IMAGES = torch.randn(6, 1, 32, 32, generator=Generator().manual_seed(0))


def a_network(bound: float | None = None, taught: bool = True) -> PolicyValueNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PolicyValueNetwork(1, (8, 8), (8, 16), bound)
        if taught:  # fresh, its heads are 0
            for weight in network.cells.heads.parameters():
                nn.init.normal_(weight)
    return network


def maps(network: PolicyValueNetwork, images: Tensor) -> Tensor:
    return torch.stack([values.detach() for values in network(images)])


def test_a_fresh_network_prefers_no_cell() -> None:
    assert maps(a_network(taught=False), IMAGES).unique().tolist() == [0.0]


def test_an_image_has_the_same_maps_whatever_else_is_in_its_batch() -> None:
    network = a_network()
    alone, together = maps(network, IMAGES[:1]), maps(network, IMAGES)
    torch.testing.assert_close(alone[:, 0], together[:, 0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("grid", "height", "width"),
    [((8, 8), 32, 32), ((4, 6), 20, 60), ((16, 16), 64, 64), ((3, 5), 3, 5), ((7, 7), 98, 35)],
)
def test_any_grid_that_divides_the_image_has_a_logit_and_a_value_a_cell(
    grid: tuple[int, int], height: int, width: int
) -> None:
    network = PolicyValueNetwork(3, grid, (8, 16), None)
    assert maps(network, torch.zeros(2, 3, height, width)).shape == (2, 2, grid[0] * grid[1])


def test_cells_lie_where_their_pixels_do() -> None:
    network = a_network()
    changed = IMAGES[:1].clone()
    changed[:, :, 8:12, 24:28] += 5  # the cell in row 2, column 6
    moved = (maps(network, changed) - maps(network, IMAGES[:1])).abs().reshape(2, 8, 8)
    for values in moved:
        row, column = divmod(int(values.argmax()), 8)
        assert abs(row - 2) <= 1
        assert abs(column - 6) <= 1
        # Group norm moves all others, but less.
        assert values[1:4, 5:].mean() > 2 * values.mean()


def test_bounded_logits_stay_within_their_bound_and_keep_their_order() -> None:
    free, bounded = (maps(a_network(bound), 10 * IMAGES)[0] for bound in (None, 0.5))
    torch.testing.assert_close(bounded, 0.5 * torch.tanh(free / 0.5))
    assert float(bounded.abs().max()) <= 0.5 < float(free.abs().max())


def test_logits_and_values_are_float32_under_autocast() -> None:
    network = a_network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = maps(network, IMAGES)
    assert cast.dtype == torch.float32
    assert cast.equal(maps(network, IMAGES))


def test_the_default_network_is_small() -> None:
    network = A3cConfig().build(make_setting(channels=3)).network
    assert sum(weight.numel() for weight in network.parameters()) < 100_000
