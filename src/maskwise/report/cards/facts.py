"""What cards are made from; of scans only counts, and no name of a patient, file or folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskwise.report.inputs import CardConfig, Run

KEPT_BACK = "(a file)"
"""What stands for a path, in which a person or a machine may be named."""
_NAMES_OF_FILES = (
    "file",
    "task",
    "table",
    "path",
    "patient",
    "masks",
    "weights",
    "checkpoints",
)
"""Options whose value is a path, a pattern of paths, or a column of names."""


@dataclass(frozen=True)
class ModelFiles:
    """What a replicate left, as far as a card speaks of it."""

    metadata: Mapping[str, Any]
    """Of the encoder's file, as a dictionary."""
    parameters: int
    """Of the encoder."""
    width: int
    """Features of an image."""
    hashes: Mapping[str, str]
    """Name of a file -> SHA-256."""
    models: Sequence[Mapping[str, Any]] = ()
    """The entries of ``index.json``; none where nothing was fine-tuned."""

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The model that was written as the best, if one was."""
        return next((one for one in self.models if one.get("file") == "best.safetensors"), None)


@dataclass(frozen=True, kw_only=True)
class CardInputs:
    """The artefacts of one source that its cards are made from."""

    source: str
    generated: bool
    manifest: pd.DataFrame
    splits: pd.DataFrame
    data_summary: Mapping[str, Any]
    files: Mapping[Run, ModelFiles]
    recipes: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Mapping[str, Any]]
    """The source's blocks by stage."""
    titles: Mapping[str, str]
    said: CardConfig
    """What only a person knows."""
    scores: Mapping[str, Any] | None = None
    """``scores.json``; None where nothing was fine-tuned."""

    @property
    def labels(self) -> list[str]:
        """Names of the label columns."""
        return [name for name in self.manifest if name.startswith("label_")]


def without_paths(value: Any, key: str = "") -> Any:
    """Return options as a card prints them: what names a file is kept back."""
    if isinstance(value, Mapping):
        return {name: without_paths(entry, str(name)) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(entry, key) for entry in value]
    if isinstance(value, str) and (key in _NAMES_OF_FILES or "/" in value or "\\" in value):
        return KEPT_BACK if value != "package" else value
    return value


def unsaid(said: CardConfig) -> list[str]:
    """Return what a person has still to say before anything is published."""
    words = {
        "license": "the licence",
        "creator": "who made the data",
        "url": "where they are published",
        "published": "when",
    }
    return [word for name, word in words.items() if getattr(said, name) is None]
