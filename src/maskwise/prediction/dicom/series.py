"""Which scans of a run are one DICOM series, and whether all of it is there."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from maskwise.prediction.contracts import Scan
from maskwise.prediction.dicom.heading import Asked, Heading, heading_of
from maskwise.prediction.reading import AT_ONCE
from maskwise.wording import count
from maskwise.workers import Loss, Pool

GAP = 1.5
"""Times the usual distance of neighbouring slices, beyond which one is missing."""


@dataclass(frozen=True)
class Slice:
    """One image of a file, and where it lies."""

    row: int
    """Of the table."""
    path: str
    frame: int
    heading: Heading
    """Of its file."""
    position: float
    """In mm along the slice's normal; NaN = the file does not say."""


@dataclass(frozen=True)
class Series:
    """Images that one object may refer to, in order of place."""

    slices: tuple[Slice, ...]
    missing: str
    """Why it is not whole, in words that name no file; "" where it is."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Return each file, once."""
        return tuple(dict.fromkeys(each.path for each in self.slices))

    @property
    def rows(self) -> list[int]:
        return [each.row for each in self.slices]


def series_of(
    root: Path,
    scans: Sequence[Scan],
    answered: NDArray[np.bool_],
    lost: NDArray[np.bool_],
    pool: Pool,
) -> tuple[list[Series], dict[int, str]]:
    """Return the series that ``scans`` are of, and why a row is of none.

    Args:
        root: what paths are relative to.
        scans: by row.
        answered: ``(N,)``, False where a scan was refused.
        lost: ``(N,)``, True where reading it took too long or ended its process. Such a file
            is not opened again; since it may be of any series in its folder, none is whole.
        pool: whose processes read headers.
    """
    unread = {scans[row].path: row for row in np.flatnonzero(lost)[::-1].tolist()}
    none = {
        row: f"its file could not be read, as row {unread[scan.path] + 1} says"
        for row, scan in enumerate(scans)
        if scan.path in unread
    }
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, scan in enumerate(scans):
        if row not in none:
            rows_of[scan.path].append(row)
    groups: dict[tuple[str, ...], list[Slice]] = defaultdict(list)
    for (path, rows), heading in zip(
        rows_of.items(), _headings(root, scans, rows_of, pool), strict=True
    ):
        if isinstance(heading, Heading):
            groups[_key(heading, path)] += _slices(path, rows, scans, heading)
            continue
        if isinstance(heading, Loss):
            unread[path] = rows[0]
            heading = f"its header could not be read: {heading.detail}"
        none.update(dict.fromkeys(rows, heading))
    folders: dict[str, int] = {}
    for path, row in sorted(unread.items(), key=lambda item: item[1]):
        folders.setdefault(str(PurePosixPath(path).parent), row)
    found = [
        _beside_lost(_series(slices, answered), scans, folders) for slices in groups.values()
    ]
    return sorted(found, key=lambda each: min(each.rows)), none


def _headings(
    root: Path, scans: Sequence[Scan], rows_of: Mapping[str, list[int]], pool: Pool
) -> Iterator[Heading | Loss | str]:
    """Yield what each file says, why no object can be made of it, or how it was lost."""
    asked = [
        Asked(path, tuple(scans[row].frame for row in rows)) for path, rows in rows_of.items()
    ]
    chunks = (asked[start : start + AT_ONCE] for start in range(0, len(asked), AT_ONCE))
    read: Iterable[list[Heading | Loss | str]] = pool.map(
        partial(heading_of, root), chunks, _lost
    )
    return chain.from_iterable(read)


def _lost(asked: Asked, loss: Loss) -> Heading | Loss | str:
    del asked
    return loss


def _key(heading: Heading, path: str) -> tuple[str, ...]:
    """Tell series apart; what has no place in a frame of reference is a series of its own."""
    series = heading.ids.series
    return (series,) if heading.several else (series, path)


def _slices(
    path: str, rows: Sequence[int], scans: Sequence[Scan], heading: Heading
) -> list[Slice]:
    return [
        Slice(row, path, scans[row].frame, heading, position)
        for row, position in zip(rows, heading.positions, strict=True)
    ]


def _series(slices: list[Slice], answered: NDArray[np.bool_]) -> Series:
    placed = all(math.isfinite(each.position) for each in slices)
    if slices[0].heading.frames > 1:
        slices = sorted(slices, key=lambda each: each.frame)
    elif placed:
        slices = sorted(slices, key=lambda each: each.position)
    return Series(tuple(slices), next(_missing(slices, placed, answered), ""))


def _beside_lost(series: Series, scans: Sequence[Scan], folders: Mapping[str, int]) -> Series:
    """Say of a series of several files that it may lack one, if one beside it was not read."""
    beside = {str(PurePosixPath(scans[row].path).parent) for row in series.rows}
    rows = [folders[each] for each in beside if each in folders]
    if series.missing or not rows or not series.slices[0].heading.several:
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
    first = slices[0].heading
    refused = [each.row for each in slices if not answered[each.row]]
    if refused:
        yield (
            f"its series is incomplete: {count(len(refused), 'image')} of {len(slices)} "
            f"{'was' if len(refused) == 1 else 'were'} refused, as row {refused[0] + 1} says"
        )
    if first.frames > 1:
        yield from _missing_frames(first, [each.frame for each in slices])
        return
    if len(slices) == 1:
        return
    if not placed:
        yield "slices of its series do not say where they lie (ImagePositionPatient)"
    alike = {each.heading.plane for each in slices}
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


def _missing_frames(heading: Heading, given: Sequence[int]) -> Iterator[str]:
    """Yield what keeps the ``given`` of a file's frames from being the whole file."""
    frames = heading.frames
    there = set(range(frames)).intersection(given)
    if len(there) < frames:
        yield (
            f"its series is incomplete: {len(there)} of the {frames} frames of its file were "
            "given"
        )
    for frame, times in Counter(given).items():
        if times > 1:
            yield f"frame {frame} of its file was given more than once; name each frame once"
    if not heading.frames_are_placed:
        yield (
            "it is a clip whose frames have no place in the patient, which a segmentation of "
            "several frames needs"
        )
