"""Hide cells at random (He et al. 2022): the control of every policy that hides cells."""

from dataclasses import dataclass

from torch import Generator, Tensor

from maskwise.bounds import PartShare
from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.cells import hidden_cells, uniform
from maskwise.pretrain.policies.unlearnt import Unlearnt


@dataclass(frozen=True)
class RandomCellsConfig:
    """Half of the cells by default."""

    ratio: PartShare = 0.5
    """Share of the cells that is hidden, to the nearest cell."""

    def build(self, setting: Setting) -> "RandomCells":
        return RandomCells(hidden_cells(self.ratio, setting.grid))


class RandomCells(Unlearnt):
    """Every set of ``number`` cells is equally likely; nothing is learnt."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        return highest(uniform(images, grid, generator), self.number, grid)
