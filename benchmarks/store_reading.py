"""How much faster one worker reads batches from the store than a ResNet-18 learns from them.

Both run in this process, by turns and in changing order: a batch of 32 images gathered from
the store and normalised, and a supervised training step of a ResNet-18 on it. Printed is the
median of the paired ratios of images/s. Aim: at least 5.

    python benchmarks/store_reading.py [--rounds 20] [--side 64] [--images 2000]
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from maskwise.artefacts.store import Store, StoreHeader, open_store, writing_store
from maskwise.preparation import Preparation
from steps import noise, supervised_step, where
from turns import by_turns, ratio

BATCH = 32


def write_store(path: Path, images: int, side: int) -> Store:
    """Write a store of noise."""
    generator = np.random.default_rng(0)
    with writing_store(path, (images, 1, side, side), "uint8", masks=False) as writer:
        pixels = np.load(writer.images, mmap_mode="r+")
        pixels[:] = generator.integers(0, 256, pixels.shape, dtype=np.uint8)
        index = pd.DataFrame({"image_id": [f"i{n}" for n in range(images)], "group": "g"})
        index = index.assign(has_mask=False, scale=1 / 255, offset=0.0)
        header = StoreHeader(
            preparation=Preparation(
                channels=1,
                height=side,
                width=side,
                geometry={"name": "resize"},
                intensity={"name": "range"},
                mean=(0.5,),
                std=(0.29,),
                modality="other",
            ),
            laterality="free",
            largest_rounding_error=0.0,
            data_hash="noise",
        )
        writer.finish(index, header)
    return open_store(path)


def main() -> None:
    """Measure by turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", options.images, options.side)

        def read() -> None:
            torch.from_numpy(store.normalised(generator.integers(0, len(store), BATCH)))

        works = {"reading": read, "learning": supervised_step(noise(BATCH, options.side))}
        taken = by_turns(works, options.rounds)
    print(where())
    for name, times in taken.items():
        print(f"{name}: {BATCH / statistics.median(times):,.0f} images/s")
    print(f"reading / learning: {ratio(taken['learning'], taken['reading'])} (aim: at least 5)")


if __name__ == "__main__":
    main()
