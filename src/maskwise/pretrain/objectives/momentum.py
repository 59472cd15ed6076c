"""A slow copy of a network: the running mean of its weights (Tarvainen and Valpola 2017)."""

import copy
import logging
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)
LAGS = 20
"""How many times a run should be as long as a copy takes to follow: with one that takes longer
much of what the copy answers is still of the weights that it began with."""

log = logging.getLogger(__name__)


def slow_copy(module: M) -> M:
    """Return a copy that no gradient reaches; its batch norms see its own forward passes."""
    return copy.deepcopy(module).requires_grad_(False)


def warn_of_lag(objective: str, momentum: float, steps: int) -> None:
    """Say so where a copy that keeps ``momentum`` of itself is slow for a run of ``steps``."""
    if momentum < 1 and steps < LAGS / (1 - momentum):
        log.warning(
            "%s: with momentum %g its slow copy follows over %.0f steps, but the run has %d, "
            "of which that should be a twentieth at most; take more steps, or "
            "objective.momentum %.2f",
            objective, momentum, 1 / (1 - momentum), steps, max(0.0, 1 - LAGS / steps),
        )  # fmt: skip


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, kept: float) -> None:
    """Move the parameters of ``slow`` towards those of ``fast``: ``kept`` of them stays.

    In the parameters' own float32, whatever autocast computes in: in bfloat16 a mean that
    keeps .999 would never move. Buffers are the slow network's own.
    """
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), 1 - kept)
