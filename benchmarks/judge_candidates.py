"""Which of some recipes pays with few labels: the search behind `busi_best`, decoders of SparK.

The test part is not looked at. A candidate is judged by linear probes on 10 % of the labels,
drawn several times, for one draw of 47 images decides by luck; their scores are of all training
and validation images whose labels the draw left out. Seeds and draws are not those of the study
that reads the test part afterwards. A row is appended as soon as it is known; encoders are
kept, so that another fraction or mode trains nothing again.

    kedro run --pipelines busi_study --tags ingest,preprocess --params raw_root=FOLDER
    python benchmarks/judge_candidates.py CANDIDATES.yml [--steps 1200] [--seeds 100 101]

A source whose images are generated begins with the tag `generate`, and is named by `--source`.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from maskwise.artefacts.encoder import load_encoder, write_encoder
from maskwise.artefacts.splits import read_splits
from maskwise.artefacts.store import Store, open_store
from maskwise.finetune.classification.replicate import learn_full, learn_probe, prepare
from maskwise.finetune.stage import FinetuneConfig, FinetuneRun, parse_budget
from maskwise.pretrain.recipe import Budget, PretrainConfig, parse_recipe
from maskwise.pretrain.replicate import PretrainRun, pretraining

PROJECT = Path(__file__).parents[1]
DATA = PROJECT / "data"
FIRST_DRAW = 1000
"""The study draws its subsets with seeds 0 to 4."""


def main() -> None:
    """Try each candidate of the file with each seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("candidates", type=Path)
    parser.add_argument("--source", default="busi_study")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--mode", choices=["probe", "full"], default="probe")
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--into", type=Path, default=PROJECT / "docs/results/busi_search.csv")
    parser.add_argument("--keep", type=Path, default=DATA / "search")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    candidates = yaml.safe_load(arguments.candidates.read_text(encoding="utf-8"))
    source = arguments.source
    store = open_store(DATA / "03_primary" / source / "store")
    splits = read_splits(DATA / "05_model_input" / source / "splits.parquet")
    for seed in arguments.seeds:
        for name, block in candidates.items():
            key = {
                "candidate": name,
                "seed": seed,
                "steps": arguments.steps,
                "mode": arguments.mode,
                "fraction": arguments.fraction,
            }
            if not known(arguments.into, key):
                row = {**key, **judge(block, store, splits, key, arguments)}
                append(arguments.into, row)
                print(row, flush=True)


def judge(
    block: dict[str, Any],
    store: Store,
    splits: pd.DataFrame,
    key: dict[str, Any],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Pre-train one candidate, unless it is kept, and score it over several subsets."""
    shown = splits[splits["split"] != "test"].reset_index(drop=True)
    replicate = f"{arguments.source}_{key['candidate']}_{key['steps']}_s{key['seed']}"
    path = arguments.keep / f"{replicate}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        train(block, store, shown, key, path, arguments.source)
    encoder = load_encoder(path)
    draws = range(FIRST_DRAW, FIRST_DRAW + arguments.draws)
    scores = [score(encoder, store, shown, key, draw, arguments.source) for draw in draws]
    return {
        "draws": arguments.draws,
        "auroc": round(float(np.mean(scores)), 4),
        "standard_error": round(float(np.std(scores, ddof=1) / np.sqrt(len(scores))), 4),
        "lowest": round(min(scores), 4),
        **read_facts(path),
    }


def train(
    block: dict[str, Any],
    store: Store,
    shown: pd.DataFrame,
    key: dict[str, Any],
    path: Path,
    source: str,
) -> None:
    """Pre-train as the pipeline does; keep the encoder, its last loss and the seconds."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = PretrainRun(
            recipe=parse_recipe(block, key["candidate"]),
            budget=Budget(grid=(16, 16), steps=key["steps"], batch_size=32),
            config=PretrainConfig(),
            source=source,
            recipe_name=key["candidate"],
            seed=key["seed"],
            checkpoints=Path(folder),
        )
        with pretraining(store, shown, run) as result:
            last = result.history.iloc[-1] if len(result.history) else pd.Series(dtype=float)
            facts = {
                "loss": last.get("loss"),
                "content_lift": last.get("content_lift"),
                "seconds": round(time.perf_counter() - begin),
            }
            pd.DataFrame([facts]).to_csv(path.with_suffix(".csv"), index=False)
            write_encoder(result.encoder, result.metadata, path)


def read_facts(path: Path) -> dict[str, Any]:
    """Return what was kept beside the encoder."""
    return dict(pd.read_csv(path.with_suffix(".csv")).iloc[0].round(3))


def score(
    encoder: Any, store: Store, shown: pd.DataFrame, key: dict[str, Any], draw: int, source: str
) -> float:
    """Return the macro AUROC on the images that one subset of the labels leaves."""
    task = {"name": "diagnosis", "label": "diagnosis"}
    budget = parse_budget({"task": task, "steps": 300, "batch_size": 32}, source)
    run = FinetuneRun(
        budget, FinetuneConfig(), (1.0, key["fraction"]), source, key["candidate"], draw
    )
    replicate = prepare(encoder, store, shown, run)
    labels = replicate.labels(key["fraction"])
    learnt = (learn_probe if key["mode"] == "probe" else learn_full)(replicate, labels)
    held_out = ~replicate.labelled["image_id"].isin(labels.images["image_id"]).to_numpy()
    # A duplicate of an image that was learnt from judges nothing.
    held_out &= ~replicate.labelled["group"].isin(labels.images["group"]).to_numpy()
    chances = softmax(learnt.logits[held_out], axis=1)
    targets = replicate.targets[held_out]
    return float(roc_auc_score(targets, chances, multi_class="ovr"))


def known(path: Path, key: dict[str, Any]) -> bool:
    """Return whether the table has a row of that key."""
    if not path.exists():
        return False
    table = pd.read_csv(path)
    return bool((table[list(key)] == pd.Series(key)).all(axis=1).any())


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row to the table."""
    table = pd.DataFrame([row])
    table.to_csv(path, mode="a", index=False, header=not path.exists())


if __name__ == "__main__":
    main()
