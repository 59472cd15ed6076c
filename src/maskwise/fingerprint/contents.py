"""Which files a folder holds, by what they are."""

import posixpath
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maskwise.errors import UserError, listed
from maskwise.scans.decode import claimed_format
from maskwise.scans.dicom_file import begins_as_dicom
from maskwise.scans.raw import head_of, looks_like_image, walk
from maskwise.scans.reasons import RejectedError
from maskwise.scans.tables import TABLES
from maskwise.wording import count

_TABLES = tuple(end for end in TABLES if end != ".txt")
"""A text among scans is rather a note or a list without a header: a person has to name it."""
ARCHIVE = ".npz"
ZIPPED = (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar")


@dataclass(frozen=True)
class Contents:
    """Paths are relative to ``raw``."""

    raw: Path
    files: tuple[str, ...]
    images: tuple[str, ...]
    """Every image, a DICOM file and a mask among them."""
    dicom: frozenset[str]
    tables: tuple[str, ...]
    archives: tuple[str, ...]
    """Of the form that MedMNIST has."""

    def images_among(self, paths: Iterable[str]) -> frozenset[str]:
        """Return which of ``paths`` are images."""
        return frozenset(self.images).intersection(paths)

    def below(self, folder: str) -> "Contents":
        """Return what lies below the folder ``folder`` of it."""

        def inside(paths: Iterable[str]) -> tuple[str, ...]:
            start = f"{folder}/"
            return tuple(path[len(start) :] for path in paths if path.startswith(start))

        return Contents(
            raw=self.raw / folder,
            files=inside(self.files),
            images=inside(self.images),
            dicom=frozenset(inside(self.dicom)),
            tables=inside(self.tables),
            archives=inside(self.archives),
        )


def contents_of(raw: Path) -> Contents:
    """Look at the names of all files below ``raw``, and into those whose name says nothing.

    Raises:
        UserError: if there is nothing that could be a scan.
    """
    files, _ = walk(raw)
    images = tuple(path for path in files if looks_like_image(raw, path))
    found = Contents(
        raw=raw,
        files=tuple(files),
        images=images,
        dicom=frozenset(path for path in images if _is_dicom(raw, path)),
        tables=tuple(path for path in files if path.lower().endswith(_TABLES)),
        archives=tuple(path for path in files if path.lower().endswith(ARCHIVE)),
    )
    if not found.images and not found.archives:
        raise UserError(_nothing(found))
    return found


def top_of(path: str) -> str:
    """Return the first folder of a path; empty where the file lies in none."""
    return path.partition("/")[0] if "/" in path else ""


def _is_dicom(raw: Path, path: str) -> bool:
    claimed = claimed_format(path)
    if claimed is not None:
        return claimed == "DICOM"
    try:
        return begins_as_dicom(head_of(raw, path))
    except RejectedError:
        return False


def _nothing(found: Contents) -> str:
    if not found.files:
        return (
            f"{found.raw}: holds no file (names that begin with a dot are left out); point "
            "--from at the folder that holds the scans"
        )
    ends = Counter(posixpath.splitext(path)[1].lower() or "none" for path in found.files)
    named = listed((f"{number} x {end}" for end, number in ends.most_common()), 5)
    packed = [path for path in found.files if path.lower().endswith(ZIPPED)]
    remedy = (
        f"unpack {packed[0]} first" if packed else "docs/sources.md lists the formats that are"
    )
    held = count(len(found.files), "file")
    return f"{found.raw}: holds {held} ({named}), but no image that is read here; {remedy}"
