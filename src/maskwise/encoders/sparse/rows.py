"""Places of feature maps as rows, with gradients that need no addition at random.

The gradient of reading rows is adding them up where they came from. Where it is known who read
a row, that is a reading too: fast on a processor, and the same at every run on a GPU.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Readers:
    """A table of rows to read, and its inverse."""

    table: Tensor
    """``(M,)`` int64: which of R rows is read; R = a row of zeros."""
    readers: Tensor
    """``(R, K)`` int64: which places of ``table`` read a row; M = nobody."""


def readers_of(table: Tensor, rows: int) -> Readers:
    """Find who reads each of ``rows`` rows in ``table`` ``(M,)``, whose zeros are ``rows``."""
    real = table < rows
    places = real.nonzero()[:, 0]
    read = table[places]
    order = torch.argsort(read, stable=True)
    places, read = places[order], read[order]
    counts = torch.bincount(read, minlength=rows)
    first = counts.cumsum(0) - counts
    turn = torch.arange(len(read), device=table.device) - first[read]
    most = int(counts.max()) if len(read) else 0
    readers = torch.full((rows, max(1, most)), len(table), device=table.device)
    readers[read, turn] = places
    return Readers(table, readers)


def read(rows: Tensor, found: Readers) -> Tensor:
    """Return ``rows`` ``(R, C)`` as the table reads them, ``(M, C)``."""
    answer: Tensor = _Read.apply(rows, found.table, found.readers)  # type: ignore[no-untyped-call]
    return answer


def taken(features: Tensor, places: Tensor) -> Tensor:
    """Return some places of ``(B, C, h, w)``, counted over the batch, as rows ``(n, C)``.

    Args:
        features: maps.
        places: ``(n,)`` int64, none of them twice.
    """
    flat = features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])
    rows: Tensor = _Take.apply(flat, places)  # type: ignore[no-untyped-call]
    return rows


def put(rows: Tensor, places: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Put rows ``(n, C)`` to ``places`` of zeros ``(B, C, h, w)``; ``size`` is (B, h, w)."""
    b, h, w = size
    flat: Tensor = _Put.apply(rows, places, b * h * w)  # type: ignore[no-untyped-call]
    return flat.reshape(b, h, w, rows.shape[1]).permute(0, 3, 1, 2)


def _with_zeros(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows.new_zeros(1, rows.shape[1])])


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, table: Tensor, readers: Tensor) -> Tensor:
        ctx.save_for_backward(readers, table)
        return _with_zeros(rows).index_select(0, table)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        readers, table = ctx.saved_tensors
        return _Added.apply(gradients[0], table, readers), None, None  # type: ignore[no-untyped-call]


class _Added(torch.autograd.Function):
    """The transpose of ``_Read``, which is differentiable in its turn."""

    @staticmethod
    def forward(ctx: Any, gradients: Tensor, table: Tensor, readers: Tensor) -> Tensor:
        ctx.save_for_backward(readers, table)
        padded = _with_zeros(gradients)
        total = padded.index_select(0, readers[:, 0])
        for turn in range(1, readers.shape[1]):
            total += padded.index_select(0, readers[:, turn])
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        readers, table = ctx.saved_tensors
        return _Read.apply(gradients[0], table, readers), None, None  # type: ignore[no-untyped-call]


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flat: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.length = len(flat)
        return flat.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return _Put.apply(gradients[0], places, ctx.length), None  # type: ignore[no-untyped-call]


class _Put(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor, length: int) -> Tensor:
        ctx.save_for_backward(places)
        return rows.new_zeros(length, rows.shape[1]).index_copy_(0, places, rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return _Take.apply(gradients[0], places), None, None  # type: ignore[no-untyped-call]
