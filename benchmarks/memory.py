"""How much anonymous memory preprocess and pretrain take at 1,000 and at 100,000 images.

Both run, each number in a process of its own, on phantom images: 1,000 files, each named up to
a hundred times, so that every name is decoded, split and stored as an image of its own. Printed
is the peak of RssAnon of the process and its children (resident memory would count the mapped
store, whose pages the system takes back). Aim: at most 100 MB more at 100,000 images.

    python benchmarks/memory.py [--images 1000 100000] [--side 32] [--steps 40] [--workers 2]
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FILES = 1000


def write_files(raw: Path) -> None:
    """Write the phantom images, and the other names of their folder."""
    from maskwise.ingest.sources.phantom import PhantomConfig

    for path, content in PhantomConfig(images=FILES).files():
        target = raw / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def write_manifest_of(raw: Path, images: int, path: Path) -> None:
    """Write a manifest of ``images`` names; every copy has patients and groups of its own."""
    import pandas as pd

    from maskwise.artefacts.manifest import write_manifest
    from maskwise.ingest.sources.phantom import PhantomConfig
    from maskwise.ingest.stage import IngestConfig, ingest

    one = ingest(raw, PhantomConfig(images=FILES), IngestConfig(), "phantom").manifest
    copies = []
    for number in range(images // FILES):
        prefix = f"copy{number:03d}"
        link = raw / prefix
        if not link.exists():
            link.symlink_to(raw, target_is_directory=True)
        copy = one.assign(path=prefix + "/" + one["path"])
        copy["masks"] = [[f"{prefix}/{mask}" for mask in masks] for masks in one["masks"]]
        for column in ("image_id", "group", "patient"):
            copy[column] = prefix + one[column]
        copies.append(copy)
    write_manifest(pd.concat(copies, ignore_index=True), path)


def run_stage(stage: str, folder: Path, arguments: argparse.Namespace) -> None:
    """Run one stage in this process as its node does; print peak and seconds as JSON."""
    from maskwise.run_facts import AnonymousMemory

    start = time.perf_counter()
    with AnonymousMemory() as memory:
        (preprocess_once if stage == "preprocess" else pretrain_once)(folder, arguments)
    print(json.dumps({"peak": memory.peak, "seconds": time.perf_counter() - start}))


def preprocess_once(folder: Path, arguments: argparse.Namespace) -> None:
    """Read the manifest, write the store and the splits."""
    from maskwise.artefacts.manifest import read_manifest
    from maskwise.artefacts.splits import write_splits
    from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
    from maskwise.preprocess.stage import preprocess

    out = preprocess(
        folder.parent / "raw",
        read_manifest(folder / "manifest.parquet"),
        SourcePreprocessConfig(
            arguments.side, arguments.side, modality="ultrasound", label="diagnosis"
        ),
        PreprocessConfig(workers=arguments.workers),
        "phantom",
    )
    out.write_store(folder / "store")
    write_splits(out.splits, folder / "splits.parquet")


def pretrain_once(folder: Path, arguments: argparse.Namespace) -> None:
    """Train ``dqn`` as its recipe stands, for a few steps."""
    import yaml

    from maskwise.artefacts.splits import read_splits
    from maskwise.artefacts.store import open_store
    from maskwise.pretrain.recipe import Budget, PretrainConfig, parse_recipe
    from maskwise.pretrain.replicate import PretrainRun, pretraining

    file = Path(__file__).parents[1] / "conf/base/recipes/parameters_dqn.yml"
    block = yaml.safe_load(file.read_text(encoding="utf-8"))["dqn"]
    run = PretrainRun(
        recipe=parse_recipe(block, "dqn"),
        budget=Budget(grid=(16, 16), steps=arguments.steps),
        config=PretrainConfig(device="cpu"),
        source="phantom",
        recipe_name="dqn",
        seed=0,
        checkpoints=folder / "checkpoints",
    )
    with pretraining(open_store(folder / "store"), read_splits(folder / "splits.parquet"), run):
        pass


def measure(stage: str, folder: Path, arguments: argparse.Namespace) -> float:
    """Run the stage in a fresh process; return its peak in MB."""
    command = [sys.executable, __file__, "--side", str(arguments.side)]
    command += ["--steps", str(arguments.steps), "--workers", str(arguments.workers)]
    done = subprocess.run(
        [*command, "--stage", stage, "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    megabytes = float(found["peak"]) / 2**20
    print(f"  {stage:10s} {megabytes:8.1f} MB, {found['seconds']:6.1f} s", flush=True)
    return megabytes


def main() -> None:
    """Measure both stages at both numbers of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs=2, default=[FILES, 100 * FILES])
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--stage", choices=["preprocess", "pretrain"])
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.stage:
        run_stage(arguments.stage, arguments.folder, arguments)
        return
    print(f"{platform.platform()}, {platform.processor()}, {os.cpu_count()} cores")
    root = Path(tempfile.mkdtemp())
    try:
        write_files(root / "raw")
        peaks: dict[str, list[float]] = {"preprocess": [], "pretrain": []}
        for images in arguments.images:
            folder = root / str(images)
            folder.mkdir()
            write_manifest_of(root / "raw", images, folder / "manifest.parquet")
            print(f"{images} images")
            for stage, found in peaks.items():
                found.append(measure(stage, folder, arguments))
        for stage, (few, many) in peaks.items():
            print(f"{stage}: {many - few:+.1f} MB (aim: at most +100)")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
