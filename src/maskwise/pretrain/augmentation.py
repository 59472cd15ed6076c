"""Batched augmentation whose every decision follows from one integer seed per image.

So a batch can be rebuilt bit for bit from (rows, seeds), whatever else is in it and on any
device: the numbers come from a counter-based hash (splitmix64), not from a generator's state.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from maskwise.artefacts.store import Laterality
from maskwise.bounds import LARGEST, Within
from maskwise.errors import UserError
from maskwise.pretrain.splitmix import GOLDEN, mix

_SALT = {"augmentation": 1, "views": 2, "noise": 3}


@dataclass(frozen=True)
class AugmentationConfig:
    """What every image goes through before its cells are hidden: only what loses nothing."""

    horizontal_flip: bool = True
    """Mirror half of the images; not done where the source says ``laterality: fixed``."""
    vertical_flip: bool = False
    """Turn half of the images upside down; refused for ultrasound, where depth points down."""
    shift_px: Annotated[int, Within(0, LARGEST)] = 4
    """Move by at most so many pixels each way; what comes in is the image's reflection."""

    def check(self, modality: str, height: int, width: int) -> None:
        """Raise ``UserError`` where the images forbid what is asked for."""
        if self.vertical_flip and modality == "ultrasound":
            raise UserError(
                "augmentation.vertical_flip: ultrasound has a depth, and a shadow above its "
                "lesion does not exist; take the option away"
            )
        if self.shift_px >= min(height, width):
            raise UserError(
                f"augmentation.shift_px: {self.shift_px} pixels move an image of {height} x "
                f"{width} pixels out of itself; choose a smaller number"
            )


def augment(
    images: Tensor,
    seeds: Tensor,
    config: AugmentationConfig,
    laterality: Laterality,
    fine: int = 1,
) -> Tensor:
    """Flip and shift ``images`` ``(B, C, H, W)`` as ``seeds`` ``(B,)`` say, in one gather.

    Of images that are ``fine`` times the network's size, a pixel of the shift is ``fine``.
    """
    mirror = config.horizontal_flip and laterality == "free"
    if not (mirror or config.vertical_flip or config.shift_px):
        return images
    (b, c, h, w), draws = images.shape, uniform(seeds, 4, "augmentation")
    reach = 2 * config.shift_px + 1
    down, right = ((draws[:, :2] * reach).long() - config.shift_px).unbind(1)
    rows = _source(h, down * fine, (draws[:, 2] < 0.5) & config.vertical_flip)
    columns = _source(w, right * fine, (draws[:, 3] < 0.5) & mirror)
    places = (rows[:, :, None] * w + columns[:, None, :]).reshape(b, 1, h * w)
    return images.reshape(b, c, h * w).gather(2, places.expand(b, c, h * w)).reshape(b, c, h, w)


def _source(size: int, shift: Tensor, flip: Tensor) -> Tensor:
    """Return which of ``size`` pixels each pixel is taken from, ``(B, size)``."""
    places = torch.arange(size, device=shift.device) + shift[:, None]
    places = places.abs()
    places = torch.where(places >= size, 2 * (size - 1) - places, places)
    return torch.where(flip[:, None], size - 1 - places, places)


def step_seeds(seed: int, step: int, batch_size: int) -> Tensor:
    """Return the batch's augmentation seeds ``(B,)`` int64, from (seed, step, position)."""
    positions = torch.arange(step * batch_size, (step + 1) * batch_size)
    return mix(positions * GOLDEN + seed)


def uniform(seeds: Tensor, number: int, purpose: str) -> Tensor:
    """Draw ``(B, number)`` float32 in [0, 1), equal on every device."""
    bits: Tensor = _hash(seeds, number, purpose) >> 40 & 0xFFFFFF
    return bits.float() / 0x1000000


def bell(seeds: Tensor, number: int, purpose: str) -> Tensor:
    """Draw ``(B, number)`` float32 of mean 0 and sd 1: the sum of four uniforms.

    Close to normal, with tails that end at 3.5; one hash gives the four, and no logarithm
    rounds differently on another device.
    """
    bits = _hash(seeds, number, purpose)
    total = (
        (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48 & 0xFFFF)
    )
    # Four uniforms on 0..65535: mean 4 * 32767.5, variance 4 * 65536^2 / 12.
    normalised: Tensor = (total.float() - 131070.0) / (65536.0 / 3.0**0.5)
    return normalised


def _hash(seeds: Tensor, number: int, purpose: str) -> Tensor:
    counters = torch.arange(1, number + 1, device=seeds.device)
    salted = mix(seeds + _SALT[purpose])
    return mix(salted[:, None] + counters * GOLDEN)
