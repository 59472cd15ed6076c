"""Fill in the hidden pixels from the visible ones (Pathak et al. 2016), without an adversary.

With ``RELEASE`` and the encoder's ``context_cnn.RELEASE`` it is the predictor of Intelligent
Masking's authors: 1,488,977 parameters at 128 pixels, 1,023,265 without skips.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from maskwise.encoders.decoder import Decoder, DecoderName
from maskwise.errors import UserError
from maskwise.masks import cell_means, to_pixels
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.objectives.bottleneck import Bottleneck, build_bottleneck

RELEASE: Mapping[str, Any] = {
    "decoder": "release",
    "bottleneck": "depthwise_release",
    "skips": True,
}


@dataclass(frozen=True)
class ContextEncoderConfig:
    """Squared error, averaged over hidden pixels and channels."""

    needs_mask: ClassVar[bool] = True
    needs_training: ClassVar[bool] = True

    bottleneck: Bottleneck = "channel_fc"
    """How features cross the hole; see ``bottleneck.py``."""
    decoder: DecoderName = "lean"
    skips: bool = False
    """Hand the decoder the encoder's finer features: sharper answers, a lazier encoder."""
    overlap_px: int = 0
    """Width of the visible rim round a hole that is to be drawn too; Pathak et al.: 4 to 7."""
    overlap_weight: float = 10.0
    """Of an error in that rim, against 1 in the hole."""

    def __post_init__(self) -> None:
        if self.overlap_px < 0:
            raise ValueError(f"overlap_px is {self.overlap_px}, but should be 0 or more")
        if not self.overlap_weight > 0:
            raise ValueError(f"overlap_weight is {self.overlap_weight}, but should be above 0")

    def build(self, setting: Setting, encoder: nn.Module) -> "ContextEncoder":
        return ContextEncoder(self, setting, encoder)


class ContextEncoder(nn.Module):
    """The encoder, a bottleneck and a decoder."""

    encoder: nn.Module

    def __init__(
        self, config: ContextEncoderConfig, setting: Setting, encoder: nn.Module
    ) -> None:
        super().__init__()
        widths: tuple[int, ...] = encoder.channels  # type: ignore[assignment]
        strides: tuple[int, ...] = encoder.strides  # type: ignore[assignment]
        total = strides[-1]
        if setting.height % total or setting.width % total:
            raise UserError(
                f"encoder.stride: {total} does not divide an image of {setting.height} x "
                f"{setting.width} pixels, so its features cannot be turned back into one; "
                "choose another stride, or another size in the source's block `preprocess`"
            )
        self.config = config
        self.encoder = encoder
        size = (setting.height // total, setting.width // total)
        self.bottleneck = build_bottleneck(
            config.bottleneck, widths[-1], size, len(widths), total
        )
        self.decoder = Decoder(config.decoder, config.skips, widths, strides, setting.channels)

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        images, grid = batch.images, (mask.shape[1], mask.shape[2])
        pixels = to_pixels(mask, *images.shape[2:])
        features = self.encoder(torch.where(pixels, 0.0, images))
        # In float32 also under autocast: errors become rewards, and rewards become targets.
        drawn = self.decoder(features, self.bottleneck(features[-1])).float()
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
            # All cells have as many pixels, so the mean over hidden cells is that over pixels.
            return torch.where(mask, cells, 0.0).sum() / mask.sum().clamp(min=1)
        reach = 2 * self.config.overlap_px + 1
        near = nn.functional.max_pool2d(pixels.float(), reach, 1, self.config.overlap_px)
        weights = torch.where(pixels, 1.0, self.config.overlap_weight * near)
        total = weights.sum().clamp(min=1) * errors.shape[1]
        return (errors * weights).sum() / total
