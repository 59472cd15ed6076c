"""What a DICOM header says of its slice and series, without its pixels.

For whoever must know which files belong together before any of them is decoded.
"""

import io
import math
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from maskwise.scans.dicom_file import meta_information
from maskwise.scans.dicom_header import Header, place_of, text_of
from maskwise.scans.dicom_kind import kind_of, localizer_of
from maskwise.scans.guarded import quiet, refusing
from maskwise.scans.place import Vector
from maskwise.scans.raw import locate
from maskwise.scans.reasons import RejectedError

REPEATERS = (
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "EchoTime",
    "AcquisitionNumber",
    "TriggerTime",
)
"""Elements that tell apart images of one place, the one that says most clearly why first."""

_HEAD = 4096
"""Bytes in which the meta information of a file ends."""
_INFLATED = 2**24
"""Bytes that the header of a deflated file may become."""
_PIXELS = Tag(0x7FE00008)
"""The first element that may hold pixels."""


@dataclass(frozen=True)
class SliceHeader:
    """One file that holds an image. Distances are in millimetres, NaN = unknown."""

    path: str
    modality: str | None
    """As ``scans/modality.py`` says; None = of another kind, or not known."""
    frames: int
    height: int
    width: int
    normal: Vector | None
    origin: Vector | None
    position: float
    """Along ``normal``."""
    spacing: float
    """The smaller side of a pixel."""
    rescaled: bool
    repeaters: tuple[float, ...]
    """The numbers of ``REPEATERS``, NaN where the file does not say."""
    study: str = field(repr=False)
    """Ids as they stand in the file: they must not leave the process that groups by them."""
    series: str = field(repr=False)


def read_slice_header(raw: Path, path: str) -> SliceHeader | None:
    """Return what a DICOM file says; None where it holds no image, or cannot be read.

    Whoever decodes the file says what is wrong with it.
    """
    try:
        return _read(raw, path)
    except RejectedError:
        return None


def plane_of(normal: Vector) -> str:
    """Return axial, coronal or sagittal, whichever a slice with this normal is nearest to."""
    sizes = dict(zip(("sagittal", "coronal", "axial"), map(abs, normal), strict=True))
    return max(sizes, key=lambda name: sizes[name])


def _read(raw: Path, path: str) -> SliceHeader | None:
    file = locate(raw, path)
    with refusing(path, "cannot be read as DICOM"), quiet("pydicom"):
        with file.open("rb") as stream:
            syntax, start = meta_information(stream.read(_HEAD))
            if syntax == DeflatedExplicitVRLittleEndian:
                stream.seek(start)
                dataset = _inflated(stream.read(_INFLATED))
                dataset.file_meta = read_file_meta_info(file)
            else:
                stream.seek(0)
                dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
        header = Header(dataset, path)
        kind = kind_of(header)
        rows, columns = header.whole("Rows", 1), header.whole("Columns", 1)
        if kind.other is not None or localizer_of(header, 0) or not (rows and columns):
            return None
        frames = header.whole("NumberOfFrames", 1) or 1
        place = place_of(header, 0, frames)
        return SliceHeader(
            path=path,
            modality=kind.modality,
            frames=frames,
            height=rows,
            width=columns,
            normal=place.normal,
            origin=place.origin,
            position=place.position,
            spacing=min(place.spacing_y, place.spacing_x),
            rescaled=place.rescaled,
            repeaters=tuple(_number(header, keyword) for keyword in REPEATERS),
            study=text_of(dataset, "StudyInstanceUID"),
            series=text_of(dataset, "SeriesInstanceUID"),
        )


def _inflated(data: bytes) -> pydicom.Dataset:
    """Read the header out of deflated ``data``, of which no more than bounded is inflated."""
    head = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, _INFLATED)

    def pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        return bool(tag >= _PIXELS)

    return read_dataset(io.BytesIO(head), False, True, stop_when=pixels)


def _number(header: Header, keyword: str) -> float:
    """Return the one number of an element, NaN where there is none that can be read."""
    try:
        found = header.numbers(keyword, 1)
    except RejectedError:
        return math.nan
    return math.nan if found is None else found[0]
