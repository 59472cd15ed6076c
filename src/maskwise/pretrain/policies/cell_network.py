"""A small network that looks at the whole image and says a number or more of each cell."""

from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from maskwise.encoders.norm import build_norm
from maskwise.masks import Grid

DETAIL = 4
"""Each cell is seen as 4 x 4 means, so that the cost does not grow with the image. Fewer would
average away what a cell's texture says about its difficulty."""


class CellNetwork(nn.Module):
    """A strided convolution per halving of ``DETAIL``, further ones, and heads of 1 x 1.

    Never the neighbours in the batch (no batch norm). Borders are repeated, not padded with 0,
    which would tell the network where it is. The heads start at 0: all cells are equal until
    something has been learnt.
    """

    def __init__(
        self, channels: int, grid: Grid, widths: tuple[int, ...], heads: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.grid = grid
        halvings = DETAIL.bit_length() - 1
        layers: list[nn.Module] = []
        for index, (inputs, width) in enumerate(pairwise((channels, *widths))):
            stride = 2 if index < halvings else 1
            layers += [
                nn.Conv2d(inputs, width, 3, stride, padding=1, padding_mode="replicate"),
                build_norm("group", width),
                nn.ReLU(),
            ]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({name: nn.Conv2d(widths[-1], 1, 1) for name in heads})
        for parameter in self.heads.parameters():
            nn.init.zeros_(parameter)
        # A third less time on a CPU.
        cast(Any, self).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Turn images ``(B, C, H, W)`` into ``(B, gh * gw)`` per head.

        In float32 also under autocast: what is said decides, or is the logarithm of a chance.
        """
        with torch.autocast(images.device.type, enabled=False):
            size = (DETAIL * self.grid[0], DETAIL * self.grid[1])
            seen = images.float().contiguous(memory_format=torch.channels_last)
            if images.shape[2:] != size:
                seen = adaptive_avg_pool2d(seen, size)
            features = self.trunk(seen)
            return tuple(head(features).flatten(1) for head in self.heads.values())
