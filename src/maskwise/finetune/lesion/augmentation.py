"""Changes to images and outlines alike, as outlines need them: turned, scaled, moved, lit.

A whole batch is changed by one gather. Images are resampled bilinearly; of an outline each
pixel takes the class of the nearest one, so that no class arises between two others.
"""

from dataclasses import dataclass
from math import log1p, pi
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from maskwise.artefacts.store import Laterality
from maskwise.bounds import Within

Most = Annotated[float, Within(0, 10)]
DRAWS = 8
"""Per image; of each the k-th is the same whatever the options."""
LEAST_RANGE = 1e-6
"""Of the values of an image that has a gamma."""


@dataclass(frozen=True)
class OutlineAugmentation:
    """Drawn anew for every image at every step, each uniformly from its range."""

    rotation: Annotated[float, Within(0, 180)] = 15.0
    """Largest turn to either side, in degrees."""
    scale: Most = 0.2
    """Images are drawn up to this much larger, or by the same factor smaller."""
    shift: Annotated[float, Within(0, 0.5)] = 0.06
    """Largest shift along each side, as a share of it; what is uncovered repeats the border."""
    flip: bool = True
    """Swap left and right in half of the images; not done where laterality is ``fixed``."""
    contrast: Most = 0.2
    """Differences to an image's mean are multiplied by up to 1 + this, or divided."""
    brightness: Most = 0.2
    """Largest number added to or taken from all pixels, in the source's standard deviations."""
    gamma: Most = 0.3
    """Largest exponent is 1 + this, the smallest 1 / that, of grey levels between an image's
    smallest and largest as 0 and 1."""


@dataclass(frozen=True)
class Change:
    """What happens to the images of a batch, and to their outlines."""

    grid: Tensor
    """``(B, H, W, 2)``: where each pixel comes from, as ``grid_sample`` counts."""
    contrast: Tensor
    """``(B, 1, 1, 1)``, as the two that follow."""
    brightness: Tensor
    exponent: Tensor

    def apply(self, images: Tensor) -> Tensor:
        """Change normalised images ``(B, C, H, W)``."""
        moved = grid_sample(images, self.grid, "bilinear", "border", align_corners=False)
        low, high = (end(dim=(1, 2, 3), keepdim=True) for end in (moved.amin, moved.amax))
        spread = (high - low).clamp(min=LEAST_RANGE)
        lit = ((moved - low) / spread).pow(self.exponent) * spread + low
        mean = lit.mean(dim=(1, 2, 3), keepdim=True)
        return (lit - mean) * self.contrast + mean + self.brightness

    def apply_to_classes(self, classes: Tensor) -> Tensor:
        """Move class indices, int64 ``(B, 1, H, W)``."""
        given = classes.to(self.grid.dtype)
        moved = grid_sample(given, self.grid, "nearest", "border", align_corners=False)
        return moved.long()


def draw_change(
    images: Tensor,
    config: OutlineAugmentation,
    laterality: Laterality,
    generator: np.random.Generator,
) -> Change:
    """Draw how each of ``images`` ``(B, C, H, W)`` is changed.

    Args:
        images: normalised.
        config: how far.
        laterality: of the source; ``fixed``: no image is flipped.
        generator: draws the same numbers whatever the options and the size of the images.
    """
    b, _, h, w = images.shape
    unit = torch.from_numpy(generator.random((DRAWS, b), dtype=np.float32)).to(images.device)
    either = 2 * unit - 1  # from -1 to 1
    turn, grow = either[0] * config.rotation * pi / 180, either[1] * log1p(config.scale)
    down, right = either[2] * config.shift * h, either[3] * config.shift * w
    flipped = (unit[4] < 0.5) & (config.flip and laterality == "free")
    mirror = 1 - 2 * flipped.float()
    # In pixels from the middle: flip what is asked for, then shrink and turn, then move.
    cos, sin = turn.cos() / grow.exp(), turn.sin() / grow.exp()
    # grid_sample counts from -1 to 1 along either side, so that sides of two lengths differ.
    x = torch.stack([mirror * cos, -sin * h / w, -2 * right / w], dim=1)
    y = torch.stack([mirror * sin * w / h, cos, -2 * down / h], dim=1)
    theta = torch.stack([x, y], dim=1)
    levels = (each[:, None, None, None] for each in either[5:])
    contrast, brightness, exponent = levels
    return Change(
        grid=affine_grid(theta, [b, 1, h, w], align_corners=False),
        contrast=(contrast * log1p(config.contrast)).exp(),
        brightness=brightness * config.brightness,
        exponent=(exponent * log1p(config.gamma)).exp(),
    )
