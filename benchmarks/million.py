"""What the bookkeeping of a million images takes, without decoding: seconds and memory.

The rows are made up as ingest would have measured them: two files of a patient, one in ten a
near-duplicate of another. Then everything runs that the stages do with them beside reading
pixels: joining, duplicates and groups, the summary, the manifest, splits, the store's index,
and the start of pre-training up to its first step, on tiny images of noise. Each step prints
its seconds, how long it kept a core busy (less, where other work runs on the machine) and the
peak of anonymous memory; the steps of a stage run in a process of their own, as its node does.

Aims: all bookkeeping under 2 minutes and 4 GB, pre-training starts in under 10 s.

    python benchmarks/million.py [--images 1000000] [--distance 4] [--side 16] [--only STAGE]
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from steps import where

STAGES = ("ingest", "preprocess", "pretrain")
SOURCE = "million"
PER_PATIENT = 2
NEAR = 0.1
"""Of the images: near-duplicates of another one, two bits apart."""
CHUNK = 64
"""Images that ingest's and preprocess's workers answer together."""


def main() -> None:
    """Run the stages one after another and print what each step took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--distance", type=int, default=4, help="bits of near-duplicates")
    parser.add_argument("--side", type=int, default=16, help="pixels of the stored images")
    parser.add_argument("--only", choices=STAGES, help="a stage, in --folder")
    parser.add_argument("--folder", type=Path, help="kept; by default a temporary one")
    arguments = parser.parse_args()
    if arguments.only:
        {"ingest": ingest, "preprocess": preprocess, "pretrain": pretrain}[arguments.only](
            arguments.folder, arguments
        )
        return
    print(f"{where()}; {arguments.images:,} images")
    folder = arguments.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    try:
        taken = [run(stage, folder, arguments) for stage in STAGES]
        seconds = sum(float(stage["seconds"]) for stage in taken[:2])
        peak = max(float(stage["peak"]) for stage in taken)
        busy = sum(float(stage["cpu"]) for stage in taken[:2])
        print(
            f"bookkeeping: {seconds:.0f} s (aim: 120), {busy:.0f} s of a core; "
            f"peak {peak / 1e9:.2f} GB (aim: 4)"
        )
        print(
            f"pre-training started after {taken[2]['started']:.1f} s (aim: 10), "
            f"{taken[2]['started_cpu']:.1f} s of a core"
        )
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder)


def run(stage: str, folder: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Run a stage in a process of its own; return its seconds and its peak in bytes."""
    command = [sys.executable, __file__, "--only", stage, "--folder", str(folder)]
    for name in ("images", "distance", "side"):
        command += [f"--{name}", str(getattr(arguments, name))]
    print(stage, flush=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        last = ""
        for line in process.stdout or ():
            if not line.startswith("{"):
                print(line, end="", flush=True)
            last = line
    if process.returncode:
        raise SystemExit(f"{stage} failed")
    found: dict[str, float] = json.loads(last)
    return found


class Steps:
    """Seconds and peaks of the steps of a stage."""

    def __init__(self) -> None:
        self.seconds, self.cpu, self.peak = 0.0, 0.0, 0

    @contextmanager
    def step(self, name: str, counted: bool = True) -> Iterator[None]:
        """Measure a block; what only makes up data does not count."""
        from maskwise.run_facts import AnonymousMemory

        begun, busy = time.perf_counter(), time.process_time()
        with AnonymousMemory() as memory:
            yield
        taken, busy = time.perf_counter() - begun, time.process_time() - busy
        if counted:
            self.seconds += taken
            self.cpu += busy
            self.peak = max(self.peak, memory.peak)
        note = "" if counted else "   (made up; not counted)"
        times = f"{taken:7.2f} s, {busy:7.2f} of a core"
        print(f"  {name:34s} {times} {memory.peak / 1e9:6.2f} GB{note}", flush=True)

    def done(self, **more: float) -> None:
        """Tell the parent process."""
        found = {"seconds": self.seconds, "cpu": self.cpu, "peak": self.peak}
        print(json.dumps({**found, **more}))


def hashes_of(images: int) -> "np.ndarray[Any, np.dtype[np.uint64]]":
    """Make up perceptual hashes: 32 of 64 bits set, as pHash has it, some two bits apart."""
    generator = np.random.default_rng(0)
    order = generator.random((images, 64), dtype=np.float32).argpartition(32, axis=1)[:, :32]
    hashes = np.zeros(images, np.uint64)
    for column in order.T:
        hashes |= np.uint64(1) << column.astype(np.uint64)
    near = generator.permutation(images)[: int(images * NEAR)]
    flipped = generator.permuted(np.tile(np.arange(64), (len(near), 1)), axis=1)[:, :2]
    hashes[near] = hashes[near - 1] ^ (np.uint64(1) << flipped.astype(np.uint64)).sum(1)
    return hashes


def measured_of(first: int, hashes: Any) -> list[Any]:
    """Make up what a worker measured of a chunk of images, from row ``first`` on."""
    from maskwise.ingest.measure import Measured

    found = []
    for row, value in enumerate(hashes.tolist(), start=first):
        digest = hashlib.sha256(str(row).encode()).hexdigest()
        found.append(
            Measured(
                row=row,
                frame=0,
                width=512 + row % 7,
                height=512,
                channels=1,
                bits=8,
                sha256=digest,
                phash=f"{value:016x}",
                dhash=f"{value ^ row:016x}",
                pixels_sha256=digest[::-1],
                format="PNG",
                mode="L",
                bytes=100_000 + row % 9973,
                intensity_mean=60.0 + row % 101,
                intensity_std=30.0 + row % 13,
                intensity_min=0.0,
                intensity_max=255.0,
                blank=False,
                lesion_share=float("nan"),
            )
        )
    return found


def ingest(folder: Path, arguments: argparse.Namespace) -> None:
    """Do what the stage ingest does after measuring."""
    from maskwise.artefacts.manifest import check_manifest, write_manifest
    from maskwise.artefacts.rejects import rejects_table
    from maskwise.ingest import stage
    from maskwise.ingest.figure import draw
    from maskwise.ingest.groups import group_images
    from maskwise.ingest.joining import join
    from maskwise.ingest.labels import alike_labels
    from maskwise.ingest.listing import build_listing
    from maskwise.ingest.overlap import MaskComparison
    from maskwise.ingest.summary import describe_rejects, plain, warn

    steps, images = Steps(), arguments.images
    with steps.step("hashes", counted=False):
        hashes = hashes_of(images)
    with steps.step("listing"):
        rows = [
            {
                "path": f"{row % 3}/{row // 1000:04d}/{row:07d}.png",
                "patient": f"p{row // PER_PATIENT:06d}",
                "label_diagnosis": ("benign", "malignant", "normal")[row // PER_PATIENT % 3],
            }
            for row in range(images)
        ]
        listing = build_listing(rows, ())
        del rows
    with steps.step("tasks and chunks"):
        chunks = list(stage._chunks(stage._tasks(listing)))
        del chunks
    with steps.step("measurements gathered", counted=False):
        measured = [
            found
            for first in range(0, images, CHUNK)
            for found in measured_of(first, hashes[first : first + CHUNK])
        ]
        del hashes
    with steps.step("joining"):
        joined = join(listing, measured, "other", SOURCE)
        table = joined.images
        del measured, listing
    with steps.step("duplicates and groups"):
        groups = group_images(table, arguments.distance)
        table["group"] = groups.group
    with steps.step("summary"):
        comparison = MaskComparison(folder, 1, 0.5)
        summary = stage._summarise(table, groups, arguments.distance, comparison)
        summary |= {
            "remarks": {},
            "rejects": describe_rejects(rejects_table([]), len(table)),
            "alike_labels": alike_labels(table),
        }
        summary["warnings"] = warn(summary)
        summary = plain(summary)
    with steps.step("figure"):
        draw(table, summary, SOURCE)
    with steps.step("manifest checked"):
        manifest = stage._manifest(table)
        check_manifest(manifest, SOURCE)
        del table, joined
    with steps.step("manifest written"):
        write_manifest(manifest, folder / "manifest.parquet")
    steps.done()


def preprocess(folder: Path, arguments: argparse.Namespace) -> None:
    """Do what the stage preprocess does beside decoding; pixels are noise."""
    from maskwise.artefacts.labels import label_columns
    from maskwise.artefacts.manifest import read_manifest
    from maskwise.artefacts.splits import write_splits
    from maskwise.artefacts.store import writing_store
    from maskwise.preprocess import stage
    from maskwise.preprocess.config import SourcePreprocessConfig
    from maskwise.preprocess.fill import Filled, Job
    from maskwise.preprocess.splits import make_splits

    steps, side = Steps(), arguments.side
    source = SourcePreprocessConfig(side, side, label="diagnosis")
    with steps.step("manifest read"):
        manifest = read_manifest(folder / "manifest.parquet")
    with steps.step("splits made"):
        splits = make_splits(manifest, source, SOURCE)
    with steps.step("splits written"):
        write_splits(splits, folder / "splits.parquet")
    needed = manifest[[*stage.NEEDED, *label_columns(manifest), "width", "height"]]
    del manifest
    images, account = len(needed), stage._Account()
    with writing_store(folder / "store", (images, 1, side, side), "uint8", False) as writer:
        with steps.step("tasks"):
            for _ in stage._tasks(needed, np.zeros(images, bool)):
                pass
        with steps.step("noise written", counted=False):
            noise(writer.images)
        with steps.step("answers gathered"):
            for first in range(0, images, CHUNK):
                size = min(CHUNK, images - first)
                answer = Filled(
                    scale=np.full(size, 1 / 255),
                    offset=np.zeros(size),
                    sums=np.full((size, 1), 0.5),
                    squares=np.full((size, 1), 0.3),
                    largest=np.full(size, 255, np.uint64),
                    rounding_error=0.0,
                    lost_lesions=0,
                    digests=bytes(32 * size),
                )
                account.add(answer)
        with steps.step("index, hash and header"):
            job = Job(folder, writer.images, None, source.preparation(), 1)
            index = stage._index(needed, np.zeros(images, bool), account)
            header = stage._header(job, index, splits, source, account)
            writer.finish(index.join(stage._places(needed, job)), header)
    steps.done()


def noise(path: Path) -> None:
    """Fill a mapped array with noise."""
    images = np.load(path, mmap_mode="r+")
    generator = np.random.default_rng(0)
    for first in range(0, len(images), 16_384):
        part = images[first : first + 16_384]
        part[:] = generator.integers(0, 256, part.shape, np.uint8)


def pretrain(folder: Path, arguments: argparse.Namespace) -> None:
    """Start a pre-training, and end it after its first steps."""
    from maskwise.artefacts.splits import read_splits
    from maskwise.artefacts.store import open_store

    steps = Steps()
    begun = time.perf_counter()
    with steps.step("imports"):
        from maskwise.pretrain import replicate
        from maskwise.pretrain.batches import Batches
        from maskwise.pretrain.contracts import Batch
        from maskwise.pretrain.recipe import Budget, PretrainConfig, parse_recipe
    with steps.step("store opened"):
        store = open_store(folder / "store")
    with steps.step("splits read"):
        splits = read_splits(folder / "splits.parquet")
    recipe = Path(__file__).parents[1] / "conf/base/recipes/parameters_random_box.yml"
    block = yaml.safe_load(recipe.read_text(encoding="utf-8"))["random_box"]
    run = replicate.PretrainRun(
        recipe=parse_recipe(block, SOURCE),
        budget=Budget(grid=(16, 16), steps=2, batch_size=64),
        config=PretrainConfig(device="cpu"),
        source=SOURCE,
        recipe_name=SOURCE,
        seed=0,
        checkpoints=folder / "checkpoints",
    )
    started: list[float] = []
    busy: list[float] = []
    batch: Callable[..., Any] = Batches.batch

    def timed(self: Batches, step: int, progress: float, places: range | None = None) -> Batch:
        found: Batch = batch(self, step, progress, places)
        started.append(time.perf_counter() - begun)
        busy.append(time.process_time())
        return found

    Batches.batch = timed  # type: ignore[method-assign]
    with (
        steps.step("parts built, two steps, and the end"),
        replicate.pretraining(store, splits, run),
    ):
        pass
    steps.done(started=started[0], started_cpu=busy[0])


if __name__ == "__main__":
    main()
