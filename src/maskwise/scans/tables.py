"""CSV and Parquet to a table of text, as people and spreadsheets really write them."""

import csv
import io
import re
import unicodedata
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from maskwise.errors import MOST_ENTRIES, UserError, as_text, hint, listed
from maskwise.scans.raw import locate
from maskwise.wording import count

TABLES = (".csv", ".tsv", ".txt", ".parquet")
"""How the name of a table may end, in small letters."""
MARKS = ",;\t|"
"""What may stand between cells; of equals the first is taken."""
SAVE_AS_CSV = "save it as CSV, in UTF-8"

_SNIFFED = 65_536
_SNIFFED_RECORDS = 50
_INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"
"""What is no blank to Unicode and shows nothing: byte-order marks, marks of direction."""
_MARK_LINE = re.compile(r"\"?sep=(?P<mark>[^\"\r\n])\"?[ \t]*(\r\n|\r|\n|\Z)", re.IGNORECASE)
_END = "\0"
"""A line behind the last: whoever does not meet it is inside a quotation without an end."""
_NO_TABLES = {
    b"PK\x03\x04": "a workbook (Excel, OpenDocument) or another archive",
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel",
    b"\x1f\x8b": "compressed (gzip)",
}
"""First bytes -> what a file is."""


class _Record(NamedTuple):
    line: int
    """Where it begins, from 1."""
    cells: list[str]


def read_rows(raw: Path, name: str) -> pd.DataFrame:
    """Read the table ``name`` of the folder ``raw``, as ``parse_table`` does.

    Raises:
        UserError: if the table is absent or cannot be read, and what ``parse_table`` raises.
    """
    if not (raw / name).exists():
        found = sorted(p.name for p in raw.iterdir() if p.suffix.lower() in TABLES)
        raise UserError(
            f"{name}: is not in {raw} (tables there: "
            f"{listed(found, MOST_ENTRIES) or 'none'}); name it in the source's option `table`"
        )
    try:
        data = locate(raw, name).read_bytes()
    except OSError as error:
        raise UserError(
            f"{name}: cannot be read ({error.strerror}); check the permissions of {raw / name}"
        ) from None
    return parse_table(data, name)


def parse_table(data: bytes, name: str) -> pd.DataFrame:
    """Return a table of text: a blank cell is the empty string; the index is the row, from 0.

    What stands between cells is found out (comma, semicolon, tab, bar, or as a first line
    ``sep=;`` says), a byte-order mark is dropped, blanks round headers and cells are stripped,
    headers take the composed form of Unicode, and rows and nameless columns without content
    are left out, as is a nameless first column that counts the rows from 0.

    Raises:
        UserError: if the content is of no known form, a row has more or fewer cells than there
            are columns, a quotation has no end, or two columns have one name; ``name`` and the
            line stand in the message.
    """
    for head, what in _NO_TABLES.items():
        if data.startswith(head):
            raise UserError(f"{name}: is {what}, no CSV or Parquet; {SAVE_AS_CSV}")
    columnar = data.startswith(b"PAR1") or name.lower().endswith(".parquet")
    rows = _parquet(data, name) if columnar else _csv(data, name)
    rows.columns = [unicodedata.normalize("NFC", tidy(str(name))) for name in rows.columns]
    repeated = rows.columns[rows.columns.duplicated()]
    if len(repeated):
        raise UserError(f"{name}: the column {repeated[0]!r} appears twice; rename one")
    return rows


def column_of(rows: pd.DataFrame, column: str, name: str, advice: str = "") -> str:
    """Return ``column`` as the table ``name`` spells it, or raise ``UserError``."""
    spelt = unicodedata.normalize("NFC", column)
    if spelt not in rows.columns:
        raise UserError(
            f"{name}: has no column {column!r}; {advice}{hint(spelt, rows.columns)}"
        )
    return spelt


def tidy(text: str) -> str:
    """Strip blanks of every kind, and characters that nobody can see."""
    while (stripped := text.strip().strip(_INVISIBLE)) != text:
        text = stripped
    return text


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
    text = as_text(data, name, f"{SAVE_AS_CSV} again")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UserError(f"{name}, line {line}: holds a null character; {SAVE_AS_CSV} again")
    given = _MARK_LINE.match(text)
    body = text[given.end() :] if given else text
    if not body.strip():
        raise UserError(f"{name}: is empty; its first line should name the columns")
    mark = given["mark"] if given else _delimiter(body)
    header, *records = _records(body, mark, 2 if given else 1, name)
    columns = _names(header.cells)
    rows = {
        number: _cells(record, len(columns), name)
        for number, record in enumerate(records)
        if any(record.cells)
    }
    table = pd.DataFrame(list(rows.values()), index=list(rows), columns=columns, dtype="str")
    return _named(table, name)


def _records(text: str, mark: str, first: int, name: str) -> list[_Record]:
    """Return the header and all that follows it, cells stripped; a blank line has no cells."""
    reader = csv.reader(
        io.StringIO(f"{text}\n{_END}", newline=""), delimiter=mark, skipinitialspace=True
    )
    records: list[_Record] = []
    line = first
    try:
        for cells in reader:
            if cells == [_END]:
                break
            if any(cells) or records:  # nothing stands above the header
                records.append(_Record(line, [tidy(cell) for cell in cells]))
            line = first + reader.line_num
        else:
            raise UserError(
                f"{name}, line {records[-1].line}: a quotation mark opens here and none closes "
                "it; correct the row"
            )
    except csv.Error as error:
        raise UserError(f"{name}, line {line}: cannot be read as CSV ({error})") from None
    return records


def _names(header: list[str]) -> list[str]:
    """Return the columns' names without the nameless ones at the end, which hold nothing."""
    while header and not header[-1]:
        header = header[:-1]
    return header


def _cells(record: _Record, columns: int, name: str) -> list[str]:
    """Return as many cells as there are columns; what stands beyond them must be blank."""
    cells = record.cells
    if len(cells) < columns or any(cells[columns:]):
        raise UserError(
            f"{name}, line {record.line}: has {count(len(cells), 'cell')}, where the header "
            f"names {count(columns, 'column')}; correct the row (a cell that contains a "
            "separator needs quotation marks, a blank one keeps its separator)"
        )
    return cells[:columns]


def _named(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Leave out columns without name and content, and a nameless first one that counts rows."""
    kept = []
    for number, column in enumerate(table.columns):
        if column:
            kept.append(number)
        elif number == 0 and _counts_rows(table.iloc[:, 0]):
            continue  # as pandas writes tables
        elif (table.iloc[:, number] != "").any():
            raise UserError(
                f"{name}: column {number + 1} has no name, but holds cells; name it"
            )
    return table.iloc[:, kept]


def _counts_rows(cells: pd.Series) -> bool:
    return list(cells) == [str(number) for number in range(len(cells))]


def _delimiter(text: str) -> str:
    """Return what stands between the cells of the header, and as often in the rows below."""
    shares = {mark: _columns(text, mark) for mark in MARKS}
    return max(MARKS, key=lambda mark: shares[mark])


def _columns(text: str, mark: str) -> tuple[bool, int]:
    """Return whether ``mark`` divides header and rows alike, and into how many cells."""
    head = text[:_SNIFFED]
    try:
        reader = csv.reader(
            io.StringIO(head, newline=""), delimiter=mark, skipinitialspace=True
        )
        counts = [len(cells) for cells in islice(reader, _SNIFFED_RECORDS) if any(cells)]
    except csv.Error:
        return False, 1
    if len(head) < len(text) and len(counts) > 1:
        counts = counts[:-1]  # cut off
    header = counts[0] if counts else 1
    return header > 1 and set(counts) == {header}, header


def _parquet(data: bytes, name: str) -> pd.DataFrame:
    try:
        rows = pd.read_parquet(io.BytesIO(data))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{name}: cannot be read as Parquet ({error})") from None
    if any(level is not None for level in rows.index.names):
        rows = rows.reset_index()  # pandas keeps a column there that was made the index
    try:
        return rows.reset_index(drop=True).apply(lambda cells: cells.map(_cell))
    except UnicodeDecodeError:
        raise UserError(
            f"{name}: a column holds bytes that are not UTF-8; write it as text"
        ) from None


def _cell(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return tidy(value)
    if hasattr(value, "__iter__"):  # a list of masks
        return ";".join(str(part) for part in value)
    if value is None or value != value or value is pd.NaT:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a whole-number column with blanks is floating point in Parquet
    return str(value)
