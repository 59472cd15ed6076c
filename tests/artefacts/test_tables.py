"""Tables are written and read by their suffix, and checked."""

import csv
from pathlib import Path

import pandas as pd
import pytest

from maskwise.artefacts.rejects import read_rejects, rejects_table, write_rejects
from maskwise.artefacts.tables import read_table, write_table
from maskwise.errors import UserError
from maskwise.scans.reasons import Reject

TABLE = pd.DataFrame({"recipe": ["dqn", "scratch"], "value": [0.5, 0.25]})


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    write_table(TABLE, tmp_path / name, ("recipe", "value"))
    pd.testing.assert_frame_equal(read_table(tmp_path / name, ("recipe", "value")), TABLE)


def test_a_missing_column_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"table\.csv: the columns low, high are missing"):
        write_table(TABLE, tmp_path / "table.csv", ("recipe", "low", "high"))
    assert not list(tmp_path.iterdir())


RUN = ["=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", " =1", "\uff1d1", "'=1", "''-x", "-"]
LEFT = ["a=1", "-1.5", "+2e-3", "1", "'quoted'", "", "-inf", "a;b"]


@pytest.mark.parametrize("text", RUN)
def test_a_spreadsheet_runs_no_cell_of_a_csv_file_and_we_read_what_was_meant(
    tmp_path: Path, text: str
) -> None:
    table = pd.DataFrame({"path": [text, "a.png"]})
    write_table(table, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1] == [f"'{text}"]
    assert list(read_table(tmp_path / "t.csv")["path"]) == [text, "a.png"]


@pytest.mark.parametrize("text", LEFT)
def test_what_no_spreadsheet_runs_is_written_as_it_is(tmp_path: Path, text: str) -> None:
    write_table(pd.DataFrame({"path": [text, "a.png"]}), tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1] == [text]


def test_a_spreadsheet_that_expects_semicolons_divides_no_name(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["a;=1+1.png"], "value": [-0.5]})
    write_table(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == '"a;=1+1.png",-0.5'
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), table)


def test_a_reject_whose_name_is_a_formula_is_read_again_as_it_was(tmp_path: Path) -> None:
    rejects = rejects_table(
        [Reject("=HYPERLINK(1).png", "empty", "-1"), Reject("NA", "empty", "")]
    )
    write_rejects(rejects, tmp_path / "rejects.csv")
    assert "\"'=HYPERLINK" in (tmp_path / "rejects.csv").read_text(encoding="utf-8")
    pd.testing.assert_frame_equal(read_rejects(tmp_path / "rejects.csv"), rejects)
