"""TIFF and PNG written byte by byte, so that no library comes between test and format."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Order = Literal["<", ">"]
SHORT, LONG = 3, 4
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _FORMAT = 273, 277, 278, 279, 339
_FORMATS = {"u": 1, "i": 2, "f": 3}


def tiff(
    pages: Sequence[NDArray[np.generic]],
    photometric: int = 1,
    order: Order = "<",
    tags: Mapping[int, int | None] | None = None,
    last: int = 0,
) -> bytes:
    """Return an uncompressed TIFF of grey ``pages``, one strip each, in byte order ``order``.

    ``tags`` are further tags, or tags that are changed; None leaves a tag out. ``last`` is
    where the last directory says the next one lies.
    """
    content = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link = 4
    for page in pages:
        offset = len(content)
        data = page.astype(page.dtype.newbyteorder(order)).tobytes()
        content += data + bytes(len(data) % 2)
        struct.pack_into(f"{order}I", content, link, len(content))
        fields: dict[int, int | None] = {
            _WIDTH: page.shape[1],
            _HEIGHT: page.shape[0],
            _BITS: 8 * page.dtype.itemsize,
            _COMPRESSION: 1,
            _PHOTOMETRIC: photometric,
            _OFFSETS: offset,
            _SAMPLES: 1,
            _ROWS: page.shape[0],
            _COUNTS: len(data),
            _FORMAT: _FORMATS[page.dtype.kind],
            **(tags or {}),
        }
        kept = sorted((tag, value) for tag, value in fields.items() if value is not None)
        content += struct.pack(f"{order}H", len(kept))
        for tag, value in kept:
            content += struct.pack(f"{order}HHII", tag, LONG, 1, value)
        link = len(content)
        content += struct.pack(f"{order}I", last)
    return bytes(content)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )


def png(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    before: bytes = b"",
    behind: bytes = b"",
    palette: bytes | None = None,
) -> bytes:
    """Return a PNG of ``pixels`` ``(H, W)`` or ``(H, W, C)``, 8 or 16 bits, 1 to 4 channels.

    ``before`` and ``behind`` are chunks on either side of the pixels; with a ``palette``,
    ``pixels`` are its indices.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    kind = 3 if palette is not None else {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    bits = 8 * pixels.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    colours = chunk(b"PLTE", palette) if palette is not None else b""
    rows = pixels.astype(pixels.dtype.newbyteorder(">"))
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + colours
        + before
        + chunk(b"IDAT", zlib.compress(lines))
        + behind
        + chunk(b"IEND", b"")
    )


def exif(orientation: int) -> bytes:
    """Return an EXIF block, as a PNG's ``eXIf`` holds it, with nothing but an orientation."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, SHORT, 1, orientation, 0, 0)


def jpeg_with(block: bytes, content: bytes) -> bytes:
    """Return the JPEG ``content`` with the EXIF ``block`` put behind its first marker."""
    body = b"Exif\0\0" + block
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + content[2:]
