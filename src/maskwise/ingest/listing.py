"""What the sources share: telling images from other files, pairing masks, naming splits."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated

import pandas as pd

from maskwise.artefacts.manifest import COLUMNS, MASK_CLASSES, READING
from maskwise.bounds import Within
from maskwise.ingest.contracts import LISTED, Listing
from maskwise.scans.raw import looks_like_image, walk
from maskwise.scans.reasons import Reject

MAX_DISTANCE = 16
"""Hashes that differ in more bits than that are of unrelated images."""
Distance = Annotated[int, Within(0, MAX_DISTANCE)]
"""Bits by which hashes of near-duplicates may differ."""

MEASURED = (
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

RESERVED = frozenset({*COLUMNS, *MEASURED, MASK_CLASSES, READING})
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


def find_images(raw: Path) -> tuple[list[str], list[Reject]]:
    """Return the files below ``raw`` that claim to be images, and a reject for all others."""
    files, rejects = walk(raw)
    images = [path for path in files if looks_like_image(raw, path)]
    others = set(files) - set(images)
    rejects += [other_file(path) for path in others]
    return images, rejects


def other_file(path: str) -> Reject:
    """Return the reject of a readme, table or archive."""
    return Reject(path, "other_file", "neither suffix nor content of an image")


def pair_masks(paths: Iterable[str], suffix: str) -> tuple[dict[str, list[str]], list[Reject]]:
    """Give each image its masks: ``a.png`` takes ``a<suffix>.png`` and ``a<suffix>_1.png``.

    Only the file's own stem counts, so a folder may be called "mask". Returns image -> masks in
    the order of ``paths``, and a reject for each mask without an image.
    """
    pattern = re.compile(rf"(?P<image>.+){re.escape(suffix)}(_\d+)?\Z", re.DOTALL)
    masks: list[tuple[str, str]] = []
    images: dict[str, list[str]] = {}
    by_stem: dict[str, str] = {}
    for path in paths:
        stem = _stem(path)
        match = pattern.match(stem)
        if match:
            masks.append((path, str(PurePosixPath(path).with_name(match["image"]))))
        else:
            images[path] = []
            by_stem.setdefault(str(PurePosixPath(path).with_name(stem)), path)
    rejects = []
    for path, stem in masks:
        if stem in by_stem:
            images[by_stem[stem]].append(path)
        else:
            detail = f"there is no image {PurePosixPath(stem).name!r} beside it"
            rejects.append(Reject(path, "mask_without_image", detail))
    return images, rejects


def _stem(path: str) -> str:
    """Return a file's name without its suffix, of which ``.nii.gz`` is one."""
    name = PurePosixPath(path).name
    return (
        name[: -len(".nii.gz")]
        if name.lower().endswith(".nii.gz")
        else PurePosixPath(path).stem
    )


def build_listing(rows: Sequence[Mapping[str, object]], rejects: Iterable[Reject]) -> Listing:
    """Make a listing of ``rows``, each with the keys of ``LISTED`` that it has, and labels."""
    defaults = {"path": "", "frame": 0, "patient": None, "split": None, "masks": []}
    table = pd.DataFrame([{**defaults, **row} for row in rows])
    if table.empty:
        table = pd.DataFrame(columns=list(LISTED))
    return Listing(table.astype({"frame": "int64"}), tuple(rejects))
