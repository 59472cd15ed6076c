"""All DICOM files of a run, by name, and which file each scan is in."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.model import SegmenterMetadata
from maskwise.artefacts.outlines import from_png
from maskwise.prediction.contracts import Scan
from maskwise.prediction.dicom import DicomOutlines
from maskwise.prediction.dicom.drawing import drawn
from maskwise.prediction.dicom.objects import Author, capture, segmentation
from maskwise.prediction.dicom.series import Series, series_of
from maskwise.prediction.outlines import COLOURS
from maskwise.prediction.reading import was_lost
from maskwise.scans.guarded import quiet, refusing
from maskwise.scans.pictures import MAX_PIXELS, read_frame
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError
from maskwise.wording import count

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


@dataclass(frozen=True)
class Model:
    """What outlined."""

    metadata: SegmenterMetadata
    sha256: str
    """Of its file."""


def write_dicom(
    source: Source,
    table: pd.DataFrame,
    outlines: Mapping[str, bytes],
    model: Model,
    kind: DicomOutlines,
) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Return the table with ``COLUMNS``, and the files.

    A segmentation is of a whole series, or not made; a series that is incomplete is named in
    the column ``no_dicom`` and costs no other.

    Args:
        source: of the scans, which are the first rows of ``table``.
        table: with the columns ``outline`` and ``refused``.
        outlines: PNG files by the names in ``outline``.
        model: that outlined.
        kind: which files.
    """
    author = Author(model.metadata, model.sha256, COLOURS)
    rows = table.iloc[: len(source.scans)]
    answered = rows["refused"].eq("").to_numpy()
    lost = rows["refused"].map(was_lost).to_numpy(bool)
    found, reasons = series_of(source.root, source.scans, answered, lost)
    told = {name: pd.Series("", table.index, dtype=object) for name in COLUMNS}
    for row, why in reasons.items():
        told["no_dicom"][row] = why if answered[row] else ""
    files: dict[str, bytes] = {}
    for series in found:
        why = series.missing
        if not why:
            try:
                made = _objects(source, series, rows["outline"], outlines, author, kind)
            except RejectedError as error:
                why = error.reject.detail
            else:
                files.update(made)
                for column, suffix in SUFFIXES.items():
                    names = [name for name in made if name.endswith(suffix)]
                    told[column][series.rows] = names if len(names) > 1 else "".join(names)
        told["no_dicom"][[row for row in series.rows if answered[row]]] = why
    _say(told)
    others = table.drop(columns="refused")
    return others.assign(**told, refused=table["refused"]), files


def _objects(
    source: Source,
    series: Series,
    names: "pd.Series[str]",
    outlines: Mapping[str, bytes],
    author: Author,
    kind: DicomOutlines,
) -> dict[str, bytes]:
    """Return the files of a whole series.

    Raises:
        RejectedError: if a header breaks the standard in a way that no object can repeat.
    """
    path = source.scans[series.rows[0]].path
    classes = [from_png(outlines[names.iloc[row]]) for row in series.rows]
    files: dict[str, bytes] = {}
    with refusing(path, "its header breaks the standard"), quiet("pydicom", "highdicom"):
        if kind in ("segmentation", "both"):
            name = f"{min(series.rows):06d}{SUFFIXES['segmentation']}"
            files[name] = segmentation(series, np.stack(classes), author)
        if kind in ("capture", "both"):
            for place, (each, own) in enumerate(zip(series.slices, classes, strict=True)):
                pixels = drawn(_pixels(source, each.row), own, author)
                name = f"{each.row:06d}{SUFFIXES['capture']}"
                files[name] = capture(series, place, pixels, author)
    return files


def _pixels(source: Source, row: int) -> NDArray[Any]:
    scan = source.scans[row]
    return read_frame(source.root, scan.path, scan.frame, MAX_PIXELS, source.reading)[1].pixels


def _say(told: Mapping[str, "pd.Series[str]"]) -> None:
    named = told["segmentation"].ne("") | told["capture"].ne("")
    log.info(
        "%s in DICOM files, %s in none (column `no_dicom` says why)",
        count(int(named.sum()), "outline"),
        count(int(told["no_dicom"].ne("").sum()), "outline"),
    )
