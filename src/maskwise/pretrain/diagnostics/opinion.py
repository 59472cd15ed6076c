"""What a policy's choices and maps say of it: spread, texture, position."""

import warnings

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Floats


def choice_spread(masks: NDArray[np.bool_], places: int) -> tuple[float, float]:
    """Return entropy and top share of the masks that were chosen for ``(P, gh, gw)`` images.

    Entropy is -sum p log p over distinct masks / log min(P, ``places``): 1 = as spread as P
    images can be, 0 = one mask for all. The top share is that of the commonest mask.
    """
    flat = np.packbits(masks.reshape(len(masks), -1), axis=1)
    _, counts = np.unique(flat, axis=0, return_counts=True)
    shares = counts / counts.sum()
    most = min(len(masks), places)
    entropy = -(shares * np.log(shares)).sum() / np.log(most) if most > 1 else float("nan")
    return float(min(entropy, 1.0)), float(shares.max())


def rank_correlation(maps: Floats, values: Floats) -> float:
    """Return Spearman's rho over the places of an image, averaged over ``(P, ph, pw)`` images.

    Images whose map or values are constant have no ranks and do not count.
    """
    from scipy.stats import rankdata  # late: the registry of policies leads here

    ranks = [rankdata(array.reshape(len(array), -1), axis=1) for array in (maps, values)]
    a, b = (rank - rank.mean(1, keepdims=True) for rank in ranks)
    with np.errstate(invalid="ignore"):
        rho = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all constant: NaN is the answer
        return float(np.nanmean(rho))


def position_share(maps: Floats) -> float:
    """Return the share of the maps' variance that their mean map explains, in [0, 1].

    Maps ``(P, ph, pw)`` are centred per image first, so that "this image is hard" does not
    count. 1 = the policy sees position alone; NaN where every map is constant.
    """
    centred = maps.reshape(len(maps), -1)
    centred = centred - centred.mean(1, keepdims=True)
    total = (centred**2).sum()
    explained = len(centred) * (centred.mean(0) ** 2).sum()
    return float(explained / total) if total > 0 else float("nan")
