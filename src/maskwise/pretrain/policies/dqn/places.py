"""Where a box may go: places, numbered row by row, and the cells that a box there hides."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from maskwise.errors import UserError
from maskwise.masks import Grid, boxes


@dataclass(frozen=True)
class Places:
    """The places of a box: its top-left cell moves by ``stride`` cells."""

    grid: Grid
    box: tuple[int, int]
    """Height and width, cells."""
    stride: int = 1
    """Cells."""
    overhang: bool = False
    """Also places where the box leaves the image and is cropped."""

    def __post_init__(self) -> None:
        gh, gw = self.grid
        if self.overhang and (gh % self.stride or gw % self.stride):
            raise UserError(
                f"policy.stride: {self.stride} does not divide a grid of {gh} x {gw} cells, as "
                "actions: all_cells needs; choose a divisor"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of places, ``(ph, pw)``."""
        spare = (0, 0) if not self.overhang else (self.box[0] - 1, self.box[1] - 1)
        rows, columns = (
            (cells - side + extra) // self.stride + 1
            for cells, side, extra in zip(self.grid, self.box, spare, strict=True)
        )
        return rows, columns

    @property
    def number(self) -> int:
        """How many places there are."""
        return self.shape[0] * self.shape[1]

    def masks(self, places: Tensor) -> Tensor:
        """Return the cells hidden by a box at ``places`` ``(B,)``: bool ``(B, gh, gw)``."""
        columns = self.shape[1]
        tops, lefts = places // columns * self.stride, places % columns * self.stride
        return boxes(tops, lefts, self.box, self.grid)

    def box_sums(self, cells: Tensor) -> Tensor:
        """Sum ``(B, gh, gw)`` over the box at every place: ``(B, ph * pw)``; 0 overhangs."""
        if self.overhang:
            cells = pad(cells, (0, self.box[1] - 1, 0, self.box[0] - 1))
        means = avg_pool2d(cells[:, None], self.box, stride=1)
        sums: Tensor = means[:, 0, :: self.stride, :: self.stride] * (self.box[0] * self.box[1])
        return sums.flatten(1)

    def inside(self, device: torch.device) -> Tensor:
        """Tell at which places the whole box lies in the image: bool ``(ph * pw,)``."""
        whole = self.box_sums(torch.ones(1, *self.grid, device=device))[0]
        return whole > self.box[0] * self.box[1] - 0.5

    def allowed(self, hidden: Tensor, least: float) -> Tensor:
        """Tell where a box would newly hide at least the share ``least`` of itself.

        ``hidden`` bool ``(B, gh, gw)``; the answer is bool ``(B, ph * pw)``.
        """
        fresh = self.box_sums((~hidden).float())
        whole = self.box_sums(torch.ones_like(hidden, dtype=torch.float32))
        # Sums of floats over cells: half a cell is far above their rounding.
        return fresh + 1e-3 >= least * whole
