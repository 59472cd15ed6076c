"""Outlines of INbreast: property lists as OsiriX writes them, one per film.

``Images[0].ROIs``, each with ``Name``, ``NumberOfPoints`` and ``Point_px``, a list of texts
``(x, y)``. They are parsed as numbers, never run: public readers call ``eval`` on them.
"""

import plistlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from maskwise.scans.pictures import MAX_PIXELS
from maskwise.scans.raw import read_bytes
from maskwise.scans.reasons import RejectedError
from maskwise.scans.region import Region

KINDS = {
    "mass": "mass",
    "calcification": "calcification",
    "calcifications": "calcification",
    "cluster": "cluster",
    "spiculated region": "spiculated region",
    "espiculated region": "spiculated region",
    "asymmetry": "asymmetry",
    "assymetry": "asymmetry",
    "distortion": "distortion",
    "unnamed": "unnamed",
}
"""Name in a file, in small letters -> what it means, its misspellings among them."""
OTHER = "other"
"""What a name that nobody knows means."""
LEAST = 3
"""Points of an outline; fewer are a dot, as of a single calcification."""

_NUMBER = r"([-+]?\d{1,12}(?:\.\d+)?)"
"""No film has pixels of more digits; a float of many would be infinite, and fit no square."""
_POINT = re.compile(rf"\(\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\)", re.ASCII)
_NUMBERED = re.compile(r"point \d+", re.ASCII)
"""What OsiriX calls a point that nobody named."""


@dataclass(frozen=True)
class Roi:
    """An outline or a dot."""

    kind: str
    """One of ``KINDS``' meanings, or ``OTHER``."""
    name: str
    """As the file has it."""
    points: tuple[tuple[float, float], ...]
    """``(x, y)`` in pixels of the film."""

    @property
    def is_dot(self) -> bool:
        return len(self.points) < LEAST

    def square(self, margin: float, least: int) -> Region:
        """Return a square round it, its side (1 + margin) times its longer side.

        It has ``least`` pixels a side or more.
        """
        (left, right), (top, bottom) = (
            (min(values), max(values)) for values in zip(*self.points, strict=True)
        )
        side = max(least, round((1 + margin) * (1 + max(right - left, bottom - top))))
        # Pixel i reaches from i to i + 1, so that its centre lies at i + 1/2.
        row, column = ((a + b + 1 - side) / 2 for a, b in ((top, bottom), (left, right)))
        return Region(round(row), round(column), side, side)


@dataclass(frozen=True)
class Rois:
    """What one file holds."""

    rois: tuple[Roi, ...]
    skipped: int
    """Outlines whose points are not as many as they say, or are no places of a film."""


def read_rois(raw: Path, path: str) -> Rois:
    """Read the outlines of one film.

    Raises:
        RejectedError: ``damaged`` where the file is no such property list.
    """
    data = read_bytes(raw, path, MAX_PIXELS)
    try:
        content = plistlib.loads(data, fmt=plistlib.FMT_XML)
    except (plistlib.InvalidFileException, ExpatError, ValueError, TypeError, LookupError):
        raise _damaged(path, "is no property list") from None
    except (AttributeError, OverflowError, RecursionError):
        raise _damaged(path, "is no property list that makes sense") from None
    images = content.get("Images") if isinstance(content, Mapping) else None
    if not isinstance(images, Sequence) or len(images) != 1 or not isinstance(images[0], dict):
        raise _damaged(path, "does not hold the outlines of one image (Images)")
    entries = images[0].get("ROIs")
    if not isinstance(entries, list):
        raise _damaged(path, "holds no list of outlines (ROIs)")
    found = [_roi(entry) for entry in entries]
    rois = tuple(one for one in found if one is not None)
    return Rois(rois, len(found) - len(rois))


def _roi(entry: Any) -> Roi | None:
    """Return an outline, or None where its points cannot be trusted."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("Point_px"), list):
        return None
    matches = [_POINT.fullmatch(str(text).strip()) for text in entry["Point_px"]]
    points = tuple((float(one[1]), float(one[2])) for one in matches if one is not None)
    if not points or len(points) != len(matches) or entry.get("NumberOfPoints") != len(points):
        return None
    name = str(entry.get("Name", "")).strip()
    return Roi(_kind(name), name, points)


def _kind(name: str) -> str:
    known = " ".join(name.casefold().split()) or "unnamed"
    return "unnamed" if _NUMBERED.fullmatch(known) else KINDS.get(known, OTHER)


def _damaged(path: str, says: str) -> RejectedError:
    return RejectedError(path, "damaged", says)
