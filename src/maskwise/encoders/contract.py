"""What every encoder promises. It needs torch only."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn


class Encoder(Protocol):
    """A plain ``nn.Module`` that turns images into one feature map a stage, finest first."""

    channels: tuple[int, ...]
    """Channels of each stage's features."""
    strides: tuple[int, ...]
    """Pixels of the image a feature of each stage covers, one side; the last is the total."""

    def __call__(self, images: Tensor) -> list[Tensor]:
        """``(B, C, H, W)`` to ``[(B, channels[i], H / strides[i], W / strides[i]), ...]``.

        Raises ``UserError`` (``inputs.check_images``) for what is no such batch of images.
        """


class EncoderConfig(Protocol):
    """What an encoder's YAML name stands for; a frozen dataclass of plain values."""

    def build(self, channels: int) -> nn.Module: ...

    def adapt(self, tensors: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
        """Rename, fold or drop tensors of a checkpoint published elsewhere, so that it fits."""
