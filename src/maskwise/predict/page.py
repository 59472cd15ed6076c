"""The page of predictions: one file that needs no other."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from maskwise.artefacts.model import ModelMetadata


@dataclass(frozen=True)
class Card:
    """One scan on the page."""

    name: str
    prediction: str
    chances: tuple[tuple[str, float], ...]
    """Class and calibrated probability."""
    picture: str
    """Data URI of what the model saw."""


@dataclass(frozen=True)
class Summary:
    """What the page says of the whole."""

    metadata: ModelMetadata
    model: str
    """Name of the model's file."""
    scans: str
    """Name of the folder or table."""
    table: pd.DataFrame
    sort_by: str | None


def thumbnail(intensities: NDArray[np.float32]) -> str:
    """Encode ``(C, H, W)`` intensities in [0, 1] as the data URI of a grey PNG."""
    pixels = (intensities.mean(axis=0).clip(0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def render(summary: Summary, cards: list[Card]) -> str:
    """Return the page as HTML."""
    environment = Environment(
        loader=PackageLoader("maskwise.predict"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = _percent
    table = summary.table
    refused = table[table["refused"] != ""]
    predicted = table[table["refused"] == ""]
    counts = predicted["prediction"].value_counts()
    return environment.get_template("page.html.jinja").render(
        summary=summary,
        metadata=summary.metadata,
        cards=cards,
        predicted=len(predicted),
        counts=[(name, int(counts.get(name, 0))) for name in summary.metadata.classes],
        refused=list(refused[["path", "refused"]].itertuples(index=False, name=None)),
    )


def _percent(chance: float) -> str:
    """Write a probability without ever claiming certainty."""
    if chance < 0.01:
        return "< 1 %"
    return "> 99 %" if chance > 0.99 else f"{100 * chance:.0f} %"
