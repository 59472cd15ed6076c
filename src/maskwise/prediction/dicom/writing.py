"""All DICOM files of a run, by name, and which file each scan is in."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from maskwise.scans.guarded import quiet
from maskwise.scans.pictures import MAX_PIXELS, read_frame
from maskwise.scans.reading import Reading
from maskwise.wording import count

log = logging.getLogger(__name__)

COLUMNS = ("segmentation", "capture", "no_dicom")
"""The file that holds a scan's outline, the one that shows it, and why there is neither."""


@dataclass(frozen=True)
class Source:
    """Where the scans lie, and how they are read."""

    root: Path
    scans: Sequence[Scan]
    reading: Reading


def write_dicom(
    source: Source,
    table: pd.DataFrame,
    outlines: Mapping[str, bytes],
    metadata: SegmenterMetadata,
    kind: DicomOutlines,
) -> tuple[pd.DataFrame, dict[str, bytes]]:
    """Return the table with ``COLUMNS``, and the files.

    A segmentation is of a whole series, or not made; a series that is incomplete is named in
    the column ``no_dicom`` and costs no other.

    Args:
        source: of the scans, which are the first rows of ``table``.
        table: with the columns ``outline`` and ``refused``.
        outlines: PNG files by the names in ``outline``.
        metadata: of the model.
        kind: which files.
    """
    author = Author(metadata, COLOURS)
    rows = table.iloc[: len(source.scans)]
    answered = rows["refused"].eq("").to_numpy()
    found, reasons = series_of(source.root, source.scans, answered)
    told = {name: pd.Series("", table.index, dtype=object) for name in COLUMNS}
    for row, why in reasons.items():
        told["no_dicom"][row] = why if answered[row] else ""
    files: dict[str, bytes] = {}
    for series in found:
        if series.missing:
            told["no_dicom"][[row for row in series.rows if answered[row]]] = series.missing
            continue
        classes = [from_png(outlines[rows["outline"].iloc[row]]) for row in series.rows]
        with quiet("pydicom", "highdicom"):
            if kind in ("segmentation", "both"):
                name = f"{min(series.rows):06d}.seg.dcm"
                files[name] = segmentation(series, np.stack(classes), author)
                told["segmentation"][series.rows] = name
            if kind in ("capture", "both"):
                captures = _captures(source, series, classes, author)
                files.update(captures)
                told["capture"][series.rows] = list(captures)
    _say(found, len(reasons))
    others = table.drop(columns="refused")
    return others.assign(**told, refused=table["refused"]), files


def _captures(
    source: Source, series: Series, classes: Sequence[NDArray[np.uint8]], author: Author
) -> dict[str, bytes]:
    files = {}
    for place, (each, own) in enumerate(zip(series.slices, classes, strict=True)):
        scan = source.scans[each.row]
        pixels = read_frame(source.root, scan.path, scan.frame, MAX_PIXELS, source.reading)[1]
        picture = drawn(pixels.pixels, own, author)
        files[f"{each.row:06d}.sc.dcm"] = capture(series, place, picture, author)
    return files


def _say(found: Sequence[Series], strangers: int) -> None:
    whole = sum(not series.missing for series in found)
    log.info(
        "%s as DICOM, %s not, and %s of none (column `no_dicom` says why)",
        count(whole, "series", "series"),
        count(len(found) - whole, "series", "series"),
        count(strangers, "scan"),
    )
