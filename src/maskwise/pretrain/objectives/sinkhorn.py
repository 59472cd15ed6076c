"""Codes of a batch that use all prototypes alike (Caron et al. 2020, section 3.1)."""

import torch
from torch import Tensor

from maskwise.ranks import ALONE, Ranks


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int, ranks: Ranks = ALONE) -> Tensor:
    """Return soft codes ``(B, K)``, float32, whose rows sum to 1, of cosines ``(B, K)``.

    The iteration is Sinkhorn and Knopp's, as Cuturi (2013) uses it: prototypes and images are
    brought to equal shares in turn, and the more often, the nearer each prototype's column
    comes to B / K. It is made in logarithms and in float32, where exp(cosine / epsilon) would
    leave the range of half precision at a cosine of .56. The constants of the authors' form,
    1 / K and 1 / B, cancel.

    Of several ranks each has some of the images, and their sums over images are added.
    """
    with torch.autocast(scores.device.type, enabled=False):
        logs = scores.float() / epsilon
        for _ in range(iterations):
            logs = logs - _over_images(logs, ranks)
            logs = logs - logs.logsumexp(1, keepdim=True)
        return logs.exp()


def _over_images(logs: Tensor, ranks: Ranks) -> Tensor:
    """Return the logarithm ``(1, K)`` of each column's sum of exponentials, over all ranks."""
    if ranks.alone:
        return logs.logsumexp(0, keepdim=True)
    most = ranks.max(logs.amax(0, keepdim=True))
    return ranks.sum((logs - most).exp().sum(0, keepdim=True)).log() + most
