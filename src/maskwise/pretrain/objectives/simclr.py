"""Tell two views of an image from the views of all other images (Chen et al. 2020).

The yardstick of masked pre-training. With a policy that hides cells, one of the two views is
made of the image with these cells hidden (``masked_views.py``), and an image's loss is its
cells' error: a policy can learn from it.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from maskwise.bounds import Within
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.objectives.masked_views import ComparesViews, image_errors, masked_pair
from maskwise.pretrain.objectives.projecting import Projecting, in_full, projector
from maskwise.pretrain.views import Views


@dataclass(frozen=True)
class SimclrConfig(ComparesViews):
    """Normalised temperature-scaled cross entropy over the 2B views of a batch."""

    temperature: Annotated[float, Within(0, 100, above=True)] = 0.2
    """Divides the cosines; .1 to .5 in the literature."""
    hidden: Annotated[int, Within(1, 16_384)] = 256
    """Width of the projector's hidden layer."""
    embedding: Annotated[int, Within(1, 16_384)] = 64
    """Width of what is compared."""

    def build(self, setting: Setting, encoder: Encoder) -> "Simclr":
        if setting.batch_size < 2:
            raise UserError(
                "objective.name: simclr tells an image from the others of its batch, but sees "
                f"{setting.batch_size} at a time; take a larger batch_size, or a smaller "
                "optimisation.accumulate"
            )
        return Simclr(self, setting, encoder)


class Simclr(Projecting):
    """The encoder, its last features averaged over the image, and a projector."""

    def __init__(self, config: SimclrConfig, setting: Setting, encoder: Encoder) -> None:
        width = encoder.channels[-1]
        super().__init__(encoder, projector(width, config.hidden, config.embedding))
        self.config = config
        self.views = Views(config.views, setting)

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        embeddings = self.projections(masked_pair(self.views, batch, mask))
        whole, group = self.ranks.gather_views(embeddings, 2), self.ranks.gather(batch.group)
        losses, unit = contrast(whole, group, self.config.temperature)
        per_image = losses.reshape(2, -1).mean(dim=0)
        own = self.ranks.own(per_image)
        return Outcome(
            loss=per_image.mean(),
            error_map=image_errors(own, mask, self.config.reward),
            figures=_figures(unit.detach()),
        )


def contrast(embeddings: Tensor, group: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the loss of each of 2B ``embeddings`` ``(2B, D)``, and the unit vectors.

    Rows i and i + B are views of one image; ``group`` ``(B,)`` says which images are not
    strangers to each other: these are not negatives.
    """
    unit = nn.functional.normalize(embeddings, dim=1)
    b, device = len(group), embeddings.device
    with in_full(unit):
        logits = unit @ unit.T / temperature
    rows = torch.arange(2 * b, device=device)
    partner = (rows + b) % (2 * b)
    same = (group[:, None] == group[None]).repeat(2, 2)
    same[rows, partner] = False
    logits = logits.masked_fill(same, -torch.inf)
    return nn.functional.cross_entropy(logits, partner, reduction="none"), unit


def _figures(unit: Tensor) -> dict[str, Tensor]:
    """Wang and Isola 2020: how near the two views are, and how evenly all views are spread."""
    first, second = unit.chunk(2)
    alignment = (first - second).square().sum(dim=1).mean()
    distances = 2 - 2 * first @ first.T
    pairs = torch.ones_like(distances).triu(1).bool()
    mean = torch.where(pairs, torch.exp(-2 * distances), 0.0).sum() / pairs.sum().clamp(min=1)
    return {"alignment": alignment, "uniformity": mean.log()}
