"""What ingest asks of a source: one screen."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import pandas as pd

from maskwise.artefacts.reasons import Reject

LISTED = ("path", "frame", "patient", "split", "masks")
"""Columns of ``Listing.images``: ``path`` and ``masks`` (a list) relative to raw, ``frame``
int, ``patient`` and ``split`` text or null; then ``label_<name>`` (class names or null) and
the source's own columns."""


@dataclass(frozen=True)
class Listing:
    """What a source found, before any image is opened."""

    images: pd.DataFrame
    """A row an image; a TIFF of several pages stands once and becomes a row a page later."""
    rejects: tuple[Reject, ...]


class SourceConfig(Protocol):
    """A source's own options; the YAML's block ``<source>.ingest``."""

    @property
    def modality(self) -> str:
        """Kind of image, as in ``ultrasound``: written into every row of the manifest."""

    @property
    def duplicate_distance(self) -> int:
        """Bits (of 64) by which hashes of near-duplicates may differ; 0 = identical only."""

    def listing(self, raw: Path) -> Listing:
        """Find images, labels, patients, splits and masks below ``raw``."""


@runtime_checkable
class GeneratedSource(Protocol):
    """A source whose raw files the project itself writes."""

    def files(self) -> Iterable[tuple[str, bytes]]:
        """Yield relative path and content of every file; the same options, the same bytes."""
