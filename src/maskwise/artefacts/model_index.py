"""``index.json`` beside a replicate's models: what each is, and what was chosen for it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwise.errors import UserError, cut

MODEL_INDEX = "index.json"


def write_model_index(folder: Path, keep: str, models: Sequence[dict[str, Any]]) -> None:
    """Write one entry per model, in the order of training."""
    text = json.dumps(
        {"keep": keep, "models": list(models)}, indent=2, sort_keys=True, allow_nan=False
    )
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
        raise UserError(
            f"{path}: cannot be read ({cut(str(error), 400)}); run finetune again"
        ) from None
    return models
