"""Columns of the tables that one stage writes and another reads, and the one way to write CSV.

A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@``, and names of files and
classes come from strangers. Text of that kind, and no number, gets an apostrophe in front, as
OWASP recommends against CSV injection, and ``read_csv`` takes it away again.
"""

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from maskwise.artefacts.atomic import replacing
from maskwise.errors import UserError, listed

SUBSETS = (
    "source",
    "recipe",
    "seed",
    "fraction",
    "image_id",
    "group",
    "role",
    "label",
)
"""``subsets.parquet``: one row per image a fraction uses; ``role`` is ``train`` or
``validation``."""

PREDICTIONS = (
    "source",
    "recipe",
    "seed",
    "fraction",
    "mode",
    "image_id",
    "group",
    "split",
    "fold",
    "truth",
)
"""``predictions.parquet``: one row per image x fraction x mode (``probe``, ``full``),
validation and test; then of a diagnosis one column ``p_<class>`` per class, which add to 1.

Of several labels per image ``truth`` is their combination, and there are ``p_<label>``, each
by itself, ``truth_<label>`` (1 or 0) and ``threshold_<label>``, from which on it is called."""

SEGMENTATION = ("unit", "unit_kind", "distance_unit")
"""Columns that follow those of ``PREDICTIONS`` where lesions are outlined; ``truth`` is then
which classes the image shows.

``unit`` is the volume, or else the group, that an image is a part of, ``unit_kind`` which of
the two (``volume``, ``group``), ``distance_unit`` ``mm`` or ``px``. Then, of each class, pixels
``tp_<class>``, ``fp_<class>``, ``fn_<class>``, the distances ``hd95_<class>`` and
``asd_<class>``, NaN where one of the two outlines is empty, and ``unit_hd95_<class>``,
``unit_asd_<class>`` of the unit, the same in all its rows: between the surfaces of the whole
volume where the store knows its slices' order and distance, else the mean over its images.
Distances are computed for the test part only, because they take long."""

HISTORY = ("epoch",)
"""Of a replicate's pre-training; what else there is depends on the recipe."""
PAIRED = (
    "mode",
    "fraction",
    "metric",
    "recipe",
    "against",
    "difference",
    "low",
    "high",
    "covers",
    "primary",
    "p",
    "p_holm",
    "test",
    "n_images",
    "n_groups",
    "n_seeds",
)
"""``paired.csv``: one row per comparison; difference = recipe minus against; ``covers`` says
what chance the interval holds, ``primary`` whether the comparison was named beforehand: others
have no p, nor has any where training was not repeated enough; ``test`` names the test behind
``p``; the ``n_`` are of the test set and of the seeds."""

LABEL_EFFICIENCY = (
    "mode",
    "fraction",
    "n_images",
    "n_groups",
    "recipe",
    "metric",
    "value",
    "low",
    "high",
)
"""``label_efficiency.csv``: one row per point of a curve; the ``n_`` are of the labelled
training images, the mean over seeds."""

REFEREE = (
    "recipe",
    "mode",
    "fraction",
    "part",
    "class",
    "at",
    "figure",
    "value",
    "low",
    "high",
    "n_images",
    "n_groups",
    "n_patients",
)
"""``referee.csv``: one row per figure of the page for referees; ``at`` says at which threshold,
in which bin, or of which subgroup; the ``n_`` are of the test images that show the class, or of
the subgroup."""

TRIALS = (
    "trial",
    "state",
    "score",
    "epochs",
    "seeds",
    "report",
    "reported",
    "why",
    "again",
    "seconds",
)
"""``trials.parquet``: one row per trial of a study of tune. ``state`` is ``complete``, ``given
up``, ``refused``, ``interrupted`` (then a later row tries its values ``again``: there the
number of the first one, else -1), ``running`` or ``waiting``; ``score`` is the mean over seeds
on validation images, NaN unless complete; ``epochs`` of pre-training over all seeds, of which
``seeds`` are scored; ``report`` the last one of the first seed (-1 = none), ``reported`` its
figure. Then one column per path of the space (a choice as text, "" or NaN where it was not
searched), and ``score_s<seed>``."""


_CSV: dict[str, Any] = {
    "index": False,
    # All text is quoted: a spreadsheet that expects semicolons would divide a bare name.
    "quoting": csv.QUOTE_NONNUMERIC,
    "lineterminator": "\n",
}
_RUN = re.compile(r"'*(\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf", re.IGNORECASE)


def write_table(table: pd.DataFrame, path: Path, columns: tuple[str, ...] = ()) -> None:
    """Write CSV or Parquet, by the suffix of ``path``; ``columns`` must be there."""
    check_columns(table, columns, str(path))
    if path.suffix != ".parquet":
        write_csv(table, path)
        return
    with replacing(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_table(path: Path, columns: tuple[str, ...] = ()) -> pd.DataFrame:
    """Read what ``write_table`` wrote."""
    table = pd.read_parquet(path) if path.suffix == ".parquet" else read_csv(path)
    check_columns(table, columns, str(path))
    return table


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write CSV in which no spreadsheet finds a formula, whatever separates its cells."""
    with replacing(path) as temporary:
        _texts(table, _disarmed).to_csv(temporary, **_CSV)


def as_csv(table: pd.DataFrame) -> str:
    """Return the text that ``write_csv`` writes."""
    return str(_texts(table, _disarmed).to_csv(**_CSV))


def read_csv(path: Path, **options: Any) -> pd.DataFrame:
    """Read what ``write_csv`` wrote; ``options`` are those of ``pandas.read_csv``.

    Raises:
        UserError: if the file was cut off.
    """
    check_end(path)
    return _texts(pd.read_csv(path, **options), _armed)


def rearmed(table: pd.DataFrame) -> pd.DataFrame:
    """Take away what ``write_csv`` put before text, where another reader read the file."""
    return _texts(table, _armed)


def _texts(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    """Return ``table`` with each text in it changed; numbers and nulls stay what they are."""

    def changed(cell: Any) -> Any:
        return change(cell) if isinstance(cell, str) else cell

    columns = table.select_dtypes(exclude=["number", "bool"]).columns
    return table.assign(**{name: table[name].map(changed) for name in columns})


def _disarmed(text: str) -> str:
    return f"'{text}" if _RUN.match(text) and not _NUMBER.fullmatch(text) else text


def _armed(text: str) -> str:
    return text[1:] if text.startswith("'") and _RUN.match(text) else text


def check_end(path: Path) -> None:
    """Raise ``UserError`` where a CSV file was cut off: pandas would take what is left."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 1))
        if file.read() != b"\n":
            raise UserError(f"{path}: ends within a line; run the stage that made it again")


def check_columns(table: pd.DataFrame, columns: tuple[str, ...], where: str) -> None:
    """Raise ``UserError`` naming the columns that are missing."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserError(f"{where}: the columns {listed(missing)} are missing")
