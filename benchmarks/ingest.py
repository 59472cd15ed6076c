"""Speed of ingest, as a share of a bare loop that decodes and hashes with the same libraries.

The bare loop opens every file, decodes images and masks with Pillow, and computes of each image
the SHA-256 of file and pixels and the perceptual hash, in as many spawned processes and in
chunks of the same size; it checks nothing and keeps nothing. Both run by turns, in changing
order; printed are the medians of the ratios of neighbouring runs: of the reading alone, and of
the whole stage (listing, groups, contradictions, audit, figure). Aim: at least 0.8.

    python benchmarks/ingest.py [--rounds 20] [--images 5000] [--side 224] [--workers 2]
"""

import argparse
import hashlib
import io
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import imagehash
import numpy as np
import PIL
from PIL import Image

from maskwise.ingest.sources.phantom import PhantomConfig
from maskwise.ingest.stage import CHUNK, IngestConfig, ingest
from turns import ingest_speed, machine


def hash_files(paths: list[Path]) -> int:
    """Decode and hash; the loop that somebody in a hurry would write."""
    for path in paths:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
            if not path.stem.endswith("_mask"):
                hashlib.sha256(data).hexdigest()
                hashlib.sha256(pixels.tobytes()).hexdigest()
                str(imagehash.phash(image))
    return len(paths)


def bare_loop(paths: list[Path], workers: int) -> None:
    """Spread ``hash_files`` over processes."""
    size = 2 * CHUNK  # an image and its mask
    chunks = [paths[start : start + size] for start in range(0, len(paths), size)]
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(hash_files, chunks))


def main() -> None:
    """Print the ratios and the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    source = PhantomConfig(options.images, 0, options.side, options.side)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder)
        for name, content in source.files():
            (raw / name).parent.mkdir(exist_ok=True)
            (raw / name).write_bytes(content)
        paths = sorted((raw / "images").iterdir())
        config = IngestConfig(workers=options.workers)
        loop = partial(bare_loop, paths, options.workers)
        stage = partial(ingest, raw, source, config, "phantom")
        print(f"{machine()}; Pillow {PIL.__version__}, NumPy {np.__version__}")
        print(
            f"{options.images} images and masks, {options.side} px, {options.workers} workers"
        )
        ingest_speed("PNG", stage, loop, options.images, options.rounds)


if __name__ == "__main__":
    main()
