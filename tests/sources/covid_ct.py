"""COVID-CT in miniature: its folders, lists and tables, names with ``%``, JPEG called PNG."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from sources.drawing import save, scan

NAMES = {
    "COVID": {
        "train": [
            "2020.01.24.919183-p27-132.png",
            "2020.01.24.919183-p27-133.png",
            "2020.02.25.20021568-p23-108%0.png",
            "2020.02.25.20021568-p23-108%1.png",
        ],
        "val": ["2020.03.13.20035212-p23-155.png", "2020.03.13.20035212-p23-156.png"],
        "test": ["kjr-21-e24-p5-29.png", "a, b ü-p2-3%2.png"],
    },
    "NonCOVID": {
        "train": ["71%0.jpg", "71%1.jpg", "0.jpg", "2001.png"],
        "val": ["35%0.jpg", "35%1.jpg"],
        "test": ["40.jpg", "2002.png"],
    },
}
"""Class -> part -> names, as in the lists; ``kjr-21-e24-p5-29.png`` is ``71%0.jpg`` as well."""
IMAGES = 16
_PATIENTS = {"108%0": "Patient 3", "108%1": "Patient 3", "132": "Patient 1", "133": "Patient 1"}


def write(raw: Path, zipped: bool = False, percent: str = "%") -> Path:
    """Write the published layout; ``percent`` stands in the files' names where ``%`` does."""
    folder = raw / "Images-processed"
    for label, parts in NAMES.items():
        lists = raw / "Data-split" / label
        lists.mkdir(parents=True)
        for part, names in parts.items():
            (lists / f"{part}CT_{label}.txt").write_text("\n".join(names) + "\n", "utf-8")
            for name in names:
                _write_image(folder / f"CT_{label}" / name.replace("%", percent), name)
        if zipped:
            _zip(folder / f"CT_{label}")
    _write_tables(raw)
    return raw


def _write_image(path: Path, name: str) -> None:
    picture = "71%0.jpg" if name.startswith("kjr") else name
    seed = zlib.crc32(picture.encode())
    if name.startswith("2020.01"):
        save(scan(seed), path, "RGBA")
    elif name.startswith("2020.03"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scan(seed)).save(path, format="JPEG")
    else:
        save(scan(seed), path, "RGB" if name.endswith("png") else "L")


def _zip(folder: Path) -> None:
    """Put a folder into a ZIP archive beside it, as it is published, and remove it."""
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        archive.writestr(f"__MACOSX/{folder.name}/._x.png", b"\0")
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{folder.name}/{file.name}")
            file.unlink()
    folder.rmdir()


def _write_tables(raw: Path) -> None:
    """Write the workbook's sheet as CSV, with its blank last row, and the table of the rest."""
    rows = ["File name,Patient ID,Age,Captions"]
    for number, name in enumerate(n for names in NAMES["COVID"].values() for n in names):
        stem = name.removesuffix(".png")
        patient = _PATIENTS.get(stem.split("-")[-1], f"Patient {10 + number // 2}")
        rows.append(f'"{stem}",{patient},60,"a caption, with a comma"')
    (raw / "COVID-CT-MetaInfo.csv").write_text("\n".join([*rows, ",,,"]) + "\n", "utf-8")
    rows = [",image name,patient id"]
    for number, name in enumerate(n for names in NAMES["NonCOVID"].values() for n in names):
        rows.append(f"{number},{name},crawled_patient_{name.split('.')[0].split('%')[0]}")
    (raw / "NonCOVID-CT-MetaInfo.csv").write_text("\n".join(rows) + "\n", "utf-8")


def translucent(path: Path, grey: int, alpha: int) -> Path:
    """Write a picture of one grey under one opacity; it has the size of the others."""
    pixels = np.full((48, 64, 4), grey, np.uint8)
    pixels[..., 3] = alpha
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path
