"""From a feature map to numbers per image, by name."""

from collections.abc import Callable

import torch
from torch import Tensor

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
