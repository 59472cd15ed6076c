"""What objectives share that fill in hidden cells: the network, and how holes are averaged."""

import torch
from torch import Tensor

from maskwise.encoders.contract import Encoder
from maskwise.encoders.decoder import Decoder, DecoderName
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Objective, Setting
from maskwise.pretrain.objectives.bottleneck import Bottleneck, build_bottleneck
from maskwise.ranks import Ranks


class Inpainter(Objective):
    """An encoder that never sees a hidden pixel, a bottleneck, and a decoder.

    Of the encoder it asks what ``encoders.contract`` promises: a list of feature maps, their
    channels and their strides. Hidden pixels are the mean of the training images, and not
    marked in a channel of their own, so that the encoder fits images as they are.
    """

    mean_pixel: Tensor

    def __init__(
        self,
        setting: Setting,
        encoder: Encoder,
        bottleneck: Bottleneck,
        decoder: DecoderName,
        skips: bool,
    ) -> None:
        super().__init__()
        widths = encoder.channels
        strides = encoder.strides
        total = strides[-1]
        if setting.height % total or setting.width % total:
            raise UserError(
                f"encoder.stride: {total} does not divide an image of {setting.height} x "
                f"{setting.width} pixels, so its features cannot be turned back into one; "
                "choose another stride, or another size in the source's block `preprocess`"
            )
        self.encoder = encoder
        pixel = torch.tensor(setting.mean_pixel)[:, None, None]
        self.register_buffer("mean_pixel", pixel, persistent=False)
        size = (setting.height // total, setting.width // total)
        self.bottleneck = build_bottleneck(bottleneck, widths[-1], size, len(widths), total)
        self.decoder = Decoder(decoder, skips, widths, strides, setting.channels)

    def draw(self, images: Tensor, pixels: Tensor) -> Tensor:
        """Draw all of ``images`` ``(B, C, H, W)`` from what ``pixels`` ``(B, 1, H, W)`` leaves.

        ``pixels`` bool, True = hidden. In float32 also under autocast: errors become rewards,
        and rewards become targets.
        """
        features = self.encoder(torch.where(pixels, self.mean_pixel, images))
        drawn: Tensor = self.decoder(features, self.bottleneck(features[-1]))
        return drawn.float()


def hidden_mean(cells: Tensor, mask: Tensor, ranks: Ranks) -> Tensor:
    """Average ``cells`` ``(B, gh, gw)`` over the hidden ones of the whole batch; 0 if none is.

    All cells have as many pixels, so the mean over hidden cells is that over hidden pixels.
    """
    return torch.where(mask, cells, 0.0).sum() / ranks.at_least(mask.sum(), 1)
