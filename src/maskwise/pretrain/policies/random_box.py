"""Hide boxes at random places inside the image: the control of every policy that learns."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.boxes import BoxOptions, DrawnBoxes, check_boxes


@dataclass(frozen=True)
class RandomBoxConfig(BoxOptions):
    """By default one box of 5 x 5 of the 16 x 16 cells: 9.8 % of the image."""

    def build(self, setting: Setting) -> "RandomBox":
        check_boxes(self.box, self.boxes, self.fill_to, setting.grid)
        return RandomBox(self)


class RandomBox(DrawnBoxes):
    """Every valid place is equally likely; nothing is learnt."""

    def first_cells(
        self, number: int, cells: int, side: int, generator: Generator, device: torch.device
    ) -> Tensor:
        return torch.randint(cells - side + 1, (number,), generator=generator, device=device)
