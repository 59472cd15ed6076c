"""``rejects.csv``: what was not taken, and why; one row per file or row of a table."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from maskwise.artefacts.tables import read_csv, write_csv
from maskwise.errors import UserError, hint
from maskwise.scans.reasons import REASONS, Reject

COLUMNS = ("path", "reason", "detail")


def rejects_table(rejects: Iterable[Reject]) -> pd.DataFrame:
    """Return the rows as a table of strings, sorted."""
    return pd.DataFrame(sorted(set(rejects)), columns=list(COLUMNS), dtype="str")


def write_rejects(rejects: pd.DataFrame, path: Path) -> None:
    """Write ``rejects`` as CSV after checking it."""
    check_rejects(rejects, str(path))
    write_csv(rejects, path)


def read_rejects(path: Path) -> pd.DataFrame:
    """Read and check what ``write_rejects`` wrote."""
    rejects = read_csv(path, dtype="str", keep_default_na=False)
    check_rejects(rejects, str(path))
    return rejects


def check_rejects(rejects: pd.DataFrame, where: str) -> None:
    """Raise ``UserError`` unless columns and reasons are right."""
    if tuple(rejects.columns) != COLUMNS:
        raise UserError(f"{where}: the columns should be {', '.join(COLUMNS)}")
    for reason in sorted(set(rejects["reason"]) - set(REASONS)):
        raise UserError(f"{where}: there is no reason {reason!r}; {hint(reason, REASONS)}")
