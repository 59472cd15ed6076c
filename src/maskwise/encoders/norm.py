"""Normalisation layers by name."""

import math
from typing import Literal

from torch import nn

Norm = Literal["group", "batch"]
GROUP = 8
"""Channels a group. Group norm needs no other image of the batch, so it suits small batches."""


def check_widths(norm: Norm, widths: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless ``norm`` can divide every width."""
    if norm == "group" and any(width % GROUP for width in widths):
        raise ValueError(
            f"widths should be multiples of {GROUP} with norm: group, not {list(widths)}; "
            "change them, or choose norm: batch"
        )


def build_norm(norm: Norm, width: int) -> nn.Module:
    """Return the layer for feature maps of ``width`` channels."""
    if norm == "batch":
        return nn.BatchNorm2d(width)
    return nn.GroupNorm(width // math.gcd(width, GROUP), width)
