"""Samples of a DICOM file as the values that they stand for.

In the standard's order: the bits that are stored, the modality's transform (slope and
intercept, or a table), then white = low turned to black = low. Turning is for pictures: where
the transform gives values a unit, as Hounsfield's, they keep their order.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwise.scans.dicom_header import Header, text_of
from maskwise.scans.dicom_tables import modality_table
from maskwise.scans.reasons import RejectedError

COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", *COLOUR)
_ALLOCATED = (1, 8, 16, 32, 64)
_UNSPECIFIED = frozenset({"", "US", "UNSPECIFIED"})
"""What a transform's type says where its values have no unit."""
_MEASURING = frozenset({"CT", "PT"})
"""Modalities whose values have a unit unless the transform says another."""
_TRANSFORM = "PixelValueTransformationSequence"


@dataclass(frozen=True)
class Layout:
    """How a file's samples are stored."""

    rows: int
    columns: int
    frames: int
    photometric: str
    allocated: int
    """Bits that a sample takes."""
    stored: int
    """Bits of them that are used."""
    high: int
    """The highest of those, from 0."""
    signed: bool
    floating: bool
    little: bool
    """Whether the file has the lowest byte of a number first."""

    @property
    def colour(self) -> bool:
        """Whether a pixel has three samples."""
        return self.photometric in COLOUR


def layout_of(header: Header, little: bool) -> Layout:
    """Return how the samples of a file of this byte order are stored.

    Raises:
        RejectedError: ``unreadable_element``, or ``not_an_image`` for colours of another kind.
    """
    photometric = text_of(header.dataset, "PhotometricInterpretation")
    if photometric not in PHOTOMETRIC:
        detail = f"its colours (PhotometricInterpretation) are none of {', '.join(PHOTOMETRIC)}"
        raise RejectedError(header.path, "not_an_image", detail)
    samples, wanted = header.required("SamplesPerPixel"), 3 if photometric in COLOUR else 1
    if samples != wanted:
        raise header.unreadable("SamplesPerPixel", f"{wanted} for {photometric}", samples)
    floating = "PixelData" not in header
    allocated, stored, high, signed = (0, 0, 0, False) if floating else _bits(header)
    return Layout(
        rows=header.required("Rows", 1),
        columns=header.required("Columns", 1),
        frames=header.whole("NumberOfFrames", 1) or 1,
        photometric=photometric,
        allocated=allocated,
        stored=stored,
        high=high,
        signed=signed,
        floating=floating,
        little=little,
    )


def _bits(header: Header) -> tuple[int, int, int, bool]:
    allocated, stored = header.required("BitsAllocated"), header.required("BitsStored", 1)
    if allocated not in _ALLOCATED:
        wanted = f"one of {', '.join(map(str, _ALLOCATED))}"
        raise header.unreadable("BitsAllocated", wanted, allocated)
    if stored > allocated:
        raise header.unreadable("BitsStored", f"at most BitsAllocated = {allocated}", stored)
    high = header.sixteen_bits("HighBit", signed=False)
    high = stored - 1 if high is None else high
    if not stored - 1 <= high < allocated:
        wanted = f"from BitsStored - 1 = {stored - 1} to {allocated - 1}"
        raise header.unreadable("HighBit", wanted, high)
    representation = header.required("PixelRepresentation")
    if representation > 1:
        raise header.unreadable("PixelRepresentation", "0 or 1", representation)
    return allocated, stored, high, bool(representation)


def stored_of(words: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Return the samples in ``words``, whose other bits may hold anything."""
    if layout.floating or layout.stored == layout.allocated or layout.allocated == 1:
        return words
    if layout.high == layout.stored - 1 and _fits(words, layout):
        return words  # the other bits repeat the sign, or are 0
    width = 8 * words.dtype.itemsize
    upwards = np.left_shift(words, width - 1 - layout.high)
    return np.asarray(np.right_shift(upwards, width - layout.stored))  # with the sign


def _fits(words: NDArray[Any], layout: Layout) -> bool:
    """Tell whether the numbers need no more bits than are stored: two looks, no copy."""
    if not layout.signed:
        return int(words.max()) < 1 << layout.stored
    limit = 1 << (layout.stored - 1)
    return -limit <= int(words.min()) and int(words.max()) < limit


def padding_of(
    words: NDArray[Any], stored: NDArray[Any], layout: Layout, header: Header
) -> NDArray[np.bool_] | None:
    """Return ``(H, W)``, True where the file says that nothing was measured.

    A padding value may lie beyond the bits that are stored, so both readings are looked at.

    Raises:
        RejectedError: ``unreadable_element``.
    """
    if layout.floating:
        return _floating_padding(stored, header)
    if layout.colour or layout.allocated == 1:
        return None
    value = header.sixteen_bits("PixelPaddingValue", layout.signed)
    limit = header.sixteen_bits("PixelPaddingRangeLimit", layout.signed)
    if value is None:
        if limit is not None:
            wanted = "beside a PixelPaddingValue"
            raise header.unreadable("PixelPaddingRangeLimit", wanted, limit)
        return None
    low, high = sorted((value, value if limit is None else limit))
    found = _within(stored, low, high)
    if words is not stored:
        found |= _within(words, low, high)
    return found if found.any() else None


def _floating_padding(stored: NDArray[Any], header: Header) -> NDArray[np.bool_] | None:
    kind = "Double" if "DoubleFloatPixelData" in header else ""
    found = [
        header.numbers(f"{kind}FloatPixelPadding{name}", 1) for name in ("Value", "RangeLimit")
    ]
    if found[0] is None:
        return None
    ends = [stored.dtype.type(one[0]) for one in found if one is not None]
    padding = np.asarray((stored >= min(ends)) & (stored <= max(ends)))
    return padding if padding.any() else None


def _within(samples: NDArray[Any], low: int, high: int) -> NDArray[np.bool_]:
    return np.asarray(samples == low if low == high else (samples >= low) & (samples <= high))


def values_of(stored: NDArray[Any], layout: Layout, header: Header, frame: int) -> NDArray[Any]:
    """Return grey samples as what they stand for; whole numbers stay such where they can.

    Raises:
        RejectedError: ``unreadable_element``.
    """
    turned = layout.photometric == "MONOCHROME1"
    if layout.allocated == 1:
        return (stored ^ np.uint8(turned)) * np.uint8(255)  # as 1-bit images elsewhere
    tables = header.items("ModalityLUTSequence")
    if tables:
        item = Header(tables[0], header.path)
        table = modality_table(item, layout.signed, layout.little)
        values = table.look_up(stored)
        unit = text_of(item.dataset, "ModalityLUTType")
        return (
            values.dtype.type(table.largest) - values
            if turned and not _is_unit(unit)
            else values
        )
    groups = header.groups(frame, _TRANSFORM)
    slope = header.numbers("RescaleSlope", 1, groups)
    intercept = header.numbers("RescaleIntercept", 1, groups)
    if slope == (0.0,):
        raise header.unreadable("RescaleSlope", "another number than 0", 0)
    if (slope is None) != (intercept is None):
        # An intercept of 0 would be a guess, which is 1024 HU away where a CT lost it.
        names = ("RescaleSlope", "RescaleIntercept")
        lacking, other = names if slope is None else names[::-1]
        detail = f"{lacking} is missing or empty, though {other} is there"
        raise RejectedError(header.path, "unreadable_element", detail)
    items = (*groups, header.dataset)
    unit = next(filter(None, (text_of(item, "RescaleType") for item in items)), "")
    if not unit and (slope or intercept) and text_of(header.dataset, "Modality") in _MEASURING:
        unit = "of the modality"
    if turned and not _is_unit(unit):
        # Of what is scaled evenly, that is the same as turning it afterwards.
        stored = _turned(stored, layout)
    return _scaled(stored, (slope or (1.0,))[0], (intercept or (0.0,))[0])


def _is_unit(kind: str) -> bool:
    return kind.upper() not in _UNSPECIFIED


def _turned(stored: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """Turn white = low into black = low, within the bits that are stored."""
    if layout.floating:
        return np.asarray(-stored)
    if layout.signed:
        return np.asarray(np.invert(stored))  # -1 - v
    return np.asarray(stored.dtype.type((1 << layout.stored) - 1) - stored)


def _scaled(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    if (slope, intercept) == (1.0, 0.0):
        return stored
    whole = stored.dtype.kind in "ui" and slope.is_integer() and intercept.is_integer()
    if whole:
        ends = [int(slope) * int(end) for end in (stored.min(), stored.max())]
        largest = max(abs(end + shift) for end in ends for shift in (0, int(intercept)))
        if largest < 2**63 and abs(intercept) < 2**63:  # beyond, the sign would turn
            dtype = np.dtype(np.int32 if max(largest, abs(intercept)) < 2**31 else np.int64)
            return stored.astype(dtype) * dtype.type(slope) + dtype.type(intercept)
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)
