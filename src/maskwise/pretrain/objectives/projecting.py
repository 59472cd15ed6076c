"""What objectives share that compare images by their features: the encoder and a projector."""

import torch
from torch import Tensor, nn

from maskwise.encoders.contract import Encoder
from maskwise.encoders.norm import VectorBatchNorm
from maskwise.pretrain.contracts import Objective


class Projecting(Objective):
    """The encoder, its last features averaged over the image, and a projector."""

    def __init__(self, encoder: Encoder, projector: nn.Sequential) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, projector

    def projections(self, images: Tensor) -> Tensor:
        """Return what is compared of images ``(B, C, H, W)``: ``(B, D)``, of any length."""
        return self.project(self.encoder.pooled(images))

    def project(self, pooled: Tensor) -> Tensor:
        projected: Tensor = self.projector(pooled)
        return projected.float()  # under autocast too: cosines meet small temperatures


def projector(
    width: int, hidden: int | None, out: int, *, norm: bool = False, bias: bool = True
) -> nn.Sequential:
    """Return a head from ``width`` to ``out`` numbers, with a hidden layer unless it is None.

    ``norm``: batch norm before the ReLU. ``bias``: of the last layer.
    """
    if hidden is None:
        return nn.Sequential(nn.Linear(width, out, bias=bias))
    first: list[nn.Module] = [nn.Linear(width, hidden)]
    if norm:
        first.append(VectorBatchNorm(hidden))
    return nn.Sequential(*first, nn.ReLU(), nn.Linear(hidden, out, bias=bias))


def in_full(vectors: Tensor) -> torch.autocast:
    """Return a context in which products of ``vectors`` keep their float32 under autocast."""
    return torch.autocast(vectors.device.type, enabled=False)
