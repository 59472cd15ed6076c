"""Hide cells near the middle: a prior fixed before training, as ``centre_box`` for boxes.

It is what a learned policy must beat: where scans are centred, position alone finds lesions.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maskwise.bounds import Deviation, PartShare
from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.cells import hidden_cells, uniform
from maskwise.pretrain.policies.unlearnt import Unlearnt


@dataclass(frozen=True)
class CentreCellsConfig:
    """Half of the cells by default, mostly in the middle."""

    ratio: PartShare = 0.5
    """Share of the cells that is hidden, to the nearest cell."""
    sd: Deviation = 0.25
    """Standard deviation of a cell's weight about the image's centre, a share of the side."""

    def build(self, setting: Setting) -> "CentreCells":
        return CentreCells(self.sd, hidden_cells(self.ratio, setting.grid))


class CentreCells(Unlearnt):
    """Draws cells without replacement, each with a weight that is a Gaussian of its place."""

    def __init__(self, sd: float, number: int) -> None:
        super().__init__()
        self.sd, self.number = sd, number

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        # Gumbel noise on log-weights: the highest K are K draws without replacement.
        gumbel = -torch.log(-torch.log(uniform(images, grid, generator)))
        logits = self.log_weights(grid, images.device).flatten()
        return highest(logits + gumbel, self.number, grid)

    def log_weights(self, grid: Grid, device: torch.device) -> Tensor:
        """Return ``(gh, gw)``: minus the squared distance from the centre / (2 sd^2)."""
        y, x = ((torch.arange(n, device=device) + 0.5) / n - 0.5 for n in grid)
        squared = y[:, None].square() + x.square()
        return -squared / (2 * self.sd**2)
