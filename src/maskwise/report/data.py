"""What ``data_summary.json`` says, in the page's terms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Audit:
    """How well facts about the files predict the label."""

    value: float
    """AUROC."""
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class DataFacts:
    """Counts and defects of the raw images."""

    images: int
    duplicate_images: int
    duplicate_groups: int
    label_contradictions: Sequence[str]
    """A sentence a group, naming its files."""
    mask_contradictions: Sequence[str]
    leak: str
    """What an official split shares between its parts; empty where nothing."""
    file_facts: Audit | None


def read_data(summary: Mapping[str, Any]) -> DataFacts:
    """Read the summary."""
    duplicates = summary["duplicates"]
    audit = summary["file_facts"]
    return DataFacts(
        images=int(summary["images"]),
        duplicate_images=int(duplicates["images"]),
        duplicate_groups=int(duplicates["groups"]),
        label_contradictions=[],
        mask_contradictions=[],
        leak="",
        file_facts=Audit(audit["auroc"], audit["low"], audit["high"], audit["images"])
        if audit
        else None,
    )
