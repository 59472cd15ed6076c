"""The page of embed: a map of scans as an encoder sees them, and how well neighbours tell."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.embeddings import EmbeddingsHeader
from maskwise.report.elements import Items, Paragraph, Section, Table
from maskwise.report.figures.embedding import draw_map
from maskwise.report.html import render_html
from maskwise.report.pictures import Picture, as_png, as_svg
from maskwise.wording import count

MOST_IN_SVG = 3_000
"""Points; beyond it a picture of pixels is smaller."""


@dataclass(frozen=True)
class Shown:
    """The map and its colours."""

    places: NDArray[np.float64]
    """``(N, 2)``."""
    method: str
    explained: tuple[float, float] | None
    """Shares of the variance along each axis, of principal components."""
    column: str | None
    values: "pd.Series[object] | None"
    """``(N,)``, of ``column``."""


@dataclass(frozen=True)
class Facts:
    """What the page says beside the map."""

    name: str
    """Of the folder, table or source; "" where it must not be printed."""
    header: EmbeddingsHeader
    patients: int | None
    """None = not known."""
    score: Sequence[str] | None
    """Sentences about the k-NN score, the figures first; None = none was asked for."""
    refused: Sequence[tuple[str, str]]
    """What each scan without features is called, and why."""


def render(shown: Shown, facts: Facts) -> str:
    """Draw the page; the same embeddings give the same bytes."""
    scans = len(shown.places)
    whose = "" if facts.patients is None else f" of {count(facts.patients, 'patient')}"
    header = facts.header
    sentence = (
        f"{count(scans, 'scan')}{whose}, as the encoder {header.encoder} sees them: "
        f"{count(header.width, 'number')} each."
    )
    return render_html(
        "embedding.html.jinja",
        facts.name or "scans",
        False,
        title="embeddings",
        sentence=facts.score[0] if facts.score else sentence,
        picture=_picture(shown),
        beside=[Paragraph(sentence), Items(list(facts.score[1:]))] if facts.score else [],
        sections=list(_sections(facts)),
    )


def _picture(shown: Shown) -> Picture:
    figure = draw_map(shown.places, shown.column, shown.values, shown.explained)
    encode = as_svg if len(shown.places) <= MOST_IN_SVG else as_png
    colour = "" if shown.column is None else f", coloured by {shown.column}"
    axes = (
        "the two directions in which the features differ most"
        if shown.method == "pca"
        else "UMAP: near is alike; sizes of clusters and distances between them say little"
    )
    caption = f"Each point is a scan{colour}. Axes: {axes}."
    return encode(figure, f"Map of {len(shown.places)} scans{colour}", caption)


def _sections(facts: Facts) -> list[Section]:
    header = facts.header
    rows = [
        ["recipe", header.recipe],
        ["trained on", header.trained_on],
        ["seed", str(header.seed)],
        ["architecture", header.architecture],
        ["stage", "the last" if header.stage == -1 else str(header.stage)],
        ["pooling", header.pooling],
        ["numbers per scan", str(header.width)],
        ["fingerprint", header.short],
    ]
    told = Paragraph(
        "The fingerprint is a hash of the weights, of how images are prepared and of the "
        "pooling. It stands in embeddings.parquet, and rows of another encoder are refused "
        "beside these."
    )
    sections = [
        Section(
            "encoder",
            "The encoder",
            [Table("What made the features", ["what", "value"], rows), told],
        )
    ]
    if facts.refused:
        reasons = [[name, why] for name, why in facts.refused]
        table = Table("Scans without features", ["scan", "why"], reasons)
        sections.append(Section("refused", "Without features", [table]))
    return sections
