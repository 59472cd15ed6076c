"""The page of predictions: one file that needs no other."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from maskwise.artefacts.model import Metadata
from maskwise.predict.contracts import Card, Kind


@dataclass(frozen=True)
class Summary:
    """What the page says of the whole."""

    metadata: Metadata
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


def render(kind: Kind, summary: Summary, cards: list[Card]) -> str:
    """Return the page as HTML, in the words of the kind of model."""
    environment = Environment(
        loader=PackageLoader("maskwise.predict"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["chance"] = write_chance
    environment.filters["area"] = write_area
    table = summary.table
    refused = table[table["refused"] != ""]
    predicted = table[table["refused"] == ""]
    return environment.get_template(kind.template).render(
        summary=summary,
        metadata=summary.metadata,
        cards=cards,
        predicted=len(predicted),
        counts=kind.tally(predicted["prediction"]),
        refused=list(refused[["path", "refused"]].itertuples(index=False, name=None)),
    )


def write_chance(chance: float) -> str:
    """Write a probability without ever claiming certainty."""
    if chance < 0.01:
        return "< 1 %"
    return "> 99 %" if chance > 0.99 else f"{100 * chance:.0f} %"


def write_area(share: float) -> str:
    """Write a share of the scan: "0 %" where there is nothing, and only there."""
    if share == 0:
        return "0 %"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.1f} %"
