"""Normalisation layers by name."""

import math
from typing import Literal

from torch import Tensor, nn

from maskwise.errors import UserError

Norm = Literal["group", "batch"]
GROUP = 8
"""Channels per group. Group norm needs no other image of the batch, so it suits small
batches."""


def check_widths(norm: Norm, widths: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless ``norm`` can divide every width."""
    if norm == "group" and any(width % GROUP for width in widths):
        raise ValueError(
            f"widths should be multiples of {GROUP} with norm: group, not {list(widths)}; "
            "change them, or choose norm: batch"
        )


class BatchNorm(nn.BatchNorm2d):
    """torch's, with a sentence where a batch has no variance."""

    def forward(self, features: Tensor) -> Tensor:
        if self.training and features.numel() == features.shape[1]:
            raise UserError(
                "batch norm needs two or more values per channel, but one image with features "
                "of 1 x 1 was given; take more images per batch (batch_size), a smaller "
                "stride, or norm: group"
            )
        normalised: Tensor = super().forward(features)
        return normalised


def build_norm(norm: Norm, width: int) -> nn.Module:
    """Return the layer for feature maps of ``width`` channels."""
    if norm == "batch":
        return BatchNorm(width)
    return nn.GroupNorm(width // math.gcd(width, GROUP), width)
