"""The page of predictions: one file that needs no other."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from maskwise.artefacts.model import Metadata
from maskwise.prediction.contracts import Card, ModelKind, Refused
from maskwise.prediction.limits import NO_LIMITS, Told


@dataclass(frozen=True)
class Summary:
    """What the page says about the whole."""

    metadata: Metadata
    model: str
    """Name of the model's file."""
    scans: str
    """Name of the folder or table."""
    table: pd.DataFrame
    refused: Mapping[int, Refused]
    """Row of the table -> why there is no prediction."""
    sort_by: str | None
    names: bool
    """Whether the page prints names of files and folders, in which a patient's may be."""
    told: Told


def called(table: pd.DataFrame, names: bool) -> pd.Series:
    """Return what the page calls each row of the table of predictions."""
    if names:
        frames = table["frame"].map(lambda frame: f", frame {frame}" if frame else "")
        return table["path"] + frames
    return pd.Series([row_name(row) for row in table.index], table.index, dtype="str")


def row_name(row: int) -> str:
    """Return where a scan stands in the table, whose rows count from 1 below the header."""
    return f"row {row + 1} of predictions.csv"


def _refusals(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yield name and reason of each row without a prediction."""
    for row, why in summary.refused.items():
        if summary.names:
            yield summary.table["path"].iloc[row], why.detail
        else:
            yield row_name(row), why.nameless


def render(kind: ModelKind, summary: Summary, cards: list[Card]) -> str:
    """Return the page as HTML, in the words of the kind of model."""
    environment = Environment(
        loader=PackageLoader("maskwise.prediction"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["chance"] = write_chance
    environment.filters["area"] = write_area
    table = summary.table
    predicted = table[table["refused"] == ""]
    return environment.get_template(kind.template).render(
        summary=summary,
        metadata=summary.metadata,
        cards=cards,
        predicted=len(predicted),
        counts=kind.tally(predicted["prediction"]),
        refused=list(_refusals(summary)),
        unlike=int(predicted["unlike"].sum()) if "unlike" in predicted else 0,
        no_limits=NO_LIMITS,
        occluded=any(card.places for card in cards),
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
