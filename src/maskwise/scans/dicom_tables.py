"""Tables of a DICOM file in which samples are looked up: the modality's, and palettes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import apply_color_lut

from maskwise.scans.dicom_header import Header, with_sign

_WORD = 16
"""Bits of a table's numbers, at most."""
_PALETTE = "PaletteColorLookupTable"


@dataclass(frozen=True)
class Table:
    """What samples stand for, one after the other."""

    values: NDArray[np.uint16]
    first: int
    """The sample that stands for the first value, as all below it do; those beyond the last
    stand for the last."""
    bits: int
    """Of a value."""

    @property
    def largest(self) -> int:
        """The largest value that its bits can hold."""
        return (1 << self.bits) - 1

    def look_up(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the samples' values."""
        values = self.values.astype(np.uint8 if self.bits <= 8 else np.uint16)
        return values[np.clip(stored.astype(np.int64) - self.first, 0, len(values) - 1)]


def modality_table(item: Header, signed: bool, little: bool) -> Table:
    """Return the table in an item of ModalityLUTSequence; ``signed`` and ``little`` pixels.

    Raises:
        RejectedError: ``unreadable_element``.
    """
    return _read(item, ("LUTDescriptor", "LUTData"), signed, little)


def through_palette(
    stored: NDArray[Any], header: Header, signed: bool, little: bool
) -> NDArray[np.uint8]:
    """Return the colours ``(H, W, 3)`` of samples, with 8 bits per channel.

    Raises:
        RejectedError: ``unreadable_element``.
    """
    if f"SegmentedRed{_PALETTE}Data" in header:
        return _through_segments(stored, header)
    planes = []
    for channel in ("Red", "Green", "Blue"):
        keyword = f"{channel}{_PALETTE}"
        table = _read(header, (f"{keyword}Descriptor", f"{keyword}Data"), signed, little)
        planes.append(table.look_up(stored) >> max(0, table.bits - 8))
    return np.stack(planes, axis=-1).astype(np.uint8)


def _through_segments(stored: NDArray[Any], header: Header) -> NDArray[np.uint8]:
    keyword = f"SegmentedRed{_PALETTE}Data"
    try:
        colours = apply_color_lut(stored, header.dataset)[..., :3]
        entries = int(header.dataset[f"Red{_PALETTE}Descriptor"].value[0]) or 1 << _WORD
    except MemoryError:  # says nothing about the palette
        raise
    except Exception:  # whatever is wrong with one of its six elements
        raise header.unreadable(keyword, "that of a palette") from None
    if colours.dtype == np.uint8 and entries > 1 << 8:  # pydicom counts them with 8 bits
        raise header.unreadable(keyword, "a palette of 256 entries, if they have 8 bits")
    return (colours >> 8 * (colours.dtype.itemsize - 1)).astype(np.uint8)


def _read(header: Header, keywords: tuple[str, str], signed: bool, little: bool) -> Table:
    count, first, bits = _descriptor(header, keywords[0], signed)
    values = _entries(header, keywords[1], (count, bits), little)
    if int(values.max()) >= 1 << bits:
        raise header.unreadable(keywords[1], f"numbers of {bits} bits", int(values.max()))
    return Table(values, first, bits)


def _descriptor(header: Header, keyword: str, signed: bool) -> tuple[int, int, int]:
    """Return how many entries there are, the sample of the first, and the bits of each."""
    wanted = "three whole numbers"
    value = header.value(keyword, wanted)
    try:
        count, first, bits = (int(number) for number in value)
    except (TypeError, ValueError):
        raise header.unreadable(keyword, wanted) from None
    if not 1 <= bits <= _WORD:
        raise header.unreadable(keyword, f"of 1 to {_WORD} bits", bits)
    return count % 2**_WORD or 2**_WORD, with_sign(first, signed), bits


def _entries(
    header: Header, keyword: str, shape: tuple[int, int], little: bool
) -> NDArray[np.uint16]:
    """Return the entries; those of 8 bits may be packed, two in a word of 16."""
    count, bits = shape
    wanted = f"{count} whole numbers of {bits} bits"
    value = header.value(keyword, wanted)
    if isinstance(value, bytes):
        if len(value) == 2 * count:
            return np.frombuffer(value, "<u2" if little else ">u2").astype(np.uint16)
        if bits <= 8 and little and len(value) == count + count % 2:
            return np.frombuffer(value, np.uint8)[:count].astype(np.uint16)
        raise header.unreadable(keyword, wanted)
    try:
        numbers: NDArray[np.int64] = np.array(value, np.int64, ndmin=1) % 2**_WORD
    except (TypeError, ValueError):
        raise header.unreadable(keyword, wanted) from None
    if len(numbers) != count:
        raise header.unreadable(keyword, wanted)
    return numbers.astype(np.uint16)
