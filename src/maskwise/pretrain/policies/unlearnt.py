"""What policies share that learn nothing: they propose what they would show."""

from abc import ABC, abstractmethod

from torch import Generator, Tensor, nn

from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, Outcome, PlaceMap, Proposal


class Unlearnt(nn.Module, ABC):
    """A policy that is its ``choose_masks``; by default it has no opinion of an image."""

    learns = False

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> Proposal:
        return Proposal(self.choose_masks(batch.images, grid, generator))

    def learn(self, proposal: Proposal, outcome: Outcome) -> dict[str, Tensor]:
        return {}

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap | None:
        return None

    @abstractmethod
    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        """Return bool ``(B, gh, gw)``, True = hidden."""
