"""No network: the image itself, averaged to 8 x 8. The yardstick that a probe must beat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from maskwise.encoders.contract import Adapted, Encoder, Package

SIDE = 8


@dataclass(frozen=True)
class PixelsConfig:
    """Has no options."""

    package: ClassVar[Package | None] = None

    def build(self, channels: int) -> "Pixels":
        return Pixels(channels)

    def adapt(self, tensors: Mapping[str, Tensor], channels: int) -> Adapted:
        return Adapted(dict(tensors))


class Pixels(Encoder):
    """``(B, C, H, W)`` to ``[(B, C, 8, 8)]``; no parameters, so nothing to train."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = (channels,)
        self.inputs = channels
        # Of an image of 64 pixels; the features are 8 x 8 whatever the image's size.
        self.strides = (8,)

    def parts(self) -> list[list[nn.Module]]:
        return [[], []]

    def features(self, images: Tensor) -> list[Tensor]:
        return [nn.functional.adaptive_avg_pool2d(images, SIDE)]
