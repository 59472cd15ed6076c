"""Tables are written and read by their suffix, and checked."""

from pathlib import Path

import pandas as pd
import pytest

from maskwise.artefacts.tables import read_table, write_table
from maskwise.errors import UserError

TABLE = pd.DataFrame({"recipe": ["dqn", "scratch"], "value": [0.5, 0.25]})


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    write_table(TABLE, tmp_path / name, ("recipe", "value"))
    pd.testing.assert_frame_equal(read_table(tmp_path / name, ("recipe", "value")), TABLE)


def test_a_missing_column_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"table\.csv: the columns low, high are missing"):
        write_table(TABLE, tmp_path / "table.csv", ("recipe", "low", "high"))
    assert not list(tmp_path.iterdir())
