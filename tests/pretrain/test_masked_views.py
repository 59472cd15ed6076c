"""Masks as views: where the hole is, what fills it, and what its cells earn."""

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from maskwise.pretrain.contracts import Batch
from maskwise.pretrain.objectives.masked_views import (
    hidden_at_mean,
    image_errors,
    masked_pair,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def some_mask(b: int, gh: int, gw: int, seed: int = 0) -> Tensor:
    return torch.rand(b, gh, gw, generator=Generator().manual_seed(seed)) < 0.4


def hidden_by_loop(images: Tensor, mask: Tensor) -> Tensor:
    """Pixel by pixel: where its cell is hidden, the mean of its channel of its image."""
    made = images.clone()
    (b, c, h, w), (_, gh, gw) = images.shape, mask.shape
    for i in range(b):
        for channel in range(c):
            mean = sum(images[i, channel].flatten().tolist()) / (h * w)
            for y in range(h):
                for x in range(w):
                    if mask[i, y * gh // h, x * gw // w]:
                        made[i, channel, y, x] = mean
    return made


@settings(max_examples=20, deadline=None)
@given(
    b=st.integers(1, 3),
    c=st.integers(1, 3),
    grid=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    cell=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 99),
)
def test_hidden_pixels_are_their_image_s_mean_and_the_others_stay(
    b: int, c: int, grid: tuple[int, int], cell: tuple[int, int], seed: int
) -> None:
    images = draw(b, c, grid[0] * cell[0], grid[1] * cell[1], seed=seed)
    mask = some_mask(b, *grid, seed=seed)
    expected = hidden_by_loop(images, mask)
    torch.testing.assert_close(hidden_at_mean(images, mask), expected, atol=1e-6, rtol=0)


def a_batch(images: Tensor) -> Batch:
    rows = torch.arange(len(images))
    return Batch(images, rows, rows, augmentation_seed=rows + 7, progress=0.0)


def test_the_hole_goes_where_the_view_takes_it() -> None:
    images, mask = draw(2, 1, 8, 8), torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[:, 0, 0] = True  # top left, which a mirrored view has top right
    first, second = masked_pair(lambda images, seeds: images.flip(3), a_batch(images), mask)[
        [0, 2]
    ]
    expected = float(images[0].mean())
    assert first[0, :2, 6:].flatten().tolist() == pytest.approx([expected] * 4)
    assert first[0, :, :6].equal(images[0, 0].flip(1)[:, :6])
    assert second[0].equal(images[0, 0].flip(1))


def test_a_mask_that_hides_nothing_leaves_both_views_as_they_were() -> None:
    images, nothing = draw(3, 1, 8, 8), torch.zeros(3, 4, 4, dtype=torch.bool)
    made = masked_pair(lambda images, seeds: images, a_batch(images), nothing)
    assert made.equal(torch.cat([images, images]))


def test_no_two_views_of_a_batch_have_one_seed() -> None:
    seeds = masked_pair(
        lambda images, seeds: seeds, a_batch(draw(3, 1, 8, 8)), some_mask(3, 4, 4)
    )
    assert len(set(seeds.tolist())) == 6


@pytest.mark.parametrize(("reward", "sign"), [("hard", 1), ("easy", -1)])
def test_hidden_cells_earn_their_image_s_loss_or_its_negative(
    reward: Literal["hard", "easy"], sign: int
) -> None:
    losses, mask = torch.tensor([0.5, 2.0], requires_grad=True), some_mask(2, 4, 4)
    errors = image_errors(losses, mask, reward)
    assert errors.isnan().equal(~mask)
    for image, loss in enumerate((0.5, 2.0)):
        assert set(errors[image][mask[image]].tolist()) == {sign * loss}
    assert not errors.requires_grad
