"""Columns of labels: ``label_<name>`` in a manifest, in a store's index and in embeddings."""

from collections.abc import Iterable
from typing import Any

from maskwise.errors import UserError, hint, shown

LABEL = "label_"
"""Prefix of the label columns; values are class names, null = no label."""


def label_columns(columns: Iterable[Any]) -> list[str]:
    """Return which of ``columns``, a table or its columns' names, are labels; with prefix."""
    return [str(name) for name in columns if str(name).startswith(LABEL)]


def label_names(columns: Iterable[Any]) -> list[str]:
    """Return the names of the labels in a table: what people call them, without the prefix."""
    return [name.removeprefix(LABEL) for name in label_columns(columns)]


def column_meant(name: str, columns: Iterable[Any]) -> str | None:
    """Return the column that a user means by ``name``: of that name, or the label's."""
    known = set(columns)
    return next((each for each in (name, f"{LABEL}{name}") if each in known), None)


def named_column(columns: Iterable[Any], name: str, where: str) -> str:
    """Return the column that a user means by ``name``: of that name, or the label's.

    Raises:
        UserError: if there is none; ``where`` is the option.
    """
    known = list(columns)
    column = column_meant(name, known)
    if column is None:
        near = hint(name, map(str, known))
        raise UserError(f"{where}: there is no column {shown(name)}; {near}")
    return column
