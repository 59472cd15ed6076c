"""Which scans there are: a folder's images, or those that a table names."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath

import pandas as pd

from maskwise.errors import UserError
from maskwise.prediction.contracts import Refused, Scan
from maskwise.prediction.reading import AT_ONCE, count_frames, explained
from maskwise.scans.folder import find_images, pair_masks
from maskwise.scans.one import ROOT, below_root
from maskwise.scans.paths import Folder
from maskwise.scans.raw import check_raw
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.tables import SAVE_AS_CSV, TABLES, column_of, parse_table
from maskwise.wording import count
from maskwise.workers import Pool


@dataclass(frozen=True)
class Scans:
    """All that was found."""

    root: Path
    scans: tuple[Scan, ...]
    passed_over: tuple[tuple[str, Refused], ...]
    """Files that are not scans, relative to the root, each with the reason."""
    table: pd.DataFrame | None = None
    """The table that named the scans, if one did, as text: row i is scan i."""


def find_scans(
    place: Path,
    column: str,
    root: Path | None,
    pool: Pool,
    reading: Reading = DEFAULT,
    block: str = "predict",
) -> Scans:
    """List the scans of a folder, with its subfolders, or of a table (CSV, Parquet).

    Args:
        place: the folder or the table.
        column: the table's column of paths; ``frame``, ``modality``, ``volume`` and
            ``patient`` are read where present.
        root: what the table's paths are relative to; its own folder by default.
        pool: whose processes look into the files of a folder.
        reading: how ambiguous files are read.
        block: of the parameters, for messages.

    Raises:
        UserError: if there is no such place, or nothing in it.
    """
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        pass  # which is told below; a null character is a `ValueError`
    except OSError as error:
        raise UserError(
            f"{place}: cannot be opened ({error.strerror}); {block}.scans should be a folder "
            "of scans, or a table of their paths"
        ) from None
    if place.is_dir():
        return _of_folder(place, pool, reading, block)
    if not place.exists():
        raise UserError(f"{place}: there is no such folder or table; set {block}.scans")
    if place.suffix.lower() not in TABLES or not place.is_file():  # opening a pipe hangs
        raise UserError(
            f"{place}: {block}.scans should be a folder, or a table ({', '.join(TABLES)}) with "
            f"a column {column!r}; to read a workbook, {SAVE_AS_CSV}"
        )
    return _of_table(place, column, root or place.parent, block)


def is_scan(place: Path) -> bool:
    """Say whether ``place`` is a scan itself, no folder or table of them."""
    return place.suffix.lower() not in TABLES and not place.is_dir() and place.exists()


def list_scans(files: Iterable[Path], reading: Reading, pool: Pool) -> Scans:
    """List the images of files that somebody named: they may lie, or lead, anywhere."""
    paths = list(dict.fromkeys(map(below_root, files)))
    counted = _counted(ROOT, paths, pool, reading)
    scans = tuple(Scan(path, frame, None) for path, n in counted for frame in range(n))
    return Scans(ROOT, scans, ())


def _of_folder(folder: Path, pool: Pool, reading: Reading, block: str) -> Scans:
    check_raw(folder, f"{block}.scans should be a folder of scans, or a table of their paths")
    files, rejects = find_images(folder, (".npz",))
    paired, orphans = pair_masks(files, "_mask")
    images = sorted([*paired, *(orphan.path for orphan in orphans)])
    scans = tuple(
        Scan(path, frame, None)
        for path, frames in _counted(folder, images, pool, reading)
        for frame in range(frames)
    )
    if not scans:
        raise UserError(
            f"{folder}: holds no image among {count(len(rejects), 'file')}; {block}.scans "
            "should be a folder of scans (PNG, JPEG, TIFF, PGM, BMP, DICOM, NIfTI), or a table "
            "of paths"
        )
    masks = [(mask, _mask_of(image)) for image, own in paired.items() for mask in own]
    others = [(path, Refused(why, explained(reason))) for path, reason, why in rejects]
    return Scans(folder, scans, tuple(sorted([*others, *masks])))


def _mask_of(image: str) -> Refused:
    name = PurePosixPath(image).name
    return Refused(f"is the mask of {name!r} beside it", "is the mask of an image beside it")


def _counted(
    folder: Path, images: list[str], pool: Pool, reading: Reading
) -> Iterator[tuple[str, int]]:
    """Yield each file and how many images it holds; 1 where reading it will tell why not."""
    work = partial(count_frames, folder, reading)
    chunks = [images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE)]
    counts = chain.from_iterable(pool.map(work, chunks, lambda path, loss: 1))
    yield from zip(images, counts, strict=True)


def _of_table(place: Path, column: str, root: Path, block: str) -> Scans:
    try:
        data = place.read_bytes()
    except OSError as error:
        raise UserError(
            f"{place}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    table = parse_table(data, str(place))
    column = column_of(table, column, str(place), f"set {block}.column; ")
    if table.empty:
        raise UserError(f"{place}: names no scan")
    folder = Folder(root)
    paths = [folder.spelt(path) for path in table[column]]
    frames = _frames(table["frame"], place) if "frame" in table.columns else [0] * len(table)
    told = [
        [cell or None for cell in (table[name] if name in table.columns else [""] * len(table))]
        for name in ("modality", "volume", "patient")
    ]
    rows = zip(paths, frames, *told, strict=True)
    scans = tuple(Scan(*row) for row in rows)
    return Scans(root, scans, (), table.reset_index(drop=True))


def _frames(cells: pd.Series, place: Path) -> list[int]:
    """Return whole numbers; a blank cell is the first frame, as in a file that holds one."""
    numbers = pd.to_numeric(cells, errors="coerce").where(cells != "", 0)
    wrong = cells[~((numbers >= 0) & (numbers % 1 == 0) & (numbers < 2**31))]
    if len(wrong):
        raise UserError(
            f"{place}: frame is {wrong.iloc[0]!r} in row {wrong.index[0] + 1}, but should be a "
            "whole number from 0, or blank"
        )
    return [int(number) for number in numbers]
