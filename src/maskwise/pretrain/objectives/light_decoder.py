"""SparK's way back to an image: tokens in the holes of every scale, and a light decoder.

Tian et al., ICLR 2023, section 3.2 and the authors' ``spark.py`` and ``decoder.py``. Here
information crosses the borders of cells for the first time.
"""

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from maskwise.encoders.contract import Encoder
from maskwise.encoders.norm import BatchNorm, build_norm
from maskwise.encoders.sparse.masked import batch_norm, group_norm
from maskwise.encoders.sparse.visible import Visible

Upsampling = Literal["nearest", "transposed"]


class Densify(nn.Module):
    """Normalises what is visible of one scale, and fills its holes with a learnt token.

    Args:
        width: channels of the scale.
        batch: whether the norm is batch norm; else group norm.
        out: channels that the decoder takes.
        kernel: of the convolution between the two.
    """

    def __init__(self, width: int, batch: bool, out: int, kernel: int) -> None:
        super().__init__()
        self.norm = build_norm("batch" if batch else "group", width)
        self.token = nn.Parameter(torch.zeros(width))
        nn.init.trunc_normal_(self.token, std=0.02, a=-0.02, b=0.02)
        same = kernel == 1 and width == out
        self.projection = (
            nn.Identity() if same else nn.Conv2d(width, out, kernel, padding=kernel // 2)
        )

    def fill(self, features: Tensor, visible: Visible) -> Tensor:
        """Return ``(B, width, h, w)`` with the token in exactly its hidden places."""
        if isinstance(self.norm, BatchNorm):
            seen = batch_norm(self.norm, features, visible)
        else:
            assert isinstance(self.norm, nn.GroupNorm)
            seen = group_norm(self.norm, features, visible)
        token = self.token.to(seen.dtype)[:, None, None]
        return torch.where(visible.at(features), seen, token)

    def forward(self, features: Tensor, visible: Visible) -> Tensor:
        answer: Tensor = self.projection(self.fill(features, visible))
        return answer


class Shape(Protocol):
    """How a light decoder is built."""

    @property
    def width(self) -> int:
        """Channels at the deepest features, a multiple of 2 to the number of doublings."""

    @property
    def depth(self) -> int:
        """3 x 3 convolutions after each doubling."""

    @property
    def stop_stride(self) -> int:
        """Where it ends; the pixels of the last places are channels until then."""

    @property
    def upsampling(self) -> Upsampling:
        """``transposed``: a learnt 4 x 4 convolution, as the authors'."""


class LightDecoder(nn.Module):
    """Goes up from the deepest features, halving its width as it doubles its sides.

    Args:
        shape: of it.
        encoder: whose features it takes; with batch norms, the scales' norms are such too.
        channels: of an image.
        finer: multiples of the image's size at which it is drawn as well; each goes on from
            the image's with blocks of its own.
    """

    def __init__(
        self, shape: Shape, encoder: Encoder, channels: int, finer: Sequence[int] = ()
    ) -> None:
        super().__init__()
        # Where several stages share a stride, the deepest of them stands for it.
        self._stages = {stride: stage for stage, stride in enumerate(encoder.strides)}
        self._stop, total = shape.stop_stride, encoder.strides[-1]
        batch = any(isinstance(module, BatchNorm) for module in encoder.modules())
        self.scales, self.blocks = nn.ModuleDict(), nn.ModuleDict()
        for stride in _halved(total, shape.stop_stride):
            inner = shape.width * stride // total
            if stride in self._stages:
                kernel = 1 if stride == total else 3
                width = encoder.channels[self._stages[stride]]
                self.scales[str(stride)] = Densify(width, batch, inner, kernel)
            if stride > shape.stop_stride:
                self.blocks[str(stride)] = _block(inner, shape.depth, shape.upsampling)
        last = shape.width * shape.stop_stride // total
        values = channels * shape.stop_stride**2
        self.head = nn.Conv2d(last, values, 1)
        self.finer = nn.ModuleDict(
            {str(factor): _finer(last, factor, values, shape) for factor in finer}
        )
        for module in self.modules():
            _initialise(module)

    def forward(self, features: Sequence[Tensor], visible: Visible) -> Tensor:
        """Turn every stage's features, 0 where hidden, into an image ``(B, C, H, W)``."""
        return self.drawn(features, visible)[1]

    def drawn(
        self, features: Sequence[Tensor], visible: Visible, finer: Collection[int] = ()
    ) -> dict[int, Tensor]:
        """Return images ``(B, C, H factor, W factor)`` by factor: 1 and those of ``finer``."""
        current: Tensor | None = None
        for stride in _halved(max(self._stages), self._stop):
            if str(stride) in self.scales:
                filled = self.scales[str(stride)](features[self._stages[stride]], visible)
                current = filled if current is None else current + filled
            if str(stride) in self.blocks:
                current = self.blocks[str(stride)](current)
        answers = {1: self.head(current)}
        answers |= {factor: self.finer[str(factor)](current) for factor in finer}
        shuffle = nn.functional.pixel_shuffle
        return {factor: shuffle(answer, self._stop) for factor, answer in answers.items()}


def _halved(total: int, stop: int) -> list[int]:
    """Return the strides that the decoder passes: from the encoder's to its own last."""
    return [total >> turn for turn in range((total // stop).bit_length())]


def _finer(width: int, factor: int, values: int, shape: Shape) -> nn.Sequential:
    """Double the sides until a place holds as many pixels of the finer image as before."""
    blocks: list[nn.Module] = []
    for _ in range(factor.bit_length() - 1):
        blocks.append(_block(width, shape.depth, shape.upsampling))
        width //= 2
    return nn.Sequential(*blocks, nn.Conv2d(width, values, 1))


def _block(width: int, depth: int, upsampling: Upsampling) -> nn.Sequential:
    """Double the sides, and halve the channels in the last of ``depth`` convolutions."""
    layers: list[nn.Module] = (
        [nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)]
        if upsampling == "transposed"
        else [nn.Upsample(scale_factor=2, mode="nearest")]
    )
    for turn in range(depth):
        last = turn == depth - 1
        out = width // 2 if last else width
        layers += [nn.Conv2d(width, out, 3, padding=1, bias=False), BatchNorm(out)]
        # The authors' last convolution has no activation behind it.
        layers += [] if last and depth > 1 else [nn.ReLU6()]
    return nn.Sequential(*layers)


def _initialise(module: nn.Module) -> None:
    """As the authors: small normal weights, He's for transposed convolutions."""
    if isinstance(module, nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.ConvTranspose2d | nn.Conv2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
