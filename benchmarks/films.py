"""How fast mammograms of 3,000 x 5,000 pixels and 16 bits are read, beside pydicom alone.

Uncompressed films, read from the page cache: `dcmread(path).pixel_array`, and what ingest and
preprocess do, with the breast left as it is, masked or cropped. Printed are films per second as
a share of the bare read's, and the most memory that the process took. Aims: at least .7, at
most 1.5 GB.

    OMP_NUM_THREADS=1 python benchmarks/films.py [--rounds 20]
"""

import argparse
import resource
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pydicom

from maskwise.scans.pictures import MAX_PIXELS, read_frame
from maskwise.scans.reading import Reading
from turns import Work, by_turns, machine, ratio

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from sources.dicom import save, slice_of
from sources.films import film

ROWS, COLUMNS = 5_000, 3_000
FILMS = 5
"""More than a reader keeps open."""
WAYS = {
    "as it is": Reading(),
    "masked": Reading(breast="mask"),
    "cropped": Reading(breast="crop"),
    "cropped, all on one side": Reading(breast="crop", chest_wall="right"),
}


def main() -> None:
    """Measure and print one line for each way of reading."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of all films")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name)
        files = [f"{number}.dcm" for number in range(FILMS)]
        for number, file in enumerate(files):
            pixels = film(ROWS, COLUMNS, number % 2 == 0, np.uint16, number)
            save(slice_of(pixels, Modality="MG"), raw / file)

        def bare() -> None:
            for file in files:
                _ = pydicom.dcmread(raw / file).pixel_array

        def read(reading: Reading) -> None:
            for file in files:
                read_frame(raw, file, 0, MAX_PIXELS, reading)

        works: dict[str, Work] = {way: partial(read, how) for way, how in WAYS.items()}
        taken = by_turns({"bare": bare, **works}, options.rounds, warm=2)
    print(f"{machine()}; films of {ROWS} x {COLUMNS} pixels, 16 bits")
    for way in WAYS:
        print(f"{way}, speed / bare read: {ratio(taken['bare'], taken[way])}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"largest memory of the process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
