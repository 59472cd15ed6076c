"""INbreast in miniature: films, outlines as OsiriX writes them, and the sheet saved as CSV.

Written from what three public readers of the set expect; no file of it was at hand.
"""

import plistlib
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import UID

from sources.dicom import save, slice_of
from sources.films import film

HEIGHT, WIDTH = 240, 150
MAMMOGRAPHY = "1.2.840.10008.5.1.4.1.1.1.2"
SQUARE = [(30, 100), (49, 100), (49, 129), (30, 129)]
"""Corners ``(x, y)``."""
FILMS = {
    "20586908": ("6c613a14b80a8591", "R", "CC"),
    "20586934": ("6c613a14b80a8591", "L", "ML"),
    "22678622": ("61b13c59bcba149e", "L", "CC"),
    "22678646": ("61b13c59bcba149e", "L", "ML"),
    "24055355": ("aef3aac1ab7a1a1e", "R", "CC"),
}
"""Image -> patient, side, view. The last one has no outlines."""
HEADER = (
    "Patient ID;Patient age;Laterality;View;Acquisition date;File Name;ACR;Bi-Rads;Mass ;"
    "Micros;Distortion;Asymmetry;Findings Notes (in Portuguese);Lesion Annotation Status;"
    "Pectoral Muscle Annotation;Other Annotations"
)
"""Of the workbook, with the blank behind ``Mass``."""
SHORT = 8
"""Columns of the sheet that circulates as CSV: none of the findings."""
ROWS = (
    "removed;removed;R;CC;201001;20586908;3;4a;X;;;;nodulo;;;",
    "removed;removed;L;MLO;201001;20586934;3;2;;X;;;;;;",
    "removed;removed;L;CC;201001;22678622.0;2;5;X;X;;X;;;;",
    "removed;removed;L;MLO;201001;22678646;2;3;;;X;;;;;",
    "removed;removed;R;CC;201001;24055355;1;1;;;;;normal;no annotation (normal);;",
    ";;;;;;;;;;;;;;;",
    "X - finding;;;;;;;;;;;;;;;",
)
"""The last two are no data."""


def roi(name: str, points: list[Any], number: int | None = None) -> dict[str, Any]:
    """Return an outline as OsiriX has it; ``number`` = as many points as it says it has."""
    return {
        "Name": name,
        "NumberOfPoints": len(points) if number is None else number,
        "Point_px": [f"({x:.6f}, {y:.6f})" for x, y in points],
        "Point_mm": [f"({x:.6f}, {y:.6f}, 0.0)" for x, y in points],
        "Area": 0.0 if len(points) < 3 else 0.1,
        "Center": "(0.0, 0.0, 0.0)",
        "Dev": 1.5,
        "Max": 3000.0,
        "Mean": 1500.0,
        "Min": 12.0,
        "Total": 100000.0,
        "Type": 15,
        "IndexInImage": 0,
    }


ROIS: dict[str, list[dict[str, Any]]] = {
    "20586908": [roi("Mass", SQUARE), roi("Espiculated Region", SQUARE)],
    "20586934": [roi("Calcification", [(40, 60)]), roi("Calcifications", [(50, 60), (51, 61)])],
    "22678622": [
        roi("Assymetry", SQUARE),
        roi("Point 3", [(10, 10)]),
        roi("Mass", SQUARE, number=7),
        roi("Lymph node", [(x + 20, y) for x, y in SQUARE]),
    ],
    "22678646": [roi("Distortion", [(2, 100), (10, 100), (6, 104)])],
}


def write(raw: Path, columns: int | None = None) -> Path:
    """Write the published layout; of the sheet the first ``columns``, or all."""
    base = raw / "INbreast Release 1.0"
    for image, (patient, side, view) in FILMS.items():
        pixels = film(HEIGHT, WIDTH, side == "L", np.uint16, int(image) % 1000) >> 2
        values = {
            "Modality": "MG",
            "PatientName": "removed",
            "PatientID": "removed",
            "BitsStored": 14,
            "HighBit": 13,
            "ViewPosition": view,
            "SOPClassUID": UID(MAMMOGRAPHY),
        }
        dataset = slice_of(pixels, **values)
        # As every other part of the file: the same each time.
        dataset.file_meta.MediaStorageSOPClassUID = UID(MAMMOGRAPHY)
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.{image}")
        save(dataset, base / f"AllDICOMs/{image}_{patient}_MG_{side}_{view}_ANON.dcm")
    for image, rois in ROIS.items():
        write_outlines(base / f"AllXML/{image}.xml", rois)
    muscle = base / "PectoralMuscle/Pectoral Muscle XML/20586934_muscle.xml"
    muscle.parent.mkdir(parents=True)
    muscle.write_bytes(plistlib.dumps({"ROIPoints": ["{1, 2}", "{3, 4}"]}))
    lines = [";".join(line.split(";")[:columns]) for line in (HEADER, *ROWS)]
    (base / "INbreast.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return raw


def write_outlines(path: Path, rois: list[dict[str, Any]]) -> None:
    """Write the property list of one film."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = {"ImageIndex": 0, "NumberOfROIs": len(rois), "ROIs": rois}
    path.write_bytes(plistlib.dumps({"Images": [image]}))
