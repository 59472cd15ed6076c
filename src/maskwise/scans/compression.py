"""What a compressed picture says about itself in its first bytes, before decoding."""

from typing import NamedTuple

_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
"""JPEG's markers that have no length."""
_NO_FRAME = frozenset((0xC4, 0xC8, 0xCC))
"""Of the markers from C0 to CF, those that begin no frame."""
_LOSSLESS, _LS = 0xC3, 0xF7
_END, _SCAN = 0xD9, 0xDA
_CODING_STYLE = b"\xff\x52"
"""JPEG 2000's marker COD (ITU-T T.800, A.6.1)."""
_COLOURS, _WAVELET = 8, 13
"""Bytes from that marker to the one that says whether colours were transformed (1 = they were),
and to the one that names the wavelet (0 = 9-7, which cannot be undone)."""


class Picture(NamedTuple):
    """What a compressed picture says about itself."""

    rows: int
    columns: int
    bits: int
    lossy: bool = False
    """By JPEG's cosines, which decoders can do for 8 bits or for 12."""
    transformed: bool | None = None
    """Whether the decoder turns luminance and colour differences back into RGB; None = the
    format does not say."""


def is_lossy(data: bytes) -> bool:
    """Tell whether a picture in JPEG, JPEG 2000 or WebP lost something when it was compressed.

    JPEG-LS is told from its kin by what contains it, and counts as lossless here.
    """
    if data.startswith(b"RIFF"):
        return data[12:16] != b"VP8L"
    jpeg = jpeg_picture(data)
    if jpeg is not None:
        return jpeg.lossy
    return _coding_style(data, _WAVELET) == 0


def colours_transformed(data: bytes) -> bool:
    """Tell whether a JPEG 2000 picture says that its colours were transformed."""
    return _coding_style(data, _COLOURS) == 1


def _coding_style(data: bytes, place: int) -> int | None:
    """Return a byte of what a JPEG 2000 picture says about its making; None without that."""
    marker = data.find(_CODING_STYLE)
    return data[marker + place] if 0 <= marker < len(data) - place else None


def jpeg_picture(data: bytes) -> Picture | None:
    """Return what a JPEG or JPEG-LS picture's frame header says, or None without one.

    ITU-T T.81, B.2.2: marker, length, bits, rows, columns; T.87 has the same.
    """
    place = 2 if data.startswith(b"\xff\xd8") else len(data)
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF:  # fills up
            place += 1
        elif marker in _STANDALONE:
            place += 2
        elif marker == _LS or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME):
            rows, columns = (int.from_bytes(data[place + at : place + at + 2]) for at in (5, 7))
            return Picture(rows, columns, data[place + 4], marker not in (_LS, _LOSSLESS))
        elif marker in (_END, _SCAN):
            return None
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None
