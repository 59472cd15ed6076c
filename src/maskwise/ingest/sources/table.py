"""A CSV or Parquet table that names images: path, labels, optionally patient, masks, split."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Formatter
from typing import Literal

import numpy as np
import pandas as pd

from maskwise.artefacts.labels import LABEL
from maskwise.errors import MOST_ENTRIES, UserError, hint, listed
from maskwise.ingest.contracts import LISTED, Listing
from maskwise.ingest.labels import MISSING, Alike, join_alike, missing_warning, without_missing
from maskwise.ingest.listing import RESERVED, Distance, canonical_split
from maskwise.scans.folder import other_file
from maskwise.scans.paths import Folder
from maskwise.scans.raw import looks_like_image, walk
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import Reject
from maskwise.scans.tables import as_numbers, column_of, read_rows

BETWEEN_MASKS = ";"
LONGEST_PATH = 4096
"""Characters, as Linux has it."""
SPACING = ("spacing_y", "spacing_x")
"""Columns that are taken as millimetres per pixel."""


@dataclass(frozen=True)
class TableConfig:
    """Columns are named as in the table; any further column is kept as it is."""

    table: str = "labels.csv"
    """The table, relative to ``raw``."""
    path: str = "path"
    """The column of paths relative to ``raw``, or a template of columns:
    ``images/{id:0>3}.png`` fills ``id`` up with zeros to three digits."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Label -> column, as in ``{diagnosis: severity}``; a blank cell means unlabelled."""
    missing: tuple[str | int, ...] = MISSING
    """Further cells of ``labels`` that mean unlabelled, upper or lower case; a value that
    ``classes`` names is a label all the same."""
    alike: Alike = "keep"
    """``join``: labels that differ only in case, blanks, Unicode form or the way a number is
    written take the commonest spelling, or the one in ``classes``; ``keep``: they are warned
    of."""
    classes: Mapping[str, Mapping[str | int, str]] = field(default_factory=dict)
    """Label -> value in the table -> class name; a value that is not listed is rejected."""
    patient: str | None = None
    """Column of the patient."""
    masks: str | None = None
    """Column of the mask's path; several are joined by ``;``; blank = none."""
    split: str | None = None
    """Column of the official split (train, val, test; blank = none)."""
    unlisted: Literal["reject", "keep"] = "reject"
    """What becomes of images that the table does not name: ``keep`` takes them unlabelled."""
    modality: str = "unknown"
    duplicate_distance: Distance = 4
    """Bits, 0 to 16 (head CT: 2, because unrelated slices look alike there)."""
    reading: Reading = DEFAULT
    """How ambiguous files are read."""

    def __post_init__(self) -> None:
        for label in self.classes:
            if label not in self.labels:
                raise ValueError(f"classes.{label}: is not a label; {hint(label, self.labels)}")

    def listing(self, raw: Path) -> Listing:
        rows = read_rows(raw, self.table)
        return self._spelt(rows)._listing(raw, rows)

    def _spelt(self, rows: pd.DataFrame) -> "TableConfig":
        """Return these options with columns as the table spells them, whatever their form."""
        if rows.empty:
            raise UserError(f"{self.table}: has a header, but no rows")

        def spelt(column: str | None) -> str | None:
            return None if column is None else column_of(rows, column, self.table)

        template = "{" in self.path
        return replace(
            self,
            path=_composed(self.path) if template else column_of(rows, self.path, self.table),
            labels={
                label: column_of(rows, column, self.table)
                for label, column in self.labels.items()
            },
            patient=spelt(self.patient),
            masks=spelt(self.masks),
            split=spelt(self.split),
        )

    def _listing(self, raw: Path, rows: pd.DataFrame) -> Listing:
        files, rejects = walk(raw)
        images = self._images(raw, rows)
        no_label, warnings = self._label(images, rows)
        for refuse in (_unusable_paths, _repeated, self._unknown_splits, self._unknown_labels):
            refused = refuse(images)
            rejects += refused.values()
            images = images.drop(index=list(refused))
        named = {*images["path"], *(reject.path for reject in rejects)}
        named.update(mask for masks in images["masks"] for mask in masks)
        named.update([self.table])
        kept, refused_files = self._unlisted(raw, [path for path in files if path not in named])
        images = pd.concat([images, kept], ignore_index=True) if len(kept) else images
        images["masks"] = [
            masks if isinstance(masks, list) else [] for masks in images["masks"]
        ]
        return Listing(
            images.reset_index(drop=True),
            (*rejects, *refused_files),
            warnings=(*warnings, *self._doubtful_patients(images)),
            no_label=no_label,
        )

    def _columns(self) -> list[str]:
        named = [self.patient, self.masks, self.split, *self.labels.values()]
        template = "{" in self.path
        return [name for name in [None if template else self.path, *named] if name is not None]

    def _images(self, raw: Path, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows in the form of a listing; its index is the table's row, from 0."""
        folder = Folder(raw)
        images = pd.DataFrame(index=rows.index)
        images["path"] = [folder.spelt(path) for path in self._paths(rows)]
        images["frame"] = np.int64(0)
        for name, column in (("patient", self.patient), ("split", self.split)):
            images[name] = rows[column].replace("", None) if column else None
        cells = rows[self.masks] if self.masks else [""] * len(rows)
        images["masks"] = [
            [folder.spelt(mask) for mask in cell.split(BETWEEN_MASKS) if mask.strip()]
            for cell in cells
        ]
        for column in rows.columns:
            if column not in self._columns():
                images[_own_name(column)] = self._own(rows, column)
        return images

    def _label(
        self, images: pd.DataFrame, rows: pd.DataFrame
    ) -> tuple[dict[str, dict[str, int]], list[str]]:
        """Add the labels; return which words said that there is none, and what to tell."""
        counts: dict[str, dict[str, int]] = {}
        warnings: list[str] = []
        for label, column in self.labels.items():
            known = [str(value) for value in self.classes.get(label, {})]
            cells, counts[label] = without_missing(rows[column], self.missing, known)
            warnings += missing_warning(label, counts[label])
            if self.alike == "join":
                cells, joined = join_alike(cells, label, known)
                warnings += joined
            images[LABEL + label] = cells
        return counts, warnings

    def _doubtful_patients(self, images: pd.DataFrame) -> list[str]:
        """Warn of a word for "unknown" that makes one person of many."""
        if self.patient is None:
            return []
        counts = without_missing(images["patient"].fillna(""), self.missing)[1]
        return [
            f"patient: {count} rows name {word!r}, and so count as one person; blank these "
            "cells if it means that the patient is unknown."
            for word, count in counts.items()
            if word and count > 1
        ]

    def _own(self, rows: pd.DataFrame, column: str) -> pd.Series:
        values = as_numbers(rows[column])
        if column in SPACING:
            wrong = rows[column][
                ~(pd.to_numeric(values, errors="coerce") > 0) & (rows[column] != "")
            ]
            if len(wrong):
                raise UserError(
                    f"{self.table}: {column} is {wrong.iloc[0]!r} in row {wrong.index[0] + 1}, "
                    "but must be millimetres per pixel, above 0, or blank"
                )
        return values

    def _paths(self, rows: pd.DataFrame) -> list[str]:
        if "{" not in self.path:
            return list(rows[self.path])
        try:
            _check_widths(self.path)
            return [self.path.format(**row) for row in rows.to_dict("records")]
        except KeyError as error:
            name = str(error.args[0])
            raise UserError(
                f"{self.table}: the template {self.path!r} names no column of it; "
                f"{hint(name, rows.columns)}"
            ) from None
        except (ValueError, IndexError, AttributeError) as error:
            raise UserError(f"the template {self.path!r} cannot be filled ({error})") from None

    def _unknown_splits(self, images: pd.DataFrame) -> dict[int, Reject]:
        given = images["split"].dropna()
        known = given.map(canonical_split)
        images.loc[given.index, "split"] = known
        return {
            row: _reject(
                images, row, "unknown_split", f"{given[row]!r}; say train, val or test"
            )
            for row in known.index[known.isna()]
        }

    def _unknown_labels(self, images: pd.DataFrame) -> dict[int, Reject]:
        refused = {}
        for label, classes in self.classes.items():
            names = {str(value): name for value, name in classes.items()}
            given = images[LABEL + label].dropna()
            images.loc[given.index, LABEL + label] = given.map(names)
            for row in given.index[~given.isin(list(names))]:
                detail = f"{label}: {given[row]!r}; {hint(given[row], names)}"
                refused[row] = _reject(images, row, "unknown_label", detail)
        return refused

    def _unlisted(self, raw: Path, files: list[str]) -> tuple[pd.DataFrame, list[Reject]]:
        images = [path for path in files if looks_like_image(raw, path)]
        rejects = [other_file(path) for path in set(files) - set(images)]
        if self.unlisted == "keep":
            return pd.DataFrame(
                {"path": images, "frame": 0, "masks": [[] for _ in images]}
            ), rejects
        detail = f"{self.table} does not name it; to take it unlabelled set `unlisted: keep`"
        return pd.DataFrame(), [*rejects, *(Reject(p, "missing_label", detail) for p in images)]


def _check_widths(template: str) -> None:
    """Raise ``ValueError`` where a field would be wider than any path, which takes memory."""
    for _, name, form, _ in Formatter().parse(template):
        numbers = re.findall(r"\d+", form or "")
        if "{" in (form or "") or any(int(number) > LONGEST_PATH for number in numbers):
            raise ValueError(f"the field {name!r} may be at most {LONGEST_PATH} wide")


def _own_name(column: str) -> str:
    reserved = column not in SPACING and column in RESERVED | set(LISTED)
    return f"table_{column}" if reserved or column.startswith(LABEL) else column


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _reject(images: pd.DataFrame, row: int, reason: str, detail: str) -> Reject:
    return Reject(str(images.at[row, "path"]), reason, f"row {row + 1}: {detail}")


def _unusable_paths(images: pd.DataFrame) -> dict[int, Reject]:
    refused = {}
    for row, path, masks in zip(images.index, images["path"], images["masks"], strict=True):
        outside = [p for p in (path, *masks) if p.startswith("/") or p.split("/")[0] == ".."]
        if not path:
            refused[row] = _reject(images, row, "missing_file", "the path is blank")
        elif outside:
            detail = f"{outside[0]!r} leads out of the raw folder"
            refused[row] = Reject(path, "link", f"row {row + 1}: {detail}")
    return refused


def _repeated(images: pd.DataFrame) -> dict[int, Reject]:
    """Refuse all rows of a file that disagree, and all but the first of those that agree."""
    refused = {}
    repeated = images[images["path"].duplicated(keep=False)]
    for _, rows in repeated.groupby("path", sort=True):
        numbers = listed((str(row + 1) for row in rows.index), MOST_ENTRIES)
        content = rows.astype(str).drop_duplicates()
        if len(content) == 1:
            for row in rows.index[1:]:
                refused[row] = _reject(
                    images, row, "repeated_row", f"same as row {rows.index[0] + 1}"
                )
            continue
        differing = [name for name in content.columns if content[name].nunique() > 1]
        for row in rows.index:
            detail = f"rows {numbers} differ in {listed(differing, MOST_ENTRIES)}"
            refused[row] = _reject(images, row, "contradictory_rows", detail)
    return refused
