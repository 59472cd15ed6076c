"""Elements of a DICOM header as numbers, or the refusal of a file whose numbers cannot be read.

An element that is absent or empty is None, and what that means is its reader's matter. One that
is there and makes no sense is never replaced by a default: the file is refused by the element's
keyword. pydicom turns an element into its own types when it is asked for, which for decimal
numbers and ids costs as much as decoding a small image: those are read off the text as it is.
"""

import functools
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pydicom
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import Tag

from maskwise.scans.place import Place, Vector
from maskwise.scans.reasons import RejectedError
from maskwise.wording import count

_tag = functools.cache(Tag)
"""Keyword -> tag; pydicom looks it up anew at each turn."""
_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_SHARED = "SharedFunctionalGroupsSequence"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_SHOWN = re.compile(r"[-+0-9.,eE \\]{1,64}", re.ASCII)
"""What can be quoted: it holds no more than a number would."""
_BINARY = frozenset({"FD", "FL"})
"""Representations in which a decimal number is no text."""
_WORDS = frozenset({None, "US", "SS", "US or SS", "OW", "UN"})
"""Representations of a number of 16 bits; None = by the standard's list."""


@dataclass(frozen=True)
class Header:
    """A file's elements."""

    dataset: pydicom.Dataset
    path: str
    """What the file is called in messages."""

    def __contains__(self, keyword: str) -> bool:
        return _tag(keyword) in self.dataset

    def unreadable(self, keyword: str, wanted: str, found: object = None) -> RejectedError:
        """Return the refusal of an element that should be ``wanted``.

        It is quoted where it holds no more than digits and signs, because other text may be a
        name.
        """
        shown = str(found)
        says = f"is {shown!r}" if _SHOWN.fullmatch(shown) else "cannot be read"
        detail = f"{keyword} {says}, but should be {wanted}"
        return RejectedError(self.path, "unreadable_element", detail)

    def value(self, keyword: str, wanted: str) -> Any:
        """Return an element as pydicom has it; None where it is absent or empty.

        Raises:
            RejectedError: ``unreadable_element``.
        """
        if keyword not in self:
            return None
        try:
            value = self.dataset[_tag(keyword)].value
        except MemoryError:  # says nothing about the element
            raise
        except Exception:  # hostile bytes raise anything, in words that quote them
            raise self.unreadable(keyword, wanted) from None
        return None if isinstance(value, (str, bytes)) and not value else value

    def items(self, keyword: str) -> Sequence[pydicom.Dataset]:
        """Return the items of a sequence, none where it is absent.

        Raises:
            RejectedError: ``unreadable_element``.
        """
        found = self.value(keyword, "a sequence")
        if found is not None and not isinstance(found, DicomSequence):
            raise self.unreadable(keyword, "a sequence")
        return found or ()

    def whole(self, keyword: str, least: int = 0) -> int | None:
        """Return a whole number of ``least`` or more, or None where there is none.

        Raises:
            RejectedError: ``unreadable_element``.
        """
        wanted = f"one whole number from {least} on"
        value = self.value(keyword, wanted)
        if value is None:
            return None
        if not isinstance(value, int) or value < least:
            raise self.unreadable(keyword, wanted, value)
        return int(value)

    def required(self, keyword: str, least: int = 0) -> int:
        """Return a whole number that no image can do without."""
        value = self.whole(keyword, least)
        if value is None:
            raise RejectedError(self.path, "unreadable_element", f"{keyword} is missing")
        return value

    def sixteen_bits(self, keyword: str, signed: bool) -> int | None:
        """Return a number that is as signed as the pixels are, whatever the file calls it."""
        element = self.dataset.get_item(_tag(keyword))
        value = element and element.value  # as it stands, so that nobody has guessed the sign
        if element is None or value in (None, b"", ""):
            return None
        if isinstance(value, bytes) and element.VR in _WORDS and len(value) == 2:
            little = getattr(element, "is_little_endian", True)
            value = int.from_bytes(value, "little" if little else "big")
        if not isinstance(value, int) or not -(2**15) <= value < 2**16:
            raise self.unreadable(keyword, "one number of 16 bits", value)
        return with_sign(value, signed)

    def numbers(
        self, keyword: str, count: int, groups: Iterable[pydicom.Dataset] = ()
    ) -> tuple[float, ...] | None:
        """Return ``count`` finite numbers of an element, or None where there is none such.

        Those of the first of ``groups`` that has them are taken, else the file's own.

        Raises:
            RejectedError: ``unreadable_element``.
        """
        for item in (*groups, self.dataset):
            text = text_of(item, keyword)
            if text:
                return self._parsed(keyword, text, count)
        return None

    def groups(self, frame: int, name: str) -> list[pydicom.Dataset]:
        """Return the functional groups ``name`` of a frame and of all frames, if there are any.

        Raises:
            RejectedError: ``unreadable_element``.
        """
        if _SHARED not in self and _PER_FRAME not in self:
            return []
        per_frame, shared = self.items(_PER_FRAME), self.items(_SHARED)
        if per_frame and frame >= len(per_frame):
            held = count(len(per_frame), "item")
            detail = f"{_PER_FRAME} has {held}, but should have one per frame"
            raise RejectedError(self.path, "unreadable_element", detail)
        own = [per_frame[frame]] if per_frame else []
        found = [Header(item, self.path).items(name) for item in (*own, *shared[:1])]
        return [sequence[0] for sequence in found if sequence]

    @property
    def has_frames(self) -> bool:
        """Whether each frame has elements of its own."""
        return _PER_FRAME in self

    def _parsed(self, keyword: str, text: str, count: int) -> tuple[float, ...]:
        parts = [part.strip(" ") for part in text.split("\\")]
        found = tuple(float(part) for part in parts if _NUMBER.fullmatch(part))
        if not len(found) == len(parts) == count or not all(map(math.isfinite, found)):
            wanted = "a number" if count == 1 else f"{count} numbers"
            raise self.unreadable(keyword, wanted, text)
        return found


def place_of(header: Header, frame: int, frames: int) -> Place:
    """Return where ``frame`` of a file with so many lies.

    Raises:
        RejectedError: ``unreadable_element``.
    """
    spacing = header.numbers("PixelSpacing", 2, header.groups(frame, "PixelMeasuresSequence"))
    if spacing and min(spacing) <= 0:
        raise header.unreadable("PixelSpacing", "positive", _joined(spacing))
    y, x = spacing or (math.nan, math.nan)
    normal, origin = _across(header, frame, frames)
    patient = _name_of(header.dataset, "PatientID")
    issuer = _name_of(header.dataset, "IssuerOfPatientID")
    return Place(
        spacing_y=y,
        spacing_x=x,
        normal=normal,
        origin=origin,
        position=_dot(normal, origin) if normal and origin else math.nan,
        rescaled=_is_rescaled(header, frame),
        patient=patient or None,
        issued=f"{patient}\0{issuer}" if patient and issuer else None,
        series=text_of(header.dataset, "SeriesInstanceUID") or None,
    )


def text_of(item: pydicom.Dataset, keyword: str) -> str:
    """Return an element as the file has it, several values with backslashes between."""
    element = item.get_item(_tag(keyword))
    if element is None:
        return ""
    value = element.value  # unconverted, unless pydicom needed it itself
    if isinstance(value, bytes) and element.VR in _BINARY:
        value = item[_tag(keyword)].value
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        # Blanks and zero bytes fill up an element at its end; elsewhere a zero byte is damage.
        return "" if value is None else str(value).rstrip(" \0").lstrip(" ")
    return "\\".join(map(str, value))


def _is_rescaled(header: Header, frame: int) -> bool:
    groups = header.groups(frame, "PixelValueTransformationSequence")
    return any(text_of(item, "RescaleIntercept") for item in (*groups, header.dataset))


def _name_of(item: pydicom.Dataset, keyword: str) -> str:
    """Return a text in the characters that the file means, accents in one form."""
    element = item.get_item(_tag(keyword))
    stored = getattr(element, "value", None)
    if not isinstance(stored, bytes) or (stored.isascii() and b"\x1b" not in stored):
        return text_of(item, keyword)
    try:
        text = str(item[_tag(keyword)].value)
    except Exception:  # of no character set that is known: the bytes are its name
        return text_of(item, keyword)
    return unicodedata.normalize("NFC", text).strip(" \0")


def _across(header: Header, frame: int, frames: int) -> tuple[Vector | None, Vector | None]:
    """Return the slice's normal and its first pixel's place; None = the file does not say."""
    if frames > 1 and not header.has_frames:
        return None, None  # what the header says holds for the first frame
    directions = header.numbers(
        "ImageOrientationPatient", 6, header.groups(frame, "PlaneOrientationSequence")
    )
    origin = header.numbers(
        "ImagePositionPatient", 3, header.groups(frame, "PlanePositionSequence")
    )
    if directions is None or origin is None:
        return None, None
    # Plain numbers: NumPy takes longer to begin than these take.
    (a, b, c), (d, e, f) = directions[:3], directions[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    length = math.hypot(*normal)
    if length < 0.5:
        wanted = "two directions at right angles"
        raise header.unreadable("ImageOrientationPatient", wanted, _joined(directions))
    x, y, z = (part / length for part in normal)
    return (x, y, z), (origin[0], origin[1], origin[2])


def _dot(first: Vector, second: Vector) -> float:
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def _joined(numbers: Sequence[float]) -> str:
    return "\\".join(f"{number:g}" for number in numbers)


def with_sign(value: int, signed: bool) -> int:
    """Return what 16 bits mean, however signed they were taken to be."""
    value %= 2**16
    return value - 2**16 if signed and value >= 2**15 else value
