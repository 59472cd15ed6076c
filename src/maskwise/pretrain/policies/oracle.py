"""Hide the lesion first, or spare it: a ceiling, told what no method knows.

It says how much a choice of masks could give at most, on phantoms and where outlines are at
hand. The report prints in red that a recipe was told (``docs/methods/oracle.md``).
"""

from dataclasses import dataclass
from typing import Literal

from torch import Generator, Tensor

from maskwise.bounds import PartShare
from maskwise.errors import UserError
from maskwise.masks import Grid, cell_means, highest
from maskwise.pretrain.contracts import Batch, Lesions, Proposal, Setting
from maskwise.pretrain.policies.cells import hidden_cells, ranked, uniform
from maskwise.pretrain.policies.unlearnt import Unlearnt


@dataclass(frozen=True)
class OracleConfig:
    """Half of the cells by default; what it is for must be written."""

    goal: Literal["hide", "spare"]
    """``hide`` the cells with most lesion first; or those with least, which ``spare``s it."""
    ratio: PartShare = 0.5
    """Share of the cells that is hidden, to the nearest cell."""

    def build(self, setting: Setting) -> "Oracle":
        if setting.lesions is None:
            raise UserError(
                "policy.name: oracle hides or spares outlined lesions, but no image of this "
                "source is outlined; take another policy"
            )
        return Oracle(self.goal, hidden_cells(self.ratio, setting.grid), setting.lesions)


class Oracle(Unlearnt):
    """Exactly ``number`` cells by the lesion's share of them; a lot parts equal ones."""

    def __init__(self, goal: str, number: int, lesions: Lesions) -> None:
        super().__init__()
        self.sign = 1 if goal == "hide" else -1
        self.number, self.lesions = number, lesions

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> Proposal:
        lesions = self.lesions(batch.index, batch.augmentation_seed)
        return Proposal(self._masks(lesions.to(batch.images.device), grid, generator))

    def choose_rows(
        self, index: Tensor, images: Tensor, grid: Grid, generator: Generator
    ) -> Tensor:
        """Return the masks of images as they stand in the store."""
        return self._masks(self.lesions(index, None).to(images.device), grid, generator)

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        """Return random cells: of images that come from nowhere no outline is known."""
        return highest(uniform(images, grid, generator), self.number, grid)

    def _masks(self, lesions: Tensor, grid: Grid, generator: Generator) -> Tensor:
        share = cell_means(lesions, grid).flatten(1)
        lots = uniform(lesions, grid, generator)
        return highest(ranked(self.sign * share, lots), self.number, grid)
