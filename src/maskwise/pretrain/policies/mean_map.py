"""Hide what a learned policy thinks of a place on average: position alone, no image.

The policy within chooses and learns first; then the mean of its maps hides the same cells of
every image with the same chance. What the policy gains over this control it saw in the image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Generator, Tensor

from maskwise.bounds import PartShare
from maskwise.config import Choice, choose
from maskwise.errors import UserError
from maskwise.masks import Grid, boxes, highest
from maskwise.pretrain.contracts import (
    Batch,
    ComparesCells,
    HidesUnequally,
    Outcome,
    PlaceMap,
    Policy,
    PolicyConfig,
    Proposal,
    Setting,
)
from maskwise.pretrain.policies.cells import uniform

DECAY = 0.95
"""Of the mean map, per step of the policy within: it is that of its last few dozen steps."""


@dataclass(frozen=True)
class MeanMapConfig:
    """Which policy, and for how long it is one."""

    policy: Annotated[Mapping[str, Any], Choice(lambda: _others())]
    """Block of a policy that has an opinion of each place, as ``dqn`` and ``a3c`` do."""
    learns: PartShare = 0.5
    """Share of the policy's steps in which it chooses and learns; then its mean map hides."""

    def within(self) -> PolicyConfig:
        """Parse the block of the policy within."""
        return choose(_others(), self.policy, "policy")

    def comparing(self) -> str | None:
        """What the policy within compares."""
        within = self.within()
        said = within.comparing() if isinstance(within, ComparesCells) else None
        return None if said is None else f"policy.{said}"

    def unequal(self) -> str | None:
        """What lets the policy within."""
        within = self.within()
        said = within.unequal() if isinstance(within, HidesUnequally) else None
        return None if said is None else f"policy.{said}"

    def build(self, setting: Setting) -> "MeanMap":
        within = self.within().build(setting)
        if getattr(within, "workers", 0):
            raise UserError(
                "policy.policy.learner: asynchronous, but mean_map teaches its policy in one "
                "process; use synchronous"
            )
        blank = torch.zeros(1, setting.channels, setting.height, setting.width)
        shown = within.maps(blank, setting.grid)
        if shown is None:
            raise UserError(
                f"policy.policy.name: {self.policy['name']!r} has no opinion on places, and so "
                "no mean map; name a policy that learns, such as dqn or a3c"
            )
        return MeanMap(self.learns, within, shown)


def _others() -> Mapping[str, type[PolicyConfig]]:
    from maskwise.pretrain.policies import POLICIES  # which holds this class

    return {name: config for name, config in POLICIES.items() if config is not MeanMapConfig}


@dataclass(frozen=True)
class MeanMapProposal(Proposal):
    """The mask, and what the policy within must remember of it."""

    within: Proposal
    images: Tensor


class MeanMap:
    """The policy within, and the running mean of its maps."""

    learns = True

    def __init__(self, share: float, within: Policy[Any], shown: PlaceMap) -> None:
        self.share, self.within = share, within
        self.box, self.stride = shown.box, shown.stride
        self.mean = torch.zeros_like(shown.values[0])
        self.weight = 0.0
        self.hidden = torch.ones((), dtype=torch.float64)
        """Cells that the policy hid in its last step, a mean over images."""
        self.number: int | None = None
        """Cells that the mean map hides, once it does."""

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> Proposal:
        if self.number is None and batch.progress >= self.share and self.weight:
            self.number = max(1, round(float(self.hidden)))
        if self.number is not None:
            return Proposal(self.choose_masks(batch.images, grid, generator))
        early = replace(batch, progress=min(1.0, batch.progress / self.share))
        proposal = self.within.propose(early, grid, generator)
        return MeanMapProposal(proposal.mask, proposal, batch.images)

    def learn(self, proposal: Proposal, outcome: Outcome) -> dict[str, Tensor]:
        if not isinstance(proposal, MeanMapProposal):
            return {}
        figures = self.within.learn(proposal.within, outcome)
        grid = (proposal.mask.shape[1], proposal.mask.shape[2])
        with torch.no_grad():
            shown = self.within.maps(proposal.images, grid)
        if shown is not None:
            self.mean = DECAY * self.mean + (1 - DECAY) * shown.values.mean(0)
            self.weight = DECAY * self.weight + 1 - DECAY
        self.hidden = proposal.mask.double().sum((1, 2)).mean()
        return figures

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap | None:
        if self.number is None:
            return self.within.maps(images, grid)
        values = (self.mean / self.weight).expand(len(images), -1, -1)
        return PlaceMap(values, self.box, self.stride)

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        """Return what the policy within would hide, or once it is fixed the mean map.

        Of cells as many as the policy hid last, drawn without replacement with the mean map as
        logits; of boxes the one with the highest mean.
        """
        if self.number is None:
            return self.within.choose_masks(images, grid, generator)
        mean = self.mean / self.weight
        if self.box != (1, 1):
            place = mean.flatten().argmax().expand(len(images))
            row, column = place // mean.shape[1], place % mean.shape[1]
            return boxes(row * self.stride, column * self.stride, self.box, grid)
        gumbel = -torch.log(-torch.log(uniform(images, grid, generator)))
        return highest(mean.flatten() + gumbel, self.number, grid)

    def state_dict(self) -> dict[str, Any]:
        own = {"weight": self.weight, "hidden": self.hidden, "number": self.number}
        return {"within": self.within.state_dict(), "mean": self.mean, **own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.within.load_state_dict(state["within"])
        self.mean = state["mean"].to(self.mean.device)
        self.hidden = state["hidden"].to(self.mean.device)
        self.weight, self.number = float(state["weight"]), state["number"]

    def to(self, device: torch.device | str) -> "MeanMap":
        """Move the policy within and the mean."""
        self.within.to(device)
        self.mean = self.mean.to(device)
        return self
