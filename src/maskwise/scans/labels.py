"""What the numbers of a mask say: whole ones name classes, others do not."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError

NEAR = 1e-3
"""What lies so near to a whole number is that number, rounded on its way through a program."""


def settled(values: NDArray[Any], path: str, reading: Reading) -> NDArray[Any]:
    """Return a mask's numbers, those near a whole one as that one, NaN as ``reading`` says.

    Raises:
        RejectedError: ``fractional_mask`` where a number is not finite.
    """
    if values.dtype.kind != "f":
        return values
    unknown = np.isnan(values)
    if reading.nan == "background":
        values = np.where(unknown, values.dtype.type(0), values)
    elif unknown.any():
        detail = (
            f"holds NaN in {unknown.mean():.2%} of its pixels, which is no class; if it means "
            "not measured, set `reading: {nan: background}`"
        )
        raise RejectedError(path, "fractional_mask", detail)
    if np.isinf(values).any():
        raise RejectedError(path, "fractional_mask", "holds infinite numbers")
    whole = np.rint(values)
    near = np.abs(values - whole) <= NEAR
    return np.where(near, whole, values)


def check_whole(values: NDArray[Any], path: str) -> None:
    """Refuse numbers that name no class.

    Raises:
        RejectedError: ``fractional_mask``, with the digits that make it so.
    """
    if values.dtype.kind != "f":
        return
    wrong = values[np.rint(values) != values]
    if wrong.size:
        detail = f"holds {wrong.flat[0]!s}, which is no class"
        raise RejectedError(path, "fractional_mask", detail)
