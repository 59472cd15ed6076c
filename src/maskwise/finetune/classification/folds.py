"""On which images a choice is judged: parts of the subset in turn, or its validation images."""

import numpy as np
import pandas as pd

from maskwise.array_types import Rows
from maskwise.finetune.subsets import group_strata
from maskwise.seeds import stream

Folds = list[tuple[Rows, Rows]]
"""Pairs of positions: to fit on, and to judge by."""


def deal_folds(images: pd.DataFrame, count: int, seed: int) -> Folds:
    """Deal whole groups into ``count`` parts, stratum by stratum; each is held out once.

    Args:
        images: ``group`` and ``stratum`` of the images of one fraction, training and
            validation.
        count: parts; there are fewer where no stratum has so many groups.
        seed: of the replicate.

    Returns:
        Positions in ``images``. The images to fit on hold every stratum of ``images``: one of a
        single group is never held out, and a part that would take a stratum's last images is
        left out. Empty where nothing can be held out.
    """
    strata = group_strata(images)
    generator = stream(seed, "folds")
    part_of: dict[str, int] = {}
    dealt = 0
    for name in sorted(strata.unique()):
        groups = generator.permutation(strata.index[strata == name].to_numpy(dtype=object))
        if len(groups) == 1:
            part_of[groups[0]] = -1
            continue
        # Each stratum goes on where the one before stopped, so that parts are of one size.
        part_of.update({group: (dealt + i) % count for i, group in enumerate(groups)})
        dealt += len(groups)
    part = images["group"].map(part_of).to_numpy()
    stratum = images["stratum"].to_numpy()
    folds = [(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in range(count)]
    return [
        (rows, judge)
        for rows, judge in folds
        if len(judge) and set(stratum[rows]) == set(stratum)
    ]


def hold_out(images: pd.DataFrame) -> Folds:
    """Fit on the images with the ``role`` train, judge by those with the role validation."""
    train = (images["role"] == "train").to_numpy()
    return [(np.flatnonzero(train), np.flatnonzero(~train))]
