"""From features back to an image of full size: lean by default, or the release's."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, cat, nn

from maskwise.encoders.norm import build_norm

DecoderName = Literal["lean", "release"]


class Decoder(nn.Module):
    """Goes up through the strides of the encoder, optionally past the features met there.

    ``lean``: one 3 x 3 convolution per level, and one convolution that turns the last level's
    features into pixels, so that no map of full size has more channels than the image: such
    maps are where a small network spends its time.
    ``release``: the authors' "UNet" (with skips) or "AE" (without).
    """

    def __init__(
        self,
        kind: DecoderName,
        skips: bool,
        widths: Sequence[int],
        strides: Sequence[int],
        channels: int,
    ) -> None:
        super().__init__()
        # Where several stages share a stride, the deepest of them stands for it.
        levels = [
            i
            for i, stride in enumerate(strides)
            if i + 1 == len(strides) or strides[i + 1] > stride
        ]
        self._skips = skips
        self._levels = levels[-2::-1] if len(levels) > 1 else []
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        width, before = widths[-1], strides[-1]
        for level in self._levels:
            out, factor = widths[level], before // strides[level]
            self.ups.append(nn.ConvTranspose2d(width, out, factor, stride=factor))
            self.blocks.append(_block(kind, skips, out))
            width, before = out, strides[level]
        kernel = 3 if kind == "lean" else 1
        to_pixels = nn.Conv2d(width, channels * before**2, kernel, padding=kernel // 2)
        self.head = nn.Sequential(to_pixels, nn.PixelShuffle(before))

    def forward(self, features: Sequence[Tensor], bottleneck: Tensor) -> Tensor:
        current = bottleneck
        for level, up, block in zip(self._levels, self.ups, self.blocks, strict=True):
            current = up(current)
            if self._skips:
                current = cat([current, features[level]], dim=1)
            current = block(current)
        image: Tensor = self.head(current)
        return image


def _block(kind: DecoderName, skips: bool, out: int) -> nn.Sequential:
    """Return what follows a level's transposed convolution, and its skip where there is one."""
    width = 2 * out if skips else out
    if kind == "lean":
        first = nn.Conv2d(width, out, 3, padding=1)
        return nn.Sequential(first, build_norm("group", out), nn.ReLU())
    # In the release's "AE" the transposed convolution stands in the first one's place.
    first_convolution = [nn.Conv2d(width, out, 3, padding=1)] if skips else []
    return nn.Sequential(
        *first_convolution,
        build_norm("batch", out),
        nn.ReLU(),
        nn.Conv2d(out, out, 3, padding=1),
    )
