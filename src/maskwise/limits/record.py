"""What a model's file says of its limits."""

from dataclasses import dataclass

from maskwise.limits.conformal import Calibration
from maskwise.limits.typical import Space


@dataclass(frozen=True)
class Limits:
    """Made by finetune, from the images that the model learnt from and those held out."""

    calibration: Calibration | None
    """None of a model that outlines."""
    space: Space
