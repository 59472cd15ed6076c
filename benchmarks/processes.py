"""Two processes of one thread each against one process of two threads: images per second.

A step as the loop makes it, batch, mask, forward, backward and update, ResNet-18 on a global
batch of 128 images of 64 pixels, by turns in one run: the second process waits, without a
thread that spins, while the first trains alone. Aim: at least .85.

    python benchmarks/processes.py [--rounds 15] [--norm batch] [--objective autoencoder]
"""

import argparse
import os
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "2"  # of the process that trains alone, as a user would have it

import numpy as np
import pandas as pd
import torch

from maskwise.artefacts.store import Store, StoreHeader, open_store, writing_store
from maskwise.preparation import Preparation
from maskwise.pretrain.assembly import PretrainRun, batches_of, build_encoder, networks_of
from maskwise.pretrain.beginning import begin
from maskwise.pretrain.hardware import build_fabric
from maskwise.pretrain.learner import Course, Learner
from maskwise.pretrain.meeting import ProcessesConfig, Seat
from maskwise.pretrain.processes import leading
from maskwise.pretrain.recipe import Budget, PretrainConfig, parse_recipe
from maskwise.pretrain.together import begin_together, lead
from maskwise.pretrain.training import follow_replicate
from maskwise.ranks import ALONE
from turns import Work, by_turns, machine, ratio

IMAGES, SIDE, BATCH = 1024, 64, 128


def write_store(path: Path) -> tuple[Store, pd.DataFrame]:
    """Write a store of noise, all of it for training."""
    names = [f"image_{number:04d}" for number in range(IMAGES)]
    index = pd.DataFrame(
        {"image_id": names, "group": names, "has_mask": False, "scale": 1 / 255, "offset": 0.0}
    )
    seen = Preparation(
        channels=1,
        height=SIDE,
        width=SIDE,
        geometry={"name": "resize"},
        intensity={"name": "range"},
        mean=(0.5,),
        std=(0.25,),
        modality="ultrasound",
    )
    with writing_store(path, (IMAGES, 1, SIDE, SIDE), "uint8", masks=False) as writer:
        images = np.load(writer.images, mmap_mode="r+")
        images[:] = np.random.default_rng(0).integers(0, 255, images.shape, np.uint8)
        writer.finish(index, StoreHeader(seen, "free", 0.0, "noise"))
    splits = pd.DataFrame({"image_id": names, "group": names, "split": "train", "fold": -1})
    return open_store(path), splits


def steps(store: Store, splits: pd.DataFrame, run: PretrainRun, seat: Seat | None) -> Work:
    """Return a step of the run; each call makes the next."""
    beginning = begin(store, run.recipe, run.recipe_name, run.source, run.seed)
    encoder = build_encoder(beginning, run)
    fabric = build_fabric("cpu", "float32", seat)
    batches = batches_of(beginning.store, splits, run, fabric.device)
    objective, policy = networks_of(beginning, splits, run, encoder, batches)
    timeline = run.recipe.timeline(run.budget.steps)
    course = Course(timeline, run.recipe.optimisation, run.config.channels_last)
    learner = Learner(course, fabric, objective, ALONE if seat is None else seat.ranks)
    begin_together(learner, 0)
    generator, made = torch.Generator().manual_seed(0), [0]
    threads = 2 if seat is None else 1

    def step() -> None:
        torch.set_num_threads(threads)
        phase, own = timeline.at(made[0])
        learner.prepare(phase, own, made[0])
        batch = batches.batch(made[0], 0.0)
        mask = policy.propose(batch, run.budget.grid, generator).mask
        lead(learner, batch, mask, phase, False)
        learner.update(made[0], True)
        made[0] += 1

    return step


def main() -> None:
    """Time both by turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--norm", choices=("batch", "group"), default="batch")
    parser.add_argument("--objective", choices=("autoencoder", "simclr"), default="autoencoder")
    arguments = parser.parse_args()
    block: dict[str, Any] = {
        "objective": {"name": arguments.objective},
        "policy": {"name": "random_cells"},
        "encoder": {"name": "resnet18", "norm": arguments.norm},
    }
    budget = Budget(grid=(2, 2), steps=arguments.rounds + 1, batch_size=BATCH)
    with tempfile.TemporaryDirectory() as folder:
        store, splits = write_store(Path(folder) / "store")
        config = PretrainConfig(device="cpu", precision="float32")
        run = PretrainRun(
            parse_recipe(block, "recipe"), budget, config, "noise", "recipe", 0, Path(folder)
        )
        two = ProcessesConfig(devices=2)
        shared = replace(run, config=replace(config, processes=two))
        work = partial(follow_replicate, store.path, splits, shared)
        torch.set_num_threads(2)
        with leading(two, "gloo", work, "benchmark") as seat:
            works = {
                "alone": steps(store, splits, run, None),
                "together": steps(store, splits, shared, seat),
            }
            taken = by_turns(works, arguments.rounds, warm=1)
    speeds = ", ".join(
        f"{name} {BATCH / float(np.median(seconds)):.1f}" for name, seconds in taken.items()
    )
    print(f"{machine()}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    print(f"resnet18, norm {arguments.norm}, {arguments.objective}, images/s: {speeds}")
    print(f"two processes / one process: {ratio(taken['alone'], taken['together'])}")


if __name__ == "__main__":
    main()
