"""Hide the patches that a transformer attends to (AttMask, Kakogeorgiou et al., ECCV 2022).

A slow copy of the encoder sees the whole image; what its last block's class token attends to is
hidden, or spared. Departures by number in ``docs/methods/attention.md``.
"""

import copy
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from maskwise.bounds import PartShare
from maskwise.encoders.tokens import TokenEncoder
from maskwise.errors import UserError
from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import Batch, Outcome, PlaceMap, Proposal, Setting
from maskwise.pretrain.policies.cells import hidden_cells, ranked, uniform
from maskwise.pretrain.policies.momentum import Momentum, follow


@dataclass(frozen=True)
class AttentionConfig:
    """The most attended half of the cells by default."""

    ratio: PartShare = 0.5
    """Share of the cells that is hidden, to the nearest cell."""
    variant: Literal["high", "hint", "low"] = "high"
    """``high`` hides the most attended cells, ``hint`` leaves some of these to be seen, ``low``
    hides the least attended."""
    shown: PartShare = 0.1
    """Of ``hint``: share of all cells, the most attended ones, of which the share ``ratio`` is
    left to be seen, drawn at random."""
    teacher: Momentum = field(default_factory=Momentum)

    def build(self, setting: Setting) -> "Attention":
        """Build the policy round a copy of the encoder of ``setting.objective``.

        Raises:
            UserError: if that is no transformer.
            ValueError: if the setting has no objective.
        """
        if setting.objective is None:
            raise ValueError("objective is None, but the teacher is a copy of its encoder")
        encoder = setting.objective.encoder
        if not isinstance(encoder, TokenEncoder):
            raise UserError(
                "policy.name: attention asks what a transformer's last block attends to, but "
                "the encoder has no attention; take encoder vit, or policy hardest, which asks "
                "a copy of any network what is hard"
            )
        return Attention(self, setting, encoder, hidden_cells(self.ratio, setting.grid))


@dataclass(frozen=True)
class AttentionProposal(Proposal):
    """The mask, and what it was chosen for."""

    batch: Batch


class Attention:
    """Asks a slow copy of the encoder, which is in eval mode and is never taught."""

    learns = True

    def __init__(
        self, config: AttentionConfig, setting: Setting, student: TokenEncoder, number: int
    ) -> None:
        self.config, self.number = config, number
        self.steps_per_epoch = setting.steps_per_epoch
        self.student = student
        self.teacher = copy.deepcopy(student).eval().requires_grad_(False)
        self.chunk = max(1, setting.batch_size)
        self.progress: float | None = None

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> AttentionProposal:
        return AttentionProposal(self.choose_masks(batch.images, grid, generator), batch)

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        attended = self._attended(images, grid)
        lots, ties = (uniform(images, grid, generator) for _ in range(2))
        ranks = ranked(-attended if self.config.variant == "low" else attended, ties)
        if self.config.variant == "hint":
            ranks = self._hinted(ranks, lots)
        return highest(ranks, self.number, grid)

    def _hinted(self, ranks: Tensor, lots: Tensor) -> Tensor:
        """Put some of the most attended cells, by lot, below all others.

        As many cells are hidden all the same: the next most attended ones instead.
        """
        cells = ranks.shape[1]
        most = max(1, int(self.config.shown * cells))
        seen = min(max(1, round(self.config.ratio * most)), cells - self.number)
        among = torch.where(ranks >= cells - most, lots, -1.0)
        order = among.argsort(dim=1, descending=True)
        return ranks.scatter(1, order[:, :seen], -1.0)

    def learn(self, proposal: AttentionProposal, outcome: Outcome) -> dict[str, Tensor]:
        """Move the teacher towards the encoder."""
        progress = proposal.batch.progress
        decay = self.config.teacher.decay(self.progress, progress, self.steps_per_epoch)
        follow(self.teacher, self.student, decay)
        self.progress = progress
        return {}

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap:
        """Return how much each cell is attended to, with its sign turned for ``low``."""
        attended = self._attended(images, grid).reshape(-1, *grid)
        return PlaceMap(-attended if self.config.variant == "low" else attended, (1, 1))

    def _attended(self, images: Tensor, grid: Grid) -> Tensor:
        """Return the mean attention of each cell's patches, ``(B, gh * gw)`` float32."""
        places = self.teacher.grid_of(images.shape[2], images.shape[3])
        with torch.no_grad():
            weights = torch.cat(
                [self.teacher.attended(each) for each in images.split(self.chunk)]
            )
        # Cells may be finer than patches, too: then each has its patch's.
        seen = weights.float().reshape(-1, 1, *places)
        return nn.functional.adaptive_avg_pool2d(seen, grid).flatten(1)

    def state_dict(self) -> dict[str, Any]:
        return {"teacher": self.teacher.state_dict(), "progress": self.progress}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.teacher.load_state_dict(state["teacher"])
        self.progress = state["progress"]

    def to(self, device: torch.device | str) -> "Attention":
        """Move the teacher; the network that is trained moves by itself."""
        self.teacher.to(device)
        return self
