"""Head CT, haemorrhage or none: single slices in the layout published on Kaggle (F. Kitamura).

``head_ct/head_ct/000.png`` to ``199.png``, or one folder ``head_ct``; ``labels.csv`` has the
columns ``id`` (not padded with zeros, as the files are) and ``hemorrhage`` (0 or 1).
"""

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from maskwise.errors import UserError
from maskwise.ingest.contracts import Listing
from maskwise.ingest.listing import Distance
from maskwise.ingest.sources.table import TableConfig
from maskwise.scans.raw import walk
from maskwise.scans.reading import DEFAULT, Reading

TABLE = "labels.csv"
CLASSES: dict[str | int, str] = {0: "none", 1: "haemorrhage"}

_IMAGE = re.compile(r"\d{3}\.png\Z")


@dataclass(frozen=True)
class HeadCtConfig:
    """``raw`` is the folder of ``labels.csv``, or one above it."""

    duplicate_distance: Distance = 2
    """Bits, 0 to 16; slices of different heads look alike at 4."""
    reading: Reading = DEFAULT
    """How ambiguous files are read."""

    @property
    def modality(self) -> str:
        return "ct"

    def listing(self, raw: Path) -> Listing:
        files, _ = walk(raw)
        table = _uppermost(files, lambda name: name == TABLE)
        image = _uppermost(files, lambda name: _IMAGE.match(name) is not None)
        if table is None or image is None:
            absent = TABLE if table is None else "head_ct/000.png, 001.png, ..."
            raise UserError(
                f"{absent}: not in {raw}; point the source at the folder that holds "
                f"{TABLE} and head_ct"
            )
        folder = posixpath.dirname(image)
        # Braces in a folder's name are its own, and no template's.
        prefix = folder.replace("{", "{{").replace("}", "}}") + "/" if folder else ""
        return TableConfig(
            table=table,
            path=f"{prefix}{{id:0>3}}.png",
            labels={"diagnosis": "hemorrhage"},
            classes={"diagnosis": CLASSES},
            modality=self.modality,
            duplicate_distance=self.duplicate_distance,
            reading=self.reading,
        ).listing(raw)


def _uppermost(files: Iterable[str], is_it: Callable[[str], bool]) -> str | None:
    found = [path for path in files if is_it(posixpath.basename(path))]
    return min(found, key=lambda path: (path.count("/"), path), default=None)
