"""What policies share that hide single cells: how many, and which by score."""

import torch
from torch import Generator, Tensor

from maskwise.errors import UserError
from maskwise.masks import Grid, highest


def hidden_cells(ratio: float, grid: Grid) -> int:
    """Return how many of the grid's cells are hidden: at least one, and never all.

    Rounded, not truncated: ``int(10 * (1 - 0.9))`` leaves no cell to see.

    Raises:
        UserError: if the grid has one cell only.
    """
    cells = grid[0] * grid[1]
    if cells < 2:
        raise UserError(
            f"policy.ratio: a grid of {grid[0]} x {grid[1]} has no cell to hide and one to "
            "see; choose a finer grid in the source's block `pretrain`"
        )
    return min(max(round(cells * ratio), 1), cells - 1)


def filled(mask: Tensor, number: int, lots: Tensor) -> Tensor:
    """Hide further cells until ``number`` are: those of the highest ``lots``, ``(B, gh * gw)``.

    ``mask`` ``(B, gh, gw)`` hides no more than that; ``lots`` are in [0, 1).
    """
    grid = (mask.shape[1], mask.shape[2])
    return highest(torch.where(mask.flatten(1), 2.0, lots), number, grid)


def uniform(images: Tensor, grid: Grid, generator: Generator) -> Tensor:
    """Draw a score in [0, 1) for every cell of ``images``: ``(B, gh * gw)`` float32.

    Drawn where the generator is: a seed means the same masks wherever the images are.
    """
    shape = (len(images), grid[0] * grid[1])
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    return drawn.to(images.device)


def ranked(scores: Tensor, lots: Tensor) -> Tensor:
    """Replace ``scores`` ``(B, L)`` by their ranks, 0 the lowest; ``lots`` break ties.

    An order by index would let a cell's place decide between equal scores. Minus infinity is
    a score; NaN is none. Returns float32 ``(B, L)``, no two of a row equal.
    """
    shuffled = lots.argsort(dim=1)
    order = shuffled.gather(1, scores.gather(1, shuffled).argsort(dim=1, stable=True))
    places = torch.arange(scores.shape[1], dtype=torch.float32, device=scores.device)
    return torch.empty_like(scores, dtype=torch.float32).scatter(
        1, order, places.expand(scores.shape)
    )
