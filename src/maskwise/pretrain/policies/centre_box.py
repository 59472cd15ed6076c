"""Hide boxes near the middle: a prior fixed before training.

Lesions lie near the middle of most scans, so a policy that learnt nothing of the image may
still hide many. This control says how many. A prior fitted to lesion masks would be an oracle.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maskwise.bounds import Boxes, Deviation, PartShare, Side
from maskwise.masks import Grid, boxes
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.cells import (
    filled,
    hidden_cells,
    room_to_fill,
    unequal_boxes,
    uniform,
)
from maskwise.pretrain.policies.random_box import check_room
from maskwise.pretrain.policies.unlearnt import Unlearnt


@dataclass(frozen=True)
class CentreBoxConfig:
    """By default one box of 5 x 5 cells around a place near the middle."""

    box: tuple[Side, Side] = (5, 5)
    """Height and width in grid cells."""
    boxes: Boxes = 1
    """Boxes per image; they may overlap."""
    fill_to: PartShare | None = None
    """Share of the cells to which single ones, drawn at random, are hidden beside the boxes;
    null = none. Then as many are hidden in every image, which some objectives need."""
    sd: Deviation = 0.2
    """Standard deviation of the box's centre about the image's, as a share of the side."""

    def build(self, setting: Setting) -> "CentreBox":
        check_room(self.box, self.boxes, setting.grid)
        room_to_fill(self.fill_to, self.box, self.boxes, setting.grid)
        return CentreBox(self)

    def unequal(self) -> str | None:
        return unequal_boxes(self.boxes, self.fill_to)


class CentreBox(Unlearnt):
    """Places weighted by a Gaussian of the box's centre, cut off at the image's border."""

    def __init__(self, config: CentreBoxConfig) -> None:
        super().__init__()
        self.config = config

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        b, box, number = len(images), self.config.box, self.config.boxes
        rows, columns = (
            self.weights(grid[axis], box[axis], images.device)
            .expand(b * number, -1)
            .multinomial(1, generator=generator)[:, 0]
            for axis in (0, 1)
        )
        hidden = boxes(rows, columns, box, grid).reshape(b, number, *grid).any(dim=1)
        if self.config.fill_to is None:
            return hidden
        share = hidden_cells(self.config.fill_to, grid)
        return filled(hidden, share, uniform(images, grid, generator))

    def weights(self, cells: int, side: int, device: torch.device) -> Tensor:
        """Return the probability of each first cell of a box of ``side`` along one axis."""
        starts = torch.arange(cells - side + 1, device=device)
        offset = (starts + side / 2) / cells - 0.5
        weights = torch.exp(-0.5 * (offset / self.config.sd).square())
        return weights / weights.sum()
