"""The label of a store that a task learns."""

import pandas as pd

from maskwise.artefacts.labels import LABEL, label_names
from maskwise.errors import UserError, hint, shown


def label_of(index: pd.DataFrame, label: str, where: str) -> "pd.Series[str]":
    """Return the column of ``label`` in a store's index, missing where an image has none.

    Raises:
        UserError: if there is no such label; ``where`` is the task's path in the YAML.
    """
    column = f"{LABEL}{label}"
    if column not in index.columns:
        known = hint(label, label_names(index))
        raise UserError(f"{where}.label: the store has no label {shown(label)}; {known}")
    return index[column]
