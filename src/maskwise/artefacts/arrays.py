"""``.npz`` files that hold the arrays of one record, by the names of its fields."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from maskwise.artefacts.atomic import replacing
from maskwise.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record", bound="DataclassInstance")


def write_arrays(record: "DataclassInstance", path: Path) -> None:
    """Write the arrays, compressed."""
    arrays: dict[str, Any] = {f.name: getattr(record, f.name) for f in fields(record)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def read_arrays(kind: type[Record], path: Path, stage: str) -> Record:
    """Read what ``write_arrays`` wrote of a ``kind``; never unpickles.

    Raises:
        UserError: if there is no such file, it is damaged, or another version of the project
            wrote it; ``stage`` makes it anew.
    """
    names = [f.name for f in fields(kind)]
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            missing = set(names) - set(arrays)
            found = {} if missing else {name: arrays[name] for name in names}
    except Exception as error:
        # Damaged archives raise what they like: BadZipFile, zlib.error, KeyError, …
        raise UserError(f"{path}: cannot be read ({error}); run {stage} again") from None
    if missing:
        raise UserError(
            f"{path}: has no {' and no '.join(sorted(missing))}, for another version wrote it; "
            f"run {stage} again"
        )
    return kind(**found)
