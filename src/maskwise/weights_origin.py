"""Where weights came from: what encoder and model files, and the page, say of it."""

from dataclasses import dataclass

PACKAGE = "package"
"""What a recipe writes for the weights that an installed package brings."""


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
    package: bool = False
    """Whether an installed package brought them; else ``name`` is a path, which may name a
    person or a machine."""
