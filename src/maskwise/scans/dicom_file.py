"""What the first bytes of a DICOM file say, read without a library, and then all its elements.

A file of the standard has a preamble of 128 bytes, the letters DICM, then its meta information
(group 2), which names the transfer syntax. Archives and old software leave the preamble out.
"""

import io
from collections.abc import Iterator
from typing import NamedTuple

import pydicom
from pydicom.config import IGNORE
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

_PREAMBLE = 128
_MARK = b"DICM"
_SYNTAX = (0x0002, 0x0010)
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})
"""Value representations whose length has four bytes, behind two that are reserved."""
_FIRST = {
    0x0002: frozenset({b"AE", b"OB", b"SH", b"UI", b"UL"}),
    0x0008: frozenset({b"AE", b"CS", b"DA", b"DT", b"LO", b"SH", b"TM", b"UI", b"UL"}),
}
"""Group that a file without preamble begins with -> representations of its elements."""
_LONGEST = 1024
"""Bytes that the first element of such a file may have."""
UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
"""Transfer syntaxes whose pixels lie in the file as they are."""
_LARGE = 64 * 1024
"""Bytes of an element from which on it is left where it is."""


class _Element(NamedTuple):
    tag: tuple[int, int]
    representation: bytes | None
    """None = implicit: the element does not say."""
    start: int
    """Of the value."""
    end: int


def begins_as_dicom(head: bytes) -> bool:
    """Tell whether content that begins with these 132 bytes or more is DICOM.

    Without a preamble its first two elements must make sense and stand in order.
    """
    return head.startswith(_MARK, _PREAMBLE) or _begins_with_elements(head)


def meta_information(data: bytes) -> tuple[str | None, int]:
    """Return the transfer syntax that a DICOM file names, or None, and where group 2 ends."""
    start = _PREAMBLE + len(_MARK) if data.startswith(_MARK, _PREAMBLE) else 0
    syntax = None
    for element in _elements(data, start):
        if element.tag[0] != _SYNTAX[0]:
            break
        if element.tag == _SYNTAX:
            syntax = data[element.start : element.end].decode("latin-1").strip(" \0")
        start = element.end
    return syntax or None, start


def parsed(data: bytes) -> pydicom.Dataset:
    """Return the elements of a DICOM file; uncompressed pixels are a view of ``data``.

    A mammogram's are 30 MB, which pydicom would copy.
    """
    syntax, _ = meta_information(data)
    if syntax not in UNCOMPRESSED:
        return pydicom.dcmread(io.BytesIO(data), force=True)
    dataset = pydicom.dcmread(io.BytesIO(data), defer_size=_LARGE, force=True)
    pixels = dataset.get_item("PixelData", keep_deferred=True)
    if isinstance(pixels, RawDataElement) and pixels.value is None:
        representation = pixels.VR or "OW"  # as the standard has it where files do not say
        if representation in ("OB", "OW"):
            view = memoryview(data)[pixels.value_tell :][: pixels.length]
            # pydicom's check knows no views, though its decoders read them.
            dataset["PixelData"] = DataElement(
                pixels.tag, representation, view, validation_mode=IGNORE
            )
    return dataset


def _begins_with_elements(head: bytes) -> bool:
    elements = _elements(head, 0)
    first = next(elements, None)
    if first is None or first.end - first.start > _LONGEST or first.end % 2:
        return False
    known = _FIRST.get(first.tag[0])
    if known is None or first.representation not in (*known, None):
        return False
    if first.representation is None and first.tag[0] == _SYNTAX[0]:
        return False  # group 2 is explicit
    second = next(elements, None)
    if second is None:  # it lies beyond what was handed in
        return first.representation is not None and first.end >= len(head) - 8
    return first.tag < second.tag and second.tag[0] <= 0x0010


def _elements(data: bytes, start: int) -> Iterator[_Element]:
    """Yield the elements from ``start`` on, little endian, as long as there is a whole tag."""
    while start + 8 <= len(data):
        tag = _number(data, start, 2), _number(data, start + 2, 2)
        letters = data[start + 4 : start + 6]
        if not (letters.isalpha() and letters.isupper()):
            length, value, letters = _number(data, start + 4, 4), start + 8, b""
        elif letters in _LONG:
            length, value = _number(data, start + 8, 4), start + 12
        else:
            length, value = _number(data, start + 6, 2), start + 8
        yield _Element(tag, letters or None, value, value + length)
        start = value + length


def _number(data: bytes, start: int, size: int) -> int:
    return int.from_bytes(data[start : start + size], "little")
