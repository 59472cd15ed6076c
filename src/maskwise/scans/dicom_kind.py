"""What a DICOM object is, by the standard's own lists of classes and modalities.

Pixels are also what segmentations, radiotherapy doses and maps are made of, and their numbers
are not intensities. An object is an image if its class is one of the standard's classes for
storing images. Of a class that the standard does not list (a maker's own, or none) nothing is
known: it is taken, and remarked.
"""

import functools
from dataclasses import dataclass

from pydicom.config import IGNORE
from pydicom.uid import UID

from maskwise.scans.dicom_header import Header, text_of
from maskwise.scans.modality import modality_of
from maskwise.scans.remarks import CAPTURE, Remark

_IMAGES_BESIDE = frozenset({"Enhanced US Volume Storage"})
"""Classes of images whose names do not say so, as all others do ("... Image Storage")."""
_NEWER = {
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}
"""Classes of the standard that pydicom does not know yet."""
_CAPTURES = ("Secondary Capture", "Hardcopy")
_OTHER_MODALITIES = {
    "ANN": "annotations",
    "ASMT": "an assessment",
    "AU": "audio",
    "CTPROTOCOL": "a protocol",
    "DOC": "a document",
    "ECG": "an electrocardiogram",
    "EEG": "an electroencephalogram",
    "EPS": "an electrophysiogram",
    "FID": "fiducials",
    "HD": "a haemodynamic waveform",
    "KO": "a selection of key objects",
    "M3D": "a model for manufacturing",
    "PLAN": "a plan",
    "PR": "a presentation state",
    "REG": "a registration",
    "RESP": "a respiratory waveform",
    "RTDOSE": "a radiotherapy dose",
    "RTINTENT": "a radiotherapy intent",
    "RTPLAN": "a radiotherapy plan",
    "RTRAD": "a radiotherapy radiation",
    "RTRECORD": "a radiotherapy record",
    "RTSEGANN": "a radiotherapy segment annotation",
    "RTSTRUCT": "a radiotherapy structure set",
    "RWV": "a mapping to real world values",
    "SEG": "a segmentation",
    "SMR": "a stereometric relationship",
    "SR": "a structured report",
    "XAPROTOCOL": "a protocol",
}
"""Modalities of the standard's list of which nothing is an image."""
_LOCALIZERS = frozenset({"LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM", "SCANOGRAM"})
_FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence")


@dataclass(frozen=True)
class Kind:
    """What an object says about itself."""

    image: bool
    """Whether its class is one of the standard's images."""
    other: str | None
    """What it is instead of an image; None = it may be one."""
    segmentation: bool
    modality: str | None
    """As ``scans/modality.py`` says; None = not known."""
    remarks: tuple[Remark, ...]


def kind_of(header: Header) -> Kind:
    """Return what an object is; its class counts, and a modality that has no images."""
    said = text_of(header.dataset, "SOPClassUID")
    if not said:
        said = str(header.dataset.file_meta.get("MediaStorageSOPClassUID") or "")
    name = _class_name(said)
    modality = text_of(header.dataset, "Modality").upper()
    image = name is not None and ("Image Storage" in name or name in _IMAGES_BESIDE)
    other = None
    if modality in _OTHER_MODALITIES:
        other = f"{_OTHER_MODALITIES[modality]} (Modality {modality})"
    elif name is not None and not image:
        other = f"of the class {name!r}"
    remarks: tuple[Remark, ...] = ()
    if name is None:
        remarks = (Remark("unlisted_class", ""),)
    elif any(word in name for word in _CAPTURES):
        remarks = (Remark(CAPTURE, ""),)
    segmentation = modality == "SEG" or "Segmentation" in (name or "")
    return Kind(image, other, segmentation, modality_of(modality), remarks)


def localizer_of(header: Header, frame: int) -> str | None:
    """Return the element by which an image calls itself a view to plan others from, or None."""
    items = [item for name in _FRAME_TYPES for item in header.groups(frame, name)]
    for item, keyword in (
        *((item, "FrameType") for item in items),
        (header.dataset, "ImageType"),
    ):
        words = {word.strip().upper() for word in text_of(item, keyword).split("\\")}
        found = sorted(words & _LOCALIZERS)
        if found:
            return f"{keyword} says {found[0]}"
    return None


@functools.lru_cache(maxsize=64)
def _class_name(said: str) -> str | None:
    """Return the standard's name of a class; None = it lists no such class."""
    uid = UID(said, validation_mode=IGNORE)
    return _NEWER.get(said) or (uid.name if uid.type == "SOP Class" else None)
