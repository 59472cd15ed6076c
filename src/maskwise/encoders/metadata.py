"""What an encoder's file says about it. Needs nothing but NumPy."""

from dataclasses import dataclass
from typing import Any

from maskwise.bounds import Seed
from maskwise.preparation import Preparation


@dataclass(frozen=True)
class WeightsOrigin:
    """Where an encoder's first weights came from, if it did not begin at random."""

    name: str
    """The package and its version, or the file as the recipe names it."""
    origin: str
    """Who trained on what, as far as it is known."""
    licence: str
    """By its name in the list of SPDX; empty = not known."""
    sha256: str
    """Of the file."""


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
