"""ResNets (He et al. 2016) with torchvision's parameter names, their total stride an option."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from maskwise.bounds import Within
from maskwise.encoders.contract import Adapted, Encoder, Package
from maskwise.encoders.norm import Norm, build_norm, check_widths

RGB = 3
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue of ImageNet, by which torchvision normalises."""
GREY_MEAN, GREY_STD = sum(MEAN) / RGB, sum(STD) / RGB
"""By which an image of one channel is normalised for weights of theirs."""


@dataclass(frozen=True)
class _Options:
    """What all depths have."""

    package: ClassVar[Package | None] = None
    depths: ClassVar[tuple[int, int, int, int]]
    """Blocks per stage."""
    bottleneck: ClassVar[bool] = False

    width: Annotated[int, Within(1, 1_024)] = 64
    """Channels of the first 3 x 3 convolutions, doubled at each of the next three stages;
    published: 64. What a stage of resnet50 answers is four times as wide."""
    stride: Literal[8, 16, 32] = 8
    """Pixels of the image that a last feature stands for, one side: 8, 16 or 32."""
    keep_by: Literal["unit_stride", "dilation"] = "unit_stride"
    """How a stage beyond ``stride`` keeps its resolution: by strides of 1 alone, or also by
    spreading its kernels so that weights trained at stride 32 see what they saw."""
    norm: Norm = "batch"

    def __post_init__(self) -> None:
        check_widths(self.norm, (self.width,))

    def build(self, channels: int) -> "Resnet":
        return Resnet(self, channels)

    def adapt(self, tensors: Mapping[str, Tensor], channels: int) -> Adapted:
        """Fit a torchvision checkpoint: drop the classifier, fold RGB filters for one channel.

        A grey image gives the features that it gives shown three times, each time normalised as
        torchvision normalises red, green and blue; but for its outermost pixels (``_folded``).
        """
        fitted = {
            name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")
        }
        for name in [name for name in fitted if name.endswith(".running_mean")]:
            # A counter that no result depends on; older files do not hold it.
            counter = name.replace("running_mean", "num_batches_tracked")
            fitted.setdefault(counter, torch.zeros((), dtype=torch.int64))
        stem = fitted.get("conv1.weight")
        if stem is None or stem.ndim != 4 or stem.shape[1] != RGB:
            return Adapted(fitted)
        if channels == 1:
            return Adapted(fitted | _folded(stem, fitted), (GREY_MEAN,), (GREY_STD,))
        return Adapted(fitted, MEAN, STD)


@dataclass(frozen=True)
class Resnet18Config(_Options):
    """11.2 M parameters at the full width; the features of an image of 64 pixels are 8 x 8."""

    depths = (2, 2, 2, 2)


@dataclass(frozen=True)
class Resnet34Config(_Options):
    """21.3 M parameters at the full width; the features of an image of 64 pixels are 8 x 8."""

    depths = (3, 4, 6, 3)


@dataclass(frozen=True)
class Resnet50Config(_Options):
    """23.5 M parameters at the full width; the features of an image of 64 pixels are 8 x 8.

    As torchvision's, a bottleneck's 3 x 3 convolution has its stride, not its first one.
    """

    depths = (3, 4, 6, 3)
    bottleneck = True


class Resnet(Encoder):
    """The encoder; one feature map after each of ``layer1`` to ``layer4``."""

    def __init__(self, config: _Options, channels: int) -> None:
        super().__init__()
        widths = tuple(config.width * 2**stage for stage in range(4))
        self.channels = tuple(4 * width for width in widths) if config.bottleneck else widths
        self.strides = tuple(min(4 * 2**stage, config.stride) for stage in range(4))
        self.conv1 = nn.Conv2d(channels, config.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = build_norm(config.norm, config.width)
        before, width, names = 4, config.width, []
        for stage, stride in enumerate(self.strides):
            spread = 4 * 2**stage // stride if config.keep_by == "dilation" else 1
            blocks: list[nn.Module] = []
            for block in range(config.depths[stage]):
                first = block == 0
                # The first convolution still meets features spread as in the stage before.
                made = _Shape(
                    config.norm,
                    width,
                    widths[stage],
                    self.channels[stage],
                    stride // before if first else 1,
                    (max(1, spread // 2) if first else spread, spread),
                    shortcut=first and (stage > 0 or config.bottleneck),
                )
                blocks.append(_Bottleneck(made) if config.bottleneck else _Block(made))
                width = self.channels[stage]
            names.append(f"layer{stage + 1}")
            self.add_module(names[-1], nn.Sequential(*blocks))
            before = stride
        self._names = tuple(names)
        self.inputs = channels
        _initialise(self)

    def parts(self) -> list[list[nn.Module]]:
        return [[self.conv1, self.bn1], *([self.get_submodule(name)] for name in self._names)]

    def features(self, images: Tensor) -> list[Tensor]:
        current = nn.functional.relu(self.bn1(self.conv1(images)))
        current = nn.functional.max_pool2d(current, 3, stride=2, padding=1)
        features: list[Tensor] = []
        for name in self._names:
            current = self.get_submodule(name)(current)
            features.append(current)
        return features


@dataclass(frozen=True)
class _Shape:
    norm: Norm
    width: int
    """Of what comes in."""
    inner: int
    """Of the 3 x 3 convolutions."""
    out: int
    stride: int
    spread: tuple[int, int]
    """Of the kernels of the first 3 x 3 convolution and of those behind it."""
    shortcut: bool
    """Whether there is a convolution on the shortcut."""

    def beside(self) -> nn.Module | None:
        """Return what lies on the shortcut."""
        if not self.shortcut:
            return None
        convolution = nn.Conv2d(self.width, self.out, 1, stride=self.stride, bias=False)
        return nn.Sequential(convolution, build_norm(self.norm, self.out))


class _Block(nn.Module):
    """torchvision's ``BasicBlock``: two convolutions beside a shortcut."""

    def __init__(self, shape: _Shape) -> None:
        super().__init__()
        self.conv1 = _convolution(shape.width, shape.out, shape.stride, shape.spread[0])
        self.bn1 = build_norm(shape.norm, shape.out)
        self.conv2 = _convolution(shape.out, shape.out, 1, shape.spread[1])
        self.bn2 = build_norm(shape.norm, shape.out)
        self.downsample = shape.beside()

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        current = nn.functional.relu(self.bn1(self.conv1(features)))
        return nn.functional.relu(self.bn2(self.conv2(current)) + shortcut)


class _Bottleneck(nn.Module):
    """torchvision's ``Bottleneck``: a 3 x 3 convolution between two of 1 x 1."""

    def __init__(self, shape: _Shape) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(shape.width, shape.inner, 1, bias=False)
        self.bn1 = build_norm(shape.norm, shape.inner)
        self.conv2 = _convolution(shape.inner, shape.inner, shape.stride, shape.spread[0])
        self.bn2 = build_norm(shape.norm, shape.inner)
        self.conv3 = nn.Conv2d(shape.inner, shape.out, 1, bias=False)
        self.bn3 = build_norm(shape.norm, shape.out)
        self.downsample = shape.beside()

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        current = nn.functional.relu(self.bn1(self.conv1(features)))
        current = nn.functional.relu(self.bn2(self.conv2(current)))
        return nn.functional.relu(self.bn3(self.conv3(current)) + shortcut)


def _convolution(width: int, out: int, stride: int, spread: int) -> nn.Conv2d:
    return nn.Conv2d(width, out, 3, stride, padding=spread, dilation=spread, bias=False)


def _folded(stem: Tensor, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make filters of red, green and blue ``(W, 3, 7, 7)`` into those of one channel.

    Channel c of a grey image g is (g - m_c) / s_c; the network is given x = (g - m) / s, and
    so channel c is x s / s_c + (m - m_c) / s_c. The factor goes into the filters, and the
    constant, behind the filters a constant per feature, off the running mean of the norm. Only
    where a filter reaches over the image's edge is that not exact: the padding is 0 in each
    channel, and lacks the constant.
    """
    double = stem.double()
    scale = torch.tensor([GREY_STD / std for std in STD], dtype=torch.float64)
    shift = torch.tensor(
        [(GREY_MEAN - mean) / std for mean, std in zip(MEAN, STD, strict=True)],
        dtype=torch.float64,
    )
    weight = torch.einsum("ochw,c->ohw", double, scale)[:, None]
    found = {"conv1.weight": weight.to(stem.dtype)}
    mean = tensors.get("bn1.running_mean")
    if mean is not None and mean.shape == stem.shape[:1]:
        constant = torch.einsum("ochw,c->o", double, shift)
        found["bn1.running_mean"] = (mean.double() - constant).to(mean.dtype)
    return found


def _initialise(network: nn.Module) -> None:
    # As torchvision: He's initialisation by fan-out.
    for module in network.modules():
        # Without memory there is nothing to draw, and torch would import its compiler for it.
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
