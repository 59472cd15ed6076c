"""CSV and Parquet to a table of text, as people and spreadsheets really write them."""

import csv
import io
from pathlib import Path

import pandas as pd

from maskwise.errors import UserError
from maskwise.scans.raw import locate

_SNIFFED = 65_536


def read_rows(raw: Path, name: str) -> pd.DataFrame:
    """Read the table ``name`` of ``raw``: all columns text, a blank cell the empty string.

    The delimiter is sniffed (comma, semicolon, tab, bar), a byte-order mark dropped, and blanks
    round headers and cells stripped (``id, hemorrhage``).

    Raises:
        UserError: if the table is absent, of no known form, or names a column twice.
    """
    if not (raw / name).exists():
        found = sorted(
            p.name for p in raw.iterdir() if p.suffix in (".csv", ".tsv", ".parquet")
        )
        raise UserError(
            f"{name}: is not in {raw} (tables there: {', '.join(found) or 'none'}); name it in "
            "the source's option `table`"
        )
    try:
        data = locate(raw, name).read_bytes()
    except OSError as error:
        raise UserError(
            f"{name}: cannot be read ({error.strerror}); check the permissions of {raw / name}"
        ) from None
    rows = _parquet(data, name) if data[:4] == b"PAR1" else _csv(data, name)
    rows.columns = [str(column).strip() for column in rows.columns]
    repeated = rows.columns[rows.columns.duplicated()]
    if len(repeated):
        raise UserError(f"{name}: the column {repeated[0]!r} stands twice; rename one")
    return rows.reset_index(drop=True)


def as_numbers(cells: pd.Series) -> pd.Series:
    """Return a further column as numbers where all its cells are, else as text or null.

    Codes with leading zeros stay text: 007 is not 7.
    """
    given = cells[cells != ""]
    numbers = pd.to_numeric(given, errors="coerce")
    padded = given.str.match(r"-?0[0-9]").any() if len(given) else True
    if padded or numbers.isna().any():
        return cells.replace("", None)
    return pd.to_numeric(cells.replace("", None))


def _csv(data: bytes, name: str) -> pd.DataFrame:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name}: is not UTF-8 (byte {error.start}); save it again as CSV in UTF-8"
        ) from None
    if not text.strip():
        raise UserError(f"{name}: is empty; its first line should name the columns")
    try:
        rows = pd.read_csv(
            io.StringIO(text),
            sep=_delimiter(text),
            header=None,  # pandas would rename a column that stands twice
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
        )
    except pd.errors.ParserError as error:
        raise UserError(f"{name}: cannot be read as CSV ({error})") from None
    rows = rows.fillna("").apply(lambda cells: cells.str.strip())
    return rows.iloc[1:].set_axis(list(rows.iloc[0]), axis=1)


def _delimiter(text: str) -> str:
    """Return the delimiter of the header line, or a comma where there is one column."""
    header = text.lstrip().splitlines()[0][:_SNIFFED]
    counts = {mark: len(next(csv.reader([header], delimiter=mark))) for mark in ",;\t|"}
    return max(counts, key=lambda mark: counts[mark])


def _parquet(data: bytes, name: str) -> pd.DataFrame:
    try:
        rows = pd.read_parquet(io.BytesIO(data))
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: cannot be read as Parquet ({error})") from None
    return rows.apply(lambda cells: cells.map(_cell))


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if hasattr(value, "__iter__"):  # a list of masks
        return ";".join(str(part) for part in value)
    if value is None or value != value or value is pd.NaT:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a whole-number column with blanks is floating point in Parquet
    return str(value)
