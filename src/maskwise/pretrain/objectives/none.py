"""No training: the encoder as it begins, at random or with weights from elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Batch, Objective, Outcome, Setting


@dataclass(frozen=True)
class NoneConfig:
    """Frozen, its probe is the yardstick "a random encoder"; fine-tuned, "no pre-training"."""

    needs_mask: ClassVar[bool] = False
    errors_by_cell: ClassVar[bool] = False
    needs_training: ClassVar[bool] = False
    draws_pixels: ClassVar[bool] = False
    MOVED: ClassVar[Mapping[str, str]] = {
        "weights": "stands in the block `encoder` now, for every objective: encoder: {name: …, "
        "weights: …}; take it away here"
    }

    def build(self, setting: Setting, encoder: Encoder) -> "NoObjective":
        return NoObjective(encoder)


class NoObjective(Objective):
    """Holds the encoder; there is nothing to do with images."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        raise UserError("objective none has no loss; give the recipe an objective that has one")
