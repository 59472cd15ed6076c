"""The task ``lesion``: every pixel's class, as somebody outlined it."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from maskwise.artefacts.model import SegmenterMetadata
from maskwise.bounds import Share, Steps, Within
from maskwise.encoders.unet import DecoderConfig
from maskwise.finetune.contracts import Mode
from maskwise.finetune.lesion.augmentation import OutlineAugmentation


@dataclass(frozen=True)
class LesionConfig:
    """Learns from all images that somebody outlined, those without a lesion included.

    Classes are those of the store: one, or those that its header names.
    """

    scored_as: ClassVar[str] = "lesion"
    model: ClassVar[str] = SegmenterMetadata.block
    modes: ClassVar[tuple[Mode, ...]] = ("probe", "full")
    trained: ClassVar[tuple[Mode, ...]] = ("probe", "full")
    needs_label: ClassVar[bool] = False

    decoder: Literal["fresh", "pretrained"] = "fresh"
    """``pretrained``: the decoder that the encoder was pre-trained with, all but its last
    layer, where the recipe kept it (``keep_decoder``); new weights where it did not."""
    network: DecoderConfig = field(default_factory=DecoderConfig)
    """How the decoder is built."""

    foreground: Share = 0.4
    """Share of each batch that is drawn from images which show something, each class in turn;
    the rest is drawn from all."""
    every: Steps = 25
    """Steps between two looks at the validation images; the weights of the best are kept."""
    patience: Annotated[int, Within(0, 100_000)] = 12
    """Looks in a row without a better one after which a network stops; 0 = never, so that it
    makes all ``steps``."""
    augmentation: OutlineAugmentation = field(default_factory=OutlineAugmentation)

    def __post_init__(self) -> None:
        if self.decoder == "pretrained" and self.network.layout != "lean":
            raise ValueError(
                "decoder: pretrained needs network: {layout: lean}, for that is the decoder "
                "which recipes are pre-trained with"
            )
