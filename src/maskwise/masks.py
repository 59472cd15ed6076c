"""Masks over grid cells: bool ``(B, gh, gw)``, True = hidden; to and from pixels and boxes."""

import torch
from torch import Tensor

from maskwise.errors import UserError

Grid = tuple[int, int]


def check_grid(grid: Grid, height: int, width: int, where: str = "grid") -> None:
    """Raise ``UserError`` unless ``grid`` ``(gh, gw)`` divides an image of that many pixels."""
    gh, gw = grid
    if gh < 1 or gw < 1 or height % gh or width % gw:
        raise UserError(
            f"{where}: a grid of {gh} x {gw} cells does not divide an image of {height} x "
            f"{width} pixels; choose a grid whose sides divide {height} and {width}"
        )


def to_pixels(mask: Tensor, height: int, width: int) -> Tensor:
    """Expand a cell mask ``(B, gh, gw)`` to pixels ``(B, 1, height, width)``."""
    b, gh, gw = mask.shape
    cells = mask[:, :, None, :, None].expand(b, gh, height // gh, gw, width // gw)
    return cells.reshape(b, 1, height, width)


def cell_means(values: Tensor, grid: Grid) -> Tensor:
    """Average ``(B, C, H, W)`` over channels and the pixels of each cell: ``(B, gh, gw)``."""
    (b, c, h, w), (gh, gw) = values.shape, grid
    return values.reshape(b, c, gh, h // gh, gw, w // gw).mean(dim=(1, 3, 5))


def boxes(tops: Tensor, lefts: Tensor, box: tuple[int, int], grid: Grid) -> Tensor:
    """Hide one box per image: ``tops``, ``lefts`` ``(B,)`` and the size ``box``, all in cells.

    A box that overhangs the grid is cropped. Returns bool ``(B, gh, gw)``.
    """
    rows = torch.arange(grid[0], device=tops.device)
    columns = torch.arange(grid[1], device=tops.device)
    inside_y = (rows >= tops[:, None]) & (rows < tops[:, None] + box[0])
    inside_x = (columns >= lefts[:, None]) & (columns < lefts[:, None] + box[1])
    return inside_y[:, :, None] & inside_x[:, None, :]


def highest(scores: Tensor, number: int, grid: Grid) -> Tensor:
    """Hide the ``number`` cells of each image with the highest ``scores``.

    These are ``(B, gh * gw)`` or ``(B, gh, gw)``; returns bool ``(B, gh, gw)``. Equal scores go
    by their place: break ties before.
    """
    flat = scores.flatten(1)
    mask = torch.zeros(flat.shape, dtype=torch.bool, device=flat.device)
    return mask.scatter(1, flat.topk(number, dim=1).indices, True).reshape(-1, *grid)
