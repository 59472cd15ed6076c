"""Tables as people and spreadsheets write them, and the files that their paths mean."""

import io
import unicodedata
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from maskwise.errors import UserError
from maskwise.scans.paths import Folder
from maskwise.scans.tables import parse_table

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Größe") for form in ("NFC", "NFD"))


def rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file with the content ``text``."""
    found: list[dict[str, Any]] = parse_table(text.encode(), "t.csv").to_dict("records")
    return [{str(key): str(value) for key, value in row.items()} for row in found]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_what_stands_between_cells_is_found_out(mark: str) -> None:
    text = "path,d\n0.png,a\n".replace(",", mark)
    assert rows(text) == [{"path": "0.png", "d": "a"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sep=;\npath;d\na,b.png;1\n", {"path": "a,b.png", "d": "1"}),
        ('"SEP=|"\r\npath|d\r\na.png|1\r\n', {"path": "a.png", "d": "1"}),
        ("path;mm\na.png;0,5\n", {"path": "a.png", "mm": "0,5"}),
        (
            "path;size (x, y, z);d\na.png;1;2\n",
            {"path": "a.png", "size (x, y, z)": "1", "d": "2"},
        ),
        ("a,b;c|d;e\n1;2;3\n", {"a,b": "1", "c|d": "2", "e": "3"}),
        ('path\n"a,b;c.png"\n', {"path": "a,b;c.png"}),
        ("path,d\r0.png,a\r", {"path": "0.png", "d": "a"}),
        ("\n\npath,d\n\n0.png,a\n,\n", {"path": "0.png", "d": "a"}),
        ("path,d,\n0.png,a,\n", {"path": "0.png", "d": "a"}),
        ("path,,d\n0.png,,a\n", {"path": "0.png", "d": "a"}),
        ("path,d\n0.png,a,,\n", {"path": "0.png", "d": "a"}),
        ("\u00a0path , \ufeffd\u200b\n\t0.png\u00a0,\ufeff a\n", {"path": "0.png", "d": "a"}),
        ('path,d\n"0.png" ,"a ""b"", c"\n', {"path": "0.png", "d": 'a "b", c'}),
        ('path,d\n0.png,"a\nb"\n', {"path": "0.png", "d": "a\nb"}),
        (f"path,{DECOMPOSED}\n0.png,1\n", {"path": "0.png", COMPOSED: "1"}),
        ("path,d\n0.png," + 100_000 * "x" + "\n", {"path": "0.png", "d": 100_000 * "x"}),
    ],
)
def test_what_spreadsheets_write_is_understood(text: str, expected: dict[str, str]) -> None:
    assert rows(text) == [expected]


def test_a_row_keeps_its_number_behind_blank_ones() -> None:
    table = parse_table(b"path,d\n0.png,a\n,\n\n1.png,b\n", "t.csv")
    assert list(table.index) == [0, 3]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"path,d\na,1\nb,2,3\n", r"t\.csv, line 3: has 3 cells, where the header names 2"),
        (b"path,d\na,1\nb\n", r"t\.csv, line 3: has 1 cell, where the header names 2 columns"),
        (b"path\na,b.png\n", r"t\.csv, line 2: has 2 cells, where the header names 1 column;"),
        (b'path,d\n"a\nb",1\nc\n', r"t\.csv, line 4: has 1 cell"),
        (b'path,d\na,"x\nb,y\n', r"t\.csv, line 2: a quotation mark opens here and none"),
        (b'"path\na\n', r"t\.csv, line 1: a quotation mark opens here and none"),
        (b"path,,d\na,x,1\n", "column 2 has no name, but holds cells"),
        (b"path,d,d\na,x,1\n", "the column 'd' appears twice"),
        (b"path,d\na,\0\n", r"t\.csv, line 2: holds a null character"),
        (b"path,d\na," + 200_000 * b"x" + b"\n", r"line 2: cannot be read as CSV \(field larg"),
        (b"", "is empty; its first line should name the columns"),
        (b"\xef\xbb\xbf \n", "is empty"),
        (b"sep=;\n", "is empty"),
        (
            "path\nGröße.png\n".encode("cp1252"),
            r"line 2: is not UTF-8: .*0xf6 \('ö' in Latin-1",
        ),
        ("path\nGröße.png\n".encode("utf-16"), "is UTF-16 .*save it as CSV, in UTF-8"),
        (b"PK\x03\x04rest", "is a workbook .*save it as CSV, in UTF-8"),
        (b"\xd0\xcf\x11\xe0rest", "is a workbook of an old Excel"),
        (b"\x1f\x8brest", "is compressed"),
        (b"PAR1rest", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_table_is_refused_with_the_line_and_what_to_do(
    content: bytes, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        parse_table(content, "t.csv")


def test_a_parquet_table_gives_its_index_bytes_and_numbers_as_text() -> None:
    table = pd.DataFrame(
        {"path": ["a.png", "b.png"], "d": [1.0, None], "raw": [b"x ", b"\xc3\xa4"]}
    )
    buffer = io.BytesIO()
    table.set_index("path").to_parquet(buffer)
    found = parse_table(buffer.getvalue(), "t.parquet").to_dict("list")
    assert found == {"path": ["a.png", "b.png"], "d": ["1", ""], "raw": ["x", "ä"]}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Return a folder, itself with an umlaut, that holds files in both forms of one."""
    root = tmp_path / DECOMPOSED
    for name in ("s0.png", f"{COMPOSED}/{DECOMPOSED}.png", "a\\b.png", "sub/b.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("cell", "spelt"),
    [
        (" s0.png\u00a0", "s0.png"),
        ("./sub/../s0.png", "s0.png"),
        ("sub\\b.png", "sub/b.png"),
        (".\\sub\\b.png", "sub/b.png"),
        ("a\\b.png", "a\\b.png"),
        (f"{COMPOSED}/{COMPOSED}.png", f"{COMPOSED}/{DECOMPOSED}.png"),
        (f"{DECOMPOSED}\\{DECOMPOSED}.png", f"{COMPOSED}/{DECOMPOSED}.png"),
        ("gone\\x.png", "gone/x.png"),
        ("../s0.png", "../s0.png"),
        ("", ""),
        (" ", ""),
    ],
)
def test_a_path_meets_the_file_that_it_means(disk: Path, cell: str, spelt: str) -> None:
    assert Folder(disk).spelt(cell) == spelt


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_absolute_path_inside_the_folder_becomes_relative(disk: Path, form: Any) -> None:
    cell = unicodedata.normalize(form, f"{disk}/{COMPOSED}/{COMPOSED}.png")
    assert Folder(disk).spelt(cell) == f"{COMPOSED}/{DECOMPOSED}.png"
    assert Folder(disk).spelt(f"{disk}x/s0.png") == f"{disk}x/s0.png"


def test_an_exact_name_comes_first_and_of_two_others_none_is_guessed(tmp_path: Path) -> None:
    names = [unicodedata.normalize("NFC", "äöü"), unicodedata.normalize("NFD", "äöü")]
    for name in names:
        (tmp_path / name).touch()
    assert [Folder(tmp_path).spelt(name) for name in names] == names
    mixed = names[0][:1] + unicodedata.normalize("NFD", names[0][1:])
    assert Folder(tmp_path).spelt(mixed) == mixed
