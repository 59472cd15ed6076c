"""Normalisation layers by name, and what follows them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from maskwise.encoders.shared_norm import normalise_shared, together
from maskwise.errors import UserError
from maskwise.ranks import Shared

Norm = Literal["group", "batch", "instance"]
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


class _Statistics(nn.modules.batchnorm._BatchNorm, Shared):
    """torch's batch norm, with statistics of the whole batch however many processes see it.

    Inside ``split_statistics`` the batch is cut into groups that know nothing of each other.
    """

    groups = 1

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return self._plain(features)
        if self.ranks.alone:
            if features.numel() == features.shape[1]:
                _refuse_one_value()
            return self._plain(features) if self.groups == 1 else self._by_group(features)
        return self._over_ranks(features)

    def _plain(self, features: Tensor) -> Tensor:
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
        self._move(torch.stack(means).mean(0), torch.stack(variances).mean(0))
        return torch.cat(parts)

    def _over_ranks(self, features: Tensor) -> Tensor:
        """Normalise by statistics of several ranks, weighted by how many values each has.

        Ranks hold neighbouring slices of the batch, so a group is some of one rank's images, or
        all of those of several ranks.
        """
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            raise ValueError("several processes need running statistics and a momentum")
        here = max(1, self.groups // self.ranks.number)
        span = max(1, self.ranks.number // self.groups)
        if here * self.ranks.number != self.groups * span:
            raise UserError(
                f"{self.groups} groups of batch norm cannot be shared out over "
                f"{self.ranks.number} processes; let one number be a multiple of the other "
                "(objective.norm_groups, pretrain.processes.devices)"
            )
        parts, moments = [], []
        for part in features.chunk(here):
            normalised, of_groups = normalise_shared(
                part, self.weight, self.bias, self.eps, self.ranks, span
            )
            parts.append(normalised)
            moments.append(of_groups)
        groups = together(moments)
        # torch keeps the unbiased variance.
        unbiased = groups.variance * (groups.count / (groups.count - 1).clamp(min=1))[:, None]
        self._move(
            self.running_mean.lerp(groups.mean.mean(0), self.momentum),
            self.running_var.lerp(unbiased.mean(0), self.momentum),
        )
        return torch.cat(parts) if here > 1 else parts[0]

    @torch.no_grad()
    def _move(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.copy_(mean)
            self.running_var.copy_(variance)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


class BatchNorm(_Statistics, nn.BatchNorm2d):
    """Of feature maps ``(B, C, h, w)``."""


class VectorBatchNorm(_Statistics, nn.BatchNorm1d):
    """Of vectors ``(B, C)``."""


class InstanceNorm(nn.InstanceNorm2d):
    """torch's, with a slope and an offset per channel, of feature maps ``(B, C, h, w)``.

    Group norm of as many groups as channels is the same, but with channels last on a processor
    it takes seven times as long in bfloat16.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=True)

    def _check_input_dim(self, input: Tensor) -> None:
        super()._check_input_dim(input)
        if input.shape[2] * input.shape[3] == 1:
            raise UserError(
                "instance norm needs two or more places per image, but features of 1 x 1 were "
                "given; take larger images, a smaller stride, or norm: group"
            )


def _refuse_one_value() -> None:
    raise UserError(
        "batch norm needs two or more values per channel, but one image with features "
        "of 1 x 1 was given; take more images per batch (batch_size), a smaller "
        "stride, or norm: group"
    )


@contextmanager
def split_statistics(module: nn.Module, groups: int) -> Iterator[None]:
    """Let every batch norm in ``module`` that learns cut its batch into ``groups``.

    As on as many devices: with statistics of the whole batch a network can tell an image's two
    views by what they share with it (He et al. 2020, section 3.3).
    """
    norms = [each for each in module.modules() if isinstance(each, _Statistics)]
    for norm in norms:
        norm.groups = groups
    try:
        yield
    finally:
        for norm in norms:
            norm.groups = 1


def check_shareable(module: nn.Module) -> None:
    """Raise ``UserError`` for a batch norm whose statistics would be of one process's part."""
    for name, each in module.named_modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm) and not isinstance(each, Shared):
            raise UserError(
                f"encoder: {name} is torch's own {type(each).__name__}, whose statistics would "
                "be of each process's images by themselves; take maskwise.encoders.norm's, or "
                "train on one process (pretrain.processes)"
            )


def learns_statistics(module: nn.Module) -> bool:
    """Say whether any batch norm in ``module`` takes its statistics from the batch now."""
    return any(isinstance(each, BatchNorm) and each.training for each in module.modules())


def build_norm(norm: Norm, width: int) -> nn.Module:
    """Return the layer for feature maps of ``width`` channels."""
    if norm == "batch":
        return BatchNorm(width)
    if norm == "instance":
        return InstanceNorm(width)
    return nn.GroupNorm(width // math.gcd(width, GROUP), width)


def build_activation(leak: float) -> nn.Module:
    """Return ReLU, or where ``leak`` is above 0 one that falls by it below 0."""
    return nn.LeakyReLU(leak) if leak else nn.ReLU()
