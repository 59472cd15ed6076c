"""What the header of one DICOM file says of the series that it is of.

Headers are read in worker processes, which import this module: it knows nothing of torch.
"""

import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pydicom

from maskwise.scans.decode import sniff
from maskwise.scans.dicom_file import begins_as_dicom
from maskwise.scans.dicom_header import Header, place_of, text_of
from maskwise.scans.guarded import quiet, refusing
from maskwise.scans.pictures import MAX_PIXELS
from maskwise.scans.raw import head_of, read_bytes
from maskwise.scans.reasons import RejectedError

NEEDED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime",
)  # fmt: skip
"""Elements that an object of the same study has, if only empty."""


class Ids(NamedTuple):
    """As they stand in a file."""

    series: str
    instance: str


class Asked(NamedTuple):
    """A file, and which of its frames are scans of the run."""

    path: str
    frames: tuple[int, ...]


@dataclass(frozen=True)
class Heading:
    """What tells whether files are of one series, and whether all of it is there."""

    ids: Ids = field(repr=False)
    frames: int
    """How many the file holds."""
    several: bool
    """Whether other files may belong to its series."""
    positions: tuple[float, ...]
    """Of each frame that was asked for, in mm along the slice's normal; NaN = the file does
    not say."""
    plane: tuple[Any, ...]
    """Size, frame of reference, directions and spacing, which all slices of a series share."""
    frames_are_placed: bool
    """Whether it has functional groups for each of its frames."""


def heading_of(root: Path, asked: Asked) -> Heading | str:
    """Return what a file says, or why it has no header by which an object could be made."""
    path = asked.path
    try:
        head = head_of(root, path)
        if sniff(head) != "DICOM" and not begins_as_dicom(head):
            return "the scan is no DICOM file"
        file = read_header(root, path)
        with refusing(path, "cannot be read as DICOM"), quiet("pydicom"):
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                if not text_of(file, keyword):
                    return f"{keyword} is missing, by which an object would refer to the scan"
            return _heading(file, asked)
    except RejectedError as error:
        return f"the scan cannot be read ({error.reject.reason})"


def read_header(root: Path, path: str) -> pydicom.Dataset:
    """Return the header of a file, without its pixels, and with all of ``NEEDED``.

    Raises:
        RejectedError: if it cannot be read.
    """
    data = read_bytes(root, path, MAX_PIXELS)
    with refusing(path, "cannot be read as DICOM"), quiet("pydicom"):
        file = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
        for keyword in NEEDED:
            if keyword not in file:
                setattr(file, keyword, None)
        return file


def ids_of(file: pydicom.Dataset) -> Ids:
    """Return by what objects name a file and its series."""
    return Ids(str(file.SeriesInstanceUID), str(file.SOPInstanceUID))


def _heading(file: pydicom.Dataset, asked: Asked) -> Heading:
    header = Header(file, asked.path)
    frames = header.whole("NumberOfFrames", 1) or 1
    return Heading(
        ids=ids_of(file),
        frames=frames,
        several=frames == 1 and bool(text_of(file, "FrameOfReferenceUID")),
        positions=tuple(_position(header, frame, frames) for frame in asked.frames),
        plane=_plane(file, header),
        frames_are_placed="PerFrameFunctionalGroupsSequence" in file,
    )


def _position(header: Header, frame: int, frames: int) -> float:
    try:
        return place_of(header, frame, frames).position
    except RejectedError:
        return math.nan


def _plane(file: pydicom.Dataset, header: Header) -> tuple[Any, ...]:
    """Return what all slices of a series share; directions are often written with noise."""
    try:
        size = header.whole("Rows", 1), header.whole("Columns", 1)
        directions = header.numbers("ImageOrientationPatient", 6) or ()
        spacing = header.numbers("PixelSpacing", 2) or ()
    except RejectedError:
        return (None,)
    rounded = [round(number, 3) + 0.0 for number in (*directions, *spacing)]
    return (*size, text_of(file, "FrameOfReferenceUID"), *rounded)
