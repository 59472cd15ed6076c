"""What lies between encoder and decoder: how features cross the hole."""

from typing import Literal

import torch
from torch import Tensor, nn

Bottleneck = Literal["channel_fc", "depthwise_full", "depthwise_release", "none"]


def build_bottleneck(
    kind: Bottleneck, width: int, size: tuple[int, int], stages: int, stride: int
) -> nn.Module:
    """Return the layer for features ``(B, width, *size)`` of an encoder of ``stages`` stages.

    ``channel_fc``: every position of a map reaches every other one of the same map (Pathak et
    al. 2016); ``depthwise_full``: the same reach with weights shared over positions;
    ``depthwise_release``: the release's kernel, which at 64 pixels and stride 32 reaches none.
    """
    if kind == "channel_fc":
        return nn.Sequential(ChannelFc(width, size), nn.Conv2d(width, width, 1))
    if kind == "none":
        return nn.Identity()
    if kind == "depthwise_full":
        kernel = tuple(2 * side - 1 for side in size)
    else:
        # The release counts the image among its layers: an exponent of 7 for 5 poolings.
        kernel = tuple(2 * (1 + side * stride // 2 ** (stages + 1)) - 1 for side in size)
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(width, width, (kernel[0], kernel[1]), padding=padding, groups=width)


class ChannelFc(nn.Module):
    """``out[b, c, q] = sum_p weight[c, q, p] in[b, c, p] + bias[c, q]``, p, q positions."""

    def __init__(self, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        positions = size[0] * size[1]
        # Near the identity, so that training starts from a network without this layer.
        noise = torch.randn(width, positions, positions) / positions
        self.weight = nn.Parameter(torch.eye(positions) + noise)
        self.bias = nn.Parameter(torch.zeros(width, positions))

    def forward(self, features: Tensor) -> Tensor:
        flat = features.flatten(2).transpose(0, 1)  # (C, B, P)
        out = torch.baddbmm(self.bias[:, None], flat, self.weight.transpose(1, 2))
        return out.transpose(0, 1).reshape(features.shape)
