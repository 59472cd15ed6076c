"""An encoder with a linear layer on its pooled features. It needs torch only."""

from typing import cast

import torch
from torch import Tensor, nn

from maskwise.errors import UserError


class Classifier(nn.Module):
    """Pool the features of some stages over the image, and weigh them up linearly.

    Args:
        encoder: keeps the contract of ``maskwise.encoders.contract``.
        stages: positions in the encoder's list of feature maps, finest first.
        pooling: a name that ``pool`` knows.
        features: how many pooled features those stages have together.
        classes: how many numbers come out.
        temperature: by which ``probabilities`` divides the logits.
    """

    def __init__(
        self,
        encoder: nn.Module,
        stages: tuple[int, ...],
        pooling: str,
        features: int,
        classes: int,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.encoder, self.stages, self.pooling = encoder, stages, pooling
        self.features = features
        self.head: nn.Module = nn.Linear(features, classes)
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        """Turn normalised images ``(B, C, H, W)`` into logits ``(B, classes)``."""
        maps = self.encoder(images)
        pooled = [pool(maps[stage], self.pooling) for stage in self.stages]
        features = torch.cat(pooled, dim=1)
        if features.shape[1] != self.features:
            raise UserError(
                f"images: {images.shape[2]} x {images.shape[3]} pixels were given, of which "
                f"the encoder makes {features.shape[1]} features, but the last layer takes "
                f"{self.features}; give images of the size in metadata.encoder"
            )
        return cast(Tensor, self.head(features))

    def probabilities(self, images: Tensor) -> Tensor:
        """Return calibrated probabilities ``(B, classes)``: softmax of logits / temperature."""
        logits = cast(Tensor, self(images))
        return (logits / self.temperature).softmax(dim=1)


def pool(features: Tensor, pooling: str) -> Tensor:
    """Turn a feature map ``(B, C, h, w)`` into numbers an image.

    ``mean`` over the places, ``(B, C)``; ``mean_max``, mean and maximum side by side,
    ``(B, 2 C)``; ``places``, every place for itself, ``(B, C h w)``.
    """
    if pooling == "mean":
        return features.mean(dim=(2, 3))
    if pooling == "mean_max":
        return torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
    if pooling == "places":
        return features.flatten(1)
    raise ValueError(f"there is no pooling {pooling!r}")
