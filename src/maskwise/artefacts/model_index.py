"""``index.json`` beside a replicate's models: what each is, and what was chosen for it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from maskwise.description import from_json
from maskwise.errors import UserError, cut
from maskwise.weights_origin import WeightsOrigin

MODEL_INDEX = "index.json"


def write_model_index(
    folder: Path, keep: str, models: Sequence[dict[str, Any]], weights: WeightsOrigin | None
) -> None:
    """Write one entry per model, in the order of training, and what the encoder began with."""
    began = asdict(weights) if weights else None
    index = {"keep": keep, "models": list(models), "weights": began}
    text = json.dumps(index, indent=2, sort_keys=True, allow_nan=False)
    (folder / MODEL_INDEX).write_text(text + "\n", encoding="utf-8")


def read_model_index(folder: Path) -> list[dict[str, Any]]:
    """Return the entries, none where there is no file.

    Raises:
        UserError: if the file cannot be read.
    """
    path = folder / MODEL_INDEX
    if not path.exists():
        return []
    try:
        models: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["models"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from None
    return models


def read_weights_origin(folder: Path) -> WeightsOrigin | None:
    """Return what the encoder of a folder of models began with; None = random weights.

    Raises:
        UserError: if the folder does not say it, or not in this form.
    """
    path = folder / MODEL_INDEX
    try:
        block = json.loads(path.read_text(encoding="utf-8")).get("weights")
        return None if block is None else from_json(WeightsOrigin, block)
    except (OSError, ValueError, AttributeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: cannot be read ({cut(str(error), 400)}); run finetune again")
