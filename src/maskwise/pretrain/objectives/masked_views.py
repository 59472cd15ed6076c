"""A policy's mask as a view: what objectives share that compare views of an image.

The cells are hidden in the image itself, each channel at its own mean, and the view is made of
that: so the mask is where the policy chose it, however the view crops, turns and mirrors, and
what fills it is as bright as the image. Exactly one view of an image has it.

All hidden cells of an image together made its loss; so that loss, or its negative, is the error
of each of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from maskwise.masks import to_pixels
from maskwise.pretrain.contracts import Batch
from maskwise.pretrain.views import ViewsConfig

Reward = Literal["hard", "easy"]
"""``hard``: a cell was good to hide where its image's loss is large; ``easy``: where it is
small, so that an agent learns to spare what tells the image from others."""


@dataclass(frozen=True, kw_only=True)
class ComparesViews:
    """What the configs of such objectives share."""

    needs_mask: ClassVar[bool] = False
    errors_by_cell: ClassVar[bool] = False
    needs_training: ClassVar[bool] = True
    draws_pixels: ClassVar[bool] = False

    reward: Reward = "hard"
    """What a policy is told of the cells it hid: the image's loss, or with ``easy`` its
    negative."""
    views: ViewsConfig = field(default_factory=ViewsConfig)


def hidden_at_mean(images: Tensor, mask: Tensor) -> Tensor:
    """Return ``images`` ``(B, C, H, W)`` with the cells of ``mask`` at the image's own mean.

    The mean is that of each channel over all pixels. ``mask`` bool ``(B, gh, gw)``.
    """
    mean = images.mean(dim=(2, 3), keepdim=True)
    return torch.where(to_pixels(mask, *images.shape[2:]), mean, images)


def masked_pair(
    views: Callable[[Tensor, Tensor], Tensor], batch: Batch, mask: Tensor
) -> Tensor:
    """Return two views of each image, ``(2B, C, H, W)``: B with the mask, then B without it.

    ``views`` makes ``(images, seeds)`` into views. Objectives of more views or of several sizes
    make one of them, for every image the same, of ``hidden_at_mean``, and the rest without.
    """
    images, seeds = batch.images, batch.augmentation_seed
    # A seed and its complement: the hash makes strangers of the two views.
    return views(torch.cat([hidden_at_mean(images, mask), images]), torch.cat([seeds, ~seeds]))


def image_errors(losses: Tensor, mask: Tensor, reward: Reward) -> Tensor:
    """Return the error map ``(B, gh, gw)`` of ``losses`` ``(B,)``: float32, detached.

    Every hidden cell has its image's loss (``hard``) or its negative (``easy``).
    """
    earned = losses.detach().float() * (1 if reward == "hard" else -1)
    return torch.where(mask, earned[:, None, None], torch.nan)
