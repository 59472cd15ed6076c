"""From a feature map to numbers per image, by name or by what was learnt."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from maskwise.errors import listed


def pool(features: Tensor, pooling: str) -> Tensor:
    """Turn a feature map ``(B, C, h, w)`` into numbers per image.

    ``mean`` over the places, ``(B, C)``; ``mean_max``, mean and maximum side by side,
    ``(B, 2 C)``; ``places``, every place for itself, ``(B, C h w)``; ``class``, the class
    token of an encoder that has one (``Encoder.pooled_stages``), and of others the mean.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"there is no pooling {pooling!r}; choose from {listed(POOLINGS)}")
    return POOLINGS[pooling](features)


def _mean(features: Tensor) -> Tensor:
    return features.mean(dim=(2, 3))


def _mean_max(features: Tensor) -> Tensor:
    return torch.cat([_mean(features), features.amax(dim=(2, 3))], dim=1)


def _places(features: Tensor) -> Tensor:
    return features.flatten(1)


POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": _mean,
    "mean_max": _mean_max,
    "places": _places,
    "class": _mean,
}
ATTENTIVE = "attentive"
"""The name of ``AttentivePooling``, which has weights, and so is no function of these."""
HEADS = 4


class AttentivePooling(nn.Module):
    """Average over places by weights that follow from what they show (Ilse et al. 2018).

    A place's weight is the softmax over places of the product of its features with a learnt
    query, divided by the root of their number; each of four groups of channels has weights of
    its own, as the heads of attention have. A query of zeros, as each is at first, makes it the
    mean.

    Args:
        channels: of each feature map.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.queries = nn.ParameterList(nn.Parameter(torch.zeros(each)) for each in channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Turn feature maps ``(B, C_i, h, w)`` into ``[(B, C_i), ...]``."""
        return [_attended(each, query) for each, query in zip(maps, self.queries, strict=True)]


def _attended(features: Tensor, query: Tensor) -> Tensor:
    b, c = features.shape[:2]
    heads = math.gcd(c, HEADS)
    places = features.reshape(b, heads, c // heads, -1)
    scores = torch.einsum("bhcn,hc->bhn", places, query.reshape(heads, -1))
    weights = (scores / (c // heads) ** 0.5).softmax(dim=2)
    return torch.einsum("bhcn,bhn->bhc", places, weights).reshape(b, c)
