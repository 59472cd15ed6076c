"""What ``maskwise.preparation`` does to an image, in operations of torch that a graph can hold.

The sizes of images are not known when a graph is made, so nothing here has a shape that follows
from one but what is multiplied away: a geometry is two matrices, one for each side, whose
entries are the triangle filter's weights. Sums are in float32, where NumPy's are in double
precision, so the two differ by rounding.
"""

from typing import cast

import torch
from torch import Tensor, nn

from maskwise.description import choose_from
from maskwise.preparation import Preparation
from maskwise.preparation.geometry import GEOMETRIES, Crop, Geometry, Pad, Resize
from maskwise.preparation.intensity import (
    INTENSITIES,
    Intensity,
    Percentile,
    Range,
    Window,
    Windows,
)


class Prepares(nn.Module):
    """Turns raw values ``(B, c, h, w)`` float32 into what a network sees, ``(B, C, H, W)``.

    Args:
        preparation: the network's. Of intensity `range` it must say by which one number pixels
            are divided, or else values in [0, 1] are expected: ``divides`` tells.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        geometry = choose_from(GEOMETRIES, preparation.geometry, "geometry")
        intensity = choose_from(INTENSITIES, preparation.intensity, "intensity")
        self._intensity, self._largest = intensity, divisor(preparation)
        self._geometry, self._kept, self._fine = geometry, preparation.kept, preparation.fine
        moments = torch.tensor([preparation.mean, preparation.std])[:, :, None, None]
        self.register_buffer("mean", moments[0])
        self.register_buffer("std", moments[1])

    def forward(self, images: Tensor) -> Tensor:
        values = self._scaled(images)
        down, across = _weights(self._geometry, images, self._kept)
        resized = _averaged(down, self._fine) @ values @ _averaged(across, self._fine).T
        return (resized - self.mean) / self.std

    def _scaled(self, images: Tensor) -> Tensor:
        """Return intensities in [0, 1], ``(B, C, h, w)``."""
        intensity: Intensity = self._intensity
        if isinstance(intensity, Range):
            return images / self._largest
        if isinstance(intensity, Window):
            return _stretched(images, intensity.low, intensity.high)
        if isinstance(intensity, Windows):
            ends = [(at - width / 2, at + width / 2) for at, width in intensity.windows]
            return torch.cat([_stretched(images, low, high) for low, high in ends], dim=1)
        if isinstance(intensity, Percentile):
            low, high = _percentiles(images, (intensity.low, intensity.high))
            flat = high <= low
            stretched = _stretched(images, low, torch.where(flat, low + 1, high))
            return torch.where(flat, torch.zeros_like(stretched), stretched)
        raise TypeError(f"there is no graph of {type(intensity).__name__}")


def divisor(preparation: Preparation) -> float:
    """Return by what the graph divides under intensity `range`; 1 = the caller divides."""
    return float(preparation.ranges[0]) if len(preparation.ranges) == 1 else 1.0


def _stretched(images: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    return ((images - low) / (high - low)).clamp(0, 1)


def _percentiles(images: Tensor, wanted: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return two percentiles of each image's values, ``(B, 1, 1, 1)`` each, as NumPy has them.

    Between two values that lie around one it is linear.
    """
    ordered = images.flatten(1).sort(dim=1).values
    last = torch.scalar_tensor(ordered.shape[1] - 1, dtype=torch.float64)
    found = []
    for share in wanted:
        place = last * (share / 100)
        below = place.floor()
        above = torch.minimum(below + 1, last)
        ends = ordered.index_select(1, torch.stack([below, above]).long())
        between = (place - below).float()
        value = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * between
        found.append(value[:, :, None, None])
    return found[0], found[1]


def _weights(
    geometry: Geometry, images: Tensor, kept: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return the matrices ``(H, h)`` and ``(W, w)`` that bring images to ``kept`` pixels."""
    sides = [torch.arange(side, dtype=torch.float64) + 0.5 for side in images.shape[2:]]
    lengths = [torch.scalar_tensor(side, dtype=torch.float64) for side in images.shape[2:]]
    scaled, fill = _scaled_sides(geometry, lengths, kept)
    down, across = (
        _matrix(centres, length, new, wanted, fill)
        for centres, length, new, wanted in zip(sides, lengths, scaled, kept, strict=True)
    )
    return down, across


def _scaled_sides(
    geometry: Geometry, lengths: list[Tensor], kept: tuple[int, int]
) -> tuple[list[Tensor], str]:
    """Return to what sides the whole image is scaled, and what lies outside of it."""
    if isinstance(geometry, Pad):
        return lengths, geometry.fill
    if isinstance(geometry, Resize) and geometry.aspect == "stretch":
        return [torch.full_like(side, new) for side, new in zip(lengths, kept, strict=True)], ""
    factors = [new / side for side, new in zip(lengths, kept, strict=True)]
    if isinstance(geometry, Resize):
        factor, fill = torch.minimum(*factors), cast(str, geometry.fill)
    elif isinstance(geometry, Crop):
        factor, fill = torch.maximum(*factors), "edge"
    else:
        raise TypeError(f"there is no graph of {type(geometry).__name__}")
    return [(side * factor).round().clamp(min=1) for side in lengths], fill


def _matrix(centres: Tensor, length: Tensor, scaled: Tensor, wanted: int, fill: str) -> Tensor:
    """Return the weights of each input pixel in each of ``wanted`` output pixels.

    Args:
        centres: of the input's pixels, ``(n,)``, their own size as unit.
        length: n.
        scaled: pixels that the whole input becomes, of which the middle is cut out, or round
            which something is put.
        wanted: pixels of the result.
        fill: ``black`` or ``edge``; of no concern where nothing lies outside.
    """
    cut_off = ((scaled - wanted) / 2).clamp(min=0).floor()
    put_before = ((wanted - scaled) / 2).clamp(min=0).floor()
    place = torch.arange(wanted, dtype=torch.float64) + cut_off - put_before
    inside = (place >= 0) & (place < scaled)
    place = torch.minimum(place.clamp(min=0), scaled - 1)
    scale = length / scaled
    distance = centres - (place[:, None] + 0.5) * scale
    weights = (1 - distance.abs() / scale.clamp(min=1)).clamp(min=0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    if fill == "black":
        weights = weights * inside[:, None]
    return weights.float()


def _averaged(weights: Tensor, fine: int) -> Tensor:
    """Average every ``fine`` neighbouring rows."""
    return weights if fine == 1 else weights.unflatten(0, (-1, fine)).mean(dim=1)
