"""Attention whose cost grows with the number of tokens, not with its square.

Nystromformer (Xiong et al., AAAI 2021) and Linformer (Wang et al. 2020), as MIRAM's fine
decoder has them. ``layout: raster`` is the package ``nystrom-attention``, which the release
uses, operation by operation; ``grid`` mends what it does to an image.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from maskwise.encoders.transformer import softmax_attention
from maskwise.masks import Grid

Layout = Literal["grid", "raster"]
TAPS = 33
"""Of the release's convolution along the tokens."""


class NystromAttention(nn.Module):
    """Attention by way of landmarks, which are means of tokens.

    Args:
        width: channels of a token.
        heads: which divide it.
        grid: places of the tokens.
        in_front: tokens in front of those of places.
        landmarks: at most so many, or, with ``raster``, exactly.
        layout: ``grid``: landmarks are means over blocks of the grid, and a 3 x 3 convolution
            of the values is added; ``raster``: means over runs of the sequence, zeros put in
            front where it is no multiple, and a convolution of 33 taps along it.
        iterations: of the pseudo-inverse.
        residual: whether the convolution is there.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        grid: Grid,
        in_front: int,
        landmarks: int = 64,
        layout: Layout = "grid",
        iterations: int = 6,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.grid, self.in_front = heads, grid, in_front
        self.layout, self.iterations, self.landmarks = layout, iterations, landmarks
        self.blocks = blocks_of(grid, landmarks)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)
        kernel = (3, 3) if layout == "grid" else (TAPS, 1)
        around = (kernel[0] // 2, kernel[1] // 2)
        self.convolution: nn.Module | None = None
        if residual:
            self.convolution = nn.Conv2d(
                heads, heads, kernel, padding=around, groups=heads, bias=False
            )

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn ``(B, n, width)`` into as much."""
        n, width = tokens.shape[1:]
        padding = -n % self.landmarks if self.layout == "raster" else 0
        tokens = nn.functional.pad(tokens, (0, 0, padding, 0))
        parts = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)
        # None where all are tokens: to ask a device whether they are would be to wait for it.
        real: Tensor | None = None
        if padding:
            places = torch.arange(n + padding, device=tokens.device)
            real = places >= padding
            queries, keys, values = (each * real[:, None] for each in (queries, keys, values))
        queries = queries * (width // self.heads) ** -0.5
        few_queries, few_keys, alive = self._landmarks(queries, keys, real)
        first = _softmax(queries @ few_keys.transpose(2, 3), real, alive)
        middle = _softmax(few_queries @ few_keys.transpose(2, 3), alive, alive)
        last = _softmax(few_queries @ keys.transpose(2, 3), alive, real)
        coupled = self.layout == "raster"
        inverse = pseudo_inverse(middle, self.iterations, coupled).to(values.dtype)
        answer = (first @ inverse) @ (last @ values)
        if self.convolution is not None:
            answer = answer + self._convolved(values)
        joined: Tensor = self.proj(answer.transpose(1, 2).flatten(2))
        return joined[:, padding:]

    def _landmarks(
        self, queries: Tensor, keys: Tensor, real: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the landmarks of both ``(B, h, m, e)``, and which are of a token ``(m,)``.

        ``real`` ``(n,)``: which of the places are tokens; None, here and there, = all.
        """
        if self.layout == "grid":
            few_queries, few_keys = (self._of_blocks(each) for each in (queries, keys))
            return few_queries, few_keys, None
        runs = (self.landmarks, keys.shape[2] // self.landmarks)
        number = None if real is None else real.unflatten(0, runs).sum(1)
        by = runs[1] if number is None else (number + 1e-8)[:, None]
        few_queries, few_keys = (
            each.unflatten(2, runs).sum(3) / by for each in (queries, keys)
        )
        return few_queries, few_keys, None if number is None else number > 0

    def _of_blocks(self, tokens: Tensor) -> Tensor:
        """Average ``(B, h, n, e)`` over blocks of the grid, which may overlap by a place."""
        maps = tokens[:, :, self.in_front :].transpose(2, 3).unflatten(3, self.grid)
        means = nn.functional.adaptive_avg_pool2d(maps.flatten(0, 1), self.blocks)
        few: Tensor = means.unflatten(0, tokens.shape[:2]).flatten(3).transpose(2, 3)
        return few

    def _convolved(self, values: Tensor) -> Tensor:
        assert self.convolution is not None
        if self.layout == "raster":
            answer: Tensor = self.convolution(values)
            return answer
        # The head's channels are images of their own: (B e, h, H, W).
        maps = values[:, :, self.in_front :].permute(0, 3, 1, 2).flatten(0, 1)
        seen = self.convolution(maps.unflatten(2, self.grid)).flatten(2)
        places = seen.unflatten(0, (len(values), -1)).permute(0, 2, 3, 1)
        return nn.functional.pad(places, (0, 0, self.in_front, 0))


def blocks_of(grid: Grid, landmarks: int) -> tuple[int, int]:
    """Return how many blocks a grid is cut into, down and across: ``landmarks`` at most.

    Many and square ones, and rather equal ones: the most by their number over the root of their
    longer side over the shorter; three quarters of that where they do not divide the grid.
    """

    def worth(rows: int, columns: int) -> float:
        aspect = grid[0] * columns / (grid[1] * rows)
        uneven = grid[0] % rows or grid[1] % columns
        square = rows * columns / math.sqrt(max(aspect, 1 / aspect))
        return square * (0.75 if uneven else 1.0)

    return max(
        (
            (rows, columns)
            for rows in range(1, grid[0] + 1)
            for columns in range(1, grid[1] + 1)
            if rows * columns <= landmarks
        ),
        key=lambda blocks: worth(*blocks),
    )


def pseudo_inverse(matrices: Tensor, iterations: int, coupled: bool = False) -> Tensor:
    """Approximate the Moore-Penrose inverse of ``(..., m, m)`` by Razavi's iteration, float32.

    ``coupled``: as in the release, the first guess is scaled by the largest sums of the whole
    batch, so that one image's answer depends on the others.
    """
    with torch.autocast(matrices.device.type, enabled=False):
        if matrices.dtype in (torch.float16, torch.bfloat16):
            matrices = matrices.float()
        absolute = matrices.abs()
        down, across = absolute.sum(-2), absolute.sum(-1)
        if coupled:
            scale = down.max() * across.max()
        else:
            scale = (down.amax(-1) * across.amax(-1))[..., None, None]
        guess = matrices.transpose(-2, -1) / scale
        one = torch.eye(matrices.shape[-1], dtype=matrices.dtype, device=matrices.device)
        for _ in range(iterations):
            near = matrices @ guess
            inner = 15 * one - near @ (7 * one - near)
            guess = 0.25 * guess @ (13 * one - near @ inner)
        return guess


def _softmax(scores: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
    """Return softmax over what is real; rows and columns that are not get the least score.

    ``rows`` ``(n,)`` and ``columns`` ``(m,)`` bool; None both = all are real.
    """
    if rows is not None and columns is not None:
        least = -torch.finfo(scores.dtype).max
        scores = scores.masked_fill(~(rows[:, None] & columns), least)
    return scores.softmax(dim=-1)


class LinformerAttention(nn.Module):
    """Attention to few combinations of the tokens, learnt for a sequence of one length.

    As in the release: one head of keys, which are the values too, for all heads of queries.

    Args:
        width: channels of a token.
        heads: of queries.
        tokens: of the sequence.
        seen: combinations.
    """

    def __init__(self, width: int, heads: int, tokens: int, seen: int = 128) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Linear(width, width, bias=False)
        self.keys = nn.Linear(width, width // heads, bias=False)
        self.combine = nn.Parameter(torch.zeros(tokens, seen))
        self.proj = nn.Linear(width, width)
        if not self.combine.is_meta:
            nn.init.uniform_(self.combine, -(seen**-0.5), seen**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn ``(B, tokens, width)`` into as much."""
        queries = self.queries(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
        keys = torch.einsum("bne,nk->bke", self.keys(tokens), self.combine)[:, None]
        keys = keys.expand(-1, self.heads, -1, -1)
        answer = softmax_attention(queries, keys, keys)
        joined: Tensor = self.proj(answer.transpose(1, 2).flatten(2))
        return joined
