"""Some rows of a DICOM file that is not compressed, without reading the others.

A lesion is a few hundred rows of a film of 5,000. What is returned is a DICOM file of these
rows alone, so that whoever reads it treats it as any other.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from maskwise.scans.dicom_file import meta_information
from maskwise.scans.guarded import quiet, refusing

_HEAD = 4096
"""Bytes in which the meta information of a file ends."""
_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_PIXELS = struct.pack("<HH", 0x7FE0, 0x0010)
"""The tag of PixelData."""


class Rows(NamedTuple):
    """Rows of one file."""

    data: bytes
    """A DICOM file that holds them."""
    height: int
    """Pixels of the whole frame."""
    width: int


def rows_of(file: Path, path: str, first: int, end: int) -> Rows | None:
    """Return the rows from ``first`` on and before ``end``, those that there are.

    None where the file is compressed, holds colours or several frames, is cut off, or has no
    row there: then it is to be read as a whole. ``path`` names it in messages.

    Raises:
        RejectedError: ``damaged`` where the header cannot be read.
    """
    with refusing(path, "cannot be read as DICOM"), quiet("pydicom"), file.open("rb") as stream:
        syntax, _ = meta_information(stream.read(_HEAD))
        if syntax not in _PLAIN:
            return None
        stream.seek(0)
        header = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
        start = stream.tell()
        # Before the element is asked for, which makes another of what was read.
        place = getattr(header.get_item("Rows"), "value_tell", None)
        size = _size(header)
        if size is None:
            return None
        height, width, sample = size
        begins = _begins(stream, start, explicit=syntax == ExplicitVRLittleEndian)
        held = os.fstat(stream.fileno()).st_size - (begins or 0)
        first, end, line = max(0, first), min(end, height), width * sample
        if begins is None or place is None or held < height * line or first >= end:
            return None
        stream.seek(0)
        head = bytearray(stream.read(begins))
        stream.seek(begins + first * line)
        pixels = stream.read((end - first) * line)
    head[place : place + 2] = struct.pack("<H", end - first)
    head[-4:] = struct.pack("<I", len(pixels) + len(pixels) % 2)
    return Rows(bytes(head) + pixels + b"\0" * (len(pixels) % 2), height, width)


def _size(header: pydicom.Dataset) -> tuple[int, int, int] | None:
    """Return height, width and bytes of a sample, or None where it is no plain grey frame."""
    values = [
        header.get(name)
        for name in ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel", "NumberOfFrames")
    ]
    height, width, bits, samples, frames = values
    plain = samples == 1 and frames in (None, 1) and bits in (8, 16)
    if not plain or not isinstance(height, int) or not isinstance(width, int):
        return None
    return (height, width, bits // 8) if height > 0 and width > 0 else None


def _begins(stream: BinaryIO, start: int, explicit: bool) -> int | None:
    """Return where the pixels of the element at ``start`` begin; None where it is another."""
    stream.seek(start)
    element = stream.read(12)
    if element[:4] != _PIXELS:
        return None
    if not explicit:
        return start + 8
    return start + 12 if element[4:6] in (b"OB", b"OW") else None
