"""CBIS-DDSM in miniature: every way in which its rows and files differ from one another.

Written from the published tables and from what users of the set report; no film of the set was
at hand.
"""

import csv
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from sources.dicom import save, slice_of
from sources.films import film

HEIGHT, WIDTH = 240, 150
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ROOT = "1.3.6.1.4.1.9590.100.1.2."
_PLACES = "image file path,cropped image file path,ROI mask file path"
HEADERS = {
    "Mass": "patient_id,breast_density,left or right breast,image view,abnormality id,"
    f"abnormality type,mass shape,mass margins,assessment,pathology,subtlety,{_PLACES}",
    "Calc": "patient_id,breast density,left or right breast,image view,abnormality id,"
    f"abnormality type,calc type,calc distribution,assessment,pathology,subtlety,{_PLACES}",
}
"""As published: the density has an underscore in one and a blank in the other."""


@dataclass(frozen=True)
class Row:
    """A lesion, its box ``top, bottom, left, right`` with both ends included."""

    kind: str
    part: str
    person: str
    side: str
    view: str
    number: int
    terms: tuple[str, str]
    pathology: str
    box: tuple[int, int, int, int] = (100, 129, 30, 49)
    density: str = "2"
    birads: str = "4"
    subtlety: str = "3"
    scale: tuple[float, float] = (1.0, 1.0)
    """Of the mask's height and width, in the film's."""
    on_disk: frozenset[str] = field(default_factory=frozenset)
    """``swapped``, ``two studies``, ``absent``, ``empty``, ``truncated``, ``inverted``,
    ``no mask``, ``crop for mask``."""
    blank: frozenset[str] = field(default_factory=frozenset)
    """Paths that the table leaves blank: ``film``, ``crop``, ``mask``."""

    @property
    def film(self) -> str:
        return f"{self.kind}-{self.part}_{self.person}_{self.side}_{self.view}"

    @property
    def lesion(self) -> str:
        return f"{self.film}_{self.number}"


def _row(
    where: str,
    terms: tuple[str, str],
    pathology: str = "BENIGN",
    *on_disk: str,
    **more: Any,
) -> Row:
    """Return the lesion ``where``, as its folder is called."""
    kind, _, rest = where.partition("-")
    part, _, rest = rest.partition("_")
    prefix, number, side, view, lesion = rest.split("_")
    place = (kind, part, f"{prefix}_{number}", side, view, int(lesion))
    return Row(*place, terms, pathology, on_disk=frozenset(on_disk), **more)


_OVAL = ("OVAL", "OBSCURED")
_SPIKES = ("IRREGULAR", "SPICULATED")
ROWS = (
    # Both views and both sides of one person; terms in one order here, in the other below.
    _row("Mass-Training_P_00001_LEFT_CC_1", _SPIKES, "MALIGNANT"),
    _row("Mass-Training_P_00001_LEFT_MLO_1", _SPIKES, "MALIGNANT"),
    _row("Mass-Training_P_00001_RIGHT_CC_1", ("OVAL", "CIRCUMSCRIBED-OBSCURED"), density="3"),
    # Crop and mask in two studies, both called 000000.dcm; margins not rated.
    _row("Mass-Training_P_00002_LEFT_CC_1", ("ROUND", "N/A"), "BENIGN", "two studies"),
    # Crop and mask in each other's place.
    _row(
        "Mass-Training_P_00003_LEFT_CC_1",
        ("OVAL", "OBSCURED-CIRCUMSCRIBED"),
        "BENIGN",
        "swapped",
    ),
    # Two lesions of one film, one benign and one malignant.
    _row("Mass-Training_P_00004_RIGHT_MLO_1", _OVAL),
    _row(
        "Mass-Training_P_00004_RIGHT_MLO_2",
        ("ROUND", "SPICULATED"),
        "MALIGNANT",
        box=(60, 69, 100, 119),
        birads="5",
    ),
    # A mask of another size, in the film's proportions and in others.
    _row("Mass-Training_P_00005_LEFT_CC_1", ("LOBULATED", "ILL_DEFINED"), scale=(0.98, 0.98)),
    _row("Mass-Training_P_00006_LEFT_CC_1", ("LOBULATED", "ILL_DEFINED"), scale=(0.98, 0.9)),
    # At the border of its film.
    _row(
        "Mass-Training_P_00007_LEFT_CC_1",
        ("IRREGULAR-ARCHITECTURAL_DISTORTION", "SPICULATED"),
        "MALIGNANT",
        box=(40, 79, 0, 9),
    ),
    _row("Mass-Training_P_00008_LEFT_CC_1", _OVAL, "BENIGN", "absent"),
    _row("Mass-Training_P_00009_LEFT_CC_1", _OVAL, "BENIGN", "empty"),
    _row("Mass-Training_P_00010_LEFT_CC_1", _OVAL, "BENIGN", "truncated"),
    # Tested on masses, and in training for calcifications below.
    _row("Mass-Test_P_00020_LEFT_CC_1", _OVAL, "MALIGNANT"),
    # A film with white = low.
    _row("Mass-Test_P_00021_LEFT_CC_1", _OVAL, "BENIGN", "inverted"),
    _row("Calc-Training_P_00011_LEFT_CC_1", ("PLEOMORPHIC", "CLUSTERED"), "MALIGNANT"),
    _row(
        "Calc-Training_P_00012_LEFT_CC_1",
        ("LUCENT_CENTERED", "REGIONAL-REGIONAL"),
        density="0",
        subtlety="0",
    ),
    _row(
        "Calc-Training_P_00013_LEFT_CC_1",
        ("LUCENT_CENTER", "NA"),
        "BENIGN_WITHOUT_CALLBACK",
        birads="2",
    ),
    _row("Calc-Training_P_00020_RIGHT_CC_1", ("PUNCTATE", "N/A")),
    _row("Calc-Test_P_00014_LEFT_CC_1", ("PLEOMORPHIC-AMORPHOUS", "LINEAR")),
)
TAKEN = len(ROWS) - 4
"""Lesions but those whose files are absent, empty, cut off, or of other proportions."""


def write(raw: Path, rows: tuple[Row, ...] = ROWS, layout: str = "tables") -> Path:
    """Write tables and files, these where the ``tables`` say or as the ``retriever`` has it.

    ``series``: in folders of no name, to which ``metadata.csv`` leads.
    """
    raw.mkdir(parents=True, exist_ok=True)
    series: list[tuple[str, str]] = []
    for row in rows:
        if "absent" not in row.on_disk:
            _write_files(raw, row, layout, series)
    for kind, part in (
        ("Mass", "Training"),
        ("Mass", "Test"),
        ("Calc", "Training"),
        ("Calc", "Test"),
    ):
        _write_table(
            raw, kind, part, [row for row in rows if (row.kind, row.part) == (kind, part)]
        )
    if layout == "series":
        with (raw / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Series UID", "Collection", "File Location"])
            for uid, place in dict.fromkeys(series):
                writer.writerow([uid, "CBIS-DDSM", place])
    return raw


def paths(row: Row) -> tuple[str, str, str]:
    """Return the table's paths of film, crop and mask."""
    film = f"{row.film}/{_uid(row.film, 1)}/{_uid(row.film, 2)}/000000.dcm"
    crop = f"{row.lesion}/{_uid(row.lesion, 1)}/{_uid(row.lesion, 2)}"
    if "two studies" in row.on_disk:
        mask = f"{row.lesion}/{_uid(row.lesion, 3)}/{_uid(row.lesion, 4)}"
        return film, f"{crop}/000000.dcm", f"{mask}/000000.dcm"
    first, second = (0, 1) if row.kind == "Mass" else (1, 0)
    return film, f"{crop}/00000{first}.dcm", f"{crop}/00000{second}.dcm"


def film_pixels(row: Row) -> NDArray[np.uint16]:
    """Return the film, 16 bits, black = low: the same for all lesions of it."""
    on_left = row.side == "LEFT"
    seed = int(row.person[2:]) * 4 + (row.view == "MLO") * 2 + on_left
    return np.asarray(film(HEIGHT, WIDTH, on_left, np.uint16, seed))


def mask_pixels(row: Row) -> NDArray[np.uint8]:
    """Return the mask, 0 and 255, at its own size."""
    shape = round(HEIGHT * row.scale[0]), round(WIDTH * row.scale[1])
    mask = np.zeros(shape, np.uint8)
    if "empty" not in row.on_disk:
        top, bottom, left, right = row.box
        mask[top : bottom + 1, left : right + 1] = 255
    return mask


def _uid(name: str, number: int) -> str:
    return f"{ROOT}{zlib.crc32(name.encode())}{number}"


def _short(uid: str) -> str:
    return uid.rpartition(".")[2]


def _write_table(raw: Path, kind: str, part: str, rows: list[Row]) -> None:
    """Write CRLF rows, and the line break inside the quotation marks of one path in each."""
    lines = [HEADERS[kind]]
    for row in rows:
        film, crop, mask = (
            "" if name in row.blank else path
            for name, path in zip(("film", "crop", "mask"), paths(row), strict=True)
        )
        broken = f'"{mask}\n"' if kind == "Mass" else mask
        crop = crop if kind == "Mass" else f'"{crop}\n"'
        cells = [row.person, row.density, row.side, row.view, str(row.number)]
        cells += ["mass" if kind == "Mass" else "calcification", *row.terms, row.birads]
        lines.append(",".join([*cells, row.pathology, row.subtlety, film, crop, broken]))
    name = (
        f"{kind.lower()}_case_description_{'train' if part == 'Training' else 'test'}_set.csv"
    )
    (raw / name).write_bytes(("\r\n".join(lines) + "\r\n").encode())


def _write_files(raw: Path, row: Row, layout: str, series: list[tuple[str, str]]) -> None:
    film, crop, mask = paths(row)
    pixels = film_pixels(row)
    top, bottom, left, right = row.box
    cut = pixels[top : bottom + 1, left : right + 1]
    if "swapped" in row.on_disk:
        crop, mask = mask, crop
    shown = np.uint16(65535) - pixels if "inverted" in row.on_disk else pixels
    white = {"PhotometricInterpretation": "MONOCHROME1"} if "inverted" in row.on_disk else {}
    _save(raw, layout, series, film, shown, "full mammogram images", row, **white)
    _save(raw, layout, series, crop, cut, "cropped images", row)
    if "no mask" in row.on_disk:
        return
    outlined: NDArray[Any] = cut if "crop for mask" in row.on_disk else mask_pixels(row)
    file = _save(raw, layout, series, mask, outlined, "ROI mask images", row)
    if "truncated" in row.on_disk:
        file.write_bytes(file.read_bytes()[:-500])


def _save(
    raw: Path,
    layout: str,
    series: list[tuple[str, str]],
    path: str,
    pixels: NDArray[Any],
    description: str,
    row: Row,
    **elements: Any,
) -> Path:
    folder, study, uid, name = path.split("/")
    dataset = slice_of(pixels)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(CAPTURE)
    # As every other part of the file: the same each time.
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"{uid}.{int(name[:6])}")
    values = {
        "Modality": "MG",
        "PatientID": folder,
        "PatientName": folder,
        "StudyInstanceUID": study,
        "SeriesInstanceUID": uid,
        "SeriesDescription": description,
        "PatientOrientation": row.view,
        "BodyPartExamined": "BREAST",
        **elements,
    }
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if layout == "retriever":
        place = (
            f"CBIS-DDSM/{folder}/07-20-2016-DDSM-{study[-5:]}/1.000000-{description}-{uid[-5:]}"
        )
        number = 1 + len(list((raw / place).glob("*.dcm")))
        return save(dataset, raw / place / f"1-{number}.dcm")
    if layout == "series":
        series.append((uid, f".\\files\\{_short(uid)}"))
        return save(dataset, raw / "files" / _short(uid) / f"1-{int(name[:6]) + 1}.dcm")
    return save(dataset, raw / path)
