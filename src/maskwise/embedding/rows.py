"""The rows of embeddings: what is known of each scan that a folder or a table names."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from maskwise.artefacts.embeddings import COLUMNS, ENCODER, VECTOR
from maskwise.artefacts.labels import named_column
from maskwise.embedding.config import EmbedConfig

FOLDER = "folder"
"""Column of scans that no table names: in which folder each lies."""
_TAKEN = {*COLUMNS, ENCODER, VECTOR}


def rows_of(
    keys: Sequence[tuple[str, int]],
    given: pd.DataFrame | None,
    config: EmbedConfig,
) -> pd.DataFrame:
    """Return ``COLUMNS`` and whatever else is known of scans.

    Args:
        keys: path and frame of each.
        given: the user's own table, if there is one: row i is scan i.
        config: which of its columns names patients, and which paths.
    """
    table = pd.DataFrame(keys, columns=["path", "frame"])
    table.insert(0, "id", _ids(keys))
    table["patient"] = _patients(given, len(keys), config)
    # Of an unknown patient each scan stands for itself.
    table["group"] = table["patient"].where(table["patient"].notna(), table["id"])
    table["split"] = pd.Series([None] * len(table), dtype=object)
    if given is None:
        folders = [str(PurePosixPath(path).parent) for path, _ in keys]
        return table.assign(**{FOLDER: folders})
    own = given.drop(columns=["path", "frame", "patient", config.column], errors="ignore")
    own = own.rename(columns={name: f"own_{name}" for name in own.columns if name in _TAKEN})
    return pd.concat([table, own.replace("", None)], axis=1)


def _ids(keys: Sequence[tuple[str, int]]) -> list[str]:
    """Return a name per row: its path, and what tells it apart from others of that path."""
    times, seen, names = Counter(path for path, _ in keys), Counter[str](), []
    for path, frame in keys:
        name = f"{path}#{frame}" if times[path] > 1 else path
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def _patients(given: pd.DataFrame | None, scans: int, config: EmbedConfig) -> "pd.Series[Any]":
    known = pd.DataFrame() if given is None else given
    if config.patient is not None:
        column = named_column(known, config.patient, "embed.patient")
    elif "patient" in known.columns:
        column = "patient"
    else:
        return pd.Series([None] * scans, dtype=object)
    cells = known[column].astype(object)
    return cells.where(cells != "", None)
