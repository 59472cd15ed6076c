"""Vectors compared by the cosine of the angle between them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Floats, Rows


def of_length_one(vectors: NDArray[np.floating[Any]]) -> Floats:
    """Divide each row by its length; one of nothing but zeros stays."""
    exact = vectors.astype(np.float64)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    return exact / np.where(length > 0, length, 1.0)


def nearest(similar: Floats, most: int) -> tuple[Rows, Floats]:
    """Return, a row, the columns of its ``most`` largest values and these values.

    The largest stands first, and of equal ones the first column, on every machine.
    """
    columns = np.argsort(-similar, axis=1, kind="stable")[:, :most]
    return columns, np.take_along_axis(similar, columns, axis=1)
