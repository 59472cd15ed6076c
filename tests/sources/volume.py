"""NIfTI volumes in miniature, stored however one likes."""

import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray


def write(
    path: Path,
    voxels: NDArray[Any],
    axes: str = "RAS",
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Path:
    """Write a volume whose stored axes point to the letters of ``axes``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for stored, letter in enumerate(axes):
        axis = next(i for i, pair in enumerate(("RL", "AP", "SI")) if letter in pair)
        affine[axis, stored] = spacing[stored] * (1 if letter in "RAS" else -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def rewrite(path: Path, **fields: Any) -> bytes:
    """Write other values into the header of an uncompressed file; return its new content."""
    whole = path.read_bytes()
    header = nib.Nifti1Header.from_fileobj(io.BytesIO(whole))
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + whole[len(header.binaryblock) :])
    return path.read_bytes()
