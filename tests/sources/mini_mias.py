"""Mini-MIAS in miniature: films of 256 pixels, prose and rows of every published shape."""

from pathlib import Path

import numpy as np
from PIL import Image

from sources.films import film

SIDE = 256
SCALE = SIDE / 1024
ROWS = (
    "mdb001 G CIRC B 700 425 60",
    "mdb002 G CIRC B 324 280 69",
    "mdb003 D NORM ",
    "mdb004 D NORM ",
    "mdb005 F CIRC B 677 433 30",
    "mdb005 F CALC B 750 568 6",
    "mdb006 F NORM ",
    "mdb059 F CIRC B",
    "mdb060 F NORM ",
    "mdb143 F SPIC M 730 500 40",
    "mdb144 F MISC B 233 594 29",
    "mdb144 F MISC M 233 700 27",
    "mdb215 D NORM ",
    "mdb216 D CALC M  *NOTE 3*",
)
"""As published: trailing blanks, a film with two findings, one without a place and without a
note, one with a note in its stead, and ``mdb144``, both benign and malignant."""
FILMS = tuple(dict.fromkeys(row.split()[0] for row in ROWS))
PROSE = """\
              MAMMOGRAPHIC IMAGE ANALYSIS SOCIETY
1st column: MIAS database reference number.
5th,6th columns: x,y image-coordinates of centre of abnormality.
NOTES
=====
   Coordinate system origin is the bottom-left corner.
mdb is what names of films begin with.

"""


def write(raw: Path, rows: tuple[str, ...] = ROWS) -> Path:
    """Write films, ``Info.txt`` and licence; each circle holds a disc brighter than tissue."""
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "Info.txt").write_text(PROSE + "\n".join(rows) + "\n", "utf-8")
    (raw / "Licence.txt").write_text("research only", "utf-8")
    for name in dict.fromkeys(row.split()[0] for row in rows):
        number = int(name[3:])
        # Odd numbers are right breasts, whose chest wall is on the right of the picture.
        pixels = film(SIDE, SIDE, on_left=number % 2 == 0, seed=number)
        for row in rows:
            fields = row.split()
            if fields[0] == name and len(fields) == 7:
                x, y, radius = (float(field) * SCALE for field in fields[4:])
                down, right = np.mgrid[:SIDE, :SIDE]
                pixels[np.hypot(down - (SIDE - 1 - y), right - x) <= radius] = 220
        Image.fromarray(pixels).save(raw / f"{name}.pgm")
    return raw
