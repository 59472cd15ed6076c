"""The context encoder of Intelligent Masking (Bahrami et al. 2022), its layout an option.

A stage is a chain of 3 x 3 convolutions with norm and ReLU between them; 2 x 2 max pooling lies
between the stages. The authors' release (``models.py``, ``Encoder``) is ``RELEASE``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor, nn

from maskwise.bounds import Length, Width, Within
from maskwise.encoders.contract import Adapted, Encoder, Package
from maskwise.encoders.norm import Norm, build_activation, build_norm, check_widths

Closing = Literal["norm_relu", "none"]
Convolutions = Annotated[int, Within(1, 64)]

RELEASE: Mapping[str, Any] = {
    "widths": [16, 32, 64, 64, 128, 128],
    "convolutions": [2, 2, 2, 2, 2, 2],
    "stride": 32,
    "norm": "batch",
    "closing": "none",
}
"""663,120 parameters for one channel."""


@dataclass(frozen=True)
class ContextCnnConfig:
    """.45 M parameters by default, and 8 x 8 features of an image of 64 pixels."""

    package: ClassVar[Package | None] = None

    widths: Annotated[tuple[Width, ...], Length(1, 16)] = (24, 56, 112)
    """Channels per stage, finest first."""
    convolutions: Annotated[tuple[Convolutions, ...], Length(1, 16)] = (2, 2, 4)
    """3 x 3 convolutions per stage."""
    stride: Literal[8, 16, 32] = 8
    """Pixels of the image that a feature of the last stage stands for, one side: 8, 16 or 32.

    Poolings between the stages halve first. Halvings beyond them are strided convolutions in
    front; where there are more stages than halvings, the last stages are not pooled.
    """
    norm: Norm = "group"
    leak: Annotated[float, Within(0, 1)] = 0.0
    """Slope of activations below 0; 0 = ReLU."""
    closing: Closing = "norm_relu"
    """What follows a stage's last convolution; nothing in the release."""

    def __post_init__(self) -> None:
        if len(self.convolutions) != len(self.widths):
            raise ValueError(
                f"convolutions should hold a number for each of the {len(self.widths)} widths, "
                f"but holds {len(self.convolutions)}"
            )
        check_widths(self.norm, self.widths)

    def build(self, channels: int) -> "ContextCnn":
        return ContextCnn(self, channels)

    def adapt(self, tensors: Mapping[str, Tensor], channels: int) -> Adapted:
        return Adapted(dict(tensors))


class ContextCnn(Encoder):
    """The encoder; its features are taken in front of the pooling that follows them."""

    def __init__(self, config: ContextCnnConfig, channels: int) -> None:
        super().__init__()
        halvings = config.stride.bit_length() - 1
        poolings = min(halvings, len(config.widths) - 1)
        in_front = halvings - poolings
        self.channels = config.widths
        self.strides = tuple(
            2 ** (in_front + min(stage, poolings)) for stage in range(len(config.widths))
        )
        self.stem = nn.Sequential(*_halving(config, channels, in_front))
        width = config.widths[0] if in_front else channels
        stages = []
        for out, convolutions in zip(config.widths, config.convolutions, strict=True):
            stages.append(_stage(config, width, out, convolutions))
            width = out
        self.stages = nn.ModuleList(stages)
        self._poolings = poolings
        self.inputs = channels
        # Strided convolutions round a side up, poolings down.
        self.least = (2**poolings - 1) * 2**in_front + 1

    def parts(self) -> list[list[nn.Module]]:
        return [[self.stem], *([stage] for stage in self.stages)]

    def features(self, images: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        current = self.stem(images)
        for position, stage in enumerate(self.stages):
            if 0 < position <= self._poolings:
                current = nn.functional.max_pool2d(current, 2)
            current = stage(current)
            features.append(current)
        return features


def _halving(config: ContextCnnConfig, channels: int, times: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(times):
        width = config.widths[0]
        layers += [
            nn.Conv2d(channels, width, 3, stride=2, padding=1),
            build_norm(config.norm, width),
            build_activation(config.leak),
        ]
        channels = width
    return layers


def _stage(config: ContextCnnConfig, width: int, out: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(convolutions):
        layers += [
            nn.Conv2d(width, out, 3, padding=1),
            build_norm(config.norm, out),
            build_activation(config.leak),
        ]
        width = out
    return nn.Sequential(*(layers[:-2] if config.closing == "none" else layers))
