"""From visible tokens back to patches of pixels: the decoders of MAE and MIRAM.

He et al., CVPR 2022; MIRAM (arXiv 2503.07157) and its release ``models_mae_custom_v3``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maskwise.encoders.positions import sine_positions
from maskwise.encoders.transformer import EPSILON, Attention, Block, initialise, picked
from maskwise.masks import Grid


@dataclass(frozen=True)
class Shape:
    """Of one decoder."""

    width: int
    depth: int
    """Blocks."""
    heads: int
    attention: Callable[[Grid, int], nn.Module | None] = lambda grid, in_front: None
    """Makes, for a grid and the tokens in front, what stands for softmax attention; None =
    that."""


class TokenDecoder(nn.Module):
    """Blocks over all places of a grid, and a linear layer to the pixels of each.

    Args:
        shape: of it.
        given: channels of the tokens that it takes.
        grid: places of these, down and across.
        factor: places per side that it makes of one.
        in_front: tokens in front of those of places.
        values: pixels of a patch, times channels.
        aligned: whether places have coordinates in units of those that they are made of, their
            centres at the same spot of the image; else they are counted 0, 1, 2, ...
    """

    positions: Tensor

    def __init__(
        self,
        shape: Shape,
        given: int,
        grid: Grid,
        factor: int,
        in_front: int,
        values: int,
        aligned: bool = False,
    ) -> None:
        super().__init__()
        self.grid, self.factor, self.in_front = grid, factor, in_front
        same = given == shape.width
        self.enter: nn.Module = nn.Identity() if same else nn.Linear(given, shape.width)
        fine = (grid[0] * factor, grid[1] * factor)
        self.blocks = nn.ModuleList(
            Block(shape.width, shape.heads, shape.attention(fine, in_front))
            for _ in range(shape.depth)
        )
        self.norm = nn.LayerNorm(shape.width, eps=EPSILON)
        self.head = nn.Linear(shape.width, values)
        table = sine_positions(fine, shape.width, factor if aligned else 1)
        front = torch.zeros(in_front, shape.width)
        self.register_buffer("positions", torch.cat([front, table])[None], persistent=False)
        self.can_be_lean = isinstance(self._last.attn, Attention)
        initialise(self)

    def forward(self, tokens: Tensor, asked: Tensor | None = None) -> Tensor:
        """Turn tokens ``(B, in_front + N, given)`` into patches.

        Args:
            tokens: of all N places in raster order, behind those in front.
            asked: ``(B, M)`` int64, of which of the ``N * factor ** 2`` places patches are
                wanted; None = all. The answer is the same; the last block does less for it.

        Returns:
            ``(B, M, values)``.
        """
        current = children(self.enter(tokens), self.grid, self.factor, self.in_front)
        current = current + self.positions.to(current.dtype)
        last = self._last
        for block in list(self.blocks)[:-1]:
            current = block(current)
        numbers = None if asked is None else asked + self.in_front
        if numbers is not None and self.can_be_lean:
            current = last(current, numbers)
        else:
            current = last(current)
            current = (
                current[:, self.in_front :] if numbers is None else picked(current, numbers)
            )
        patches: Tensor = self.head(self.norm(current))
        return patches

    @property
    def _last(self) -> Block:
        last = self.blocks[-1]
        assert isinstance(last, Block)
        return last


def children(tokens: Tensor, grid: Grid, factor: int, in_front: int) -> Tensor:
    """Repeat the token of each place for ``factor`` x ``factor`` places, those in front once.

    ``(B, in_front + N, w)`` to ``(B, in_front + N * factor ** 2, w)``: place (i, j) becomes
    (i factor ... , j factor ...), in raster order.
    """
    if factor == 1:
        return tokens
    front, places = tokens[:, :in_front], tokens[:, in_front:]
    b, _, w = places.shape
    maps = places.reshape(b, grid[0], 1, grid[1], 1, w)
    wide = maps.expand(b, grid[0], factor, grid[1], factor, w).reshape(b, -1, w)
    return torch.cat([front, wide], dim=1)


def numbers_of_children(numbers: Tensor, grid: Grid, factor: int) -> Tensor:
    """Return the raster numbers of the children of places ``numbers`` ``(B, M)``.

    ``(B, M * factor ** 2)``, those of one place together.
    """
    rows = (numbers // grid[1])[:, :, None, None] * factor
    columns = (numbers % grid[1])[:, :, None, None] * factor
    step = torch.arange(factor, device=numbers.device)
    wide = (rows + step[:, None]) * (grid[1] * factor) + columns + step
    return wide.flatten(1)
