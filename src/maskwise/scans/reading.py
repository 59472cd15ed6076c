"""What a user says of files that can be read in two ways: one record for all who read them.

It is the block ``reading`` of a source's ``ingest`` and of ``predict``. Ingest writes what was
said into the manifest, so that preprocess reads the same files in the same way.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Reading:
    """How files are read that leave a choice; by default such a file is refused."""

    affine: Literal["refuse", "sform", "qform"] = "refuse"
    """Which is right in NIfTI volumes that say in two ways how they lie, and differently:
    ``sform``, or ``qform`` and with it ``pixdim``."""
    nan: Literal["refuse", "background"] = "refuse"
    """``background``: NaN says that nothing was measured there, as statistics packages write
    it; in a mask it is no lesion."""


DEFAULT = Reading()
