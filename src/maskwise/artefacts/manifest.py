"""``manifest.parquet``: one row per image or slice, checked on write and on read."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.parquet
from pandera.errors import SchemaErrors

from maskwise.artefacts.atomic import replacing
from maskwise.artefacts.labels import label_columns
from maskwise.artefacts.splits import SPLITS
from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.region import Region

MOST_MASK_CLASSES = 255
"""Of a mask: a byte's numbers, beside 0."""
MASK_CLASSES = "mask_classes"
"""Column of sources whose masks show several classes: the same text in every row."""
READING = "reading"
"""Column of sources whose files leave a choice that was made: the same text in every row."""
REGION = "region"
"""Column of sources that take parts of frames: which, as text; null = the whole frame."""

_ROWS = 4096
"""Rows whose lists of masks are read at once."""
TEXT = ("image_id", "path", "group", "modality", "sha256", "phash")
OPTIONAL_TEXT = ("patient", "split")
COLUMNS = (
    "image_id",
    "path",
    "frame",
    "patient",
    "group",
    "split",
    "masks",
    "width",
    "height",
    "channels",
    "bits",
    "spacing_y",
    "spacing_x",
    "modality",
    "sha256",
    "phash",
)
"""What every manifest holds, beside its ``label_<name>`` and the source's own columns.

``path`` and ``masks`` (a list) are relative to the raw folder, ``frame`` counts from 0;
``channels`` is 1 or 3 (alpha is never a channel) and ``bits`` are a channel's; ``spacing_y``,
``spacing_x`` are mm or NaN; ``split`` is the official one or null; ``sha256`` is the file's, or
that of the frame's pixels in an archive; ``phash`` is the 64-bit perceptual hash as 16
hexadecimal digits.

Slices of volumes have ``volume`` (which), ``slice`` (from 0), ``relative_slice`` (0 to 1) and,
where it is known, ``spacing_z`` (mm from slice to slice). Images that are a part of a frame
have ``region``: its box in pixels of the frame.
"""


def write_manifest(manifest: pd.DataFrame, path: Path) -> None:
    """Write ``manifest`` after checking it."""
    check_manifest(manifest, str(path))
    with replacing(path) as temporary:
        manifest.to_parquet(temporary, index=False)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read and check a manifest; ``masks`` are lists again."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the stage ingest first")
    try:
        manifest = _read_columns(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: is not a readable manifest ({error}); run ingest again"
        ) from None
    check_manifest(manifest, str(path))
    return manifest


def _read_columns(path: Path) -> pd.DataFrame:
    """Read column by column, so that 100,000 images take little more than they hold.

    Arrow's own allocator keeps what decoding took, more than the columns themselves.
    """
    pool = pyarrow.system_memory_pool()
    pyarrow.set_memory_pool(pool)
    columns: dict[str, pd.Series] = {}
    with pyarrow.parquet.ParquetFile(path) as file:
        for name in file.schema_arrow.names:
            if name == "masks":
                batches = file.iter_batches(_ROWS, columns=[name])
                masks = [lists for batch in batches for lists in batch.column(0).to_pylist()]
                columns[name] = pd.Series(masks, dtype=object)
            else:
                one = pd.read_parquet(path, columns=[name], use_threads=False, pre_buffer=False)
                columns[name] = one[name]
            pool.release_unused()
    return pd.DataFrame(columns)


def classes_text(classes: Sequence[str]) -> str:
    """Return the value of ``MASK_CLASSES`` for masks whose 1, 2, ... are ``classes``."""
    return json.dumps(list(classes), ensure_ascii=False)


def mask_classes(manifest: pd.DataFrame) -> tuple[str, ...]:
    """Return the names of the masks' classes 1, 2, ...; none where masks show lesions only.

    Raises:
        UserError: if the rows do not agree, or hold no list of different names.
    """
    if MASK_CLASSES not in manifest.columns:
        return ()
    texts = manifest[MASK_CLASSES].unique()
    try:
        (names,) = (json.loads(text) for text in texts)
        if not all(isinstance(name, str) and name for name in names):
            raise ValueError("not all are names")
        if len({*names}) < len(names) or not 0 < len(names) <= MOST_MASK_CLASSES:
            raise ValueError(f"{len(names)} names, or two the same")
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the manifest's column {MASK_CLASSES} should name the same classes in every row, "
            f"as in {classes_text(['liver', 'tumour'])} ({error}); run ingest again"
        ) from None
    return tuple(names)


def reading_text(reading: Reading) -> str:
    """Return the value of ``READING``."""
    return json.dumps(asdict(reading), sort_keys=True)


def reading_of(manifest: pd.DataFrame) -> Reading:
    """Return how ingest read the files, so that they are read in the same way again.

    Raises:
        UserError: if the rows do not agree, or say what no version knows.
    """
    if READING not in manifest.columns:
        return DEFAULT
    texts = manifest[READING].unique()
    try:
        (block,) = (json.loads(text) for text in texts)
        return parse(Reading, block, READING)
    except (TypeError, ValueError, UserError) as error:
        raise UserError(
            f"the manifest's column {READING} should say the same in every row, as options of "
            f"reading ({error}); run ingest again"
        ) from None


def region_text(region: Region) -> str:
    """Return the value of ``REGION``."""
    return json.dumps(asdict(region), sort_keys=True)


def regions_of(manifest: pd.DataFrame) -> list[Region | None]:
    """Return, row by row, which part of its frame an image is; None = all of it.

    Raises:
        UserError: if a row says what no version knows.
    """
    if REGION not in manifest.columns:
        return [None] * len(manifest)
    try:
        return [
            parse(Region, json.loads(text), REGION) if isinstance(text, str) else None
            for text in manifest[REGION]
        ]
    except (TypeError, ValueError, UserError) as error:
        raise UserError(
            f"the manifest's column {REGION} should hold boxes, as in "
            f"{region_text(Region(0, 0, 64, 64))} ({error}); run ingest again"
        ) from None


def check_manifest(manifest: pd.DataFrame, where: str) -> None:
    """Raise ``UserError`` naming row and column of what is wrong in ``manifest``."""
    missing = [name for name in COLUMNS if name not in manifest.columns]
    if missing:
        raise UserError(
            f"{where}: the columns {', '.join(missing)} are missing; run ingest again"
        )
    if manifest.empty:
        raise UserError(f"{where}: holds no image; run ingest again")
    try:
        _schema(label_columns(manifest)).validate(manifest, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        raise UserError(f"{where}: {_describe(cases)}; run ingest again") from None
    mask_classes(manifest)
    reading_of(manifest)
    regions_of(manifest)


def _describe(cases: pd.DataFrame) -> str:
    shown = [
        f"column {case['column']}, row {case['index']}: {case['check']} fails for "
        f"{case['failure_case']!r}"
        for case in cases.head(3).to_dict("records")
    ]
    more = f" (and {len(cases) - 3} more)" if len(cases) > 3 else ""
    return "; ".join(shown) + more


def _schema(labels: list[str]) -> pa.DataFrameSchema:
    text, positive = pa.Check(_is_text, name="is text"), pa.Check.ge(1)
    columns = {name: pa.Column(None, text) for name in TEXT}
    columns |= {
        name: pa.Column(None, text, nullable=True) for name in (*OPTIONAL_TEXT, *labels)
    }
    columns["image_id"] = pa.Column(None, text, unique=True)
    columns["path"] = pa.Column(None, pa.Check(_is_relative, name="is a path inside raw"))
    columns["masks"] = pa.Column(None, pa.Check(_are_relative, name="are paths inside raw"))
    columns["frame"] = pa.Column(np.int64, pa.Check.ge(0))
    columns |= {name: pa.Column(np.int64, positive) for name in ("width", "height", "bits")}
    columns["channels"] = pa.Column(np.int64, pa.Check.isin([1, 3]))
    columns["split"] = pa.Column(None, pa.Check.isin(list(SPLITS)), nullable=True)
    columns["phash"] = pa.Column(None, pa.Check.str_matches(r"^[0-9a-f]{16}$"))
    columns["sha256"] = pa.Column(None, pa.Check.str_matches(r"^[0-9a-f]{64}$"))
    for name in ("spacing_y", "spacing_x"):
        columns[name] = pa.Column(np.float64, pa.Check.gt(0), nullable=True)
    return pa.DataFrameSchema(columns)


def _is_text(values: Any) -> Any:
    if isinstance(values.dtype, pd.StringDtype):  # a million at a time
        return values.fillna("") != ""
    return values.map(lambda value: isinstance(value, str) and value != "").astype(bool)


def _is_relative(values: Any) -> Any:
    if isinstance(values.dtype, pd.StringDtype):
        up = ("/" + values + "/").str.contains("/../", regex=False)
        return (values.fillna("") != "") & ~values.str.startswith("/") & ~up
    return values.map(_inside).astype(bool)


def _are_relative(values: Any) -> Any:
    return values.map(
        lambda paths: isinstance(paths, list) and all(map(_inside, paths))
    ).astype(bool)


def _inside(path: object) -> bool:
    return (
        isinstance(path, str)
        and path != ""
        and not path.startswith("/")
        and ".." not in path.split("/")
    )
