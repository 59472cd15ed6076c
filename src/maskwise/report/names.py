"""Names of files stay at home: a patient's name may be in one, and the page travels."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pandas as pd

from maskwise.report.inputs import PretrainingInputs

Inputs = TypeVar("Inputs", bound=PretrainingInputs)


def without_names(inputs: Inputs) -> Inputs:
    """Return the inputs with each image called by its ``image_id``, a reject by its row.

    ``manifest.parquet`` and ``rejects.csv`` tell which file is meant.
    """
    manifest, rejects = inputs.manifest, inputs.rejects
    ids = dict(zip(manifest["path"], manifest["image_id"], strict=True))
    frames = manifest["path"] + "#" + manifest["frame"].astype(str)
    ids |= dict(zip(frames, manifest["image_id"], strict=True))
    rows = [f"row {row} of rejects.csv" for row in range(1, len(rejects) + 1)]
    return replace(
        inputs,
        manifest=manifest.assign(path=manifest["image_id"]),
        # What is said of a file may name the file beside it.
        rejects=rejects.assign(path=pd.Series(rows, rejects.index, dtype="str"), detail=""),
        data_summary=_renamed(inputs.data_summary, ids),
    )


def _renamed(value: Any, ids: Mapping[str, str]) -> Any:
    """Replace each name of an image inside ``value``."""
    if isinstance(value, Mapping):
        return {key: _renamed(entry, ids) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(entry, ids) for entry in value]
    return ids.get(value, value) if isinstance(value, str) else value
