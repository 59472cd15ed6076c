"""A tree of DICOM in miniature, laid out as TCIA publishes LIDC-IDRI.

Names are in no order of place and have no suffix; beside the CT lie radiographs, a localizer,
an annotation in XML and a report.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import UID

from sources.dicom import save, slice_of
from sources.drawing import scan

CT, DX = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1"
AXIAL, CORONAL, SAGITTAL = (
    [1, 0, 0, 0, 1, 0],
    [1, 0, 0, 0, 0, -1],
    [0, 1, 0, 0, 0, -1],
)
SLICES = 12
PATIENTS = 2


def write_stack(
    folder: Path,
    places: Sequence[float],
    uid: str,
    directions: Sequence[float] = AXIAL,
    names: str = "{:03d}",
    seed: int = 0,
    **elements: Any,
) -> list[Path]:
    """Write a CT slice at each of ``places`` (mm along the normal) in Hounsfield units."""
    x, y = np.array(directions[:3]), np.array(directions[3:])
    normal = np.cross(x, y)
    files = []
    for number, place in enumerate(places):
        pixels = scan(1000 * seed + number).astype(np.int16) * 8
        dataset = slice_of(pixels)
        values: dict[str, Any] = {
            "SOPClassUID": CT,
            "Modality": "CT",
            "StudyInstanceUID": f"{uid}.0",
            "SeriesInstanceUID": uid,
            "ImageOrientationPatient": list(directions),
            "ImagePositionPatient": [round(float(part), 6) for part in normal * place],
            "PixelSpacing": [0.7, 0.7],
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            **elements,
        }
        # As every other part of the file: the same each time.
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"{uid}.{number}")
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        files.append(save(dataset, folder / names.format(number)))
    return files


def write(raw: Path) -> Path:
    """Write the tree and return ``raw``."""
    for patient in range(1, PATIENTS + 1):
        name = f"LIDC-IDRI-{patient:04d}"
        study = raw / "LIDC-IDRI" / name / f"01-01-2000-{patient}"
        rng = np.random.default_rng(patient)
        write_stack(
            study / "3000566.000000-NA-03192",
            [2.5 * place for place in rng.permutation(SLICES)],
            f"1.3.6.{patient}",
            seed=patient,
            PatientID=name,
        )
        (study / "3000566.000000-NA-03192" / "069.xml").write_text("<LidcReadMessage/>")
        for number in range(2):
            save(
                slice_of(
                    scan(50 * patient + number).astype(np.uint16),
                    SOPClassUID=DX,
                    Modality="DX",
                    PatientID=name,
                    SeriesInstanceUID=f"1.3.7.{patient}",
                ),
                study / "3000923.000000-NA-62357" / f"{number}.dcm",
            )
    return raw
