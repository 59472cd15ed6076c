"""Which places of a feature map lie in visible cells, at every resolution."""

import torch
from torch import Tensor

from maskwise.errors import UserError
from maskwise.masks import to_pixels


class Visible:
    """The visible cells of one batch, expanded once for each size of feature maps.

    Args:
        hidden: bool ``(B, gh, gw)``.

    Raises:
        UserError: if all cells of an image are hidden.
    """

    def __init__(self, hidden: Tensor) -> None:
        self.cells = ~hidden
        self.grid = (hidden.shape[1], hidden.shape[2])
        if not bool(self.cells.flatten(1).any(1).all()):
            raise UserError(
                "policy: all cells of an image are hidden, so that nothing is left to see; let "
                "it hide exactly so many (exact_k: true, where it can draw each by itself), or "
                "choose a finer grid in the source's block `pretrain`"
            )
        self._places: dict[tuple[int, int], Tensor] = {}
        self._rows: dict[tuple[int, int], Tensor] = {}

    def side(self, height: int, width: int) -> tuple[int, int]:
        """Return how many places of a map of this size a cell has, down and across.

        Raises:
            UserError: if cells are no whole number of places.
        """
        gh, gw = self.grid
        if height % gh or width % gw:
            raise UserError(
                f"grid: cells of a grid of {gh} x {gw} are no whole number of places in "
                f"features of {height} x {width}; choose a coarser grid, or a smaller stride"
            )
        return height // gh, width // gw

    def at(self, features: Tensor) -> Tensor:
        """Return what is visible of ``(B, C, h, w)``: bool ``(B, 1, h, w)``."""
        height, width = features.shape[2:]
        if (height, width) not in self._places:
            self.side(height, width)
            self._places[height, width] = to_pixels(self.cells, height, width)
        return self._places[height, width]

    def rows(self, features: Tensor) -> Tensor:
        """Return the numbers of the visible places of ``(B, C, h, w)``, counted over the batch.

        Int64, image by image, row by row.
        """
        size = (int(features.shape[2]), int(features.shape[3]))
        if size not in self._rows:
            self._rows[size] = self.at(features).flatten().nonzero()[:, 0]
        return self._rows[size]

    def masked(self, features: Tensor) -> Tensor:
        """Return ``features`` ``(B, C, h, w)`` with zeros at hidden places.

        Where, and no product: what is hidden may be NaN or infinite.
        """
        return torch.where(self.at(features), features, features.new_zeros(()))
