"""Masks and the policies that learn nothing: the controls."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Generator, Tensor

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.masks import boxes, cell_means, check_grid, to_pixels
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.policies.centre_box import CentreBoxConfig
from maskwise.pretrain.policies.random_box import RandomBoxConfig
from pretrain.toys import make_setting

GRID = (16, 16)
CONTROLS = ["centre_box", "none", "random_box"]


def setting(grid: tuple[int, int] = GRID) -> Setting:
    return make_setting(height=4 * grid[0], width=4 * grid[1], grid=grid)


def masks(
    name: str, block: dict[str, Any], number: int, grid: tuple[int, int] = GRID
) -> Tensor:
    policy = parse(POLICIES[name], block, "policy").build(setting(grid))
    images = torch.zeros(number, 1, 4 * grid[0], 4 * grid[1])
    return policy.choose_masks(images, grid, Generator().manual_seed(0))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_boxes_hide_what_a_loop_over_images_hides(data: st.DataObject) -> None:
    gh, gw = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    box = (data.draw(st.integers(1, gh)), data.draw(st.integers(1, gw)))
    tops = torch.tensor(data.draw(st.lists(st.integers(0, gh - 1), min_size=1, max_size=4)))
    lefts = torch.tensor([data.draw(st.integers(0, gw - 1)) for _ in tops])
    by_loop = torch.zeros(len(tops), gh, gw, dtype=torch.bool)
    for i, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        by_loop[i, top : top + box[0], left : left + box[1]] = True
    assert torch.equal(boxes(tops, lefts, box, (gh, gw)), by_loop)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(1, 5))
def test_cells_become_pixels_and_pixels_cells_again(gh: int, gw: int, ch: int, cw: int) -> None:
    mask = torch.rand(3, gh, gw, generator=Generator().manual_seed(0)) < 0.5
    pixels = to_pixels(mask, gh * ch, gw * cw)
    by_loop = [[mask[:, y // ch, x // cw] for x in range(gw * cw)] for y in range(gh * ch)]
    expected = torch.stack([torch.stack(row, 1) for row in by_loop], 1)[:, None]
    assert torch.equal(pixels, expected)
    assert torch.equal(cell_means(pixels.float(), (gh, gw)), mask.float())


@pytest.mark.parametrize("grid", [(0, 4), (5, 4), (4, 7)])
def test_a_grid_that_does_not_divide_the_image_is_refused(grid: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=r"busi.pretrain.grid: a grid of .* 32 x 32 pixels"):
        check_grid(grid, 32, 32, "busi.pretrain.grid")


@pytest.mark.parametrize("name", ["centre_box", "random_box"])
@pytest.mark.parametrize("box", [(1, 1), (5, 5), (3, 7)])
def test_every_box_lies_inside_and_hides_the_same_area(name: str, box: tuple[int, int]) -> None:
    made = masks(name, {"box": box}, 200)
    assert (made.sum(dim=(1, 2)) == box[0] * box[1]).all()


def test_random_places_are_uniform_over_all_valid_ones() -> None:
    made = masks("random_box", {}, 10_000)
    first = made.flatten(1).float().argmax(dim=1)
    counts = torch.bincount(first // 16 * 12 + first % 16, minlength=144)
    assert len(counts) == 144
    assert chisquare(counts.numpy()).pvalue > 0.001


def test_centre_boxes_follow_their_prior() -> None:
    policy = CentreBoxConfig(sd=0.2).build(setting())
    weights = policy.weights(16, 5, torch.device("cpu"))
    # By hand: the box at 5 has its centre at 7.5 / 16, the one at 0 at 2.5 / 16.
    ratio = torch.exp(
        torch.tensor(-0.5 * ((2.5 / 16 - 0.5) ** 2 - (7.5 / 16 - 0.5) ** 2) / 0.04)
    )
    torch.testing.assert_close(weights[0] / weights[5], ratio)
    torch.testing.assert_close(weights, weights.flip(0))
    rows = masks("centre_box", {"sd": 0.2}, 10_000).any(2).float().argmax(dim=1)
    counts = torch.bincount(rows, minlength=12).numpy()
    expected = weights.double() / weights.double().sum()
    assert chisquare(counts, 10_000 * expected.numpy()).pvalue > 0.001


def test_a_wide_prior_is_nearly_uniform() -> None:
    weights = CentreBoxConfig(sd=100.0).build(setting()).weights(16, 5, torch.device("cpu"))
    torch.testing.assert_close(weights, torch.full((12,), 1 / 12), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["centre_box", "random_box"])
def test_several_boxes_may_overlap_but_hide_at_most_their_sum(name: str) -> None:
    areas = masks(name, {"box": (3, 3), "boxes": 4}, 500).sum(dim=(1, 2))
    assert 9 <= int(areas.min()) < int(areas.max()) <= 36


def test_policy_none_hides_nothing() -> None:
    assert not masks("none", {}, 5).any()


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_proposes_what_it_would_show_learns_nothing_and_has_no_opinion(
    name: str,
) -> None:
    policy = POLICIES[name]().build(setting())
    images, number = torch.zeros(8, 1, 64, 64), torch.arange(8)
    batch = Batch(images, index=number, group=number, augmentation_seed=number, progress=0.0)
    proposal = policy.propose(batch, GRID, Generator().manual_seed(3))
    assert torch.equal(
        proposal.mask, policy.choose_masks(images, GRID, Generator().manual_seed(3))
    )
    outcome = Outcome(loss=torch.ones(()), error_map=torch.ones(8, *GRID))
    assert policy.learn(proposal, outcome) == {}
    assert policy.maps(images, GRID) is None
    assert policy.state_dict() == {}


@pytest.mark.parametrize("config", [RandomBoxConfig, CentreBoxConfig])
@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"box": [17, 2]}, r"policy.box: 1 x 17 x 2 cells .* grid of 16 x 16"),
        ({"box": [12, 12]}, r"policy.box: 1 x 12 x 12 cells may hide more than half"),
        ({"box": [8, 8], "boxes": 3}, r"policy.box: 3 x 8 x 8 cells may hide more than half"),
    ],
)
def test_a_box_that_does_not_fit_is_refused_by_name(
    config: type[Any], block: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse(config, block, "policy").build(setting())
