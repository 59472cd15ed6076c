"""Train one network that outlines, and print how well it outlines validation images alone.

For choosing settings: no test image is opened. After ingest, preprocess and pretrain:

    python benchmarks/outline_settings.py hippocampus scratch --set steps=300 task.every=50

``--set`` changes options of the source's block ``finetune``, or of that of all sources, as
``full.schedule=cosine`` does. Each look at validation images is a line with the seconds of
processor time so far, which other work on the machine changes less than the clock.
"""

import argparse
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from kedro.config import OmegaConfigLoader

from maskwise import load_encoder
from maskwise.artefacts.splits import read_splits
from maskwise.artefacts.store import open_store
from maskwise.finetune.lesion import training
from maskwise.finetune.lesion.measures import count
from maskwise.finetune.lesion.replicate import Replicate, learn_one, prepare
from maskwise.finetune.lesion.training import Lesson, look_at, predict
from maskwise.finetune.lesion.watch import Look
from maskwise.finetune.stage import FinetuneRun
from maskwise.pipelines import parsing
from maskwise.settings import CONFIG_LOADER_ARGS

PROJECT = Path(__file__).parents[1]
OF_ALL_SOURCES = ("full", "validation", "device")


def main() -> None:
    """Train, and print each look, then the Dice of every class."""
    options = _arguments()
    torch.set_num_threads(1)
    print(
        f"{platform.machine()}, torch {torch.__version__}, 1 thread; {' '.join(sys.argv[1:])}"
    )
    replicate = _replicate(options)
    began = time.process_time()

    def look(network: Any, lesson: Lesson) -> Look:
        found = look_at(network, lesson)
        seconds = time.process_time() - began
        print(f"{seconds:5.0f} s  Dice {found.dice:.4f}  loss {-found.gain:.3f}", flush=True)
        return found

    training.look_at = look
    learnt = learn_one(replicate, options.fraction, "full")
    print(learnt.choice)
    rows = replicate.rows(options.fraction, "validation")
    called = np.concatenate(
        [
            logits.argmax(dim=1).numpy().astype(np.uint8)
            for _, logits in predict(learnt.model, replicate.store, rows, replicate.device)
        ]
    )
    names = replicate.outlines.classes
    _tell(count(called, replicate.outlines.of(rows), names), names, replicate, rows)


def _tell(table: pd.DataFrame, names: tuple[str, ...], replicate: Replicate, rows: Any) -> None:
    units = table.groupby(replicate.units.names[rows]).sum()
    for name in names:
        shows = table[f"tp_{name}"] + table[f"fn_{name}"] > 0
        alarms = (table[f"fp_{name}"][~shows] > 0).mean()
        print(
            f"{name}: Dice of {shows.sum()} images that show it "
            f"{_dice(table[shows], name).mean():.4f}, of {len(units)} units "
            f"{_dice(units, name).mean():.4f}; called in {alarms:.3f} of "
            f"{(~shows).sum()} others"
        )


def _dice(table: pd.DataFrame, name: str) -> "pd.Series[float]":
    tp, fp, fn = (table[f"{kind}_{name}"] for kind in ("tp", "fp", "fn"))
    return 2 * tp / (2 * tp + fp + fn)


def _replicate(options: argparse.Namespace) -> Replicate:
    data, source, recipe = PROJECT / "data", options.source, options.recipe
    arguments: dict[str, Any] = {**CONFIG_LOADER_ARGS, "default_run_env": options.env}
    loader = OmegaConfigLoader(str(PROJECT / "conf"), options.env, **arguments)
    parameters = loader["parameters"]
    shared, own = parameters["finetune"], parameters[source]["finetune"]
    for assignment in options.set:
        path, _, value = assignment.partition("=")
        keys = path.split(".")
        _put(shared if keys[0] in OF_ALL_SOURCES else own, keys, yaml.safe_load(value))
    run = FinetuneRun(
        budget=parsing.finetune_source(own, f"{source}.finetune"),
        config=parsing.finetune(shared, "finetune"),
        fractions=tuple(dict.fromkeys((1.0, options.fraction))),
        source=source,
        recipe=recipe,
        seed=options.seed,
    )
    folder = data / f"06_models/{source}/encoders/{recipe}/s{options.seed}"
    return prepare(
        load_encoder(folder / "encoder.safetensors"),
        open_store(data / f"03_primary/{source}/store"),
        read_splits(data / f"05_model_input/{source}/splits.parquet"),
        run,
    )


def _put(block: Mapping[str, Any], keys: list[str], value: Any) -> None:
    inner: Any = block
    for key in keys[:-1]:
        inner = inner.setdefault(key, {})
    inner[keys[-1]] = value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--env", default="segmentation")
    parser.add_argument("--set", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
