"""Where a frame lies and whose it is, read off the text of a DICOM header as it stands.

pydicom turns an element into its own types when it is asked for: for numbers and ids that costs
as much as decoding a small image, and its complaints quote the value. Here nothing complains:
what makes no sense is unknown.
"""

import math

import pydicom

from maskwise.scans.place import Place, Vector

PER_FRAME = "PerFrameFunctionalGroupsSequence"
_SHARED = "SharedFunctionalGroupsSequence"


def place_of(header: pydicom.Dataset, frame: int, frames: int) -> Place:
    """Return where ``frame`` of a file with so many lies."""
    spacing = numbers_of(header, frame, "PixelMeasuresSequence", "PixelSpacing", 2)
    y, x = spacing if spacing and min(spacing) > 0 else (math.nan, math.nan)
    normal, position = _across(header, frame, frames)
    return Place(
        spacing_y=y,
        spacing_x=x,
        normal=normal,
        position=position,
        patient=_identity(header, "PatientID", "IssuerOfPatientID"),
        series=_identity(header, "SeriesInstanceUID"),
    )


def numbers_of(
    header: pydicom.Dataset, frame: int, group: str, keyword: str, count: int
) -> tuple[float, ...] | None:
    """Return ``count`` finite numbers of an element, or None where there are none such.

    The frame's own stand in ``group`` of its functional groups, else those of all frames are
    taken, else the file's.
    """
    for item in (*_groups(header, frame, group), header):
        if keyword in item:
            try:
                found = tuple(float(part) for part in _text(item, keyword).split("\\"))
            except ValueError:
                return None
            whole = len(found) == count and all(map(math.isfinite, found))
            return found if whole else None
    return None


def _groups(header: pydicom.Dataset, frame: int, name: str) -> list[pydicom.Dataset]:
    """Return the groups ``name`` of a frame and of all frames, as far as there are any."""
    if _SHARED not in header and PER_FRAME not in header:
        return []
    per_frame, shared = header.get(PER_FRAME) or (), header.get(_SHARED) or ()
    return [
        item
        for groups in (*per_frame[frame : frame + 1], *shared[:1])
        for item in (groups.get(name) or ())[:1]
    ]


def _across(header: pydicom.Dataset, frame: int, frames: int) -> tuple[Vector | None, float]:
    """Return the slice's normal, and how far along it the slice lies."""
    if frames > 1 and PER_FRAME not in header:
        return None, math.nan  # what the header says holds for the first frame
    directions = numbers_of(
        header, frame, "PlaneOrientationSequence", "ImageOrientationPatient", 6
    )
    origin = numbers_of(header, frame, "PlanePositionSequence", "ImagePositionPatient", 3)
    if directions is None or origin is None:
        return None, math.nan
    # Plain numbers: NumPy takes longer to begin than these take.
    (a, b, c), (d, e, f) = directions[:3], directions[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.hypot(*normal)
    if length < 0.5:
        return None, math.nan
    x, y, z = (part / length for part in normal)
    return (x, y, z), x * origin[0] + y * origin[1] + z * origin[2]


def _identity(header: pydicom.Dataset, *keywords: str) -> str | None:
    parts = [_text(header, keyword) for keyword in keywords]
    return "\0".join(parts) if parts[0] else None


def _text(item: pydicom.Dataset, keyword: str) -> str:
    """Return an element as the file has it, several values with backslashes between."""
    if keyword not in item:
        return ""
    value = item.get_item(keyword).value  # unconverted, unless pydicom needed it itself
    if isinstance(value, bytes):
        return value.decode("latin-1").strip(" \0")
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return "" if value is None else str(value).strip()
    return "\\".join(map(str, value))
