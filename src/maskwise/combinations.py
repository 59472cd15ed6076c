"""Several labels of one image, and the combinations that images and groups then show."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

BETWEEN = " + "
"""Stands between the names of a combination."""
OTHERS = "other rare combinations"
NONE = "none of them"
"""The combination of no label."""


def terms_of(cell: str, separator: str) -> tuple[str, ...]:
    """Return the labels that a cell names, each once, in its order; blank ones are none."""
    terms = (term.strip() for term in cell.split(separator))
    return tuple(dict.fromkeys(term for term in terms if term))


def shown_by(named: Sequence[Iterable[str]], labels: Sequence[str]) -> NDArray[np.bool_]:
    """Say which of ``labels`` each entry names, ``(N, L)``; other names are passed over."""
    place = {name: column for column, name in enumerate(labels)}
    shows = np.zeros((len(named), len(labels)), bool)
    for row, names in enumerate(named):
        shows[row, [place[name] for name in names if name in place]] = True
    return shows


def pool_rare(
    shows: NDArray[np.bool_], labels: Sequence[str], least: int
) -> NDArray[np.object_]:
    """Return the stratum of each group: its combination of labels, rare ones pooled.

    A combination of ``least`` groups or more is a stratum. A rarer one joins the others that
    hold its rarest label (of equally rare ones the first). Where these are fewer than
    ``least`` together, they join what else is left over; and if that is too little as well, it
    joins the smallest stratum.

    Args:
        shows: ``(G, L)``, which labels a group shows, in any of its images.
        labels: their names.
        least: groups.

    Returns:
        ``(G,)`` names of strata; each has ``least`` groups, unless there is one stratum only.
    """
    sets, which, sizes = np.unique(shows, axis=0, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    by_set = [BETWEEN.join(np.asarray(labels, object)[one]) or NONE for one in sets]
    frequency = shows.sum(axis=0)
    pools = [
        OTHERS if not one.any() else f"rare, with {labels[_rarest(one, frequency)]}"
        for one in sets
    ]
    strata = [
        name if n >= least else pool for name, pool, n in zip(by_set, pools, sizes, strict=True)
    ]
    found = np.asarray(strata, object)[which]
    for pool in sorted({*pools} - {OTHERS}):
        if (found == pool).sum() < least:
            found[found == pool] = OTHERS
    left_over, others = int((found == OTHERS).sum()), found[found != OTHERS]
    if 0 < left_over < least and len(others):
        names, counts = np.unique(others.astype(str), return_counts=True)
        found[found == OTHERS] = str(names[counts.argmin()])
    return found


def _rarest(shown: NDArray[np.bool_], frequency: NDArray[np.int64]) -> int:
    return int(np.where(shown, frequency, np.iinfo(np.int64).max).argmin())
