"""Fill in hidden cells with a U-Net, with its skips or without: masked image modelling.

The reconstruction network of adaptive hard masking (Xu et al., IEEE TMI 2025), as far as that
is known: ``docs/methods/autoencoder.md``. Normalised targets are He et al.'s (CVPR 2022).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError
from maskwise.masks import Grid, cell_means, to_pixels
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.objectives.inpainter import Inpainter, hidden_mean

FLOOR = 1e-6
"""Added to a cell's variance before its root is taken off: He et al.'s, in the same units."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Squared error, averaged over the pixels of a cell, its channels, and cells."""

    needs_mask: ClassVar[bool] = True
    errors_by_cell: ClassVar[bool] = True
    needs_training: ClassVar[bool] = True

    skips: bool = False
    """Hand the decoder the encoder's finer features: a U-Net. Sharper, by a lazier encoder."""
    target: Literal["plain", "cell_normalised"] = "plain"
    """``cell_normalised``: without each cell's own mean and deviation, so that errors are those
    of structure, not of brightness and contrast."""
    loss_region: Literal["hidden", "all"] = "hidden"
    """``all``: visible cells are in the loss too; the error map is of hidden ones always."""

    @property
    def draws_pixels(self) -> bool:
        return (
            self.target == "plain"
        )  # with a cell's mean and deviation open there is no picture

    def build(self, setting: Setting, encoder: Encoder) -> "Autoencoder":
        return Autoencoder(self, setting, encoder)


class Autoencoder(Inpainter):
    """Fills cells in, each from its neighbours; nothing lies between encoder and decoder."""

    def __init__(self, config: AutoencoderConfig, setting: Setting, encoder: Encoder) -> None:
        values = setting.channels * setting.height * setting.width
        if config.target == "cell_normalised" and values == setting.grid[0] * setting.grid[1]:
            raise UserError(
                "objective.target: cell_normalised leaves nothing to draw in a cell of 1 "
                "pixel; choose plain, or a coarser grid in the source's block `pretrain`"
            )
        super().__init__(setting, encoder, "none", "lean", config.skips)
        self.config = config

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        images, grid = batch.images, (mask.shape[1], mask.shape[2])
        drawn = self.draw(images, to_pixels(mask, *images.shape[2:]))
        plain = self.config.draws_pixels
        residual = drawn - (images if plain else cell_normalised(images, grid))
        cells = cell_means(residual.square(), grid)
        hidden_only = self.config.loss_region == "hidden"
        shown = (residual.detach(), drawn.detach()) if plain else (None, None)
        return Outcome(
            hidden_mean(cells, mask, self.ranks) if hidden_only else cells.mean(),
            torch.where(mask, cells.detach(), torch.nan),
            *shown,
        )


def cell_normalised(images: Tensor, grid: Grid) -> Tensor:
    """Take each cell's mean off ``images`` ``(B, C, H, W)``, and divide by its deviation.

    Both are over the pixels and channels of a cell. A cell without structure becomes 0.
    """
    (b, c, h, w), (gh, gw) = images.shape, grid
    cells = images.reshape(b, c, gh, h // gh, gw, w // gw)
    variance, mean = torch.var_mean(cells, dim=(1, 3, 5), correction=0, keepdim=True)
    normalised: Tensor = (cells - mean) / (variance + FLOOR).sqrt()
    return normalised.reshape(images.shape)
