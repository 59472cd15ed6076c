"""All DICOM files of a run, by name, and which file each scan is in."""

import logging
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import pandas as pd

from maskwise.artefacts.model import SegmenterMetadata
from maskwise.prediction.contracts import Scan
from maskwise.prediction.dicom import DicomOutlines
from maskwise.prediction.dicom.making import Capture, Segmentation, Task, Way, make, unmade
from maskwise.prediction.dicom.objects import Author
from maskwise.prediction.dicom.series import Series, series_of
from maskwise.prediction.outlines import COLOURS
from maskwise.prediction.reading import was_lost
from maskwise.scans.reading import Reading
from maskwise.wording import count
from maskwise.workers import LONGEST, Pool

log = logging.getLogger(__name__)

SUFFIXES = {"segmentation": ".seg.dcm", "capture": ".sc.dcm"}
"""Column of the table -> end of the name of the file that holds, or shows, a scan's outline."""
COLUMNS = (*SUFFIXES, "no_dicom")
"""The last says why there is neither."""


@dataclass(frozen=True)
class Source:
    """Where the scans lie, and how they are read."""

    root: Path
    scans: Sequence[Scan]
    reading: Reading
    pool: Pool
    """Whose processes read headers."""
    seconds_per_file: float


def author_of(metadata: SegmenterMetadata, sha256: str) -> Author:
    """Return what objects say of the model whose file has that hash."""
    encoder = metadata.encoder
    return Author(
        name=f"{encoder.source}.{encoder.recipe}.s{encoder.seed}",
        version=encoder.version,
        sha256=sha256,
        data_hash=encoder.data_hash,
        classes=tuple(metadata.classes),
        colours=COLOURS,
        window=encoder.preparation.window,
    )


def write_dicom(
    source: Source,
    table: pd.DataFrame,
    outlines: MutableMapping[str, bytes],
    author: Author,
    kind: DicomOutlines,
) -> pd.DataFrame:
    """Return the table with ``COLUMNS``; the files stand in ``outlines`` then, by name.

    A segmentation is of a whole series, or not made; a series that is incomplete is named in
    the column ``no_dicom`` and costs no other. One file is made after the other, and put there
    at once.

    Args:
        source: of the scans, which are the first rows of ``table``.
        table: with the columns ``outline`` and ``refused``.
        outlines: PNG files by the names in ``outline``.
        author: the model that outlined.
        kind: which files.
    """
    rows = table.iloc[: len(source.scans)]
    answered = rows["refused"].eq("").to_numpy()
    lost = rows["refused"].map(was_lost).to_numpy(bool)
    found, reasons = series_of(source.root, source.scans, answered, lost, source.pool)
    told = {name: pd.Series("", table.index, dtype=object) for name in COLUMNS}
    for row, why in reasons.items():
        told["no_dicom"][row] = why if answered[row] else ""
    failed = _fill(outlines, source, found, rows["outline"], author, kind)
    for number, series in enumerate(found):
        why = series.missing or failed.get(number, "")
        if why:
            told["no_dicom"][[row for row in series.rows if answered[row]]] = why
            continue
        for column, names in _names(series, kind).items():
            told[column][series.rows] = names
    _say(told)
    others = table.drop(columns="refused")
    return others.assign(**told, refused=table["refused"])


def _fill(
    outlines: MutableMapping[str, bytes],
    source: Source,
    found: Sequence[Series],
    names: "pd.Series[str]",
    author: Author,
    kind: DicomOutlines,
) -> dict[int, str]:
    """Put the files of whole series into ``outlines``; return why a series has none, by place.

    An object of many files may take as many times longer than one is given.
    """
    files = max((len(series.paths) for series in found if not series.missing), default=1)
    seconds = min(LONGEST, source.seconds_per_file * files)
    work = partial(make, Way(source.root, source.reading, author))
    failed: dict[int, str] = {}
    with Pool(source.pool.size, seconds) as pool:
        chunks = ([task] for task in _tasks(found, outlines, names, kind))
        for (made,) in pool.map(work, chunks, unmade):
            if made.why:
                failed.setdefault(made.series, made.why)
            else:
                outlines[made.name] = made.content
    for number in failed:
        for name in chain.from_iterable(_names(found[number], kind).values()):
            outlines.pop(name, None)
    return failed


def _tasks(
    found: Sequence[Series],
    outlines: Mapping[str, bytes],
    names: "pd.Series[str]",
    kind: DicomOutlines,
) -> Iterator[Task]:
    """Yield what is to be made, with the outlines that it is made of."""
    for number, series in enumerate(found):
        if series.missing:
            continue
        files = _names(series, kind)
        own = [str(names.iloc[row]) for row in series.rows]
        for name in files.get("segmentation", ())[:1]:
            contents = tuple(outlines[each] for each in own)
            yield Segmentation(name, number, series.paths, contents)
        first = series.slices[0].heading.ids
        for place, name in enumerate(files.get("capture", ())):
            one = series.slices[place]
            yield Capture(
                name, number, (one.path,), one.frame, first, place, outlines[own[place]]
            )


def _names(series: Series, kind: DicomOutlines) -> dict[str, list[str]]:
    """Return, by column, the file that each slice of a series is in."""
    names: dict[str, list[str]] = {}
    if kind in ("segmentation", "both"):
        name = f"{min(series.rows):06d}{SUFFIXES['segmentation']}"
        names["segmentation"] = [name] * len(series.rows)
    if kind in ("capture", "both"):
        names["capture"] = [f"{row:06d}{SUFFIXES['capture']}" for row in series.rows]
    return names


def _say(told: Mapping[str, "pd.Series[str]"]) -> None:
    named = told["segmentation"].ne("") | told["capture"].ne("")
    log.info(
        "%s in DICOM files, %s in none (column `no_dicom` says why)",
        count(int(named.sum()), "outline"),
        count(int(told["no_dicom"].ne("").sum()), "outline"),
    )
