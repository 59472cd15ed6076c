"""What the numbers of a TIFF's page mean: grey, colour, palette, and what lies beside."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tifffile import EXTRASAMPLE, PHOTOMETRIC, TiffPage

from maskwise.scans.reasons import RejectedError
from maskwise.scans.remarks import Remark
from maskwise.wording import count

_INK_SET = 332
_CMYK = 1
_ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)


class Picture(NamedTuple):
    """A page as stored, not turned; the fields are those of ``Decoded``."""

    pixels: NDArray[Any]
    remarks: tuple[Remark, ...] = ()
    indices: NDArray[Any] | None = None
    alpha: NDArray[Any] | None = None


def picture_of(page: TiffPage, samples: NDArray[Any], path: str) -> Picture:
    """Return what the ``samples`` ``(H, W, S)`` of a page mean: grey or RGB.

    Raises:
        RejectedError: ``unsupported``, ``damaged``.
    """
    needed: dict[int, int] = {
        PHOTOMETRIC.RGB: 3,
        PHOTOMETRIC.YCBCR: 3,
        PHOTOMETRIC.SEPARATED: 4,
    }
    own = needed.get(page.photometric, 1)
    if samples.shape[2] < own:
        detail = (
            f"has {count(samples.shape[2], 'sample')} per pixel, but its colours need {own}"
        )
        raise RejectedError(path, "damaged", detail)
    alpha, remarks = _beside(page, samples[..., own:], own, path)
    samples = samples[..., :own]
    if page.photometric == PHOTOMETRIC.PALETTE:
        return Picture(_coloured(page, samples[..., 0], path), remarks, samples[..., 0], alpha)
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return Picture(_from_cmyk(page, samples, path), remarks, None, alpha)
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        samples = _inverted(samples, page.bitspersample)
    return Picture(_widened(samples, page.bitspersample), remarks, None, alpha)


def _beside(
    page: TiffPage, surplus: NDArray[Any], own: int, path: str
) -> tuple[NDArray[Any] | None, tuple[Remark, ...]]:
    """Return the alpha, and a remark of samples that are said not to be alpha.

    One sample beside grey or colour may be an alpha that was not declared; several beside grey
    are as many pictures, of which none is the first.
    """
    beside = surplus.shape[2]
    if not beside:
        return None, ()
    declared = page.extrasamples[0] in _ALPHA if page.extrasamples else False
    alpha = surplus[..., 0] if declared else None
    unknown = beside - (alpha is not None)
    if not unknown:
        return alpha, ()
    if own == 1 and unknown > 1:
        detail = f"holds {beside + own} channels that are neither RGB nor alpha; export one"
        raise RejectedError(path, "unsupported", detail)
    return alpha, (Remark("further_samples", f"{unknown} of {beside + own}"),)


def _inverted(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Turn white = 0 into black = 0, within the bits of a sample."""
    if samples.dtype == np.bool_:
        return ~samples
    return np.asarray(samples.dtype.type(2**bits - 1) - samples)


def _widened(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Stretch whole numbers of less than 8 bits to 0 ... 255, as those of a PNG are."""
    if samples.dtype == np.bool_:
        return np.asarray(samples * np.uint8(255))
    if bits >= 8:
        return samples
    largest = 2**bits - 1
    wide = (samples.astype(np.uint16) * 255 + largest // 2) // largest
    return np.asarray(wide.astype(np.uint8))


def _coloured(page: TiffPage, indices: NDArray[Any], path: str) -> NDArray[np.uint8]:
    """Return the palette's colours ``(H, W, 3)``, 8 bits."""
    palette = page.colormap
    if palette is None or palette.shape != (3, 2**page.bitspersample):
        raise RejectedError(path, "damaged", "its palette is missing, or of another size")
    # Some writers fill the 16 bits of a palette with 8; so do viewers take it.
    eight = palette if palette.max() < 256 else palette >> 8
    return eight.astype(np.uint8).T[indices.astype(np.intp)]


def _from_cmyk(page: TiffPage, samples: NDArray[Any], path: str) -> NDArray[np.uint8]:
    inks = page.tags.valueof(_INK_SET, default=_CMYK)
    if samples.dtype != np.uint8 or page.bitspersample != 8 or inks != _CMYK:
        detail = "holds inks that are not CMYK of 8 bits; export it as RGB"
        raise RejectedError(path, "unsupported", detail)
    height, width = samples.shape[:2]
    inked = Image.frombytes("CMYK", (width, height), samples.tobytes())
    return np.asarray(inked.convert("RGB"))
