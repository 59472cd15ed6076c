"""What policies share that hide boxes: the options, whether there is room, and the masks."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maskwise.bounds import Boxes, PartShare, Side
from maskwise.errors import UserError
from maskwise.masks import Grid, boxes
from maskwise.pretrain.policies.cells import filled, hidden_cells, uniform
from maskwise.pretrain.policies.unlearnt import Unlearnt


@dataclass(frozen=True)
class BoxOptions:
    """How large boxes are, how many, and whether single cells are hidden beside them."""

    box: tuple[Side, Side] = (5, 5)
    """Height and width in grid cells."""
    boxes: Boxes = 1
    """Boxes per image; they may overlap."""
    fill_to: PartShare | None = None
    """Share of the cells to which single ones, drawn at random, are hidden beside the boxes;
    null = none. Then as many are hidden in every image, which some objectives need."""

    def unequal(self) -> str | None:
        return unequal_boxes(self.boxes, self.fill_to)


class DrawnBoxes(Unlearnt):
    """Boxes at places that are drawn, whatever the image shows."""

    def __init__(self, options: BoxOptions) -> None:
        super().__init__()
        self.options = options

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        b, box, number = len(images), self.options.box, self.options.boxes
        rows, columns = (
            self.first_cells(b * number, grid[axis], box[axis], generator, images.device)
            for axis in (0, 1)
        )
        hidden = boxes(rows, columns, box, grid).reshape(b, number, *grid).any(dim=1)
        if self.options.fill_to is None:
            return hidden
        share = hidden_cells(self.options.fill_to, grid)
        return filled(hidden, share, uniform(images, grid, generator))

    @abstractmethod
    def first_cells(
        self, number: int, cells: int, side: int, generator: Generator, device: torch.device
    ) -> Tensor:
        """Draw where boxes begin along one axis: ``(number,)`` int64.

        Args:
            number: of boxes.
            cells: of the grid along that axis.
            side: of a box.
            generator: draws.
            device: of the images.
        """


def check_boxes(box: tuple[int, int], number: int, fill_to: float | None, grid: Grid) -> None:
    """Refuse boxes for which the grid has no room.

    Raises:
        UserError: unless the boxes fit and leave half of the grid to see, and what is filled
            up is no less than they may hide.
    """
    (bh, bw), (gh, gw) = box, grid
    if bh > gh or bw > gw or 2 * number * bh * bw > gh * gw:
        raise UserError(
            f"policy.box: {number} x {bh} x {bw} cells may hide more than half of the grid of "
            f"{gh} x {gw}; choose a smaller or fewer boxes, or a finer grid in the source's "
            "block `pretrain`"
        )
    if fill_to is None:
        return
    share = hidden_cells(fill_to, grid)
    if share < number * bh * bw:
        raise UserError(
            f"policy.fill_to: {fill_to:g} of a grid of {gh} x {gw} is {share} cells, but "
            f"{number} x {bh} x {bw} may be hidden already; raise it, or choose smaller or "
            "fewer boxes"
        )


def unequal_boxes(number: int, fill_to: float | None) -> str | None:
    """Return what lets boxes hide more of one image than of another, and the remedy."""
    if number == 1 or fill_to is not None:
        return None
    return f"boxes: {number}, which may overlap; say fill_to, a share of the cells"
