"""How much faster one worker reads batches from the store than a ResNet-18 learns from them.

Both run in this process, by turns and in changing order: a batch of 32 images gathered from
the store and normalised, and a supervised training step of a ResNet-18 on it. Printed is the
median of the paired ratios of images/s. Aim: at least 5.

    python benchmarks/store_reading.py [--rounds 20] [--side 64] [--images 2000]
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from maskwise.artefacts.store import Store, StoreHeader, open_store, writing_store
from maskwise.encoders.resnet18 import Resnet18Config

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
            channels=1,
            height=side,
            width=side,
            mean=(0.5,),
            std=(0.29,),
            modality="other",
            laterality="free",
            intensity={"name": "range"},
            geometry={"name": "resize"},
            largest_rounding_error=0.0,
            data_hash="noise",
        )
        writer.finish(index, header)
    return open_store(path)


class Classifier(nn.Module):
    """ResNet-18 with its published total stride of 32 and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Resnet18Config(stride=32).build(1)
        self.head = nn.Linear(512, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.encoder(images)[-1].mean(dim=(2, 3)))
        return logits


def build_step() -> Callable[[torch.Tensor], None]:
    """Return a supervised training step."""
    model = Classifier().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    labels = torch.arange(BATCH) % 3

    def step(images: torch.Tensor) -> None:
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def seconds(action: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    """Measure by turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--images", type=int, default=2000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", arguments.images, arguments.side)
        step = build_step()
        ratios: list[float] = []
        read: list[float] = []
        learn: list[float] = []

        def gather() -> torch.Tensor:
            return torch.from_numpy(store.normalised(generator.integers(0, len(store), BATCH)))

        images = gather().to(memory_format=torch.channels_last)
        for number in range(arguments.rounds + 2):  # the first two warm up
            actions = [(read, gather), (learn, lambda: step(images))]
            for found, action in actions if number % 2 else reversed(actions):
                found.append(seconds(action))
            ratios.append(learn[-1] / read[-1])
    print(f"{platform.platform()}, {os.cpu_count()} cores, torch {torch.__version__}, 1 thread")
    for name, found in (("store", read), ("ResNet-18 step", learn)):
        print(f"{name}: {BATCH / statistics.median(found[2:]):,.0f} images/s")
    print(f"reading / learning: {statistics.median(ratios[2:]):.0f} (aim: at least 5)")


if __name__ == "__main__":
    main()
