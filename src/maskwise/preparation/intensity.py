"""How raw pixel values become intensities in [0, 1], by name, with one default per modality.

Every normalisation is a frozen config whose ``apply`` takes one image, any shape, any real
dtype, and returns float32 in [0, 1]. Each looks at one image only, so a single new image is
prepared exactly as a training image was.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from maskwise.bounds import Length, Within
from maskwise.errors import UserError

RawValue = Annotated[float, Within(-(10**9), 10**9)]
PerCent = Annotated[float, Within(0, 100)]
MOST_WINDOWS = 3


class Intensity(Protocol):
    """What a normalisation's YAML name stands for."""

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Map raw values to [0, 1]; ``Windows`` alone changes the number of channels."""


@dataclass(frozen=True)
class Range:
    """Divide by the largest value that the pixel type can hold: 1, 255 or 65,535.

    For data whose grey levels mean something and fill their type, as a scanner's screen does.
    """

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        largest = largest_of(image.dtype)
        if largest is None:
            raise UserError(
                f"intensity `range` needs unsigned integers, but the image holds "
                f"{image.dtype}: take `percentile`, or `window` with its two ends"
            )
        values = image.astype(np.float32)
        values /= np.float32(largest)
        return values


@dataclass(frozen=True)
class Window:
    """Map ``low`` to 0 and ``high`` to 1, in raw units (HU for CT), and clip."""

    low: RawValue
    high: RawValue

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low}, but must lie below high, {self.high}")

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        return _stretched(image, self.low, self.high)


@dataclass(frozen=True)
class Windows:
    """Make a channel of each window of one grey image, as radiologists look at CT.

    A window is centre and width in raw units (HU for CT), as scanners name them: -600 and 1500
    (lung) map -1350 to 0 and 150 to 1.
    """

    windows: Annotated[tuple[tuple[RawValue, RawValue], ...], Length(1, MOST_WINDOWS)]

    def __post_init__(self) -> None:
        for centre, width in self.windows:
            if not width > 0:
                raise ValueError(
                    f"windows: the window {centre:g}, {width:g} (centre, width) has no width"
                )

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        if image.shape[-1] != 1:
            raise UserError(
                f"intensity `windows` makes channels of one, but the image has "
                f"{image.shape[-1]}: take `window`, or give grey or colour"
            )
        channels = [
            _stretched(image, centre - width / 2, centre + width / 2)
            for centre, width in self.windows
        ]
        return np.concatenate(channels, axis=-1)


@dataclass(frozen=True)
class Percentile:
    """Map two percentiles of the image's own values to 0 and 1, and clip.

    For data in arbitrary units, as MR is. A flat image becomes 0; one with a value that is not
    a finite number is refused, because it would become 0 as well.
    """

    low: PerCent = 0.5
    high: PerCent = 99.5

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low}, but must lie below high, {self.high}")

    def apply(self, image: NDArray[Any]) -> NDArray[np.float32]:
        with np.errstate(over="ignore", invalid="ignore"):  # `_stretched` looks at the answer
            low, high = np.percentile(image, (self.low, self.high))
        return _stretched(image, float(low), float(high))


INTENSITIES: dict[str, type[Intensity]] = {
    "range": Range,
    "window": Window,
    "windows": Windows,
    "percentile": Percentile,
}

DEFAULTS: dict[str, dict[str, Any]] = {
    "ultrasound": {"name": "range"},
    "mr": {"name": "percentile"},
    "ct": {"name": "range"},  # rendered slices; for HU take `window`
    "xray": {"name": "percentile"},
    "other": {"name": "range"},
}
"""Modality to the block that stands for ``intensity: null``."""


def largest_of(dtype: np.dtype[Any]) -> int | None:
    """Return the largest value of a type, by which `range` divides; None = it takes no such."""
    if dtype.kind == "b":
        return 1
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else None


def _stretched(image: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    if not math.isfinite(high - low):
        raise UserError(
            "holds values that are not finite numbers, or too far apart to be scaled: leave "
            "it out"
        )
    if not high > low:
        return np.zeros(image.shape, np.float32)
    values = image.astype(np.float64)
    values -= low  # in place: memory takes longer than numbers
    values /= high - low
    return values.clip(0.0, 1.0, out=values).astype(np.float32)
