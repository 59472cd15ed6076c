"""What a page of a TIFF claims, checked against the file before anything is decoded."""

import io
import math
from typing import Any

import numpy as np
from openjpeg.utils import get_parameters
from PIL import Image
from tifffile import COMPRESSION, PHOTOMETRIC, PLANARCONFIG, SAMPLEFORMAT, TiffPage
from tifffile.tifffile import jpeg_shape

from maskwise.scans.compression import is_lossy
from maskwise.scans.reasons import RejectedError

_PHOTOMETRIC = 262
_PLAIN = frozenset(
    {
        COMPRESSION.NONE,
        COMPRESSION.CCITTRLE,
        COMPRESSION.CCITT_T4,
        COMPRESSION.CCITT_T6,
        COMPRESSION.LZW,
        COMPRESSION.ADOBE_DEFLATE,
        COMPRESSION.DEFLATE,
        COMPRESSION.PACKBITS,
        COMPRESSION.LZMA,
        COMPRESSION.ZSTD,
        COMPRESSION.ZSTD_DEPRECATED,
    }
)
"""Their decoders are told how much may come out."""
_PICTURES = frozenset({COMPRESSION.JPEG, COMPRESSION.JPEG2000, COMPRESSION.WEBP})
"""Their decoders believe the size inside the compressed data."""
_WHOLE = (SAMPLEFORMAT.UINT, SAMPLEFORMAT.VOID)
_READ = (
    PHOTOMETRIC.MINISWHITE,
    PHOTOMETRIC.MINISBLACK,
    PHOTOMETRIC.RGB,
    PHOTOMETRIC.PALETTE,
    PHOTOMETRIC.SEPARATED,
    PHOTOMETRIC.YCBCR,
)


def check_page(page: TiffPage, path: str, limit: int) -> None:
    """Refuse a page that claims to be more than ``limit`` bytes, or of a kind not read here.

    Raises:
        RejectedError: ``damaged``, ``too_large``, ``unsupported``, ``no_decoder``.
    """
    if min(page.imagewidth, page.imagelength, page.samplesperpixel) < 1:
        raise RejectedError(path, "damaged", "says that it has no pixels")
    if page.imagedepth > 1 or page.tiledepth > 1:
        raise _unsupported(path, f"a page of {page.imagedepth} pictures in depth")
    if page.dtype is None or page.dtype.kind not in "buif" or not _is_one(page.bitspersample):
        what = f"{page.bitspersample} bits of the sample format {int(page.sampleformat)}"
        raise _unsupported(path, f"numbers of {what}")
    _check_bytes(page, path, limit)
    _check_colours(page, path)
    if page.compression not in _PLAIN | _PICTURES:
        name = getattr(page.compression, "name", page.compression)
        raise RejectedError(path, "no_decoder", f"its compression ({name}) is not read here")


def number_type(page: TiffPage) -> np.dtype[Any]:
    """Return the type of a page's numbers, once ``check_page`` has let it pass."""
    if page.dtype is None:
        raise ValueError("the page has not been checked")
    return page.dtype


def check_segments(page: TiffPage, data: bytes, path: str) -> None:
    """Refuse a page whose strips or tiles are not all in the file, or claim another size.

    tifffile takes what is missing for black.

    Raises:
        RejectedError: ``damaged``.
    """
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if page.is_contiguous:
        places = [(page.dataoffsets[0], page.nbytes)]
    elif len(places) != math.prod(page.chunked):
        detail = f"holds {len(places):,} of {math.prod(page.chunked):,} strips or tiles"
        raise RejectedError(path, "damaged", detail)
    for start, count in places:
        if not (start > 0 and count > 0 and start + count <= len(data)):
            raise RejectedError(path, "damaged", "some of its strips or tiles are missing")
        if page.compression in _PICTURES:
            _check_inside(page, data[start : start + count], path)


def lost_by(page: TiffPage, data: bytes) -> bool:
    """Tell whether the compression of a page whose segments were checked is lossy."""
    start, count = page.dataoffsets[0], page.databytecounts[0]
    return page.compression in _PICTURES and is_lossy(data[start : start + count])


def _check_bytes(page: TiffPage, path: str, limit: int) -> None:
    """Hold the page and a tile of it, which may be larger, to ``limit``."""
    tile = page.tilewidth * page.tilelength if page.is_tiled else 0
    pixels = max(page.imagewidth * page.imagelength, tile)
    claimed = pixels * page.samplesperpixel * number_type(page).itemsize
    if claimed > limit:
        detail = f"a page or tile of {claimed:,} bytes, more than {limit:,} (by max_pixels)"
        raise RejectedError(path, "too_large", detail)


def _check_colours(page: TiffPage, path: str) -> None:
    if _PHOTOMETRIC not in page.tags:
        detail = "does not say whether 0 is black or white (PhotometricInterpretation)"
        raise RejectedError(path, "damaged", detail)
    name = getattr(page.photometric, "name", page.photometric)
    if page.photometric not in _READ:
        raise _unsupported(path, f"pixels whose PhotometricInterpretation is {name}")
    if page.photometric == PHOTOMETRIC.YCBCR and not _is_converted(page):
        raise _unsupported(path, "YCbCr colours that are not compressed as JPEG")
    if page.photometric == PHOTOMETRIC.MINISWHITE and page.sampleformat not in _WHOLE:
        what = "of signed or floating-point numbers, for which TIFF names no white"
        raise _unsupported(path, f"WhiteIsZero {what}")


def _is_one(bits: object) -> bool:
    """Tell whether all samples have as many bits; tifffile names others one by one."""
    return isinstance(bits, int)


def _is_converted(page: TiffPage) -> bool:
    """Tell whether the decoder of a page of YCbCr gives RGB."""
    plain = page.planarconfig == PLANARCONFIG.CONTIG and page.samplesperpixel == 3
    return plain and page.compression == COMPRESSION.JPEG


def _check_inside(page: TiffPage, segment: bytes, path: str) -> None:
    """Refuse a compressed strip or tile that claims to be far larger than it should be."""
    if page.compression == COMPRESSION.JPEG:
        height, width = jpeg_shape(segment)[1:3]
    elif page.compression == COMPRESSION.JPEG2000:
        said = get_parameters(segment)
        height, width = int(said["rows"]), int(said["columns"])
    else:
        with Image.open(io.BytesIO(segment), formats=("WEBP",)) as picture:
            width, height = picture.size
    rows, columns = (page.tilelength, page.tilewidth)
    if not page.is_tiled:
        rows, columns = page.rowsperstrip, page.imagewidth
    # An encoder may fill up a strip or tile to whole blocks.
    if height > 2 * rows + 64 or width > 2 * columns + 64:
        detail = f"a compressed part claims to be {width} x {height} pixels"
        raise RejectedError(path, "damaged", detail)


def _unsupported(path: str, what: str) -> RejectedError:
    return RejectedError(path, "unsupported", f"holds {what}; export it as plain grey or RGB")
