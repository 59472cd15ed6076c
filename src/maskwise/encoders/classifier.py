"""An encoder with a linear layer on its pooled features. It needs torch only."""

from typing import cast

import torch
from torch import Tensor, nn

POOLINGS = ("mean", "mean_max")


class Classifier(nn.Module):
    """Pool the features of some stages over the image, and weigh them up linearly.

    Args:
        encoder: keeps the contract of ``maskwise.encoders.contract``.
        stages: positions in the encoder's list of feature maps, finest first.
        pooling: ``mean``, or ``mean_max`` for mean and maximum side by side.
        classes: how many numbers come out.
    """

    temperature: Tensor

    def __init__(
        self, encoder: nn.Module, stages: tuple[int, ...], pooling: str, classes: int
    ) -> None:
        super().__init__()
        self.encoder, self.stages, self.pooling = encoder, stages, pooling
        self.head = nn.Linear(feature_count(encoder, stages, pooling), classes)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        """Turn normalised images ``(B, C, H, W)`` into logits ``(B, classes)``."""
        return cast(Tensor, self.head(self.features(images)))

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features that the linear layer sees, ``(B, F)``."""
        maps = self.encoder(images)
        return torch.cat([pool(maps[stage], self.pooling) for stage in self.stages], dim=1)

    def probabilities(self, images: Tensor) -> Tensor:
        """Return calibrated probabilities ``(B, classes)``: softmax of logits / temperature."""
        return (self(images) / self.temperature).softmax(dim=1)


def pool(features: Tensor, pooling: str) -> Tensor:
    """Pool ``(B, C, h, w)`` over places: ``(B, C)``, or ``(B, 2 C)`` for ``mean_max``."""
    mean = features.mean(dim=(2, 3))
    return mean if pooling == "mean" else torch.cat([mean, features.amax(dim=(2, 3))], dim=1)


def feature_count(encoder: nn.Module, stages: tuple[int, ...], pooling: str) -> int:
    """Return how many pooled features those stages have together."""
    channels = cast(tuple[int, ...], encoder.channels)
    return sum(channels[stage] for stage in stages) * (1 if pooling == "mean" else 2)
