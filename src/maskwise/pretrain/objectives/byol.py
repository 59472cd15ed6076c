"""Predict what a slow copy of the network makes of the other view (BYOL; Grill et al. 2020).

No image is told from another: equations 1 to 3 of the paper, with the loss of its code,
``docs/methods/byol.md``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from maskwise.bounds import Decay, Within
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.objectives.masked_views import ComparesViews, image_errors, masked_pair
from maskwise.pretrain.objectives.momentum import follow, slow_copy, warn_of_lag
from maskwise.pretrain.objectives.projecting import Projecting, projector
from maskwise.pretrain.views import Views


@dataclass(frozen=True)
class ByolConfig(ComparesViews):
    """Squared distance of unit vectors, both ways: 0 to 8, and 4 where they are strangers."""

    preset: Literal["wolf_release"] | None = None
    """``wolf_release``: what the CT comparison of Wolf et al. 2023 really ran."""
    hidden: Annotated[int, Within(1, 16_384)] = 1024
    """Width of the hidden layers of projector and predictor; published: 4096."""
    embedding: Annotated[int, Within(1, 16_384)] = 256
    """Width of what is predicted."""
    momentum: Decay = 0.99
    """What the target keeps of itself in a step, at first; at the end it keeps all."""
    momentum_schedule: Literal["cosine", "oscillating"] = "cosine"
    """``oscillating`` is a defect of the release: up to 1 and back every two epochs."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "wolf_release": {
            "hidden": 4096,
            "momentum": 0.996,
            "momentum_schedule": "oscillating",
            "views": {"least_area": 0.2, "rotation": 180.0, "gamma": 0.0, "noise": 0.01},
        }
    }

    def build(self, setting: Setting, encoder: Encoder) -> "Byol":
        if setting.batch_size < 2:
            raise UserError(
                "objective.name: byol's heads have batch norm, which needs 2 images or more at "
                f"a time, but they see {setting.batch_size}; take a larger batch_size, or a "
                "smaller optimisation.accumulate"
            )
        warn_of_lag("byol", self.momentum, setting.steps)
        return Byol(self, setting, encoder)


class Byol(Projecting):
    """The online encoder, projector and predictor, and slow copies of the first two."""

    def __init__(self, config: ByolConfig, setting: Setting, encoder: Encoder) -> None:
        hidden, out = config.hidden, config.embedding
        head = projector(encoder.channels[-1], hidden, out, norm=True, bias=False)
        super().__init__(encoder, head)
        self.config, self.epochs = config, setting.steps / setting.steps_per_epoch
        self.momentum = config.momentum
        self.predictor = projector(out, hidden, out, norm=True, bias=False)
        # The authors draw the target's weights anew, and say that it made no difference.
        self.target_encoder, self.target_projector = slow_copy(encoder), slow_copy(head)
        self.views = Views(config.views, setting)

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        # One view at a time: each has batch statistics of its own.
        views = masked_pair(self.views, batch, mask).chunk(2)
        predicted = [self.predictor(self.projections(view)).float() for view in views]
        with torch.no_grad():
            targets = [self._target(view) for view in views]
        losses = apart(predicted[0], targets[1]) + apart(predicted[1], targets[0])
        return Outcome(
            loss=losses.mean(),
            error_map=image_errors(losses, mask, self.config.reward),
            figures={"target_momentum": torch.tensor(self.momentum)},
        )

    def stepped(self, progress: float) -> None:
        """Move the target; how little depends on how far the run is."""
        self.momentum = self.kept(progress)
        follow(self.target_encoder, self.encoder, self.momentum)
        follow(self.target_projector, self.projector, self.momentum)

    def get_extra_state(self) -> Tensor:
        """Return the momentum of the last step, for the ``state_dict``."""
        return torch.tensor(self.momentum, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take ``get_extra_state`` back."""
        self.momentum = float(state)

    def kept(self, progress: float) -> float:
        """Return what the target keeps of itself when ``progress`` of the steps are made."""
        config = self.config
        if config.momentum_schedule == "oscillating":
            progress *= self.epochs
        return 1 - (1 - config.momentum) * (math.cos(math.pi * progress) + 1) / 2

    def _target(self, view: Tensor) -> Tensor:
        projected: Tensor = self.target_projector(self.target_encoder.pooled(view))
        return projected.float()


def apart(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the squared distances ``(B,)`` of unit vectors: 2 - 2 cos."""
    unit = nn.functional.normalize(predicted, dim=1)
    return 2 - 2 * (unit * nn.functional.normalize(target, dim=1)).sum(1)
