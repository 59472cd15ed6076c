"""Places and boxes, against loops over images and cells (invariants 1, 2, 9, 12)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskwise.errors import UserError
from maskwise.masks import to_pixels
from maskwise.pretrain.policies.dqn.places import Places


@st.composite
def some_places(draw: st.DrawFn) -> Places:
    gh, gw = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    box = draw(st.integers(1, gh)), draw(st.integers(1, gw))
    overhang = draw(st.booleans())
    strides = [s for s in (1, 2, 3) if not overhang or (gh % s == 0 and gw % s == 0)]
    return Places((gh, gw), box, draw(st.sampled_from(strides)), overhang)


def slow_mask(places: Places, place: int) -> torch.Tensor:
    """Hide the box cell by cell."""
    mask = torch.zeros(places.grid, dtype=torch.bool)
    top = place // places.shape[1] * places.stride
    left = place % places.shape[1] * places.stride
    for row in range(top, min(top + places.box[0], places.grid[0])):
        for column in range(left, min(left + places.box[1], places.grid[1])):
            mask[row, column] = True
    return mask


@given(some_places())
def test_batched_masks_equal_boxes_drawn_cell_by_cell(places: Places) -> None:
    masks = places.masks(torch.arange(places.number))
    assert masks.dtype == torch.bool
    assert all(mask.equal(slow_mask(places, i)) for i, mask in enumerate(masks))


@given(some_places())
def test_every_place_is_another_box_inside_the_grid(places: Places) -> None:
    masks = places.masks(torch.arange(places.number))
    assert len(masks.flatten(1).unique(dim=0)) == places.number
    assert masks.flatten(1).any(1).all()


@given(some_places(), st.integers(0, 2**31))
def test_box_sums_equal_sums_over_each_box(places: Places, seed: int) -> None:
    cells = torch.rand(2, *places.grid, generator=torch.Generator().manual_seed(seed))
    masks = places.masks(torch.arange(places.number))
    slow = torch.stack([(image * masks).sum((1, 2)) for image in cells])
    torch.testing.assert_close(places.box_sums(cells), slow, atol=1e-5, rtol=1e-5)


@given(some_places(), st.integers(0, 2**31), st.sampled_from([0.1, 0.5, 1.0]))
def test_a_place_is_allowed_when_enough_of_its_box_is_new(
    places: Places, seed: int, least: float
) -> None:
    hidden = torch.rand(2, *places.grid, generator=torch.Generator().manual_seed(seed)) < 0.4
    masks = places.masks(torch.arange(places.number))
    slow = [[bool((m & ~h).sum() >= least * m.sum() - 1e-6) for m in masks] for h in hidden]
    assert places.allowed(hidden, least).tolist() == slow


def test_there_are_as_many_places_as_the_formula_says() -> None:
    for side, box, stride in [(16, 5, 1), (16, 4, 2), (9, 3, 3), (9, 2, 2)]:
        assert (
            Places((side, side), (box, box), stride).number == ((side - box) // stride + 1) ** 2
        )


def test_every_valid_place_hides_the_same_area() -> None:
    places = Places((16, 16), (5, 5))
    masks = to_pixels(places.masks(torch.arange(places.number)), 64, 64)
    assert masks.sum((1, 2, 3)).unique().tolist() == [20 * 20]


def test_the_release_crops_its_box_at_the_corner_of_288_pixels() -> None:
    places = Places((9, 9), (2, 2), overhang=True)
    shares = to_pixels(places.masks(torch.arange(81)), 288, 288).double().mean((1, 2, 3))
    assert places.number == 81
    assert float(shares[-1]) == pytest.approx(0.0123, abs=5e-5)
    assert float(shares[0]) == pytest.approx(0.0494, abs=5e-5)


def test_a_stride_that_leaves_cells_over_is_refused_where_boxes_overhang() -> None:
    with pytest.raises(UserError, match="stride: 3 does not divide a grid of 16 x 16"):
        Places((16, 16), (4, 4), 3, overhang=True)
