"""``store_summary.json``: what about the stored images should be distrusted."""

import logging
from typing import Any

import pandas as pd

from maskwise.artefacts.splits import THINNED, for_seed
from maskwise.artefacts.store import Store
from maskwise.preprocess.pixel_facts import audit_pixels

log = logging.getLogger(__name__)

GIVEN_AWAY = 0.6
"""An AUROC of pixel facts whose interval lies above it is warned of."""


def summarise(store: Store, splits: pd.DataFrame) -> dict[str, Any]:
    """Return ``pixel_facts_audit``, label -> what ``audit_pixels`` found, and ``thinning``.

    ``thinning`` is null unless the source is thinned; else how many images pre-training leaves
    out (``removed``), of how many that train (``images``), for seed 0 where there are folds.
    """
    audits = audit_pixels(store, splits)
    for label, found in audits.items():
        if found["auroc"] is not None and found["low"] > GIVEN_AWAY:
            log.warning(
                "Border, margins, brightness and sharpness of the stored images alone predict "
                "%s: AUROC %.2f (%.2f to %.2f) on validation images; a network has to do "
                "better than that.",
                label,
                found["auroc"],
                found["low"],
                found["high"],
            )
    return {"pixel_facts_audit": audits, "thinning": _thinning(splits)}


def _thinning(splits: pd.DataFrame) -> dict[str, int] | None:
    if THINNED not in splits:
        return None
    trains = for_seed(splits, 0)["split"] == "train"
    return {"removed": int((splits[THINNED] & trains).sum()), "images": int(trains.sum())}
