"""Normalisation layers by name."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from maskwise.errors import UserError

Norm = Literal["group", "batch"]
GROUP = 8
"""Channels per group. Group norm needs no other image of the batch, so it suits small
batches."""


def check_widths(norm: Norm, widths: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless ``norm`` can divide every width."""
    if norm == "group" and any(width % GROUP for width in widths):
        raise ValueError(
            f"widths should be multiples of {GROUP} with norm: group, not {list(widths)}; "
            "change them, or choose norm: batch"
        )


class BatchNorm(nn.BatchNorm2d):
    """torch's, with a sentence where a batch has no variance.

    Inside ``split_statistics`` the batch is cut into groups that know nothing of each other.
    """

    groups = 1

    def forward(self, features: Tensor) -> Tensor:
        if self.training and features.numel() == features.shape[1]:
            raise UserError(
                "batch norm needs two or more values per channel, but one image with features "
                "of 1 x 1 was given; take more images per batch (batch_size), a smaller "
                "stride, or norm: group"
            )
        if self.training and self.groups > 1:
            return self._by_group(features)
        normalised: Tensor = super().forward(features)
        return normalised

    def _by_group(self, features: Tensor) -> Tensor:
        """Normalise each part of the batch by its own statistics; the running ones move once.

        They move towards the mean over the groups: were they moved by one group after the
        other, their momentum would compound.
        """
        if features.shape[0] % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {features.shape[0]} images")
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            raise ValueError("groups need running statistics and a momentum")
        means, variances, parts = [], [], []
        for part in features.chunk(self.groups):
            mean, variance = self.running_mean.clone(), self.running_var.clone()
            parts.append(
                nn.functional.batch_norm(
                    part, mean, variance, self.weight, self.bias, True, self.momentum, self.eps
                )
            )
            means.append(mean)
            variances.append(variance)
        self.running_mean.copy_(torch.stack(means).mean(0))
        self.running_var.copy_(torch.stack(variances).mean(0))
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return torch.cat(parts)


@contextmanager
def split_statistics(module: nn.Module, groups: int) -> Iterator[None]:
    """Let every batch norm in ``module`` that learns cut its batch into ``groups``.

    As on as many devices: with statistics of the whole batch a network can tell an image's two
    views by what they share with it (He et al. 2020, section 3.3).
    """
    norms = [each for each in module.modules() if isinstance(each, BatchNorm)]
    for norm in norms:
        norm.groups = groups
    try:
        yield
    finally:
        for norm in norms:
            norm.groups = 1


def learns_statistics(module: nn.Module) -> bool:
    """Say whether any batch norm in ``module`` takes its statistics from the batch now."""
    return any(isinstance(each, BatchNorm) and each.training for each in module.modules())


def build_norm(norm: Norm, width: int) -> nn.Module:
    """Return the layer for feature maps of ``width`` channels."""
    if norm == "batch":
        return BatchNorm(width)
    return nn.GroupNorm(width // math.gcd(width, GROUP), width)
