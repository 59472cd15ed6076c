"""Fill in the hidden pixels from the visible ones (Pathak et al. 2016), without an adversary.

With ``RELEASE`` and the encoder's ``context_cnn.RELEASE`` it is the predictor of Intelligent
Masking's authors: 1,488,977 parameters at 128 pixels, 1,023,265 without skips.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from maskwise.bounds import LARGEST, Positive, Within
from maskwise.encoders.contract import Encoder
from maskwise.encoders.decoder import DecoderName
from maskwise.masks import cell_means, to_pixels
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.objectives.bottleneck import Bottleneck
from maskwise.pretrain.objectives.inpainter import Inpainter, hidden_mean

RELEASE: Mapping[str, Any] = {
    "decoder": "release",
    "bottleneck": "depthwise_release",
    "skips": True,
}


@dataclass(frozen=True)
class ContextEncoderConfig:
    """Squared error, averaged over hidden pixels and channels."""

    needs_mask: ClassVar[bool] = True
    errors_by_cell: ClassVar[bool] = True
    needs_training: ClassVar[bool] = True
    draws_pixels: ClassVar[bool] = True

    bottleneck: Bottleneck = "channel_fc"
    """How features cross the hole; see ``bottleneck.py``."""
    decoder: DecoderName = "lean"
    skips: bool = False
    """Hand the decoder the encoder's finer features: sharper answers, a lazier encoder."""
    overlap_px: Annotated[int, Within(0, LARGEST)] = 0
    """Width of the visible rim round a hole that is to be drawn too; Pathak et al.: 4 to 7."""
    overlap_weight: Positive = 10.0
    """Of an error in that rim, against 1 in the hole."""

    def build(self, setting: Setting, encoder: Encoder) -> "ContextEncoder":
        return ContextEncoder(self, setting, encoder)


class ContextEncoder(Inpainter):
    """Fills holes in, a bottleneck wide enough to cross them in its middle."""

    def __init__(
        self, config: ContextEncoderConfig, setting: Setting, encoder: Encoder
    ) -> None:
        super().__init__(setting, encoder, config.bottleneck, config.decoder, config.skips)
        self.config = config

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        images, grid = batch.images, (mask.shape[1], mask.shape[2])
        pixels = to_pixels(mask, *images.shape[2:])
        drawn = self.draw(images, pixels)
        residual = drawn - images
        errors = residual.square()
        cells = cell_means(errors, grid)
        return Outcome(
            loss=self._loss(errors, cells, mask, pixels),
            error_map=torch.where(mask, cells.detach(), torch.nan),
            residual=residual.detach(),
            reconstruction=drawn.detach(),
        )

    def _loss(self, errors: Tensor, cells: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
        if not self.config.overlap_px:
            return hidden_mean(cells, mask, self.ranks)
        reach = 2 * self.config.overlap_px + 1
        near = nn.functional.max_pool2d(pixels.float(), reach, 1, self.config.overlap_px)
        weights = torch.where(pixels, 1.0, self.config.overlap_weight * near)
        total = self.ranks.at_least(weights.sum(), 1) * errors.shape[1]
        return (errors * weights).sum() / total
