"""The label of a store that a task learns."""

import pandas as pd

from maskwise.errors import UserError, hint, shown

LABEL = "label_"
"""Prefix of the label columns of a store's index."""


def label_of(index: pd.DataFrame, label: str, where: str) -> "pd.Series[str]":
    """Return the column of ``label`` in a store's index, missing where an image has none.

    Raises:
        UserError: if there is no such label; ``where`` is the task's path in the YAML.
    """
    column = f"{LABEL}{label}"
    if column not in index.columns:
        known = [name.removeprefix(LABEL) for name in index.columns if name.startswith(LABEL)]
        raise UserError(
            f"{where}.label: the store has no label {shown(label)}; {hint(label, known)}"
        )
    return index[column]
