"""A U-Net's way up: past the features of every stride, and past the image itself.

Each level is MONAI's ``UpCat`` (``monai.networks.nets.basic_unet``), written in torch alone,
which is all that a user of a model must have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, cat, nn

from maskwise.bounds import Within
from maskwise.encoders.norm import Norm, build_activation, build_norm
from maskwise.errors import UserError

WIDTH = 16
LEAK = 0.1
"""MONAI's slope. With 0 a network of few lesions may call none for hundreds of steps."""


@dataclass(frozen=True)
class DecoderConfig:
    """How a segmenter's decoder is built."""

    layout: Literal["unet", "lean"] = "unet"
    """``unet``: two convolutions at every level, down to the pixels of the image; ``lean``: one
    at every level of the encoder, whose finest features a last one turns into pixels."""
    width: Annotated[int, Within(1, 1_024)] = WIDTH
    """Of ``unet``: channels at the image's own pixels. A level of stride s has s times as many,
    or as many as the encoder's features there, where these are fewer."""
    norm: Norm = "instance"
    """Of ``unet``: of each channel of each image, as MONAI's; with ``group`` networks learnt
    more slowly here."""
    leak: Annotated[float, Within(0, 1)] = LEAK
    """Of ``unet``: slope of its activations below 0; 0 = ReLU."""

    def __post_init__(self) -> None:
        given = (self.width, self.norm, self.leak)
        if self.layout == "lean" and given != (WIDTH, "instance", LEAK):
            raise ValueError("width, norm and leak are options of layout: unet; lean has none")


LEAN = DecoderConfig(layout="lean")
"""What every segmenter had before there was a choice, and files without a word of it have."""


class UnetDecoder(nn.Module):
    """Goes up through the strides of the encoder, and beyond them to the image.

    Where all stages share a stride, as a transformer's do, each earlier one is drawn at twice
    the sides of the next, and stands for that stride (UNETR, Hatamizadeh et al., WACV 2022).
    Where the encoder begins with a stride, a stem of one convolution per level makes what is
    taken past it: of the image at its own pixels, and of that at half of them where the
    encoder begins with a stride of 4.

    Args:
        config: of ``layout: unet``.
        inputs: channels of an image.
        widths: channels of each stage of the encoder.
        strides: of each stage, multiples by powers of two.
        outputs: channels of the answer.

    Raises:
        UserError: if there is one stage: nothing can be taken past the deepest.
    """

    def __init__(
        self,
        config: DecoderConfig,
        inputs: int,
        widths: Sequence[int],
        strides: Sequence[int],
        outputs: int,
    ) -> None:
        super().__init__()
        if len(strides) == 1:
            raise UserError(
                f"encoder.name: its only features have the stride {strides[-1]}, so that a "
                "decoder of layout unet finds none to take past the deepest; write network: "
                "{layout: lean} into the source's finetune.task, or choose another encoder"
            )
        self.raised = nn.ModuleList()
        outs = [*widths]
        if len({*strides}) == 1:
            self._stages, strides = _drawn_apart(strides)
            for stage in self._stages[:-1]:
                factor = strides[-1] // strides[stage]
                outs[stage] = min(widths[stage], config.width * strides[stage])
                self.raised.append(
                    nn.ConvTranspose2d(widths[stage], outs[stage], factor, stride=factor)
                )
        else:
            # Where several stages share a stride, the deepest of them stands for it.
            self._stages = [
                stage
                for stage, stride in enumerate(strides)
                if stage + 1 == len(strides) or strides[stage + 1] > stride
            ]
        self.stem = nn.ModuleList()
        skips: list[tuple[int, int]] = []  # (stride, channels), finest first
        stride, channels = 1, inputs
        while stride < strides[self._stages[0]]:
            out = config.width * stride
            step = 1 if stride == 1 else 2
            self.stem.append(_convolution(config, channels, out, step))
            skips.append((stride, out))
            stride, channels = 2 * stride, out
        skips += [(strides[stage], outs[stage]) for stage in self._stages[:-1]]
        self.ups, self.blocks = nn.ModuleList(), nn.ModuleList()
        width, before = widths[-1], strides[-1]
        for stride, channels in reversed(skips):
            factor, out = before // stride, min(channels, config.width * stride)
            self.ups.append(nn.ConvTranspose2d(width, out, factor, stride=factor))
            self.blocks.append(
                nn.Sequential(
                    *_convolution(config, out + channels, out),
                    *_convolution(config, out, out),
                )
            )
            width, before = out, stride
        self.head = nn.Sequential(nn.Conv2d(width, outputs, 1))

    def forward(self, images: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Turn images ``(B, C, H, W)`` and their features into ``(B, outputs, H, W)``."""
        skips, current = [], images
        for layer in self.stem:
            current = layer(current)
            skips.append(current)
        past = [features[stage] for stage in self._stages[:-1]]
        if self.raised:
            past = [raise_(each) for raise_, each in zip(self.raised, past, strict=True)]
        skips += past
        current = features[-1]
        for up, block, skip in zip(self.ups, self.blocks, reversed(skips), strict=True):
            current = block(cat([skip, up(current)], dim=1))
        answer: Tensor = self.head(current)
        return answer


def _drawn_apart(strides: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the stages that are used of those of one stride, and the stride of each of all.

    The deepest keeps its own, each one before it has half of the next one's, down to 1.
    """
    last, stages = strides[-1], len(strides)
    halves = [last >> (stages - 1 - stage) for stage in range(stages)]
    return [stage for stage, stride in enumerate(halves) if stride >= 1], halves


def _convolution(config: DecoderConfig, width: int, out: int, stride: int = 1) -> nn.Sequential:
    first = nn.Conv2d(width, out, 3, stride, padding=1)
    return nn.Sequential(first, build_norm(config.norm, out), build_activation(config.leak))
