"""The part of a frame that is an image: a box round a lesion, or the breast on a film.

A box may reach beyond the frame. What lies there was not measured.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from maskwise.scans.background import darkened
from maskwise.scans.breast import Breast, find_breast
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError

if TYPE_CHECKING:
    from maskwise.scans.decode import Decoded

Pad = Literal["clipped", "symmetric"]


@dataclass(frozen=True)
class Region:
    """A box in pixels of the frame, as it is stored and turned upright."""

    top: int
    """Row of the box's first pixel; below 0 = above the frame."""
    left: int
    height: int
    width: int
    pad: Pad = "clipped"
    """Where an image gets what its box lacks for lying beyond the frame: ``clipped``, there;
    ``symmetric``, half at either side, so that what was in the middle no longer is."""
    mirrored: bool = False
    """Whether left and right change over, last of all."""

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"a region of {self.height} x {self.width} pixels holds nothing")

    def __str__(self) -> str:
        return f"{self.left},{self.top} {self.width}x{self.height}"

    def cut(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return the region of ``plane`` ``(H, W)`` or ``(H, W, C)``, 0 beyond the frame."""
        return self.placed(plane[self.inside(plane.shape)], plane.shape, 0)

    def placed(
        self, inner: NDArray[Any], shape: tuple[int, ...], beyond: float
    ) -> NDArray[Any]:
        """Return the region, given what of it lies ``inside`` a frame of ``shape``."""
        widths = [
            self._widths(self.top, self.height, shape[0]),
            self._widths(self.left, self.width, shape[1]),
            *[(0, 0)] * (inner.ndim - 2),
        ]
        if any(map(any, widths)):
            inner = np.pad(inner, widths, constant_values=beyond)
        return np.ascontiguousarray(inner[:, ::-1] if self.mirrored else inner)

    def lies_in(self, shape: tuple[int, ...]) -> bool:
        """Tell whether any pixel of a frame ``(H, W, ...)`` lies in the box."""
        rows, columns = self.inside(shape)
        return bool(rows.start < rows.stop and columns.start < columns.stop)

    def inside(self, shape: tuple[int, ...]) -> tuple[slice, slice]:
        """Return the rows and columns of a frame ``(H, W, ...)`` that lie in the box."""
        return (
            slice(max(0, self.top), min(shape[0], self.top + self.height)),
            slice(max(0, self.left), min(shape[1], self.left + self.width)),
        )

    def _widths(self, start: int, length: int, side: int) -> tuple[int, int]:
        before, after = max(0, -start), max(0, start + length - side)
        if self.pad == "clipped":
            return before, after
        return (before + after) // 2, before + after - (before + after) // 2


def framed(decoded: "Decoded", path: str, reading: Reading, region: Region | None) -> "Decoded":
    """Return the part of a frame that is the image, and of a film the breast alone.

    Raises:
        RejectedError: ``no_breast``, or ``damaged`` where the region lies beside the frame.
    """
    height, width = decoded.pixels.shape[:2]
    if region is not None and not region.lies_in((height, width)):
        detail = f"its region lies beside the file's {width} x {height} pixels"
        raise RejectedError(path, "damaged", detail)
    breast = _breast(decoded, path, reading)
    box = region or _whole(decoded, breast, reading)
    if breast is not None and reading.chest_wall != "keep":
        mirrored = breast.on_left == (reading.chest_wall == "right")
        box = replace(box, mirrored=box.mirrored != mirrored)
    return _cut(decoded, box, breast if reading.breast != "keep" else None)


def _breast(decoded: "Decoded", path: str, reading: Reading) -> Breast | None:
    if (reading.breast, reading.chest_wall) == ("keep", "keep"):
        return None
    breast = find_breast(decoded.pixels)
    if breast is None:
        detail = "nothing on the film stands out as a breast (reading.breast, chest_wall)"
        raise RejectedError(path, "no_breast", detail)
    return breast


def _whole(decoded: "Decoded", breast: Breast | None, reading: Reading) -> Region:
    if breast is not None and reading.breast == "crop":
        return Region(breast.top, breast.left, breast.height, breast.width)
    return Region(0, 0, decoded.pixels.shape[0], decoded.pixels.shape[1])


def _cut(decoded: "Decoded", box: Region, breast: Breast | None) -> "Decoded":
    """Return what is in the box; of a film with a ``breast``, that alone was measured."""
    height, width = decoded.pixels.shape[:2]
    rows, columns = box.inside((height, width))
    if breast is None:
        unmeasured = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
    else:
        unmeasured = breast.mask(rows, columns)
        np.logical_not(unmeasured, out=unmeasured)
    if decoded.background is not None:
        unmeasured |= decoded.background[rows, columns]
    background = box.placed(unmeasured, (height, width), True)
    pixels = box.cut(decoded.pixels)
    own = not np.may_share_memory(pixels, decoded.pixels)
    return replace(
        decoded,
        pixels=darkened(pixels, background, own),
        background=background if background.any() else None,
        indices=None,
        alpha=None,
        region=box,
        whole=(height, width),
    )
