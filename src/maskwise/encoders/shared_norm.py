"""Batch norm by the statistics of several processes' values, weighted by their number.

torch has the like for GPUs alone (``SyncBatchNorm``). Here ranks may hold unequally many
values, as sparse norms do, and may form groups that know nothing of each other.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from maskwise.ranks import Ranks


@dataclass(frozen=True)
class Moments:
    """Of groups of values, in float32: ``count`` ``(G,)``, the others ``(G, C)``."""

    count: Tensor
    mean: Tensor
    variance: Tensor
    """Divided by the count."""

    def merged(self, span: int) -> "Moments":
        """Return the moments of every ``span`` neighbouring groups taken together."""
        count = self.count.reshape(-1, span, 1)
        mean, variance = (
            each.reshape(len(count), span, -1) for each in (self.mean, self.variance)
        )
        whole = count.sum(1)
        together = (count * mean).sum(1) / whole
        apart = (count * (variance + (mean - together[:, None]).square())).sum(1) / whole
        return Moments(whole[:, 0], together, apart)


def together(moments: list[Moments]) -> Moments:
    """Return the groups of all of ``moments``."""
    return Moments(
        torch.cat([each.count for each in moments]),
        torch.cat([each.mean for each in moments]),
        torch.cat([each.variance for each in moments]),
    )


def normalise_shared(
    features: Tensor, weight: Tensor, bias: Tensor, eps: float, ranks: Ranks, span: int
) -> tuple[Tensor, Moments]:
    """Normalise ``(B, C, ...)`` by what ``span`` neighbouring ranks hold; all ranks must call.

    Args:
        features: this rank's.
        weight: ``(C,)``.
        bias: ``(C,)``.
        eps: added to the variance.
        ranks: which hold the rest.
        span: ranks of a group; it divides their number.

    Returns:
        The normalised features, and the moments of all groups of ranks.
    """
    with torch.no_grad():
        # What torch's own batch norm takes: many times faster than `var_mean` over all but one
        # dimension, above all with channels last. There are no running statistics to move.
        mean, variance = torch.ops.aten.batch_norm_update_stats(
            features.detach().float(), None, None, 0.0
        )
        count = mean.new_tensor([features.numel() / features.shape[1]])
        moments = _gathered(torch.cat([count, mean, variance]), ranks)
        number = len(mean)
        groups = Moments(
            moments[:, 0], moments[:, 1 : 1 + number], moments[:, 1 + number :]
        ).merged(span)
    group = ranks.rank // span
    normalised: Tensor = _Normalise.apply(  # type: ignore[no-untyped-call]
        features, weight, bias, groups.mean[group], groups.variance[group],
        groups.count[group], eps, ranks, span,
    )  # fmt: skip
    return normalised, groups


def _gathered(own: Tensor, ranks: Ranks) -> Tensor:
    """Return what each rank holds of ``(n,)``: ``(number, n)``."""
    rows = list(own.new_empty(ranks.number, len(own)))
    torch.distributed.all_gather(rows, own)
    return torch.stack(rows)


class _Normalise(torch.autograd.Function):
    """As torch's, but the two sums of its gradient are over the group's ranks too."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, mean: Tensor,
        variance: Tensor, count: Tensor, eps: float, ranks: Ranks, span: int,
    ) -> Tensor:  # fmt: skip
        ctx.save_for_backward(features, weight, mean, variance, count)
        ctx.eps, ctx.ranks, ctx.span = eps, ranks, span
        return nn.functional.batch_norm(
            features, mean, variance, weight, bias, training=False, eps=eps
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, mean, variance, count = ctx.saved_tensors
        # As if mean and variance were given; what is lost by that is put right below.
        to_features, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], features, weight, mean, variance, None, None, False, ctx.eps,
            [ctx.needs_input_grad[0], True, True],
        )  # fmt: skip
        own = torch.cat([to_bias, to_weight]).float()
        first = ctx.ranks.rank // ctx.span * ctx.span
        sums = _gathered(own, ctx.ranks)[first : first + ctx.span].sum(0) / count
        if ctx.needs_input_grad[0]:
            towards, along = sums.chunk(2)
            inverse = (variance + ctx.eps).rsqrt()
            slope = weight * inverse.square() * along
            level = weight * inverse * towards - slope * mean
            sides = (1, -1, *[1] * (features.dim() - 2))
            # In place where it is float32: nobody else has it, and memory is what this costs.
            to_features = (
                to_features.float()
                .addcmul_(features.float(), slope.reshape(sides), value=-1)
                .sub_(level.reshape(sides))
                .to(features.dtype)
            )
        return to_features, to_weight, to_bias, *[None] * 6
