"""The network of ``a3c``: an image to a policy map and a value map over the grid's cells."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from maskwise.encoders.norm import build_norm
from maskwise.masks import Grid

DETAIL = 4
"""The network sees each cell as 4 x 4 means, so that its cost does not grow with the image.
Fewer would average away what a cell's texture says of its difficulty."""


class PolicyValueNetwork(nn.Module):
    """A strided convolution a halving of ``DETAIL``, further ones, and two heads of 1 x 1.

    Never the neighbours in the batch (no batch norm), never the reconstruction's features.
    Borders are repeated, not padded with 0, which would tell the network where it is. Both
    heads start at 0: every cell is equally likely until something has been learnt.
    """

    def __init__(
        self, channels: int, grid: Grid, widths: tuple[int, ...], bound: float | None
    ) -> None:
        super().__init__()
        self.grid, self.bound = grid, bound
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
        self.policy = nn.Conv2d(widths[-1], 1, 1)
        self.value = nn.Conv2d(widths[-1], 1, 1)
        for parameter in (*self.policy.parameters(), *self.value.parameters()):
            nn.init.zeros_(parameter)
        # A third less time on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and values of ``images`` ``(B, C, H, W)``, each ``(B, gh * gw)``.

        In float32 also under autocast: a draw's probability must be that of what was drawn.
        """
        with torch.autocast(images.device.type, enabled=False):
            size = (DETAIL * self.grid[0], DETAIL * self.grid[1])
            seen = images.float().contiguous(memory_format=torch.channels_last)
            if images.shape[2:] != size:
                seen = adaptive_avg_pool2d(seen, size)
            features = self.trunk(seen)
            logits: Tensor = self.policy(features).flatten(1)
            values: Tensor = self.value(features).flatten(1)
        if self.bound is not None:
            logits = self.bound * torch.tanh(logits / self.bound)
        return logits, values
