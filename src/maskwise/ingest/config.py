"""The options of ingest: what holds for every source."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from maskwise.bounds import Share, Within, Workers
from maskwise.ingest.identities import KEY
from maskwise.scans.decode import PIXEL_LIMIT
from maskwise.scans.pictures import MAX_PIXELS
from maskwise.workers import LONGEST, SECONDS_PER_FILE


@dataclass(frozen=True)
class IngestConfig:
    """What holds for every source."""

    max_reject_share: Share = 0.05
    """Of images, in [0, 1]: the run stops if more are rejected."""
    max_pixels: Annotated[int, Within(1, PIXEL_LIMIT)] = MAX_PIXELS
    """Larger images are rejected by their header, before they are decoded."""
    mask_agreement: Share = 0.5
    """Intersection over union, in [0, 1], under which the masks of duplicates contradict."""
    workers: Workers | None = None
    """Processes; null = one per core, fewer for few images."""
    seconds_per_file: Annotated[float, Within(0.1, LONGEST)] = SECONDS_PER_FILE
    """A file, or an image of an archive, that takes longer to read is rejected."""
    identity_key: Path = KEY
    """File with the key of patients' pseudonyms, made when the first DICOM file needs it."""
