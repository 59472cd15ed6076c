"""Hide rectangles of many sizes until enough cells are hidden (BEiT, Bao et al. 2022).

As AttMask's release has it (``loader.py``, ``ImageFolderMask``); departures by number in
``docs/methods/block.md``.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from maskwise.bounds import PartShare
from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.cells import hidden_cells, uniform
from maskwise.pretrain.policies.unlearnt import Unlearnt

TRIES = 10
"""Rectangles drawn until one fits; if none does, an image gets no more of them."""
BLOCKS = 16
"""Rectangles per image, at most: of 600 images 6 want more, at a ratio of .75 of 16 x 16."""
LONGEST = 1 / 0.3
"""One side over the other."""


@dataclass(frozen=True)
class BlockConfig:
    """Half of the cells by default, in about five rectangles."""

    ratio: PartShare = 0.5
    """Share of the cells that is hidden, to the nearest cell."""

    def build(self, setting: Setting) -> "Block":
        return Block(hidden_cells(self.ratio, setting.grid))


class Block(Unlearnt):
    """Rectangles at random, and single cells where they leave some to hide."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        shape = (BLOCKS, 4, len(images), TRIES)
        draws = torch.rand(shape, generator=generator, device=generator.device)
        hidden = rectangles(draws.to(images.device), self.number, grid).flatten(1)
        scores = torch.where(hidden, 2.0, uniform(images, grid, generator))
        return highest(scores, self.number, grid)


def rectangles(draws: Tensor, number: int, grid: Grid) -> Tensor:
    """Hide at most ``number`` cells per image in rectangles: bool ``(B, gh, gw)``.

    ``draws`` ``(blocks, 4, B, tries)`` uniform in [0, 1): area, aspect, top and left of every
    try. The first try is taken that hides a new cell and not too many.
    """
    b = draws.shape[2]
    hidden = torch.zeros(b, *grid, dtype=torch.bool, device=draws.device)
    going = torch.ones(b, dtype=torch.bool, device=draws.device)
    for draw in draws.double():
        left = number - hidden.sum((1, 2))
        sizes = _sizes(draw[0], draw[1], left, grid)
        tops, lefts = (
            (u * (side - size + 1)).long().clamp(0, side)
            for u, size, side in zip(draw[2:], sizes, grid, strict=True)
        )
        new = _newly_hidden(hidden, tops, lefts, sizes)
        fits = (sizes[0] < grid[0]) & (sizes[1] < grid[1]) & (new > 0) & (new <= left[:, None])
        going &= fits.any(1)
        first = fits.int().argmax(1, keepdim=True)
        top, start, height, width = (
            values.gather(1, first) for values in (tops, lefts, *sizes)
        )
        inside = _within(top, height, grid[0])[:, :, None]
        inside = inside & _within(start, width, grid[1])[:, None, :]
        hidden |= inside & going[:, None, None]
    return hidden


def _sizes(area: Tensor, aspect: Tensor, left: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Turn draws ``(B, tries)`` into heights and widths; ``left`` ``(B,)`` cells to hide."""
    least = max(1, (min(grid) // 3) ** 2)
    # As in the release, also where fewer cells are left than the least area.
    area = least + area * (left[:, None] - least)
    aspect = torch.exp((2 * aspect - 1) * math.log(LONGEST))
    return (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()


def _newly_hidden(
    hidden: Tensor, tops: Tensor, lefts: Tensor, sizes: tuple[Tensor, Tensor]
) -> Tensor:
    """Count the visible cells in each rectangle, ``(B, tries)``, by a summed-area table."""
    (_, gh, gw), (heights, widths) = hidden.shape, sizes
    table = pad((~hidden).long().cumsum(1).cumsum(2), (1, 0, 1, 0)).flatten(1)
    bottoms, rights = (tops + heights).clamp(max=gh), (lefts + widths).clamp(max=gw)

    def above(rows: Tensor, columns: Tensor) -> Tensor:
        return table.gather(1, rows * (gw + 1) + columns)

    return (
        above(bottoms, rights)
        - above(tops, rights)
        - above(bottoms, lefts)
        + above(tops, lefts)
    )


def _within(first: Tensor, size: Tensor, side: int) -> Tensor:
    """Return bool ``(B, side)``: from ``first`` ``(B, 1)`` on, ``size`` ``(B, 1)`` cells."""
    cells = torch.arange(side, device=first.device)
    return (cells >= first) & (cells < first + size)
