"""NumPy arrays by what they hold. A shape stands in the docstring of whatever takes one."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]
"""Positions in a table or an array."""
Codes = NDArray[np.int64]
"""Integers in place of names: a table of 100,000 images stays small."""
