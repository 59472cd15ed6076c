"""What ingest asks of a source: one screen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import pandas as pd

from maskwise.scans.reading import Reading
from maskwise.scans.reasons import Reject

LISTED = ("path", "frame", "patient", "split", "masks")
"""Columns of ``Listing.images``: ``path`` and ``masks`` (a list) relative to raw, ``frame``
int, ``patient`` and ``split`` text or null; then ``label_<name>`` (class names or null) and
the source's own columns.

``region`` (a ``Region`` or null) says which part of its frame an image is; a file may stand
several times with different ones. ``volume`` (text), ``slice`` (int, its number there),
``relative_slice`` (0 to 1) and ``spacing_z`` (mm) say which slice of what an image is, where
its file does not."""


@dataclass(frozen=True)
class MaskLabel:
    """A label that an image's mask gives, once it has been decoded."""

    name: str
    present: str
    """Class of images in which something is outlined."""
    absent: str


@dataclass(frozen=True)
class Listing:
    """What a source found, before any image is opened."""

    images: pd.DataFrame
    """One row per image; a TIFF of several pages, a volume or a DICOM file of several frames
    stands once and becomes one row per page, slice or frame later."""
    rejects: tuple[Reject, ...]
    frames: tuple[int, ...] = ()
    """Of each row: the images that it stands for, from its ``frame`` on; empty = one at
    least."""
    modality: str | None = None
    """Where the raw folder says it, and not the source's options."""
    mask_label: MaskLabel | None = None
    """Of images with a mask."""
    main_label: str | None = None
    """The one label that must tell something apart: another of which all have the same class is
    a column, and no label. Null: every label must."""
    mask_classes: tuple[str, ...] = ()
    """Names of what the numbers 1, 2, ... of a mask stand for; empty = a lesion or none."""
    series: bool = False
    """Whether the DICOM files of a folder that are of one series are put in order, as the
    slices of one volume, and refused unless they are one."""
    warnings: tuple[str, ...] = ()
    """Sentences about what a reader should distrust, as about labels that were joined."""
    no_label: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Label -> word for "no label" as it stands there, "" for a blank -> rows that say it."""


class SourceConfig(Protocol):
    """A source's own options; the YAML's block ``<source>.ingest``."""

    @property
    def modality(self) -> str:
        """Kind of image, as in ``ultrasound``: written into every row of the manifest."""

    @property
    def duplicate_distance(self) -> int:
        """Bits (of 64) by which hashes of near-duplicates may differ; 0 = identical only."""

    @property
    def reading(self) -> Reading:
        """How ambiguous files are read."""

    def listing(self, raw: Path) -> Listing:
        """Find images, labels, patients, splits and masks below ``raw``."""


@runtime_checkable
class GeneratedSource(Protocol):
    """A source whose raw files the project itself writes."""

    def files(self) -> Iterable[tuple[str, bytes]]:
        """Yield relative path and content of every file; the same options, the same bytes."""
