"""A look at some of the images: sizes, depth, colour, and what their headers say."""

import hashlib
import math
import secrets
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskwise.fingerprint.contracts import Layout, Sample
from maskwise.scans.decode import Decoded
from maskwise.scans.pictures import MAX_PIXELS, read_frame
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.region import Region
from maskwise.workers import Loss, Pool, available_cores

MOST = 64
"""Images that are opened."""
_AT_ONCE = 8
_SAME = 8
"""Levels of 255 by which the channels of a grey picture may differ: JPEG's noise."""


class _Row(NamedTuple):
    path: str
    frame: int
    region: Region | None


class _Seen(NamedTuple):
    height: int = 0
    width: int = 0
    bits: int = 0
    kind: str = ""
    lowest: float = 0.0
    highest: float = 0.0
    coloured: bool = False
    unequal: bool = False
    format: str = ""
    modality: str | None = None
    patient: str | None = None
    """A hash under a key of this look alone."""
    spacing: float = math.nan
    images: int = 1
    """That the row of the listing stands for: the slices of a volume."""
    refused: str = ""


def look(layout: Layout) -> Sample:
    """Read up to ``MOST`` images, evenly spread over the listing, each in a worker.

    Patients are counted; what they are called never leaves the worker.
    """
    rows = _rows(layout)
    chunks = [rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE)]
    work = partial(_look, layout.raw, layout.config.reading, secrets.token_bytes(32))
    with Pool(min(available_cores(), max(1, len(chunks)))) as pool:
        seen = [one for chunk in pool.map(work, chunks, _lost) for one in chunk]
    return _joined(seen)


def _rows(layout: Layout) -> list[_Row]:
    images = layout.listing.images
    chosen = np.unique(np.linspace(0, len(images) - 1, min(MOST, len(images))).round())
    regions = images["region"].tolist() if "region" in images else [None] * len(images)
    return [
        _Row(str(images["path"].iloc[row]), int(images["frame"].iloc[row]), regions[row])
        for row in chosen.astype(int).tolist()
    ]


def _look(raw: Path, reading: Reading, key: bytes, row: _Row) -> _Seen:
    """Read one image; of a volume its middle, which shows more of the patient than its end."""
    path, frame, region = row
    try:
        decoded = read_frame(raw, path, frame, MAX_PIXELS, reading, region)[1]
        images = max(1, decoded.frames - frame)
        if images > 1:
            middle = frame + images // 2
            decoded = read_frame(raw, path, middle, MAX_PIXELS, reading, region)[1]
        return _seen(decoded, images, key)
    except RejectedError as error:
        return _Seen(refused=f"{error.reject.reason}: {error.reject.detail}")


def _lost(row: _Row, loss: Loss) -> _Seen:
    del row
    return _Seen(refused=f"{loss.reason}: {loss.detail}")


def _seen(decoded: Decoded, images: int, key: bytes) -> _Seen:
    pixels, place = decoded.pixels, decoded.place
    finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    who = None if place is None else place.issued or place.patient
    hashed = None if not who else hashlib.blake2b(who.encode(), key=key).hexdigest()
    return _Seen(
        height=pixels.shape[0],
        width=pixels.shape[1],
        bits=decoded.bits,
        kind=pixels.dtype.kind,
        lowest=float(finite.min()) if finite.size else 0.0,
        highest=float(finite.max()) if finite.size else 0.0,
        coloured=_is_coloured(pixels),
        unequal=bool((pixels != pixels[..., :1]).any()),
        format=decoded.format,
        modality=decoded.modality,
        patient=hashed,
        spacing=math.nan if place is None else place.spacing_y,
        images=images,
    )


def _is_coloured(pixels: NDArray[Any]) -> bool:
    """Tell whether more than a hundredth of the pixels differ between the channels."""
    if pixels.shape[2] == 1:
        return False
    spread = np.ptp(pixels.astype(np.float64), axis=2)
    largest = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else pixels.max()
    return bool(np.quantile(spread, 0.99) * 255 > _SAME * max(1.0, largest))


def _joined(seen: list[_Seen]) -> Sample:
    read = [one for one in seen if not one.refused]
    return Sample(
        asked=len(seen),
        refused=tuple(one.refused for one in seen if one.refused),
        sizes=tuple((one.height, one.width) for one in read),
        bits=max((one.bits for one in read), default=8),
        kinds=frozenset(one.kind for one in read),
        lowest=min((one.lowest for one in read), default=0.0),
        highest=max((one.highest for one in read), default=0.0),
        coloured=sum(one.coloured for one in read) / max(1, len(read)),
        unequal=sum(one.unequal for one in read) / max(1, len(read)),
        formats=dict(sorted(Counter(one.format for one in read).items())),
        modalities=frozenset(one.modality for one in read if one.modality is not None),
        patients=len({one.patient for one in read if one.patient is not None}),
        images_per_row=sum(one.images for one in read) / max(1, len(read)),
        spacings=frozenset(round(one.spacing, 3) for one in read if one.spacing > 0),
    )
