"""Fixed codes of places: sines and cosines of rows and columns.

Vaswani et al. 2017 in the two-dimensional form of He et al. (CVPR 2022), ``pos_embed.py``.
"""

import torch
from torch import Tensor

PERIOD = 10_000.0


def sine_positions(grid: tuple[int, int], width: int, parts: int = 1) -> Tensor:
    """Return the code of each place of ``grid`` in raster order, ``(gh * gw, width)`` float32.

    The first half of the channels tells the column and the second the row, each as sines
    followed by cosines of ``position / PERIOD ** (j / (width / 4))``.

    Args:
        grid: places down and across.
        width: channels.
        parts: where each place is one of so many per side of a coarser place, positions are
            those of their centres in units of the coarser ones; 1 = 0, 1, 2, ...

    Raises:
        ValueError: if ``width`` is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"positions need a width that is a multiple of 4, not {width}")
    quarter = width // 4
    frequencies = PERIOD ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    down, across = (_waves(side, parts, frequencies) for side in grid)
    shape = (*grid, width // 2)
    table = torch.cat(
        [across[None, :].expand(shape), down[:, None].expand(shape)], dim=2
    ).flatten(0, 1)
    return table.float()


def _waves(side: int, parts: int, frequencies: Tensor) -> Tensor:
    """Return ``(side, 2 * frequencies)``."""
    places = (torch.arange(side, dtype=torch.float64) + 0.5) / parts - 0.5
    angles = places[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
