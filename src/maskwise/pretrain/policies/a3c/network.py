"""The network of ``a3c``: an image to a policy map and a value map over the grid's cells."""

import torch
from torch import Tensor, nn

from maskwise.masks import Grid
from maskwise.pretrain.policies.cell_network import CellNetwork


class PolicyValueNetwork(nn.Module):
    """A trunk of the policy's own, never the reconstruction's features, with two heads."""

    def __init__(
        self, channels: int, grid: Grid, widths: tuple[int, ...], bound: float | None
    ) -> None:
        super().__init__()
        self.cells, self.bound = CellNetwork(channels, grid, widths, ("policy", "value")), bound

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and values of ``images`` ``(B, C, H, W)``, each ``(B, gh * gw)``."""
        logits, values = self.cells(images)
        if self.bound is not None:
            logits = self.bound * torch.tanh(logits / self.bound)
        return logits, values
