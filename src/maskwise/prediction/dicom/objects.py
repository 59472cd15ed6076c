"""DICOM objects made of outlines, with highdicom: segmentations and secondary captures.

Both belong to the study of the scans that they are of, and so bear its patient's name and
number: a viewer files them by these. Nothing else that this project writes does. Their own ids
follow from what they hold and from the model's file, so that the same outlines of the same
scans by the same model are the same objects. They are made in worker processes, which import
this module: it knows nothing of torch.

What a class is in the standard's list of codes is not known here: a segment bears its name, and
the code that says least, "Tissue".
"""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import highdicom as hd
import numpy as np
import pydicom
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from maskwise.prediction.dicom.heading import Ids, ids_of
from maskwise.scans.dicom_header import text_of

MANUFACTURER = "Maskwise"
MODEL = "Maskwise segmenter, for research only"
LONGEST_LABEL = 64
"""Characters of the standard's long strings."""
SEGMENTATION_SERIES, CAPTURE_SERIES = 1000, 2000
"""Added to the number of the scans' series."""


@dataclass(frozen=True)
class Author:
    """The model that outlined."""

    name: str
    """Of its encoder's file."""
    version: str
    """Of this project, that made it."""
    sha256: str
    """Of its file."""
    data_hash: str
    """Of the images that it learnt from."""
    classes: tuple[str, ...]
    colours: tuple[str, ...]
    """Of its classes, "#rrggbb", over and over."""
    window: tuple[float, float] | None
    """Values that became black and white in training; None = each image has its own."""

    @property
    def serial_number(self) -> str:
        """Of the device, which the standard asks for: what the model learnt from."""
        return self.data_hash[:LONGEST_LABEL] or "0"

    def colour(self, number: int) -> tuple[int, int, int]:
        """Return red, green and blue of class ``number``, from 1."""
        digits = self.colours[(number - 1) % len(self.colours)].lstrip("#")
        red, green, blue = bytes.fromhex(digits)
        return red, green, blue


def segmentation(
    files: Sequence[pydicom.Dataset], classes: NDArray[np.uint8], author: Author
) -> bytes:
    """Return a DICOM segmentation of a whole series, in its frame of reference.

    Args:
        files: the headers of its files, in order.
        classes: ``(N, h, w)``, the class of each pixel of each, 0 = none.
        author: the model.
    """
    first = files[0]
    content = hashlib.sha256(classes.tobytes()).hexdigest()
    made = hd.seg.Segmentation(
        source_images=list(files),
        pixel_array=classes,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=_segments(author),
        series_instance_uid=_uid("segmentations", ids_of(first), author),
        series_number=SEGMENTATION_SERIES + int(first.get("SeriesNumber") or 0),
        sop_instance_uid=_uid("segmentation", ids_of(first), author, content),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=author.version,
        device_serial_number=author.serial_number,
        content_label="OUTLINES",
        content_description="Outlines of a model, for research only",
        series_description="Outlines, for research only",
        omit_empty_frames=bool(classes.any()),
    )
    return _file(made)


def capture(
    source: pydicom.Dataset, first: Ids, place: int, pixels: NDArray[np.uint8], author: Author
) -> bytes:
    """Return one image of a series as a secondary capture.

    Args:
        source: the header of its file.
        first: of the first of the series' files.
        place: of the image in the series.
        pixels: ``(h, w, 3)``, with the outlines drawn.
        author: the model.
    """
    content = hashlib.sha256(pixels.tobytes()).hexdigest()
    made = hd.sc.SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=source.StudyInstanceUID,
        series_instance_uid=_uid("captures", first, author),
        series_number=CAPTURE_SERIES + int(source.get("SeriesNumber") or 0),
        sop_instance_uid=_uid("capture", ids_of(source), author, content, str(place)),
        instance_number=place + 1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=author.version,
        device_serial_number=author.serial_number,
        patient_id=source.PatientID,
        patient_name=source.PatientName,
        patient_birth_date=source.PatientBirthDate,
        patient_sex=source.PatientSex or None,
        accession_number=source.AccessionNumber,
        study_id=source.StudyID,
        study_date=source.StudyDate,
        study_time=source.StudyTime,
        referring_physician_name=source.get("ReferringPhysicianName"),
        specific_character_set=source.get("SpecificCharacterSet"),
        series_description="Outlines drawn, for research only",
        patient_orientation=("L", "P"),
    )
    _place(made, source)
    return _file(made)


def _segments(author: Author) -> list["hd.seg.SegmentDescription"]:
    algorithm = hd.AlgorithmIdentificationSequence(
        name=f"{MANUFACTURER} {author.name}"[:LONGEST_LABEL],
        family=codes.cid7162.ArtificialIntelligence,
        version=author.version,
    )
    return [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:LONGEST_LABEL],
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            display_color=CIELabColor.from_rgb(*author.colour(number)),
        )
        for number, name in enumerate(author.classes, start=1)
    ]


def _place(made: pydicom.Dataset, source: pydicom.Dataset) -> None:
    """Put a capture where its source lies; where that does not say, no direction is made up."""
    made.PatientOrientation = source.get("PatientOrientation")
    for keyword in (
        "FrameOfReferenceUID",
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "PixelSpacing",
    ):
        if text_of(source, keyword):
            setattr(made, keyword, source.get(keyword))
    reference = pydicom.Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    made.SourceImageSequence = [reference]


def _uid(kind: str, source: Ids, author: Author, *content: str) -> str:
    """Return an id that follows from what the object is made of."""
    model = author.sha256, author.version
    return str(generate_uid(entropy_srcs=[kind, *source, *model, *content]))


def _file(made: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    made.save_as(buffer)
    return buffer.getvalue()
