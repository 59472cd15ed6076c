"""Hide boxes near the middle: a prior fixed before training.

Lesions lie near the middle of most scans, so a policy that learnt nothing of the image may
still hide many. This control says how many. A prior fitted to lesion masks would be an oracle.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maskwise.bounds import Deviation
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.boxes import BoxOptions, DrawnBoxes, check_boxes


@dataclass(frozen=True)
class CentreBoxConfig(BoxOptions):
    """By default one box of 5 x 5 cells around a place near the middle."""

    sd: Deviation = 0.2
    """Standard deviation of the box's centre about the image's, as a share of the side."""

    def build(self, setting: Setting) -> "CentreBox":
        check_boxes(self.box, self.boxes, self.fill_to, setting.grid)
        return CentreBox(self, self.sd)


class CentreBox(DrawnBoxes):
    """Places weighted by a Gaussian of the box's centre, cut off at the image's border."""

    def __init__(self, options: BoxOptions, sd: float) -> None:
        super().__init__(options)
        self.sd = sd

    def first_cells(
        self, number: int, cells: int, side: int, generator: Generator, device: torch.device
    ) -> Tensor:
        weights = self.weights(cells, side, device).expand(number, -1)
        return weights.multinomial(1, generator=generator)[:, 0]

    def weights(self, cells: int, side: int, device: torch.device) -> Tensor:
        """Return the probability of each first cell of a box of ``side`` along one axis."""
        starts = torch.arange(cells - side + 1, device=device)
        offset = (starts + side / 2) / cells - 0.5
        weights = torch.exp(-0.5 * (offset / self.sd).square())
        return weights / weights.sum()
