"""From a feature map to numbers per image, by name."""

import torch
from torch import Tensor


def pool(features: Tensor, pooling: str) -> Tensor:
    """Turn a feature map ``(B, C, h, w)`` into numbers per image.

    ``mean`` over the places, ``(B, C)``; ``mean_max``, mean and maximum side by side,
    ``(B, 2 C)``; ``places``, every place for itself, ``(B, C h w)``.
    """
    if pooling == "mean":
        return features.mean(dim=(2, 3))
    if pooling == "mean_max":
        return torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
    if pooling == "places":
        return features.flatten(1)
    raise ValueError(f"there is no pooling {pooling!r}")
