"""What one paired difference shows, and what those of several recipes show together."""

from collections.abc import Mapping

import pandas as pd

CONVINCING = 0.05
"""Holm-adjusted p below which a difference whose interval excludes 0 is called shown."""
VERDICTS = ("helps", "perhaps", "unclear", "perhaps_harms", "harms")


def judge(row: pd.Series) -> str:
    """Say what one paired difference shows; benefit and harm need the same certainty.

    Where there is no p (nothing was named beforehand, or training was not repeated enough) it
    is "perhaps" at most.
    """
    sure = bool(row["p_holm"] < CONVINCING)
    if row["low"] > 0:
        return "helps" if sure else "perhaps"
    if row["high"] < 0:
        return "harms" if sure else "perhaps_harms"
    return "unclear"  # as well where no interval could be drawn


def sort_out(rows: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    """Return verdict -> its rows, each in the order of ``rows``."""
    verdicts = pd.Series([judge(row) for _, row in rows.iterrows()], rows.index, dtype=object)
    return {verdict: rows[verdicts == verdict] for verdict in VERDICTS}


def leading(rows: pd.DataFrame) -> pd.Series:
    """Return the row to speak of first: the surest benefit, else the largest difference.

    ``rows`` stand by their difference, the largest first; at least one.
    """
    sorted_out = sort_out(rows)
    for verdict in ("helps", "perhaps"):
        if len(sorted_out[verdict]):
            return sorted_out[verdict].iloc[0]
    return rows.iloc[0]
