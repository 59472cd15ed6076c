"""Which validation images may choose anything where few labels are learnt from."""

import pandas as pd


def with_labels(predictions: pd.DataFrame, subsets: pd.DataFrame) -> pd.DataFrame:
    """Leave out validation images whose labels were not there at their fraction.

    Predictions hold the whole validation part. To choose by all of it what is then said to
    need few labels would be to have had more.
    """
    keys = ["recipe", "seed", "fraction", "image_id"]
    there = pd.MultiIndex.from_frame(subsets.loc[subsets["role"] == "validation", keys])
    known = pd.MultiIndex.from_frame(predictions[keys]).isin(there)
    return predictions[(predictions["split"] != "validation") | known]
