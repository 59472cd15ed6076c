"""How the time to read every page of a TIFF grows with the number of its pages.

Files of 8 x 8 pixels a page are opened and read page by page, by turns, in changing order;
printed are the ratios of neighbouring runs: many pages to few, and many to a bare loop over
the pages with tifffile. Aim: times as the numbers of pages, never as their squares.

    python benchmarks/tiff_pages.py [--rounds 10] [--few 100] [--many 400]
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from maskwise.scans.pictures import frames_in, read_frame
from turns import by_turns, machine, ratio


def read_all(file: Path) -> None:
    """Read every page as ingest does."""
    file.touch()  # a file that has changed is opened anew
    for frame in range(frames_in(file.parent, file.name)):
        read_frame(file.parent, file.name, frame, 64)


def bare_loop(file: Path) -> None:
    """Read every page with tifffile alone."""
    with tifffile.TiffFile(file) as pages:
        for page in pages.pages:
            page.asarray()


def main() -> None:
    """Print the ratios and the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        few, many = (Path(folder) / f"{count}.tif" for count in (options.few, options.many))
        for file, count in ((few, options.few), (many, options.many)):
            pages = np.arange(count * 64, dtype=np.uint32).reshape(count, 8, 8)
            tifffile.imwrite(file, pages, photometric="minisblack")
        works = {
            "few": partial(read_all, few),
            "many": partial(read_all, many),
            "loop": partial(bare_loop, many),
        }
        taken = by_turns(works, options.rounds, warm=1)
    print(f"{machine()}; tifffile {tifffile.__version__}")
    growth, share = ratio(taken["many"], taken["few"]), ratio(taken["many"], taken["loop"])
    print(f"{options.many} pages / {options.few} pages: {growth}")
    print(f"{options.many} pages / bare loop: {share}")


if __name__ == "__main__":
    main()
