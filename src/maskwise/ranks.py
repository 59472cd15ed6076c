"""Several processes that train one network on one batch, each on its own slice of it.

What a network answers must not depend on how many they are. So the convention, everywhere: each
rank's loss is such that **the mean over ranks is the loss of the whole batch**, and gradients
are averaged. A mean over images needs nothing for that. A mean over a number that differs from
rank to rank (hidden cells, visible places) divides by ``Ranks.mean`` of that number; what
compares images with each other gathers them first. One rank alone computes as if there were no
others, bit for bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """The processes of torch's default group, and which of them this one is."""

    rank: int
    """From 0; 0 leads: it alone runs the policy, measures, draws and writes."""
    number: int

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.number == 1

    def own(self, whole: Tensor) -> Tensor:
        """Return this rank's slice of ``whole`` ``(B, ...)``: ``(B / number, ...)``."""
        return whole if self.alone else whole.chunk(self.number)[self.rank]

    def own_places(self, size: int, parts: int) -> list[range]:
        """Return which places of a batch of ``size`` are this rank's, for each of its parts."""
        part = size // parts
        share = part // self.number
        firsts = (turn * part + self.rank * share for turn in range(parts))
        return [range(first, first + share) for first in firsts]

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over ranks, without a gradient."""
        return self._reduced(value, torch.distributed.ReduceOp.SUM)

    def max(self, value: Tensor) -> Tensor:
        """Return the maximum over ranks, without a gradient."""
        return self._reduced(value, torch.distributed.ReduceOp.MAX)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over ranks, without a gradient; alone, ``value`` as it is."""
        return value if self.alone else self.sum(value) / self.number

    def at_least(self, number: Tensor, least: float) -> Tensor:
        """Return what a sum over a rank's part of a batch is divided by, for a weighted mean.

        The mean over ranks of ``number``, which is this rank's; a whole batch that has less
        than ``least`` is taken to have that.
        """
        if self.alone:
            return number.clamp(min=least)
        return self.mean(number).clamp(min=least / self.number)

    def gather(self, own: Tensor) -> Tensor:
        """Return the slices ``(b, ...)`` of all ranks, in their order: ``(number b, ...)``.

        The gradient goes back to the rank that each slice is of.
        """
        if self.alone:
            return own
        gathered: Tensor = _Gather.apply(own.contiguous(), self)  # type: ignore[no-untyped-call]
        return gathered

    def gather_views(self, own: Tensor, views: int) -> Tensor:
        """Gather ``(V b, ...)``, view by view, to ``(V B, ...)``, view by view."""
        if self.alone:
            return own
        shape = (self.number, views, len(own) // views, *own.shape[1:])
        return self.gather(own).reshape(shape).transpose(0, 1).flatten(0, 2)

    def broadcast(self, value: Tensor) -> Tensor:
        """Overwrite ``value`` with rank 0's, and return it."""
        if not self.alone:
            torch.distributed.broadcast(value, 0)
        return value

    def told(self, content: Any) -> Any:
        """Return what rank 0 says: plain containers and tensors."""
        if self.alone:
            return content
        box = [content]
        torch.distributed.broadcast_object_list(box, 0)
        return box[0]

    @torch.no_grad()
    def average_gradients(self, module: nn.Module) -> None:
        """Replace each gradient by its mean over ranks, in one go for each type of number."""
        if self.alone:
            return
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for parameter in module.parameters():
            if parameter.grad is not None:
                by_type.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_type.values():
            # In memory's own order, which is the same everywhere: no copy changes the layout.
            flat = torch.cat([_flat(each) for each in gradients])
            torch.distributed.all_reduce(flat)
            flat /= self.number
            parts = flat.split([each.numel() for each in gradients])
            torch._foreach_copy_([_flat(each) for each in gradients], list(parts))

    def _reduced(self, value: Tensor, operation: Any) -> Tensor:
        if self.alone:
            return value
        reduced = value.detach().clone()
        torch.distributed.all_reduce(reduced, operation)
        return reduced


ALONE = Ranks(0, 1)


class Shared:
    """What computes over all ranks inside ``shared``, and otherwise as if it were alone."""

    ranks: Ranks = ALONE


@contextmanager
def shared(module: nn.Module, ranks: Ranks) -> Iterator[None]:
    """Let everything in ``module`` that is ``Shared`` compute over ``ranks`` in the block.

    All ranks must enter it together; whoever only looks, as rank 0 does after an epoch, stays
    outside.
    """
    parts = [each for each in module.modules() if isinstance(each, Shared)]
    before = [part.ranks for part in parts]
    for part in parts:
        part.ranks = ranks
    try:
        yield
    finally:
        for part, each in zip(parts, before, strict=True):
            part.ranks = each


def _flat(tensor: Tensor) -> Tensor:
    """Return a dense tensor's memory as ``(n,)``; writing there writes the tensor."""
    return tensor.as_strided((tensor.numel(),), (1,))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        slices = [torch.empty_like(own) for _ in range(ranks.number)]
        torch.distributed.all_gather(slices, own)
        return torch.cat(slices)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # Every rank's loss met every slice, and gradients are averaged over ranks afterwards.
        whole = gradients[0].contiguous().clone()
        torch.distributed.all_reduce(whole)
        return ctx.ranks.own(whole), None
