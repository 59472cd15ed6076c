"""What predictions are scored by, one task per file: told from the predictions' columns."""

from collections.abc import Callable

import pandas as pd

from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.tasks import diagnosis, lesion
from maskwise.evaluate.tasks.contract import Measures

Read = Callable[[pd.DataFrame, EvaluateConfig, str], Measures | None]

TASKS: dict[str, Read] = {"diagnosis": diagnosis.read, "lesion": lesion.read}


def read_measures(
    predictions: pd.DataFrame, config: EvaluateConfig, where: str
) -> Measures | None:
    """Return the measures of the first task whose columns these are, None of no task."""
    found = (read(predictions, config, where) for read in TASKS.values())
    return next((measures for measures in found if measures is not None), None)
