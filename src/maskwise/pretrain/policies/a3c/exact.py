"""Hiding exactly K cells by the Bernoulli law given that their number is K.

The conditional Bernoulli law: P(mask) = exp(sum of the hidden cells' logits) / e_K, e_K the
K-th elementary symmetric polynomial of exp(logits) (Chen, Dempster and Liu 1994). Unlike
Plackett-Luce it knows no order. Tables of log e_k cost B * L * K, and a loop over cells, which
is why it is an option. ``scores`` are logits ``(B, L)``; ``uniform`` ``(B, L)``.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from maskwise.pretrain.policies.a3c.sampling import Choice


def log_polynomials(scores: Tensor, number: int) -> Tensor:
    """Return log e_k of the cells c, c + 1, ..., ``(B, L + 1, K + 1)`` by c and k."""
    row = scores.new_full((len(scores), number + 1), -torch.inf)
    row[:, 0] = 0.0
    rows = [row]
    for column in scores.detach().unbind(1)[::-1]:
        hidden = pad(row[:, :-1], (1, 0), value=-torch.inf) + column[:, None]
        row = torch.logaddexp(row, hidden)
        rows.append(row)
    return torch.stack(rows[::-1], dim=1)


def inclusion(scores: Tensor, number: int, table: Tensor) -> Tensor:
    """Return how often each cell is hidden, ``(B, L)``; an image's shares sum to ``number``."""
    before = log_polynomials(scores.flip(1), number).flip(1)[:, :-1]  # of cells left of c
    after = table[:, 1:]
    # The cell itself, j of those before it and number - 1 - j of those behind.
    ways = (before[:, :, :-1] + after[:, :, :-1].flip(2)).logsumexp(dim=2)
    return torch.exp(scores.detach() + ways - table[:, 0, -1:])


def conditional_bernoulli(scores: Tensor, number: int, uniform: Tensor) -> Choice:
    """Draw a mask of exactly ``number`` cells, walking along the cells."""
    scores = scores.detach()
    table, cells = log_polynomials(scores, number), scores.shape[1]
    left = torch.full_like(scores[:, :1], number, dtype=torch.int64)
    hidden = []
    for cell in range(cells):
        whole = table[:, cell].gather(1, left)
        taken = table[:, cell + 1].gather(1, (left - 1).clamp_min(0))
        share = (scores[:, cell, None] + taken - whole).exp()
        # Where all that are left must be hidden, the share is exactly 1.
        chosen = (left > 0) & (uniform[:, cell, None] < share)
        left = left - chosen.long()
        hidden.append(chosen)
    return Choice(torch.cat(hidden, dim=1))


def conditional_bernoulli_terms(scores: Tensor, choice: Choice, number: int) -> Tensor:
    """Return ``(B, L)`` terms whose sum is the mask's log-probability and its exact gradient.

    Cell c's term has the gradient M_c - P(c hidden) in its own logit, 0 in expectation: so a
    baseline per cell, of the image alone, is valid here as it is for independent cells.
    """
    table = log_polynomials(scores, number)
    fixed, mask = scores.detach(), choice.mask.to(scores.dtype)
    gradient = mask - inclusion(scores, number, table)
    value = mask * fixed - table[:, 0, -1:] / scores.shape[1]
    return value + (scores - fixed) * gradient
