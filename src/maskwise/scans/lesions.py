"""Which pixels of a mask's picture are lesion, and what had to be decided to say so.

A mask of black and one other level says it all. What is less plain is decided by a rule that
``docs/sources.md`` states, and remarked: soft edges, palettes, masks that are black nowhere,
masks that are drawn in their alpha.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwise.scans.decode import Decoded, check_values
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.remarks import Remark

NOISE = 16
"""A mask of 8 bits that lost by its compression, as JPEG does, and is nowhere brighter, of 255,
is black with the noise of that."""

NEAR = 1e-3
"""What lies so near to a whole number is that number, rounded on its way through a program."""


class Lesion(NamedTuple):
    """A mask ``(H, W)``, True = lesion, and what was decided about it."""

    mask: NDArray[np.bool_]
    remarks: tuple[Remark, ...] = ()


def lesion_of(decoded: Decoded, path: str, reading: Reading) -> Lesion:
    """Return the lesion that a binary mask outlines; ``path`` only names it in messages.

    Raises:
        RejectedError: ``damaged`` where values are not finite numbers.
    """
    if decoded.bits == 1 and decoded.indices is None and decoded.alpha is None:
        return _remarked_if_full(decoded.pixels[..., 0] > 0, decoded.pixels)
    check_values(decoded.pixels, path)
    if decoded.indices is not None and reading.mask_palette == "index":
        found = _of_palette(decoded.indices, decoded.pixels)
        if found is not None:
            return found
    if decoded.alpha is not None and _is_of_one_colour(decoded.pixels):
        drawn = decoded.alpha
        if drawn.min() < drawn.max():
            lesion = _of_levels(drawn, decoded.lossy, reading)
            return Lesion(lesion.mask, (Remark("alpha_mask", ""), *lesion.remarks))
    pixels = decoded.pixels
    values = pixels[..., 0] if pixels.shape[2] == 1 else pixels.max(axis=2)
    if values.min() > 0 and not _is_grey(pixels):
        return _remarked_if_full(np.ones(values.shape, np.bool_), pixels)
    return _of_levels(values, decoded.lossy, reading)


def classes_of(decoded: Decoded, path: str) -> NDArray[np.uint8]:
    """Return the classes ``(H, W)`` that a mask's numbers are; of a palette, its indices.

    Raises:
        RejectedError: ``fractional_mask``.
    """
    stored = decoded.pixels.max(axis=2) if decoded.indices is None else decoded.indices
    return classes_in(stored, path)


def classes_in(values: NDArray[Any], path: str) -> NDArray[np.uint8]:
    """Return the numbers ``(H, W)`` as classes.

    Raises:
        RejectedError: ``fractional_mask``.
    """
    check_whole(values, path)
    classes: NDArray[np.uint8] = np.clip(values, 0, 255).astype(np.uint8)
    if (classes != values).any():
        wrong = values[classes != values][0]
        detail = f"holds {wrong:g}, but classes go from 0 to 255"
        raise RejectedError(path, "fractional_mask", detail)
    return classes


def known(values: NDArray[Any], path: str, reading: Reading) -> NDArray[Any]:
    """Return a mask's numbers, NaN as ``reading`` says.

    Raises:
        RejectedError: ``fractional_mask`` where a number is not finite.
    """
    if values.dtype.kind != "f":
        return values
    unknown = np.isnan(values)
    if reading.nan == "background":
        values = np.where(unknown, values.dtype.type(0), values)
    elif unknown.any():
        detail = (
            f"holds NaN in {unknown.mean():.2%} of its pixels, which is not a class; if it "
            "means not measured, set `reading: {nan: background}`"
        )
        raise RejectedError(path, "fractional_mask", detail)
    if np.isinf(values).any():
        raise RejectedError(path, "fractional_mask", "holds infinite numbers")
    return values


def settled(values: NDArray[Any], path: str, reading: Reading) -> NDArray[Any]:
    """Return the numbers of a mask of classes, those near a whole one as that one.

    Raises:
        RejectedError: as ``known`` does.
    """
    values = known(values, path, reading)
    if values.dtype.kind != "f":
        return values
    whole = np.rint(values)
    return np.where(np.abs(values - whole) <= NEAR, whole, values)


def check_whole(values: NDArray[Any], path: str) -> None:
    """Refuse numbers that name no class.

    Raises:
        RejectedError: ``fractional_mask``, with the digits that make it so.
    """
    if values.dtype.kind != "f":
        return
    wrong = values[np.rint(values) != values]
    if wrong.size:
        detail = f"holds {wrong.flat[0]!s}, which is not a class"
        raise RejectedError(path, "fractional_mask", detail)


def _of_levels(values: NDArray[Any], lossy: bool, reading: Reading) -> Lesion:
    """Cut grey levels ``(H, W)``; of black and one other level, the other is the lesion."""
    lesion, top = values != 0, values.max()
    if lossy and values.dtype == np.uint8 and 0 < top < NOISE:
        detail = (
            f"its compression is lossy (JPEG) and it is nowhere brighter than {top} of 255: "
            "taken as empty"
        )
        return Lesion(np.zeros(values.shape, np.bool_), (Remark("mask_levels", detail),))
    # Most masks are plain; to list their levels would take as long as to decode them.
    plain = np.count_nonzero(lesion) == np.count_nonzero(values == (top or values.min()))
    if not lesion.any() or plain or (reading.mask_threshold == "any" and not lossy):
        return _remarked_if_full(lesion, values[..., None])
    levels = np.unique(values)
    if len(levels) == 2:
        detail = f"it has the levels {levels[0]} and {top} and no 0: {top} was taken"
        return Lesion(values == top, (Remark("mask_levels", detail),))
    half = float(top) / 2
    detail = f"it has {len(levels):,} levels from {levels[0]} to {top}, cut at half: {half:g}"
    return Lesion(values >= half, (Remark("mask_levels", detail),))


def _of_palette(indices: NDArray[Any], pixels: NDArray[Any]) -> Lesion | None:
    """Return what is not the background's index, or None where the palette is a scale of greys.

    The background is index 0; where no pixel has that, whatever is black.
    """
    used, first, counts = np.unique(indices, return_index=True, return_counts=True)
    colours = pixels.reshape(-1, pixels.shape[2])[first]
    zero, black = used == 0, ~colours.any(axis=1)
    if _is_grey_scale(colours, opens_light=bool((zero & ~black).any())):
        return None
    lesion = ~np.isin(indices, used[zero if zero.any() else black])
    doubts = []
    if (zero & ~black).any():
        doubts.append(f"index 0, taken as background, is {_name(colours[0])}")
    if (black & ~zero).any() and zero.any():
        doubts.append(f"index {used[black & ~zero][0]}, taken as lesion, is black")
    common = int(counts.argmax())
    if _name(colours[common]) == "white" and used[common] != 0:
        doubts.append(f"index {used[common]}, the commonest, is white")
    if not doubts:
        return _remarked_if_full(lesion, pixels)
    return Lesion(lesion, (Remark("palette_mask", "; ".join(doubts)),))


def _is_grey_scale(colours: NDArray[Any], opens_light: bool) -> bool:
    """Tell whether the colours used ``(n, 3)`` are different greys, that is a grey picture.

    Of two greys with black behind the other, the palette says more than the colours.
    """
    grey = _is_grey(colours)
    different = len(np.unique(colours, axis=0)) == len(colours)
    return grey and different and not (opens_light and len(colours) <= 2)


def _name(colour: NDArray[Any]) -> str:
    if (colour == 255).all():
        return "white"
    return "black" if not colour.any() else f"of the colour {', '.join(map(str, colour))}"


def _is_grey(pixels: NDArray[Any]) -> bool:
    return bool((pixels == pixels[..., :1]).all())


def _is_of_one_colour(pixels: NDArray[Any]) -> bool:
    return bool((pixels == pixels[:1, :1]).all())


def _remarked_if_full(lesion: NDArray[np.bool_], pixels: NDArray[Any]) -> Lesion:
    if not lesion.all():
        return Lesion(lesion)
    white = (pixels == 255).all(axis=-1).mean() >= 0.5
    detail = "it is white for the most part" if white else ""
    return Lesion(lesion, (Remark("full_mask", detail),))
