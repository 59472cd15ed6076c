"""Preparations of small images."""

from typing import Any

from maskwise.preparation import Preparation

RANGE = {"name": "range"}
STRETCH = {"name": "resize"}


def preparation(side: int = 16, channels: int = 1, **changes: Any) -> Preparation:
    """Return that of ultrasound, stretched to ``side`` x ``side`` pixels, changed as asked."""
    values: dict[str, Any] = {
        "channels": channels,
        "height": side,
        "width": side,
        "geometry": STRETCH,
        "intensity": RANGE,
        "mean": (0.0,) * channels,
        "std": (1.0,) * channels,
        "modality": "ultrasound",
    }
    return Preparation(**{**values, **changes})


def shaped(geometry: dict[str, Any], height: int, width: int) -> Preparation:
    """Return one of another geometry and size."""
    return preparation(geometry=geometry, height=height, width=width)
