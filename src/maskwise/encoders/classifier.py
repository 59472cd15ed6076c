"""An encoder with a linear layer on its pooled features. It needs torch only."""

from typing import Any, Literal, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskwise.encoders.contract import Encoder
from maskwise.encoders.inputs import prepared
from maskwise.encoders.pooling import ATTENTIVE, AttentivePooling
from maskwise.errors import UserError

Activation = Literal["softmax", "sigmoid"]
"""How logits become probabilities: of one class out of several, or of each by itself."""


class Classifier(nn.Module):
    """Pool the features of some stages over the image, and weigh them up linearly.

    Args:
        encoder: whose features they are.
        stages: positions in the encoder's list of feature maps, finest first.
        pooling: a name that ``pool`` knows, or ``attentive``, which learns.
        features: how many pooled features those stages have together.
        classes: how many numbers come out.
        temperature: by which ``probabilities`` divides the logits.
        activation: how ``probabilities`` goes on from there.
    """

    metadata: Any
    """Of one that was loaded: ``maskwise.artefacts.model.ModelMetadata``."""
    limits: Any = None
    """Of one that was loaded: ``maskwise.limits.record.Limits``; None = its file has none."""
    sha256: str = ""
    """Of the file that it was loaded from."""

    def __init__(
        self,
        encoder: Encoder,
        stages: tuple[int, ...],
        pooling: str,
        features: int,
        classes: int,
        temperature: float = 1.0,
        activation: Activation = "softmax",
    ) -> None:
        super().__init__()
        self.encoder, self.stages, self.pooling = encoder, stages, pooling
        self.attention: AttentivePooling | None = None
        if pooling == ATTENTIVE:
            self.attention = AttentivePooling([encoder.channels[stage] for stage in stages])
        self.features = features
        self.head: nn.Module = nn.Linear(features, classes)
        self.temperature, self.activation = temperature, activation

    def forward(self, images: Tensor) -> Tensor:
        """Turn normalised images ``(B, C, H, W)`` into logits ``(B, classes)``."""
        return cast(Tensor, self.head(self.pooled(images)))

    def pooled(self, images: Tensor) -> Tensor:
        """Turn normalised images into what the linear layer weighs up, ``(B, F)``."""
        features = torch.cat(self._pooled_stages(images), dim=1)
        if features.shape[1] != self.features:
            raise UserError(
                f"images: {images.shape[2]} x {images.shape[3]} pixels were given, of which "
                f"the encoder makes {features.shape[1]} features, but the last layer takes "
                f"{self.features}; give images of the size in metadata.encoder.preparation"
            )
        return features

    def _pooled_stages(self, images: Tensor) -> list[Tensor]:
        """Return the features of the stages that are looked at, ``[(B, F_i), ...]``."""
        if self.attention is not None:
            maps = self.encoder(images)
            attended: list[Tensor] = self.attention([maps[stage] for stage in self.stages])
            return attended
        pooled = self.encoder.pooled_stages(images, self.pooling)
        return [pooled[stage] for stage in self.stages]

    def probabilities(self, images: Tensor) -> Tensor:
        """Return calibrated probabilities ``(B, classes)``.

        They are softmax(logits / temperature), which add to 1, or of several labels per image
        sigmoid(logits / temperature), each by itself.
        """
        return self.activated(cast(Tensor, self(images)))

    def activated(self, logits: Tensor) -> Tensor:
        """Turn logits ``(B, classes)`` into what ``probabilities`` returns."""
        scaled = logits / self.temperature
        return scaled.sigmoid() if self.activation == "sigmoid" else scaled.softmax(dim=1)

    def prepare(self, array: NDArray[Any], modality: str | None = None) -> Tensor:
        """Return a raw image as the model takes it, as ``Encoder.prepare`` does."""
        return prepared(self.encoder, self, array, modality)
