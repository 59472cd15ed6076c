"""What predictions are scored by, one kind of task per file."""

from collections.abc import Callable

import pandas as pd

from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.tasks import diagnosis, lesion, multilabel
from maskwise.evaluate.tasks.contract import Measures

Read = Callable[[pd.DataFrame, EvaluateConfig, str], Measures]
"""Predictions, options, and what messages call the predictions, in; the measures out."""

TASKS: dict[str, Read] = {
    "diagnosis": diagnosis.read,
    "lesion": lesion.read,
    "multilabel": multilabel.read,
}


def read_measures(
    predictions: pd.DataFrame, task: str, config: EvaluateConfig, where: str
) -> Measures:
    """Return the measures of ``task``, a name in ``TASKS``.

    Raises:
        UserError: if these are predictions of another task, or of none.
    """
    return TASKS[task](predictions, config, where)
