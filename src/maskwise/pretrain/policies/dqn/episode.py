"""Episodes: up to T boxes per image, one after another, each chosen on what is visible."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from maskwise.pretrain.policies.dqn.places import Places
from maskwise.pretrain.splitmix import GOLDEN, mix

QNetwork = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Images ``(N, C, H, W)``, hidden ``(N, gh, gw)``, allowed ``(N, A)`` to Q ``(N, A)``."""
Chooser = Callable[[Tensor, Tensor, int], Tensor]
"""Q ``(N, A)`` without graph, allowed ``(N, A)`` and the turn to places ``(N,)``."""


@dataclass(frozen=True)
class Episode:
    """What was seen and chosen, box by box; T boxes, N images, A places."""

    hidden: Tensor
    """bool ``(T + 1, N, gh, gw)``: hidden before each box, and in the end."""
    allowed: Tensor
    """bool ``(T, N, A)``"""
    q: Tensor
    """``(T, N, A)``, with its graph when it shall be learnt from."""
    chosen: Tensor
    """int64 ``(T, N)``"""

    @property
    def played(self) -> Tensor:
        """Whether there was a place left to choose, bool ``(T, N)``."""
        return self.allowed.any(2)

    @property
    def fresh(self) -> Tensor:
        """Cells that each box newly hid, bool ``(T, N, gh, gw)``."""
        return self.hidden[1:] & ~self.hidden[:-1]


def play(
    network: QNetwork, images: Tensor, places: Places, boxes: int, least: float, choose: Chooser
) -> Episode:
    """Play ``boxes`` turns; a place must newly hide the share ``least`` of its box.

    Where no such place is left, the image's episode has ended and its mask stays as it is.
    """
    hidden = [torch.zeros(len(images), *places.grid, dtype=torch.bool, device=images.device)]
    q, allowed, chosen = [], [], []
    for turn in range(boxes):
        allowed.append(places.allowed(hidden[-1], least))
        q.append(network(images, hidden[-1], allowed[-1]))
        chosen.append(choose(q[-1].detach(), allowed[-1], turn))
        box = places.masks(chosen[-1]) & allowed[-1].any(1)[:, None, None]
        hidden.append(hidden[-1] | box)
    return Episode(
        torch.stack(hidden), torch.stack(allowed), torch.stack(q), torch.stack(chosen)
    )


def first_best(q: Tensor, allowed: Tensor) -> Tensor:
    """Return the allowed place of the largest Q, the first in raster order among equals."""
    return q.masked_fill(~allowed, -torch.inf).argmax(1)


def any_best(q: Tensor, allowed: Tensor, index: Tensor, key: int) -> Tensor:
    """Return the allowed place of the largest Q, by lot among equals.

    The lots depend on ``key`` and on the image's ``index`` ``(N,)``, not on the batch's order.
    """
    q = q.masked_fill(~allowed, -torch.inf)
    best = q >= q.max(1, keepdim=True).values
    return _lots(index, q.shape[1], key).masked_fill(~best, -1).argmax(1)


def nth_allowed(allowed: Tensor, share: Tensor) -> Tensor:
    """Return the place at ``share`` ``(N,)`` in [0, 1) of those allowed ``(N, A)``."""
    rank = allowed.cumsum(1)
    wanted = (share * rank[:, -1]).floor().clamp_max(rank[:, -1] - 1)
    return (rank > wanted[:, None]).int().argmax(1)


def _lots(index: Tensor, places: int, key: int) -> Tensor:
    """Return ``(N, places)`` int64 >= 0, shuffled by ``key`` and the image."""
    lots = index[:, None] * places + torch.arange(places, device=index.device)
    return mix(lots * GOLDEN + key) & ((1 << 62) - 1)
