"""Q-networks: an image to one value per place, without a decoder.

Both take images ``(N, C, H, W)``, the cells hidden by earlier boxes ``(N, gh, gw)`` and the
places allowed ``(N, A)``, and return Q ``(N, A)`` float32, whatever autocast says.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, pad

from maskwise.errors import UserError
from maskwise.pretrain.policies.dqn.places import Places

Head = Literal["box", "cells"]
Norm = Literal["group", "none"]

OVERSAMPLING = 2
"""The small network sees each grid cell as 2 x 2 means: 32 x 32 for the default grid."""


class SmallQ(nn.Module):
    """A few convolutions over cell means; never the neighbours in the batch.

    Head ``box`` reads the features under the whole box; ``cells`` predicts one value per cell,
    and Q is its mean over the box. With ``dueling``, Q = V(s) + A(s, a) - the mean of A over
    the allowed places.
    """

    def __init__(
        self,
        channels: int,
        places: Places,
        width: int,
        norm: Norm,
        head: Head,
        dueling: bool,
        sees_hidden: bool,
    ) -> None:
        super().__init__()
        self.places, self.head, self.sees_hidden = places, head, sees_hidden
        layers: list[nn.Module] = []
        for index, inputs in enumerate((channels + sees_hidden, width, width)):
            stride = OVERSAMPLING if index == 0 else 1
            layers.append(
                nn.Conv2d(inputs, width, 3, stride, padding=1, padding_mode="replicate")
            )
            if norm == "group":
                layers.append(nn.GroupNorm(max(1, width // 8), width))
            layers.append(nn.ReLU())
        self.trunk = nn.Sequential(*layers)
        self.advantage = nn.Conv2d(width, 1, places.box if head == "box" else 1)
        self.value = nn.Linear(width, 1) if dueling else None
        # Until something is learnt all places tie: a random net's preference would show as
        # content lift.
        for parameter in self.advantage.parameters():
            nn.init.zeros_(parameter)

    def forward(self, images: Tensor, hidden: Tensor, allowed: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return self._values(images.float(), hidden, allowed)

    def _values(self, images: Tensor, hidden: Tensor, allowed: Tensor) -> Tensor:
        gh, gw = self.places.grid
        seen = adaptive_avg_pool2d(images, (OVERSAMPLING * gh, OVERSAMPLING * gw))
        if self.sees_hidden:
            wide = hidden.float().repeat_interleave(OVERSAMPLING, 1)
            seen = torch.cat([seen, wide.repeat_interleave(OVERSAMPLING, 2)[:, None]], 1)
        features = self.trunk(seen)  # (N, width, gh, gw)
        q = self._at_places(features)
        if self.value is None:
            return q
        number = allowed.sum(1, keepdim=True).clamp_min(1)
        mean = (q * allowed).sum(1, keepdim=True) / number
        value: Tensor = self.value(features.mean((2, 3)))
        return value + q - mean

    def _at_places(self, features: Tensor) -> Tensor:
        bh, bw = self.places.box
        if self.head == "cells":
            features = self.advantage(features)
        if self.places.overhang:
            features = pad(features, (0, bw - 1, 0, bh - 1))
        maps = (
            avg_pool2d(features, (bh, bw), stride=1)
            if self.head == "cells"
            else self.advantage(features)
        )
        q: Tensor = maps[:, 0, :: self.places.stride, :: self.places.stride]
        return q.flatten(1)


class EncoderCopy(nn.Module):
    """The release's Q-network: the predictor's encoder again, with weights of its own.

    Blocks Conv3x3 - BatchNorm - ReLU - Conv3x3 with as many poolings as a place has octaves of
    pixels (5 in the release: places of 32 pixels), a depth-wise convolution, one of 1 x 1.
    Source: authors' release, ``models.py``. Batch norm makes an image's Q depend on its batch.
    """

    WIDTHS = (16, 32, 64, 64, 128, 128)

    def __init__(self, channels: int, places: Places, height: int, width: int) -> None:
        super().__init__()
        self.places = places
        poolings = _octaves(places, height, width)
        widths = self.WIDTHS[: poolings + 1]
        self.blocks = nn.ModuleList(
            _block(i, o) for i, o in zip((channels, *widths), widths, strict=False)
        )
        # The release takes the exponent 7 from the length of its channel list.
        kernel = 2 * (1 + min(height, width) // 2**7) - 1
        deepest = widths[-1]
        self.channel_wise = nn.Conv2d(deepest, deepest, kernel, padding="same", groups=deepest)
        self.last = nn.Conv2d(deepest, 1, 1)

    def forward(self, images: Tensor, hidden: Tensor, allowed: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            features: Tensor = self.blocks[0](images.float())
            for block in list(self.blocks)[1:]:
                features = block(nn.functional.max_pool2d(features, 2))
            maps = self.last(self.channel_wise(features))
        rows, columns = self.places.shape
        q: Tensor = maps[:, 0, :rows, :columns]
        return q.flatten(1)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
    )


def _octaves(places: Places, height: int, width: int) -> int:
    """Return how often the image must be halved so that one pixel is left per place."""
    sides: Sequence[int] = (
        height // places.grid[0] * places.stride,
        width // places.grid[1] * places.stride,
    )
    poolings = sides[0].bit_length() - 1
    most = len(EncoderCopy.WIDTHS) - 1
    if sides[0] != sides[1] or sides[0] != 2**poolings or poolings > most:
        raise UserError(
            f"policy.q_network: encoder_copy halves the image up to {most} times, so a place "
            f"must be 1, 2, 4, 8, 16 or 32 pixels wide and high, but it is {sides[0]} x "
            f"{sides[1]}; change the grid or the stride, or use q_network: small"
        )
    return poolings
