"""Choosing K cells one after another without replacement, and how probable that was.

The Plackett-Luce law: each pick is a softmax over the cells that are left. Adding Gumbel noise
to the logits and taking the K highest, in order, draws from it (Yellott 1977). ``scores`` are
logits ``(B, L)``, L cells; ``uniform`` ``(B, L)`` lies in [0, 1), one draw per cell.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """The cells that were hidden, and in which order they were picked, where they were."""

    mask: Tensor
    """bool ``(B, L)``, True = hidden."""
    order: Tensor | None = None
    """int64 ``(B, K)``, the first pick first; None where cells are drawn independently."""

    @property
    def picks(self) -> Tensor:
        """The order, or ``ValueError`` where there is none."""
        if self.order is None:
            raise ValueError("independent cells have no order")
        return self.order


def in_order(order: Tensor, cells: int) -> Choice:
    """Return the choice of the cells ``order`` ``(B, K)`` among ``cells``."""
    mask = torch.zeros(len(order), cells, dtype=torch.bool, device=order.device)
    return Choice(mask.scatter(1, order, True), order)


def gumbel_topk(scores: Tensor, number: int, uniform: Tensor) -> Choice:
    """Draw ``number`` cells of each image, in order, by the Plackett-Luce law."""
    # -log(1 - u) is exponential; of a draw of 0 the key is infinite, and its cell comes first.
    keys = scores.detach() - torch.log(-torch.log1p(-uniform))
    return in_order(keys.topk(number, dim=1).indices, scores.shape[1])


def topk(scores: Tensor, number: int, uniform: Tensor) -> Choice:
    """Take the ``number`` highest scores: nothing is drawn but the order of equal ones."""
    shuffled = uniform.argsort(dim=1)
    ranks = scores.detach().gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    return in_order(shuffled.gather(1, ranks)[:, :number], scores.shape[1])


def remaining(values: Tensor, choice: Choice) -> Tensor:
    """Return the log of the sum of exp(``values``) over the cells left before each pick.

    ``values`` ``(B, L)``; the answer is ``(B, K)``, at a cost of B * L, not B * K * L.
    """
    rest = values.masked_fill(choice.mask, -torch.inf).logsumexp(dim=1, keepdim=True)
    picked = values.gather(1, choice.picks)
    still = picked.flip(1).logcumsumexp(dim=1).flip(1)
    return torch.logaddexp(still, rest)


def plackett_luce_terms(scores: Tensor, choice: Choice) -> Tensor:
    """Return the log-probability of each pick, given those before it: ``(B, K)``.

    Their sum is the exact log-probability of the ordered draw.
    """
    return scores.gather(1, choice.picks) - remaining(scores, choice)


def softmax_terms(scores: Tensor, choice: Choice) -> Tensor:
    """Return each pick's log-softmax, as if cells were put back: ``(B, K)``; a literal reading.

    Not the log-probability of what ``gumbel_topk`` draws.
    """
    return scores.log_softmax(dim=1).gather(1, choice.picks)


def softmax_entropy(scores: Tensor) -> Tensor:
    """Return the entropy of the first pick, 1 = uniform: ``()``, mean over images."""
    log_shares = scores.log_softmax(dim=1)
    most = torch.log(log_shares.new_tensor(scores.shape[1]))
    return -(log_shares.exp() * log_shares).sum(dim=1).mean() / most
