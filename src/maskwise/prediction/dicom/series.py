"""Which scans of a run are one DICOM series, and whether all of it is there."""

import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from maskwise.prediction.contracts import Scan
from maskwise.scans.decode import sniff
from maskwise.scans.dicom_file import begins_as_dicom
from maskwise.scans.dicom_header import Header, place_of, text_of
from maskwise.scans.guarded import quiet, refusing
from maskwise.scans.pictures import MAX_PIXELS
from maskwise.scans.raw import head_of, read_bytes
from maskwise.scans.reasons import RejectedError
from maskwise.wording import count

GAP = 1.5
"""Times the usual distance of neighbouring slices, beyond which one is missing."""
NEEDED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime",
)  # fmt: skip
"""Elements that an object of the same study has, if only empty."""


@dataclass(frozen=True)
class Slice:
    """One image of a file, and where it lies."""

    row: int
    """Of the table."""
    frame: int
    file: pydicom.Dataset
    """Its header, without pixels."""
    position: float
    """In mm along the slice's normal; NaN = the file does not say."""


@dataclass(frozen=True)
class Series:
    """Images that one object may refer to, in order of place."""

    slices: tuple[Slice, ...]
    missing: str
    """Why it is not whole, in words that name no file; "" where it is."""

    @property
    def files(self) -> list[pydicom.Dataset]:
        """Return the header of each file, once."""
        return list({id(each.file): each.file for each in self.slices}.values())

    @property
    def rows(self) -> list[int]:
        return [each.row for each in self.slices]


def series_of(
    root: Path,
    scans: Sequence[Scan],
    answered: NDArray[np.bool_],
    lost: NDArray[np.bool_],
) -> tuple[list[Series], dict[int, str]]:
    """Return the series that ``scans`` are of, and why a row is of none.

    Args:
        root: what paths are relative to.
        scans: by row.
        answered: ``(N,)``, False where a scan was refused.
        lost: ``(N,)``, True where reading it took too long or ended its process. Such a file
            is not opened again; since it may be of any series in its folder, none is whole.
    """
    unread = {scans[row].path: row for row in np.flatnonzero(lost)[::-1]}
    folders = {str(PurePosixPath(path).parent): row for path, row in unread.items()}
    headers: dict[str, pydicom.Dataset | str] = {}
    groups: dict[tuple[str, ...], list[Slice]] = defaultdict(list)
    none: dict[int, str] = {}
    for row, scan in enumerate(scans):
        if scan.path in unread:
            none[row] = f"its file could not be read, as row {unread[scan.path] + 1} says"
            continue
        if scan.path not in headers:
            headers[scan.path] = _header(root, scan.path)
        file = headers[scan.path]
        if isinstance(file, str):
            none[row] = file
            continue
        groups[_key(file, scan)].append(_slice(row, scan, file))
    found = [
        _beside_lost(_series(slices, answered), scans, folders) for slices in groups.values()
    ]
    return sorted(found, key=lambda each: min(each.rows)), none


def _header(root: Path, path: str) -> pydicom.Dataset | str:
    """Return the header of a file, or why it has none."""
    try:
        head = head_of(root, path)
        if sniff(head) != "DICOM" and not begins_as_dicom(head):
            return "the scan is no DICOM file"
        data = read_bytes(root, path, MAX_PIXELS)
        with refusing(path, "cannot be read as DICOM"), quiet("pydicom"):
            file = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                if not text_of(file, keyword):
                    return f"{keyword} is missing, by which an object would refer to the scan"
            _frames(file)  # which is read again below
            for keyword in NEEDED:
                if keyword not in file:
                    setattr(file, keyword, None)
            return file
    except RejectedError as error:
        return f"the scan cannot be read ({error.reject.reason})"


def _frames(file: pydicom.Dataset) -> int:
    return Header(file, "").whole("NumberOfFrames", 1) or 1


def _key(file: pydicom.Dataset, scan: Scan) -> tuple[str, ...]:
    """Tell series apart; what has no place in a frame of reference is a series of its own."""
    series = text_of(file, "SeriesInstanceUID")
    return (series,) if _may_have_several(file) else (series, scan.path)


def _may_have_several(file: pydicom.Dataset) -> bool:
    """Say whether other files may belong to a file's series."""
    return _frames(file) == 1 and bool(text_of(file, "FrameOfReferenceUID"))


def _slice(row: int, scan: Scan, file: pydicom.Dataset) -> Slice:
    try:
        position = place_of(Header(file, scan.path), scan.frame, _frames(file)).position
    except RejectedError:
        position = math.nan
    return Slice(row, scan.frame, file, position)


def _series(slices: list[Slice], answered: NDArray[np.bool_]) -> Series:
    placed = all(math.isfinite(each.position) for each in slices)
    if _frames(slices[0].file) > 1:
        slices = sorted(slices, key=lambda each: each.frame)
    elif placed:
        slices = sorted(slices, key=lambda each: each.position)
    return Series(tuple(slices), next(_missing(slices, placed, answered), ""))


def _beside_lost(series: Series, scans: Sequence[Scan], folders: Mapping[str, int]) -> Series:
    """Say of a series of several files that it may lack one, if one beside it was not read."""
    first = series.slices[0].file
    beside = {str(PurePosixPath(scans[row].path).parent) for row in series.rows}
    rows = [folders[each] for each in beside if each in folders]
    if series.missing or not rows or not _may_have_several(first):
        return series
    why = (
        "its series may be incomplete: a file of its folder could not be read, as "
        f"row {min(rows) + 1} says"
    )
    return replace(series, missing=why)


def _missing(
    slices: Sequence[Slice], placed: bool, answered: NDArray[np.bool_]
) -> Iterator[str]:
    """Yield what keeps a series from being one whole object."""
    first = slices[0].file
    refused = [each.row for each in slices if not answered[each.row]]
    if refused:
        yield (
            f"its series is incomplete: {count(len(refused), 'image')} of {len(slices)} "
            f"{'was' if len(refused) == 1 else 'were'} refused, as row {refused[0] + 1} says"
        )
    frames = _frames(first)
    if frames > 1:
        yield from _missing_frames(first, frames, [each.frame for each in slices])
        return
    if len(slices) == 1:
        return
    if not placed:
        yield "slices of its series do not say where they lie (ImagePositionPatient)"
    alike = {_plane(each.file) for each in slices}
    if len(alike) > 1:
        yield "its series has slices of different sizes, directions or frames of reference"
    positions = np.array([each.position for each in slices])
    steps = np.diff(positions)
    if (steps < 1e-3).any():
        yield (
            "its series has several images of one place; predict each of its volumes by itself"
        )
    usual = float(np.median(steps))
    far = int(np.argmax(steps))
    if steps[far] > GAP * usual:
        yield (
            f"its series is incomplete: between {positions[far]:.1f} and "
            f"{positions[far + 1]:.1f} mm a slice is missing, as others lie {usual:.1f} mm "
            "apart; add it and run again"
        )


def _missing_frames(file: pydicom.Dataset, frames: int, given: Sequence[int]) -> Iterator[str]:
    """Yield what keeps the ``given`` of so many ``frames`` from being the whole file."""
    there = set(range(frames)).intersection(given)
    if len(there) < frames:
        yield (
            f"its series is incomplete: {len(there)} of the {frames} frames of its file were "
            "given"
        )
    for frame, times in Counter(given).items():
        if times > 1:
            yield f"frame {frame} of its file was given more than once; name each frame once"
    if "PerFrameFunctionalGroupsSequence" not in file:
        yield (
            "it is a clip whose frames have no place in the patient, which a segmentation of "
            "several frames needs"
        )


def _plane(file: pydicom.Dataset) -> tuple[Any, ...]:
    """Return what all slices of a series share; directions are often written with noise."""
    header = Header(file, "")
    try:
        directions = header.numbers("ImageOrientationPatient", 6) or ()
        spacing = header.numbers("PixelSpacing", 2) or ()
    except RejectedError:
        return (None,)
    rounded = [round(number, 3) + 0.0 for number in (*directions, *spacing)]
    return (file.Rows, file.Columns, text_of(file, "FrameOfReferenceUID"), *rounded)
