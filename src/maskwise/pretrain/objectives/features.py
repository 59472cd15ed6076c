"""Predict, at hidden cells, what a teacher makes of the whole image: masked feature prediction.

The teacher is a frozen copy of the weights that the encoder begins with, or a slow copy of the
encoder. Related: MaskFeat (Wei et al. 2022), data2vec (Baevski et al. 2022), iBOT (Zhou et al.
2022); the settings are our own: ``docs/methods/features.md``.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from maskwise.bounds import Decay, Width, Within
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, Objective, Outcome, Setting
from maskwise.pretrain.objectives.masked_views import hidden_at_mean
from maskwise.pretrain.objectives.momentum import follow, slow_copy, warn_of_lag


@dataclass(frozen=True)
class FeaturesConfig:
    """Smooth absolute error of features, normalised over their channels."""

    needs_mask: ClassVar[bool] = True
    errors_by_cell: ClassVar[bool] = True
    needs_training: ClassVar[bool] = True
    draws_pixels: ClassVar[bool] = False

    teacher: Literal["frozen", "slow"] = "frozen"
    """``frozen``: the encoder as it began; ``slow``: the running mean of what it becomes."""
    momentum: Decay = 0.99
    """What a ``slow`` teacher keeps of itself in a step."""
    stage: Annotated[int, Within(-64, 63)] = -1
    """Whose features are predicted: 0 = the finest, -1 = the last."""
    loss_region: Literal["hidden", "all"] = "hidden"
    """``all``: places whose cells are visible are in the loss too."""
    hidden: Width = 256
    """Channels between the two convolutions that predict."""

    @property
    def predicted_stage(self) -> int:
        """Return the stage whose places are predicted."""
        return self.stage

    def build(self, setting: Setting, encoder: Encoder) -> "Features":
        if self.teacher == "slow":
            warn_of_lag("features", self.momentum, setting.steps)
        return Features(self, setting, encoder)

    def check(self, setting: Setting, encoder: Encoder) -> None:
        """Raise ``UserError`` unless cells lie on places of the predicted features."""
        stages, grid = len(encoder.channels), setting.grid
        if not -stages <= self.stage < stages:
            raise UserError(
                f"objective.stage: {self.stage}, but the encoder has the stages 0 (the finest) "
                f"to {stages - 1}; -1 is the last"
            )
        stride = encoder.strides[self.stage]
        places = (-(-setting.height // stride), -(-setting.width // stride))
        if any(max(pair) % min(pair) for pair in zip(places, grid, strict=True)):
            raise UserError(
                f"objective.stage: {self.stage} has {places[0]} x {places[1]} places, and the "
                f"grid {grid[0]} x {grid[1]} cells, of which neither divides the other; choose "
                "another stage, or another grid in the source's block `pretrain`"
            )


class Features(Objective):
    """The student is the encoder, which sees an image with its hidden cells at its mean."""

    def __init__(self, config: FeaturesConfig, setting: Setting, encoder: Encoder) -> None:
        super().__init__()
        config.check(setting, encoder)
        self.config = config
        self.encoder, self.teacher = encoder, slow_copy(encoder)
        width = encoder.channels[config.stage]
        self.predictor = nn.Sequential(
            nn.Conv2d(width, config.hidden, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(config.hidden, width, 1),
        )

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all but the teacher, which only looks."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        images, stage, grid = batch.images, self.config.stage, (mask.shape[1], mask.shape[2])
        with torch.no_grad():
            target = normalised(self.teacher(images)[stage].float())
        seen = self.encoder(hidden_at_mean(images, mask))[stage]
        errors = _error(self.predictor(seen).float(), target)
        # A place of several cells counts as far as they are hidden.
        hidden = _on(mask.float(), (errors.shape[1], errors.shape[2]))
        weights = hidden if self.config.loss_region == "hidden" else torch.ones_like(hidden)
        usual = self.ranks.mean(target.mean((0, 2, 3), keepdim=True))
        trivial = _error(usual.expand_as(target), target)
        total = self.ranks.at_least(weights.sum(), 1e-6)
        return Outcome(
            loss=(errors * weights).sum() / total,
            error_map=torch.where(mask, _on(errors.detach(), grid), torch.nan),
            figures={"constant_loss": (trivial * weights).sum() / total, **self._slow},
        )

    @property
    def _slow(self) -> dict[str, Tensor]:
        slow = self.config.teacher == "slow"
        return {"target_momentum": torch.tensor(self.config.momentum)} if slow else {}

    def stepped(self, progress: float) -> None:
        """Move a slow teacher; what its batch norms know is the student's."""
        if self.config.teacher != "slow":
            return
        follow(self.teacher, self.encoder, self.config.momentum)
        for slow, fast in zip(self.teacher.buffers(), self.encoder.buffers(), strict=True):
            slow.copy_(fast)


def normalised(features: Tensor) -> Tensor:
    """Take off each place's mean over channels, and divide ``(B, C, h, w)`` by its deviation.

    So a place says which channels stand out, not how loud it is.
    """
    return nn.functional.layer_norm(features.movedim(1, 3), features.shape[1:2]).movedim(3, 1)


def _error(predicted: Tensor, target: Tensor) -> Tensor:
    """Return each place's error ``(B, h, w)``, the mean over its channels."""
    return nn.functional.smooth_l1_loss(predicted, target, reduction="none").mean(1)


def _on(values: Tensor, grid: Grid) -> Tensor:
    """Bring ``(B, h, w)`` to another grid, which divides it or which it divides.

    The mean of what falls together, and the same value where a place is cut.
    """
    return nn.functional.adaptive_avg_pool2d(values[:, None], grid)[:, 0]
