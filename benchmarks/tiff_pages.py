"""How the time to read every page of a TIFF grows with the number of its pages.

Files of 8 x 8 pixels a page are read page by page, in changing order; printed are the medians of
the ratio of neighbouring runs, many pages to few, and of the ratio to a bare loop over tifffile's
pages. Aim: a ratio of times near the ratio of the numbers of pages, never its square.

    python benchmarks/tiff_pages.py [--rounds 10] [--few 100] [--many 400]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from maskwise.scans.raw import read_frame
from turns import machine


def read_all(raw: Path, name: str) -> None:
    """Read every page as ingest does."""
    frames = read_frame(raw, name, 0, 64)[1].frames
    for frame in range(1, frames):
        read_frame(raw, name, frame, 64)


def bare_loop(raw: Path, name: str) -> None:
    """Read every page with tifffile alone."""
    with tifffile.TiffFile(raw / name) as file:
        for page in file.pages:
            page.asarray()


def seconds(read: Callable[[Path, str], None], raw: Path, name: str) -> float:
    """Return how long one look at all pages takes; the file is parsed anew."""
    (raw / name).touch()  # what is kept open is told by the time of the last change
    start = time.perf_counter()
    read(raw, name)
    return time.perf_counter() - start


def main() -> None:
    """Print the ratios and the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=400)
    options = parser.parse_args()
    growth, share = [], []
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder)
        for count in (options.few, options.many):
            pages = np.arange(count * 64, dtype=np.uint16).reshape(count, 8, 8)
            tifffile.imwrite(raw / f"{count}.tif", pages, photometric="minisblack")
        few, many = f"{options.few}.tif", f"{options.many}.tif"
        for turn in range(options.rounds):
            order = (few, many) if turn % 2 else (many, few)
            taken = {name: seconds(read_all, raw, name) for name in order}
            growth.append(taken[many] / taken[few])
            share.append(taken[many] / seconds(bare_loop, raw, many))
    print(f"{machine()}; tifffile {tifffile.__version__}")
    print(
        f"{options.many} pages take {statistics.median(growth):.2f} times as long as "
        f"{options.few}, and {statistics.median(share):.2f} times as long as a bare loop"
    )


if __name__ == "__main__":
    main()
