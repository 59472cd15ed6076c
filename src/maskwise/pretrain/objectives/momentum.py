"""A slow copy of a network: the running mean of its weights (Tarvainen and Valpola 2017)."""

import copy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def slow_copy(module: M) -> M:
    """Return a copy that no gradient reaches; its batch norms see its own forward passes."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, kept: float) -> None:
    """Move the parameters of ``slow`` towards those of ``fast``: ``kept`` of them stays.

    In the parameters' own float32, whatever autocast computes in: in bfloat16 a mean that
    keeps .999 would never move. Buffers are the slow network's own.
    """
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), 1 - kept)
