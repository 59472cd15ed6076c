"""What the sources share: naming splits, and making a listing of rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import pandas as pd

from maskwise.artefacts.manifest import COLUMNS, MASK_CLASSES, READING, REGION
from maskwise.bounds import Within
from maskwise.ingest.contracts import LISTED, Listing
from maskwise.scans.reasons import Reject

MAX_DISTANCE = 16
"""Hashes that differ in more bits than that are of unrelated images."""
Distance = Annotated[int, Within(0, MAX_DISTANCE)]
"""Bits by which hashes of near-duplicates may differ."""

MEASURED = (
    "dhash",
    "pixels_sha256",
    "format",
    "mode",
    "bytes",
    "intensity_mean",
    "intensity_std",
    "intensity_min",
    "intensity_max",
    "blank",
    "lesion_share",
)
"""Columns that ingest adds to the manifest beside those of its schema."""

RESERVED = frozenset({*COLUMNS, *MEASURED, MASK_CLASSES, READING, REGION})
"""A source's own column of such a name gets the prefix ``table_``."""

_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def canonical_split(name: str) -> str | None:
    """Return train, validation or test for what publishers call them, else None."""
    return _SPLITS.get(name.strip().lower())


def build_listing(rows: Sequence[Mapping[str, object]], rejects: Iterable[Reject]) -> Listing:
    """Make a listing of ``rows``, each with the keys of ``LISTED`` that it has, and labels."""
    defaults = {"path": "", "frame": 0, "patient": None, "split": None, "masks": []}
    table = pd.DataFrame([{**defaults, **row} for row in rows])
    if table.empty:
        table = pd.DataFrame(columns=list(LISTED))
    return Listing(table.astype({"frame": "int64"}), tuple(rejects))
