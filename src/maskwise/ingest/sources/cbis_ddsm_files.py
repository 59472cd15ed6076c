"""Which file of CBIS-DDSM is which: by the tables' paths, the folders' names, or the archive's.

Crop and mask of a lesion stand in each other's columns in many rows, and on disk too. So names
only say where to look; the mask is the file of two values that has nearly its film's size.
"""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwise.ingest.sources.cbis_ddsm_table import Lesion
from maskwise.scans.dicom_file import begins_as_dicom
from maskwise.scans.dicom_series import SliceHeader, read_slice_header
from maskwise.scans.paths import Folder
from maskwise.scans.pictures import read_image
from maskwise.scans.raw import head_of
from maskwise.scans.reasons import AS_A_MASK, Reject, RejectedError
from maskwise.scans.tables import column_of, read_rows

METADATA = "metadata.csv"
"""What the archive's retriever says of each series: its UID, and where it put the files."""
ALIKE = 1.02
"""Height and width of film and mask stand in the same ratio, as far as that."""
NEARLY = 1.25
"""How much smaller or larger than its film a mask may be: a second scan, but no crop."""
PARTS = 0.1
"""Of the largest piece of a mask: smaller pieces are specks, and no lesions of their own."""
GRID = 512
"""Pixels of a side of the lesion's box, at most, on which pieces are told apart."""

OnMaskSize = Literal["resize", "reject"]


class Task(NamedTuple):
    """One lesion, to be looked at in a process that may die of it."""

    lesion: Lesion
    film: tuple[str, ...]
    """Files that may be the film."""
    lesions: tuple[str, ...]
    """Files that may be the lesion's crop and mask."""


class Box(NamedTuple):
    """Where a lesion lies on its film, pixels: the smallest box round it, ends included."""

    top: int
    bottom: int
    left: int
    right: int


class Found(NamedTuple):
    """What was found of one lesion."""

    film: str
    mask: str
    shape: tuple[int, int]
    """Height and width of the film, pixels."""
    box: Box
    resized: bool
    """Whether the mask is of another size than the film."""
    parts: int
    """Pieces that the mask consists of, specks left out."""


@dataclass(frozen=True)
class Index:
    """The files below the raw folder, by what leads to them."""

    files: frozenset[str]
    by_folder: Mapping[str, tuple[str, ...]]
    """Name of a folder, whatever lies above it -> files below it."""
    above: Mapping[str, str]
    """Name of a folder -> the path above it, with its slash; blank in the raw folder."""
    by_series: Mapping[str, tuple[str, ...]]
    """Series UID -> files, where the archive's table says it."""

    def film_of(self, lesion: Lesion) -> tuple[str, ...]:
        """Return the files that may be a lesion's film."""
        return self._at([lesion.film]) or self._below([lesion.film])

    def lesions_of(self, lesion: Lesion) -> tuple[str, ...]:
        """Return the files that may be a lesion's crop and mask."""
        paths = [path for path in (lesion.mask, lesion.crop) if path]
        return self._at(paths) or self._below(paths)

    def _at(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Return files where the tables say they are, if all are there."""
        places = [self.above.get(path.partition("/")[0], "") + path for path in paths]
        return tuple(dict.fromkeys(places)) if self.files.issuperset(places) else ()

    def _below(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Return all files of a folder that a path begins with, or else of its series."""
        for path in paths:
            found = self.by_folder.get(path.partition("/")[0], ())
            if found:
                return found
        series = [PurePosixPath(path).parent.name for path in paths]
        named = [file for uid in series for file in self.by_series.get(uid, ())]
        return tuple(dict.fromkeys(named))


def index_files(raw: Path, files: Iterable[str], names: Iterable[str]) -> Index:
    """Find the folders called ``names`` among ``files``, and what ``METADATA`` says."""
    files, wanted = list(files), frozenset(names)
    by_folder: dict[str, list[str]] = {}
    above: dict[str, str] = {}
    for path in files:
        parts = path.split("/")
        for depth, part in enumerate(parts[:-1]):
            if part in wanted and _is_dicom(raw, path):
                by_folder.setdefault(part, []).append(path)
                above.setdefault(part, "/".join([*parts[:depth], ""]))
    return Index(
        files=frozenset(files),
        by_folder={name: tuple(found) for name, found in by_folder.items()},
        above=above,
        by_series=_by_series(raw, files),
    )


def look(raw: Path, on_mask_size: OnMaskSize, task: Task) -> Found | Reject:
    """Find film, mask and the lesion's box, or refuse the lesion by its folder's name.

    A film of 5,000 x 3,000 pixels takes the bytes of its mask twice, and nothing that grows
    with what is outlined.
    """
    name = task.lesion.name
    if not task.film or not task.lesions:
        absent = task.lesion.film_name if not task.film else name
        detail = f"{task.lesion.where}: there is no folder {absent!r} with DICOM files"
        return Reject(name, "missing_file", detail)
    try:
        film = _film(raw, task)
        path, mask = _mask(raw, task, film)
        return _found(task, film, path, mask, on_mask_size)
    except RejectedError as error:
        return error.reject._replace(path=name)


def look_at_film(raw: Path, task: Task) -> str | Reject:
    """Return which file is a lesion's film, or refuse it by the film's name."""
    lesion = task.lesion
    if not task.film:
        detail = f"{lesion.where}: there is no folder {lesion.film_name!r} with DICOM files"
        return Reject(lesion.film_name, "missing_file", detail)
    try:
        return _film(raw, task).path
    except RejectedError as error:
        return error.reject._replace(path=lesion.film_name)


def _film(raw: Path, task: Task) -> SliceHeader:
    """Return the header of the largest image that may be the film."""
    headers = [header for path in task.film if (header := read_slice_header(raw, path))]
    if not headers:
        detail = f"{task.lesion.where}: the film {task.film[0]!r} cannot be read as an image"
        raise RejectedError(task.lesion.name, "damaged", detail)
    return max(headers, key=lambda header: header.height * header.width)


def _mask(raw: Path, task: Task, film: SliceHeader) -> tuple[str, NDArray[Any]]:
    """Return the one file of a lesion that has two values, decoded; the largest comes first."""
    name, where = task.lesion.name, task.lesion.where
    headers = {path: read_slice_header(raw, path) for path in task.lesions}
    order = sorted(task.lesions, key=lambda path: -_area(headers[path]))
    damaged: RejectedError | None = None
    small: str | None = None
    for path in order:
        try:
            pixels = read_image(raw, path)[..., 0]
        except RejectedError as error:
            damaged = damaged or error
            continue
        if not _is_two_valued(pixels):
            continue
        if _is_of(pixels.shape, (film.height, film.width)):
            return path, pixels
        small = small or f"{path!r} is {pixels.shape[1]} x {pixels.shape[0]} pixels"
    if damaged is not None:
        reason = AS_A_MASK.get(damaged.reject.reason, "damaged_mask")
        detail = f"{where}: the mask {damaged.reject.path!r}: {damaged.reject.detail}"
        raise RejectedError(name, reason, detail)
    if small is not None:
        detail = f"{where}: the mask {small}, the film {film.width} x {film.height}"
        raise RejectedError(name, "mask_size", detail)
    if len(order) == 1:
        detail = f"{where}: there is a crop, {order[0]!r}, but no mask"
        raise RejectedError(name, "missing_mask", detail)
    detail = f"{where}: {order[0]!r} should be the mask, but shows many grey levels, as a crop"
    raise RejectedError(name, "not_a_mask", detail)


def _found(
    task: Task, film: SliceHeader, path: str, pixels: NDArray[Any], on_mask_size: OnMaskSize
) -> Found:
    name, where, shape = task.lesion.name, task.lesion.where, (film.height, film.width)
    resized = pixels.shape != shape
    if resized and on_mask_size == "reject":
        detail = (
            f"{where}: the mask {path!r} is {pixels.shape[1]} x {pixels.shape[0]} pixels, the "
            f"film {film.width} x {film.height}; `on_mask_size: resize` takes it"
        )
        raise RejectedError(name, "mask_size", detail)
    mask = pixels != pixels.min()
    if not mask.any():
        raise RejectedError(name, "empty_mask", f"{where}: {path!r} outlines nothing")
    # Not np.where or np.argwhere: their indices take 16 times the mask.
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    box = Box(*_ends(rows, shape[0]), *_ends(columns, shape[1]))
    return Found(film.path, path, shape, box, resized, _parts(mask, rows, columns))


def _ends(any_of: NDArray[np.bool_], side: int) -> tuple[int, int]:
    """Return the first and last pixel of a film's side whose nearest of the mask is set."""
    nearest = ((np.arange(side) + 0.5) * (len(any_of) / side)).astype(np.int64)
    hit = np.flatnonzero(any_of[nearest])
    if not len(hit):  # a mask that is larger than the film, and one of its pixels falls between
        centre = np.flatnonzero(any_of).mean() + 0.5
        hit = np.array([min(side - 1, int(centre * side / len(any_of)))])
    return int(hit[0]), int(hit[-1])


def _parts(mask: NDArray[np.bool_], rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> int:
    from scipy import ndimage  # late: no other source needs it

    inside = [np.flatnonzero(one) for one in (rows, columns)]
    step = max(1, *(-(-(found[-1] + 1 - found[0]) // GRID) for found in inside))
    box = tuple(slice(found[0], found[-1] + 1, step) for found in inside)
    pieces, _ = ndimage.label(mask[box], structure=np.ones((3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    return int((sizes >= PARTS * sizes.max(initial=0)).sum())


def _is_two_valued(pixels: NDArray[Any]) -> bool:
    low, high = pixels.min(), pixels.max()
    return bool(((pixels == low) | (pixels == high)).all())


def _is_of(shape: tuple[int, ...], film: tuple[int, int]) -> bool:
    """Tell whether a mask of this shape can be that of a film: the same scene, scaled."""
    down, across = film[0] / shape[0], film[1] / shape[1]
    alike = max(down / across, across / down) <= ALIKE
    return alike and max(down, 1 / down) <= NEARLY


def _area(header: SliceHeader | None) -> int:
    return header.height * header.width if header else 0


def _is_dicom(raw: Path, path: str) -> bool:
    if path.lower().endswith(".dcm"):
        return True
    try:
        return begins_as_dicom(head_of(raw, path))
    except RejectedError:
        return False


def _by_series(raw: Path, files: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return series UID -> files, of all tables of the archive's retriever."""
    found: dict[str, tuple[str, ...]] = {}
    below: dict[str, list[str]] = {}
    for path in files:
        below.setdefault(posixpath.dirname(path), []).append(path)
    folder = Folder(raw)
    for table in (path for path in files if posixpath.basename(path) == METADATA):
        rows = read_rows(raw, table)
        series = rows[column_of(rows, "Series UID", table)]
        places = rows[column_of(rows, "File Location", table)]
        for uid, place in zip(series, places, strict=True):
            spelt = folder.spelt(posixpath.join(posixpath.dirname(table), _slashed(place)))
            dicom = [path for path in below.get(spelt, []) if _is_dicom(raw, path)]
            found[uid] = (*found.get(uid, ()), *dicom)
    return found


def _slashed(place: str) -> str:
    return place.replace("\\", "/").removeprefix("./")
