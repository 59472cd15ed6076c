"""Outlines of DICOM scans as DICOM: segmentations, and pictures for viewers without them."""

from importlib.util import find_spec
from typing import Literal

from maskwise.errors import UserError

DicomOutlines = Literal["none", "segmentation", "capture", "both"]


def check_dicom(outlines: bool, model: str) -> None:
    """Raise ``UserError`` where no DICOM can be made, before a scan is read.

    Args:
        outlines: whether the model outlines anything.
        model: what messages call it.
    """
    if not outlines:
        raise UserError(
            f"predict.dicom: there is nothing to outline with ({model} is a classifier); leave "
            "predict.dicom out, or name a model that outlines"
        )
    if find_spec("highdicom") is None:
        raise UserError(
            "predict.dicom: needs highdicom, which is not installed: pip install "
            '"maskwise[dicom]"'
        )
