"""The task ``lesion``: every pixel's class, as somebody outlined it."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from maskwise.finetune.contracts import Mode


@dataclass(frozen=True)
class LesionConfig:
    """Learns from all images that somebody outlined, those without a lesion included.

    Classes are those of the store: one, or those that its header names.
    """

    trained: ClassVar[tuple[Mode, ...]] = ("probe", "full")
    needs_label: ClassVar[bool] = False

    decoder: Literal["fresh", "pretrained"] = "fresh"
    """``pretrained``: the decoder that the encoder was pre-trained with, all but its last
    layer, where the recipe kept it (``keep_decoder``); new weights where it did not."""
