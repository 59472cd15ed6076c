"""Where in a patient a slice lies, and whose it is, as far as its file says."""

import math
from dataclasses import dataclass, field

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Place:
    """Distances are in millimetres, NaN = unknown."""

    spacing_y: float = math.nan
    """Between rows of pixels."""
    spacing_x: float = math.nan
    spacing_z: float = math.nan
    """Between the slices of a volume that lies in one file."""
    number: int | None = None
    """Of the slice in such a volume, from 0."""
    count: int = 0
    """Slices of such a volume."""
    normal: Vector | None = None
    """Of a slice that lies in a file of its own: across it, in the patient's coordinates."""
    origin: Vector | None = None
    """Of such a slice: where its first pixel lies."""
    position: float = math.nan
    """Of such a slice, along ``normal``."""
    rescaled: bool = False
    """Whether the file says what its numbers stand for: a slope and an intercept."""
    patient: str | None = field(default=None, repr=False)
    """The header's own id: hashed before it leaves the process that read it."""
    issued: str | None = field(default=None, repr=False)
    """Likewise, the id with its issuer; None = the header names no issuer."""
    series: str | None = field(default=None, repr=False)
    """Likewise."""
