"""What must hold of a NIfTI volume and its masks as wholes, before slices are looked at."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maskwise.scans.decode import claimed_format
from maskwise.scans.lesions import check_whole, settled
from maskwise.scans.pictures import volume_reader
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import AS_A_MASK, RejectedError

if TYPE_CHECKING:  # nibabel is imported only by those who read a volume
    from maskwise.scans.nifti import NiftiReader

_APART = 0.1
"""Of the smallest side of a voxel: how far corners of image and mask may lie apart."""


def check_volume(
    raw: Path, path: str, masks: Sequence[str], classes: int, reading: Reading = DEFAULT
) -> None:
    """Check a volume once, so that what is wrong with it is not found anew at every slice.

    ``classes`` is how many the masks name; 0 = whatever is not 0 is a lesion, and a mask may be
    empty. Other images than NIfTI volumes pass.

    Raises:
        RejectedError: ``mask_geometry``, ``fractional_mask``, ``unknown_mask_label``,
            ``empty_mask``, ``missing_mask``, ``damaged_mask``, or what is wrong with the volume
            itself.
    """
    if claimed_format(path) != "NIFTI":
        return
    image = volume_reader(raw, path, reading)
    image.load()
    highest = []
    for mask in masks:
        if claimed_format(mask) != "NIFTI":
            detail = f"the mask {mask!r} is not a NIfTI volume, though its image is"
            raise RejectedError(path, "mask_geometry", detail)
        label = _open_mask(raw, path, mask, reading)
        _check_place(image, label, path, mask)
        try:
            highest.append(_highest(label, mask, classes, reading))
        except RejectedError as error:
            raise _of_image(error, path, error.reject.reason) from None
    if highest and not any(highest):
        raise RejectedError(path, "empty_mask", f"the mask {masks[0]!r} outlines nothing")


def _open_mask(raw: Path, path: str, mask: str, reading: Reading) -> "NiftiReader":
    try:
        reader = volume_reader(raw, mask, reading)
        reader.load()
    except RejectedError as error:
        reason = AS_A_MASK.get(error.reject.reason, "damaged_mask")
        raise _of_image(error, path, reason) from None
    return reader


def _of_image(error: RejectedError, path: str, reason: str) -> RejectedError:
    """Say of an image what is wrong with its mask."""
    return RejectedError(path, reason, f"the mask {error.reject.path!r}: {error.reject.detail}")


def _check_place(image: "NiftiReader", label: "NiftiReader", path: str, mask: str) -> None:
    """Refuse a mask that is not voxel on voxel with its image, however both are stored."""
    shape, other = image.geometry.shape, label.geometry.shape
    if label.geometry.volumes is not None:
        detail = f"the mask {mask!r} holds {label.geometry.volumes} volumes"
        raise RejectedError(path, "mask_geometry", detail)
    if shape != other:
        said, wanted = (" x ".join(map(str, sizes)) for sizes in (other, shape))
        detail = f"the mask {mask!r} has {said} voxels, the image {wanted}"
        raise RejectedError(path, "mask_geometry", detail)
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    corners = corners * [*(size - 1 for size in shape), 1]
    apart = np.linalg.norm(corners @ (image.affine - label.affine).T, axis=1).max()
    sides = np.linalg.norm(image.affine[:3, :3], axis=0)
    if apart > _APART * sides.min():
        detail = f"the mask {mask!r} lies up to {apart:.3g} mm from the image"
        raise RejectedError(path, "mask_geometry", detail)


def _highest(label: "NiftiReader", mask: str, classes: int, reading: Reading) -> int:
    """Return the largest class of a mask, whose numbers must be whole and named.

    Without classes its numbers must be finite, and 1 is returned.
    """
    highest = 0 if classes else 1
    if label.is_whole and not classes:
        return highest
    for stored in label.axial_slices():  # no more of it is copied at once
        values = settled(stored, mask, reading)
        if not classes:
            continue
        check_whole(values, mask)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > classes:
            wrong = low if low < 0 else high
            detail = f"holds {wrong}, but classes go from 0 to {classes}"
            raise RejectedError(mask, "unknown_mask_label", detail)
        highest = max(highest, high)
    return highest
