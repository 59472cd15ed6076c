"""A figure as it is written: its value and the ends of its interval, of 6 digits."""

from collections.abc import Iterable

import numpy as np

Figure = dict[str, float | None]
"""``value``, ``low`` and ``high``; None (``null``) where there is no number."""


def figure(value: float, ends: Iterable[float]) -> Figure:
    """Return a value and its interval as they are written."""
    low, high = ends
    return {"value": rounded(value), "low": rounded(low), "high": rounded(high)}


def rounded(value: float) -> float | None:
    """Keep 6 significant digits, sign and all; None (``null``) where there is no number."""
    return None if np.isnan(value) else float(f"{value:.6g}")
