"""Hide nothing: for objectives that need no mask."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, Outcome, PlaceMap, Proposal, Setting


@dataclass(frozen=True)
class NoneConfig:
    """Has no options."""

    def build(self, setting: Setting) -> "NoPolicy":
        return NoPolicy()


class NoPolicy(nn.Module):
    """Proposes empty masks."""

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> Proposal:
        return Proposal(self.choose_masks(batch.images, grid, generator))

    def learn(self, proposal: Proposal, outcome: Outcome) -> dict[str, Tensor]:
        return {}

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap | None:
        return None

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        return torch.zeros(len(images), *grid, dtype=torch.bool, device=images.device)
