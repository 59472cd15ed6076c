"""``.npz`` files that hold the arrays of one record, by the names of its fields."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from maskwise.artefacts.atomic import replacing
from maskwise.errors import UserError

Record = TypeVar("Record")


def write_arrays(record: Any, path: Path) -> None:
    """Write the arrays of a dataclass, compressed."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **{f.name: getattr(record, f.name) for f in fields(record)})


def read_arrays(kind: Callable[..., Record], path: Path, stage: str) -> Record:
    """Read what ``write_arrays`` wrote of a ``kind``; never unpickles.

    Raises:
        UserError: if there is no such file, it is damaged, or another version of the project
            wrote it; ``stage`` makes it anew.
    """
    names = [f.name for f in fields(cast(Any, kind))]
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in names if name in arrays}
    except MemoryError:  # says nothing of the file
        raise
    except Exception as error:
        # Damaged archives raise anything: BadZipFile, zlib.error, KeyError, …
        raise UserError(f"{path}: cannot be read ({error}); run {stage} again") from None
    if missing := set(names) - set(found):
        raise UserError(
            f"{path}: has no {' and no '.join(sorted(missing))}, because another version wrote "
            f"it; run {stage} again"
        )
    return kind(**found)
