"""ResNet-18 (He et al. 2016) with torchvision's parameter names, its total stride an option."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from maskwise.bounds import Within
from maskwise.encoders.contract import Encoder
from maskwise.encoders.inputs import check_images
from maskwise.encoders.norm import Norm, build_norm, check_widths

RGB = 3


@dataclass(frozen=True)
class Resnet18Config:
    """11.2 M parameters at the full width; the features of an image of 64 pixels are 8 x 8."""

    width: Annotated[int, Within(1, 1_024)] = 64
    """Channels of the first stage, doubled at each of the next three; published: 64."""
    stride: Literal[8, 16, 32] = 8
    """Pixels of the image that a last feature stands for, one side: 8, 16 or 32."""
    keep_by: Literal["unit_stride", "dilation"] = "unit_stride"
    """How a stage beyond ``stride`` keeps its resolution: by strides of 1 alone, or also by
    spreading its kernels so that weights trained at stride 32 see what they saw."""
    norm: Norm = "batch"

    def __post_init__(self) -> None:
        check_widths(self.norm, (self.width,))

    def build(self, channels: int) -> "Resnet18":
        return Resnet18(self, channels)

    def adapt(self, tensors: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
        """Fit a torchvision checkpoint: drop the classifier, fold RGB filters for one channel.

        The fold is a sum: a grey image shown three times gives the same features.
        """
        fitted = {
            name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")
        }
        stem = fitted.get("conv1.weight")
        if stem is not None and stem.ndim == 4 and stem.shape[1] == RGB and channels == 1:
            fitted["conv1.weight"] = stem.sum(dim=1, keepdim=True)
        for name in [name for name in fitted if name.endswith(".running_mean")]:
            # A counter that no result depends on; older files do not hold it.
            counter = name.replace("running_mean", "num_batches_tracked")
            fitted.setdefault(counter, torch.zeros((), dtype=torch.int64))
        return fitted


class Resnet18(Encoder):
    """The encoder; one feature map after each of ``layer1`` to ``layer4``."""

    def __init__(self, config: Resnet18Config, channels: int) -> None:
        super().__init__()
        self.channels = tuple(config.width * 2**stage for stage in range(4))
        self.strides = tuple(min(4 * 2**stage, config.stride) for stage in range(4))
        self.conv1 = nn.Conv2d(channels, config.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = build_norm(config.norm, config.width)
        width, before, names = config.width, 4, []
        for stage, (out, stride) in enumerate(zip(self.channels, self.strides, strict=True), 1):
            spread = 4 * 2 ** (stage - 1) // stride if config.keep_by == "dilation" else 1
            # The first convolution still meets features spread as those of the stage before.
            first = _Block(
                config.norm, width, out, stride // before, (max(1, spread // 2), spread)
            )
            second = _Block(config.norm, out, out, 1, (spread, spread))
            self.add_module(f"layer{stage}", nn.Sequential(first, second))
            names.append(f"layer{stage}")
            width, before = out, stride
        self._names = tuple(names)
        self._inputs = channels
        _initialise(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        check_images(images, self, self._inputs)
        current = nn.functional.relu(self.bn1(self.conv1(images)))
        current = nn.functional.max_pool2d(current, 3, stride=2, padding=1)
        features: list[Tensor] = []
        for name in self._names:
            current = self.get_submodule(name)(current)
            features.append(current)
        return features


class _Block(nn.Module):
    """torchvision's ``BasicBlock``: two convolutions beside a shortcut."""

    def __init__(
        self, norm: Norm, width: int, out: int, stride: int, spread: tuple[int, int]
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(width, out, stride, spread[0])
        self.bn1 = build_norm(norm, out)
        self.conv2 = _convolution(out, out, 1, spread[1])
        self.bn2 = build_norm(norm, out)
        self.downsample: nn.Module | None = None
        if width != out:
            shortcut = nn.Conv2d(width, out, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, build_norm(norm, out))

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        current = nn.functional.relu(self.bn1(self.conv1(features)))
        return nn.functional.relu(self.bn2(self.conv2(current)) + shortcut)


def _convolution(width: int, out: int, stride: int, spread: int) -> nn.Conv2d:
    return nn.Conv2d(width, out, 3, stride, padding=spread, dilation=spread, bias=False)


def _initialise(network: nn.Module) -> None:
    # As torchvision: He's initialisation by fan-out.
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
