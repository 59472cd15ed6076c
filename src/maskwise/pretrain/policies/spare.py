"""Hide cells at random, but never those that something else would rather hide.

For objectives that compare views: there a hole that takes away what tells an image from others
costs features, and one that spares it does not (``docs/methods/spare.md``). What is spared says
the map of an agent that another recipe trained, or the cells' variance.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv_transpose2d, pad

from maskwise.bounds import PartShare, WordOr
from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import PlaceMap, Setting
from maskwise.pretrain.diagnostics.lift import local_variance
from maskwise.pretrain.policies.cells import hidden_cells, ranked, uniform
from maskwise.pretrain.policies.learnt import LearntMap
from maskwise.pretrain.policies.unlearnt import Unlearnt


@dataclass(frozen=True)
class AgentMap:
    """The map of an agent that is trained already."""

    recipe: str
    """Of the same source and seed, whose policy is ``dqn`` or ``a3c``; it is trained first."""


@dataclass(frozen=True)
class SpareConfig:
    """Half of the cells by default, none of them in the half that varies most."""

    ratio: PartShare = 0.5
    """Share of the cells that is hidden, to the nearest cell."""
    spared: PartShare = 0.5
    """Share of the cells, the highest by the map, that is hidden only when no other is left."""
    map: Annotated[Literal["variance"] | AgentMap, WordOr("variance", "{recipe: NAME}")] = (
        "variance"
    )
    """``variance`` of a cell's pixels, or ``{recipe: NAME}``, what that recipe's agent would
    hide."""
    shuffled: bool = False
    """A control, no method: every image gets the map of another one."""

    def build(self, setting: Setting) -> "Spare":
        """Build the policy, with the agent that ``setting.learnt`` is where ``map`` names one.

        Raises:
            ValueError: if ``map`` names a recipe and the setting has no agent.
            UserError: if that recipe's policy has no map.
        """
        number = hidden_cells(self.ratio, setting.grid)
        spared = hidden_cells(self.spared, setting.grid)
        if not isinstance(self.map, AgentMap):
            return Spare(number, spared, None, self.shuffled)
        if setting.learnt is None:
            raise ValueError(f"learnt is None, but map names the recipe {self.map.recipe}")
        agent = LearntMap(setting.learnt, setting, "policy.map.recipe")
        return Spare(number, spared, agent, self.shuffled)


class Spare(Unlearnt):
    """Exactly ``number`` cells at random among all but the ``spared`` highest of a map."""

    def __init__(
        self, number: int, spared: int, agent: LearntMap | None, shuffled: bool
    ) -> None:
        super().__init__()
        self.number, self.spared = number, spared
        self.agent, self.shuffled = agent, shuffled

    def worth(self, images: Tensor, grid: Grid) -> Tensor:
        """Return the map ``(B, gh, gw)`` float32 that is spared where it is highest."""
        if self.agent is None:
            worth = local_variance(images, grid, (1, 1)).float()
        else:
            worth = by_cell(self.agent.maps(images, grid), grid)
        # A batch is drawn at random, so the next image is any other.
        return worth.roll(1, 0) if self.shuffled else worth

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap:
        """Return the map with its sign turned: larger is rather hidden."""
        return PlaceMap(-self.worth(images, grid), (1, 1))

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        lots, ties = (uniform(images, grid, generator) for _ in range(2))
        ranks = ranked(self.worth(images, grid).flatten(1), ties)
        spared = ranks >= ranks.shape[1] - self.spared
        # Where the others do not suffice, the lowest of the spared come next.
        return highest(torch.where(spared, -1 - ranks, lots), self.number, grid)

    def to(self, *args: object, **kwargs: object) -> "Spare":
        """Move the agent, too, which is no module."""
        super().to(*args, **kwargs)  # type: ignore[call-overload]
        if self.agent is not None:
            self.agent.to(*args, **kwargs)  # type: ignore[arg-type]
        return self


def by_cell(shown: PlaceMap, grid: Grid) -> Tensor:
    """Return each cell's mean over the places whose box covers it, ``(B, gh, gw)`` float32.

    A cell that no place covers, as at the border of a large stride, has its image's mean.
    """
    values = shown.values.float()
    if shown.box == (1, 1) and shown.stride == 1:
        return values
    box = values.new_ones(1, 1, *shown.box)
    both = torch.stack([values, torch.ones_like(values)])  # (2, B, ph, pw)
    summed = conv_transpose2d(both.flatten(0, 1)[:, None], box, stride=shown.stride)
    missing = [side - have for side, have in zip(grid, summed.shape[2:], strict=True)]
    wide = pad(summed, (0, max(missing[1], 0), 0, max(missing[0], 0)))
    total, times = wide[:, 0, : grid[0], : grid[1]].unflatten(0, (2, -1))
    mean = values.mean((1, 2), keepdim=True)
    return torch.where(times > 0, total / times.clamp(min=1), mean)
