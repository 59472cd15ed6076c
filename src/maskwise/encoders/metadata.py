"""What an encoder's file says about it. Needs nothing but NumPy."""

from dataclasses import dataclass
from typing import Any

from maskwise.bounds import Seed
from maskwise.preparation import Preparation
from maskwise.weights_origin import WeightsOrigin


@dataclass(frozen=True)
class EncoderMetadata:
    """What a user of the encoder must know."""

    architecture: str
    """Name in ``maskwise.encoders.ENCODERS``."""
    arguments: dict[str, Any]
    """The architecture's options."""
    preparation: Preparation
    """Size, channels and normalisation of the images that it sees. Mean and std are those that
    its first weights expect, or else those of its training images."""
    source: str
    recipe: str
    seed: Seed
    data_hash: str
    version: str
    """Of the package that wrote the file."""
    weights: WeightsOrigin | None = None
    """What it began with; None = random weights."""
    transductive: bool = False
    """Whether it, or what it began with, saw test images, without labels."""
    told_lesions: bool = False
    """Whether it was a ceiling: what its views hid was chosen by the lesions' outlines."""
