"""The policies that hide cells and learn nothing: cells, blocks, the middle, the loudest."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Generator, Tensor

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import Batch, Outcome
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.policies.block import TRIES, rectangles
from maskwise.pretrain.policies.cells import hidden_cells, ranked
from maskwise.pretrain.policies.centre_cells import CentreCells
from pretrain.cell_toys import uniform_share
from pretrain.toys import make_setting

CONTROLS = ["block", "centre_cells", "foreground", "random_cells", "variance_cells"]
DRAWN = ["block", "centre_cells", "foreground", "random_cells"]
"""Those whose masks of equal images follow from the generator alone."""
GRID: Grid = (8, 8)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def noisy(number: int, grid: Grid = GRID) -> Tensor:
    """Return images of cells of 2 x 2 pixels, all different."""
    shape = (number, 1, 2 * grid[0], 2 * grid[1])
    return torch.randn(shape, generator=Generator().manual_seed(0))


def masks(
    name: str,
    block: dict[str, Any] | None = None,
    images: Tensor | None = None,
    grid: Grid = GRID,
    seed: int = 0,
) -> Tensor:
    setting = make_setting(height=2 * grid[0], width=2 * grid[1], grid=grid)
    policy = parse(POLICIES[name], block or {}, "policy").build(setting)
    seen = noisy(6, grid) if images is None else images
    return policy.choose_masks(seen, grid, Generator().manual_seed(seed))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CONTROLS),
    st.tuples(st.integers(1, 9), st.integers(2, 9)),
    st.floats(0.01, 0.99),
    st.integers(0, 2**31),
)
def test_every_image_has_the_same_number_of_hidden_cells_and_some_to_see(
    name: str, grid: Grid, ratio: float, seed: int
) -> None:
    areas = masks(name, {"ratio": ratio}, grid=grid, seed=seed).sum((1, 2))
    cells = grid[0] * grid[1]
    assert (areas == hidden_cells(ratio, grid)).all()
    assert 1 <= int(areas[0]) < cells
    assert abs(int(areas[0]) - ratio * cells) <= max(0.5, ratio * cells - cells + 1, 1 - ratio)


def test_the_number_is_rounded_and_not_cut_off() -> None:
    # 1 - 0.9 is a little less than .1: cutting off would hide all of 10 cells.
    assert hidden_cells(0.9, (2, 5)) == 9
    assert hidden_cells(1 - 0.9, (2, 5)) == 1
    assert hidden_cells(0.01, (4, 4)) == 1
    assert hidden_cells(0.99, (4, 4)) == 15


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CONTROLS)
def test_a_seed_means_the_same_masks_on_every_device(name: str, device: str) -> None:
    images = noisy(6)
    assert masks(name, images=images.to(device)).cpu().equal(masks(name, images=images))


@pytest.mark.parametrize("name", DRAWN)
def test_images_of_a_batch_have_masks_of_their_own_and_seeds_too(name: str) -> None:
    made = masks(name, images=torch.zeros(50, 1, 16, 16))
    assert len(made.flatten(1).unique(dim=0)) == 50
    assert not made.equal(masks(name, images=torch.zeros(50, 1, 16, 16), seed=1))


@pytest.mark.parametrize("name", CONTROLS)
def test_an_image_s_mask_does_not_depend_on_the_others(name: str) -> None:
    images = noisy(6)
    others = torch.cat([images[:3], 5 * images[:3].flip(2)])
    assert masks(name, images=images)[:3].equal(masks(name, images=others)[:3])


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_proposes_what_it_would_show_and_has_nothing_to_learn(name: str) -> None:
    policy = POLICIES[name]().build(make_setting(height=16, width=16))
    images, rows = noisy(6), torch.arange(6)
    batch = Batch(images, index=rows, group=rows, augmentation_seed=rows, progress=0.0)
    proposal = policy.propose(batch, GRID, Generator().manual_seed(3))
    shown = policy.choose_masks(images, GRID, Generator().manual_seed(3))
    assert proposal.mask.equal(shown)
    outcome = Outcome(loss=torch.ones(()), error_map=torch.ones(6, *GRID))
    assert policy.learn(proposal, outcome) == {}
    assert policy.state_dict() == {}
    assert (policy.maps(images, GRID) is None) == (name != "variance_cells")


def test_random_cells_hide_every_cell_equally_often() -> None:
    made = masks("random_cells", {"ratio": 0.3}, torch.zeros(20_000, 1, 16, 16))
    assert uniform_share(made) > 0.001


def test_cells_that_are_hidden_more_often_would_be_found_out() -> None:
    made = masks("centre_cells", {"ratio": 0.3, "sd": 1.0}, torch.zeros(20_000, 1, 16, 16))
    assert uniform_share(made) < 1e-6


def test_random_cells_hide_every_pair_of_cells_equally_often() -> None:
    made = masks("random_cells", {"ratio": 0.4}, torch.zeros(20_000, 1, 4, 10), (2, 5))
    chosen = made.flatten(1).double()
    joint = (chosen.T @ chosen)[tuple(torch.triu_indices(10, 10, 1))]
    # 4 of 10 cells: 4/10 * 3/9 for each of the 45 pairs.
    assert (joint / 20_000 - 4 / 10 * 3 / 9).abs().max() < 4 * math.sqrt(0.133 * 0.867 / 20_000)


def block_by_loop(draws: Tensor, number: int, grid: Grid) -> np.ndarray:
    """Hide blocks as AttMask's release does, one image and one try after the other."""
    made = np.zeros((draws.shape[2], *grid), bool)
    for image, hidden in enumerate(made):
        for draw in draws[:, :, image].double().tolist():
            left, added = number - int(hidden.sum()), 0
            for area, aspect, top, start in zip(*draw, strict=True):
                least = max(1, (min(grid) // 3) ** 2)
                area = least + area * (left - least)
                aspect = math.exp(math.log(0.3) + aspect * (math.log(1 / 0.3) - math.log(0.3)))
                height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
                if not (height < grid[0] and width < grid[1]):
                    continue
                top, start = (
                    int(top * (grid[0] - height + 1)),
                    int(start * (grid[1] - width + 1)),
                )
                inside = hidden[top : top + height, start : start + width]
                new = height * width - int(inside.sum())
                if 0 < new <= left:
                    inside[:] = True
                    added = new
                    break
            if not added:
                break
    return made


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 12), st.integers(2, 12)), st.floats(0.1, 0.9), st.integers(0, 999)
)
def test_blocks_are_those_of_a_loop_over_images_and_tries(
    grid: Grid, ratio: float, seed: int
) -> None:
    draws = torch.rand(8, 4, 5, TRIES, generator=Generator().manual_seed(seed))
    number = hidden_cells(ratio, grid)
    made = rectangles(draws, number, grid)
    assert np.array_equal(made.numpy(), block_by_loop(draws, number, grid))
    assert (made.sum((1, 2)) <= number).all()


def test_what_blocks_leave_is_hidden_in_single_cells() -> None:
    # In one row of cells no block is less than a whole column, so none is ever taken.
    assert (masks("block", {"ratio": 0.3}, grid=(1, 10)).sum((1, 2)) == 3).all()


def test_hidden_cells_of_blocks_lie_together() -> None:
    def neighbours(name: str) -> float:
        made = masks(name, images=torch.zeros(500, 1, 32, 32), grid=(16, 16))
        return float((made[:, 1:] & made[:, :-1]).double().mean())

    assert neighbours("block") > 1.5 * neighbours("random_cells")


def test_cells_near_the_middle_are_drawn_with_their_weights_and_not_put_back() -> None:
    policy, grid = CentreCells(sd=0.3, number=2), (2, 3)
    made = policy.choose_masks(torch.zeros(20_000, 1, 4, 6), grid, Generator().manual_seed(0))
    weights = policy.log_weights(grid, torch.device("cpu")).double().exp().flatten().tolist()
    pairs = list(itertools.combinations(range(6), 2))
    expected = np.zeros(len(pairs))
    for number, (i, j) in enumerate(pairs):
        for first, second in ((i, j), (j, i)):
            rest = sum(weights) - weights[first]
            expected[number] += weights[first] / sum(weights) * weights[second] / rest
    chosen = made.flatten(1).double()
    counts = (chosen.T @ chosen).numpy()[tuple(np.array(pairs).T)]
    assert expected.sum() == pytest.approx(1)
    assert chisquare(counts, 20_000 * expected).pvalue > 0.001


def test_weights_near_the_middle_follow_the_distance_from_it() -> None:
    weights = CentreCells(sd=0.25, number=1).log_weights((8, 4), torch.device("cpu"))
    # By hand: the corner's cell lies 7/16 of the height and 3/8 of the width from the middle.
    assert float(weights[0, 0]) == pytest.approx(
        -((7 / 16) ** 2 + (3 / 8) ** 2) / (2 * 0.25**2)
    )
    assert weights.equal(weights.flip(0))
    assert weights.equal(weights.flip(1))
    assert int(weights.argmax()) in {3 * 4 + 1, 3 * 4 + 2, 4 * 4 + 1, 4 * 4 + 2}


def test_cells_left_and_right_above_and_below_are_hidden_equally_often() -> None:
    made = masks("centre_cells", {"ratio": 0.25}, torch.zeros(20_000, 1, 16, 16)).double()
    rates = made.mean(0)
    error = 4 * (2 * rates * (1 - rates) / 20_000).sqrt()
    for axis in (0, 1):
        assert ((rates - rates.flip(axis)).abs() <= error).all()
    assert rates[3:5, 3:5].min() > 3 * rates[0, 0]


def test_the_loudest_cells_are_hidden() -> None:
    images = noisy(6) * torch.rand(6, 1, 16, 16, generator=Generator().manual_seed(1))
    made = masks("variance_cells", {"ratio": 0.25}, images)
    for mask, image in zip(made, images, strict=True):
        variance = np.array(
            [
                [image[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].numpy().var() for x in range(8)]
                for y in range(8)
            ]
        )
        loudest = np.argsort(variance.ravel())[-16:]
        assert set(mask.flatten().nonzero()[:, 0].tolist()) == set(loudest.tolist())


def test_a_lot_decides_between_cells_that_are_equally_loud() -> None:
    made = masks("variance_cells", {"ratio": 0.3}, torch.full((20_000, 1, 16, 16), 0.3))
    assert uniform_share(made) > 0.001


def test_the_map_of_the_loudest_cells_is_their_variance() -> None:
    policy = POLICIES["variance_cells"]().build(make_setting())
    images = torch.randn(3, 2, 16, 16, generator=Generator().manual_seed(0))
    maps = policy.maps(images, GRID)
    assert maps is not None
    assert maps.values.dtype == torch.float32
    by_hand = images[1, :, 4:6, 2:4].var((1, 2), correction=0).mean()
    torch.testing.assert_close(maps.values[1, 2, 1], by_hand)
    assert (maps.box, maps.stride) == ((1, 1), 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, -math.inf]), min_size=1, max_size=9), st.data())
def test_ranks_are_those_of_a_sort_whose_ties_are_settled_by_lot(
    scores: list[float], data: st.DataObject
) -> None:
    lots = data.draw(st.permutations(range(len(scores))))
    made = ranked(torch.tensor([scores]), torch.tensor([lots]).float())[0].tolist()
    order = sorted(range(len(scores)), key=lambda cell: (scores[cell], lots[cell]))
    assert [made[cell] for cell in order] == list(range(len(scores)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 11), st.integers(0, 999))
def test_the_highest_scores_are_hidden(number: int, seed: int) -> None:
    scores = torch.rand(4, 12, generator=Generator().manual_seed(seed))
    made = highest(scores, number, (3, 4))
    for mask, row in zip(made.flatten(1), scores, strict=True):
        assert set(mask.nonzero()[:, 0].tolist()) == set(row.argsort()[-number:].tolist())


@pytest.mark.parametrize("name", CONTROLS)
def test_a_grid_of_one_cell_is_refused_by_name(name: str) -> None:
    with pytest.raises(UserError, match=r"policy.ratio: a grid of 1 x 1 .* finer grid"):
        masks(name, grid=(1, 1))
