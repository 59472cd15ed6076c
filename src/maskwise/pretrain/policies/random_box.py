"""Hide boxes at random places inside the image: the control of every policy that learns."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maskwise.bounds import Boxes, PartShare, Side
from maskwise.errors import UserError
from maskwise.masks import Grid, boxes
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.cells import (
    filled,
    hidden_cells,
    room_to_fill,
    unequal_boxes,
    uniform,
)
from maskwise.pretrain.policies.unlearnt import Unlearnt


@dataclass(frozen=True)
class RandomBoxConfig:
    """By default one box of 5 x 5 of the 16 x 16 cells: 9.8 % of the image."""

    box: tuple[Side, Side] = (5, 5)
    """Height and width in grid cells."""
    boxes: Boxes = 1
    """Boxes per image; they may overlap."""
    fill_to: PartShare | None = None
    """Share of the cells to which single ones, drawn at random, are hidden beside the boxes;
    null = none. Then as many are hidden in every image, which some objectives need."""

    def build(self, setting: Setting) -> "RandomBox":
        check_room(self.box, self.boxes, setting.grid)
        room_to_fill(self.fill_to, self.box, self.boxes, setting.grid)
        return RandomBox(self)

    def unequal(self) -> str | None:
        return unequal_boxes(self.boxes, self.fill_to)


def check_room(box: tuple[int, int], number: int, grid: Grid) -> None:
    """Raise ``UserError`` unless the boxes fit and leave half of the grid to see."""
    (bh, bw), (gh, gw) = box, grid
    if bh > gh or bw > gw or 2 * number * bh * bw > gh * gw:
        raise UserError(
            f"policy.box: {number} x {bh} x {bw} cells may hide more than half of the grid of "
            f"{gh} x {gw}; choose a smaller or fewer boxes, or a finer grid in the source's "
            "block `pretrain`"
        )


class RandomBox(Unlearnt):
    """Every valid place is equally likely; nothing is learnt."""

    def __init__(self, config: RandomBoxConfig) -> None:
        super().__init__()
        self.config = config

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        b, box, number = len(images), self.config.box, self.config.boxes
        rows, columns = (
            torch.randint(
                grid[axis] - box[axis] + 1,
                (b * number,),
                generator=generator,
                device=images.device,
            )
            for axis in (0, 1)
        )
        hidden = boxes(rows, columns, box, grid).reshape(b, number, *grid).any(dim=1)
        if self.config.fill_to is None:
            return hidden
        share = hidden_cells(self.config.fill_to, grid)
        return filled(hidden, share, uniform(images, grid, generator))
