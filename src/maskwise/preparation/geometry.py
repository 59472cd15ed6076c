"""How a raw image comes to the network's size: resize, crop or pad, by name.

Every geometry is a frozen config whose ``apply`` takes one plane ``(h, w)`` float32 and the
name of a filter, and returns ``(height, width)`` float32. An image goes through it with a
triangle filter, its mask with a box filter, so that both keep the same places.
``restore`` is the way back for what a network says about places: from ``(height, width)`` to
``(h, w)``, bilinear.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from maskwise.errors import UserError
from maskwise.preparation.resampling import Filter, Plane, resized

Fill = Literal["black", "edge"]
"""What lies outside the image: intensity 0, or the nearest pixel of the border repeated."""


class Geometry(Protocol):
    """What a geometry's YAML name stands for."""

    def apply(self, plane: Plane, height: int, width: int, kind: Filter) -> Plane:
        """Bring ``plane`` to ``height`` x ``width`` pixels."""

    def restore(self, plane: Plane, shape: tuple[int, int]) -> Plane:
        """Bring what ``apply`` made of a plane of ``shape`` back to it.

        It is 0 where ``apply`` cut away: nothing can be said of what was not seen.
        """

    def span(self, shape: tuple[int, int], height: int, width: int) -> tuple[float, float]:
        """Return how many pixels of a plane of ``shape`` one of the result spans, (y, x)."""


@dataclass(frozen=True)
class Resize:
    """Scale the whole image.

    ``aspect: stretch`` scales both sides on their own, ``keep`` scales until the longer side
    fits and fills the rest with ``fill``.
    """

    aspect: Literal["stretch", "keep"] = "stretch"
    fill: Fill = "black"

    def apply(self, plane: Plane, height: int, width: int, kind: Filter) -> Plane:
        if self.aspect == "stretch":
            return resized(plane, height, width, kind)
        factor = min(height / plane.shape[0], width / plane.shape[1])
        inner = resized(plane, *_sides(plane.shape, factor), kind)
        return _centred(inner, height, width, self.fill)

    def restore(self, plane: Plane, shape: tuple[int, int]) -> Plane:
        if self.aspect == "keep":
            factor = min(plane.shape[0] / shape[0], plane.shape[1] / shape[1])
            plane = _centred(plane, *_sides(shape, factor), "black")  # cuts off the fill
        return resized(plane, *shape, "triangle")

    def span(self, shape: tuple[int, int], height: int, width: int) -> tuple[float, float]:
        if self.aspect == "stretch":
            return shape[0] / height, shape[1] / width
        return _span(shape, min(height / shape[0], width / shape[1]))


@dataclass(frozen=True)
class Crop:
    """Scale until the shorter side fits, aspect kept, and take the centre."""

    def apply(self, plane: Plane, height: int, width: int, kind: Filter) -> Plane:
        factor = max(height / plane.shape[0], width / plane.shape[1])
        scaled = resized(plane, *_sides(plane.shape, factor), kind)
        return _centred(scaled, height, width, "edge")

    def restore(self, plane: Plane, shape: tuple[int, int]) -> Plane:
        sides = _sides(shape, max(plane.shape[0] / shape[0], plane.shape[1] / shape[1]))
        # The edge is repeated first, or what was cut away would dim the border of what was not.
        whole = resized(_centred(plane, *sides, "edge"), *shape, "triangle")
        rows, columns = map(_seen, plane.shape, sides, shape)
        return whole * (rows[:, None] & columns)

    def span(self, shape: tuple[int, int], height: int, width: int) -> tuple[float, float]:
        return _span(shape, max(height / shape[0], width / shape[1]))


@dataclass(frozen=True)
class Pad:
    """Keep the pixels as they are, centred; ``fill`` what lies outside the image.

    ``larger`` says what becomes of an image that is larger than the network's: ``refuse`` it,
    or take its centre (``crop``).
    """

    fill: Fill = "black"
    larger: Literal["refuse", "crop"] = "refuse"

    def apply(self, plane: Plane, height: int, width: int, kind: Filter) -> Plane:
        if self.larger == "refuse" and (plane.shape[0] > height or plane.shape[1] > width):
            raise UserError(
                f"an image of {plane.shape[0]} x {plane.shape[1]} pixels does not fit "
                f"into {height} x {width}: with geometry `pad` choose a larger size or "
                "`larger: crop`, or take the geometry `resize`"
            )
        return _centred(plane, height, width, self.fill)

    def restore(self, plane: Plane, shape: tuple[int, int]) -> Plane:
        return _centred(plane, *shape, "black")

    def span(self, shape: tuple[int, int], height: int, width: int) -> tuple[float, float]:
        return 1.0, 1.0


GEOMETRIES: dict[str, type[Geometry]] = {"resize": Resize, "crop": Crop, "pad": Pad}


def _sides(shape: tuple[int, ...], factor: float) -> tuple[int, int]:
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def _span(shape: tuple[int, int], factor: float) -> tuple[float, float]:
    height, width = _sides(shape, factor)
    return shape[0] / height, shape[1] / width


def _seen(seen: int, scaled: int, side: int) -> NDArray[np.bool_]:
    """Return ``(side,)``: which pixels lie in the ``seen`` in the middle of ``scaled``."""
    strip = _centred(np.ones((1, seen), np.float32), 1, scaled, "black")
    inside: NDArray[np.bool_] = resized(strip, 1, side, "box")[0] >= 0.5
    return inside


def _centred(plane: Plane, height: int, width: int, fill: Fill) -> Plane:
    """Cut or pad each side about the centre; an odd pixel goes to the bottom and the right.

    With the sides changed over it undoes itself, but for what was cut off.
    """
    for axis, wanted in enumerate((height, width)):
        surplus = max(0, plane.shape[axis] - wanted) // 2
        plane = plane.take(range(surplus, surplus + min(wanted, plane.shape[axis])), axis)
    before = [
        (wanted - got) // 2 for wanted, got in zip((height, width), plane.shape, strict=True)
    ]
    after = [height - plane.shape[0] - before[0], width - plane.shape[1] - before[1]]
    if not any(before + after):
        return plane
    mode = "edge" if fill == "edge" else "constant"
    return np.pad(plane, ((before[0], after[0]), (before[1], after[1])), mode=mode)  # type: ignore[call-overload, no-any-return]
