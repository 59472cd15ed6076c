"""Does a policy look where reconstruction is hard? The acceptance test of results/phantom.md.

For each seed: phantoms of its own at 32 pixels, 8 x 8 cells; a small autoencoder learns with
cells hidden at random, then the policy alone against the frozen network; the masks of 256
unseen images with lesions are compared with the lesions. One row per seed and arm is
appended as soon as it is known; an arm that has its row is not run again. `--judge` runs
nothing, and holds the table against the bars: ends of 95 % t intervals over seeds.

    python benchmarks/acceptance.py [--seeds 10 11 …] [--arms a3c ahm …] [--into FILE.csv]
    python benchmarks/acceptance.py --judge
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from scipy import stats

from maskwise.artefacts.splits import for_seed
from maskwise.artefacts.store import Store, open_store
from maskwise.ingest.sources.phantom import PhantomConfig
from maskwise.ingest.stage import IngestConfig, ingest
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.stage import preprocess
from maskwise.pretrain.recipe import Budget, PretrainConfig, parse_recipe
from maskwise.pretrain.replicate import PretrainRun, pretraining

PROJECT = Path(__file__).parents[1]
IMAGES, SIDE, GRID, BATCH = 2000, 32, (8, 8), 64
FRESH = [10, 11, 12, 13, 14]
"""Seeds that nothing was chosen by; 0 and 1 chose the preset `best` (docs/methods/ahm.md)."""
NETWORK_STEPS = 384
"""24 epochs of 1,024 images."""
CELLS: dict[str, Any] = {"name": "a3c", "ratio": 0.25}
OF_IMAGE = {"advantage": "image_batch", "reward": {"credit": "image"}}
BOX: dict[str, Any] = {"name": "dqn", "box": [4, 4]}
ARMS: dict[str, tuple[dict[str, Any], int]] = {
    "a3c": ({**CELLS, "preset": "best"}, 144),
    "ahm": ({**CELLS, "preset": "ahm"}, 432),
    "dqn": (BOX, 216),
    "image_batch": ({**CELLS, **OF_IMAGE}, 144),
    "a3c_asynchronous": ({**CELLS, "learner": "asynchronous", "workers": 2}, 144),
    "hardest": (
        {"name": "hardest", "ratio": 0.25, "order": "constant", "share_end": 0.5},
        20,
    ),
    # Wrong on purpose: the test must fail them, or it has no power.
    "wrong_cell_value": (
        {
            **CELLS,
            "advantage": "cell_value",
            "mismatch": "allow",
        },
        144,
    ),
    "wrong_constant": ({**CELLS, "preset": "ahm", "reward": {"told": "constant"}}, 288),
    "wrong_shuffled_a3c": ({**CELLS, "reward": {"told": "shuffled"}}, 144),
    "wrong_shuffled_dqn": ({**BOX, "told": "shuffled"}, 216),
}
"""The policy, and the steps in which it learns."""
BARS: dict[str, dict[str, float]] = {
    "all": {
        "lift": 2.0,
        "lift - lift_centre": 0.5,
        "lift - lift_variance": 0.0,
        "content_lift": 1.0,
        "position_share": 0.5,
    },
    "hardest": {"lift - lift_uniform": 0.15, "content_lift": 0.15},
}
"""Figure -> what its interval must lie above; the position share's below. A figure that is
undefined fails its bar."""
FIGURES = (
    "lift",
    "lift_uniform",
    "lift_centre",
    "lift_variance",
    "lift_mean_map",
    "lift_oracle",
    "content_lift",
    "position_share",
    "variance_correlation",
    "error_correlation",
    "overlap",
    "reward",
    "error",
    "error_mean_image",
)


def main() -> None:
    """Run the arms that have no row yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=FRESH)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--into", type=Path, default=PROJECT / "docs/results/acceptance.csv")
    parser.add_argument("--judge", action="store_true", help="hold what there is to the bars")
    arguments = parser.parse_args()
    if arguments.judge:
        judge(pd.read_csv(arguments.into))
        return
    logging.basicConfig(level=logging.WARNING)
    for seed in arguments.seeds:
        missing = [arm for arm in arguments.arms if not known(arguments.into, seed, arm)]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            store, splits = make_store(Path(folder), seed)
            for arm in missing:
                row = {"seed": seed, "arm": arm, **run(store, splits, seed, arm)}
                append(arguments.into, row)
                print(row, flush=True)


def make_store(folder: Path, seed: int) -> tuple[Store, pd.DataFrame]:
    """Draw the seed's own phantoms, 1,024 or a few more of them to train on."""
    source = PhantomConfig(IMAGES, seed=1000 + seed)
    raw = folder / "raw"
    for name, content in source.files():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(content)
    manifest = ingest(raw, source, IngestConfig(workers=1), "phantom").manifest
    images = SourcePreprocessConfig(
        height=SIDE,
        width=SIDE,
        modality="ultrasound",
        label="diagnosis",
        validation_share=0.4,
        test_share=0.08,
        split_seed=seed,
    )
    made = preprocess(raw, manifest, images, PreprocessConfig(workers=1), "phantom")
    made.write_store(folder / "store")
    return open_store(folder / "store"), for_seed(made.splits, 0)


def run(store: Store, splits: pd.DataFrame, seed: int, arm: str) -> dict[str, Any]:
    """Train the network, then the policy; return what its masks hide in the end."""
    policy, steps = ARMS[arm]
    block = {
        "objective": {"name": "autoencoder"},
        "policy": policy,
        "encoder": {"name": "context_cnn"},
        "schedule": {"name": "staged", "first": 1.0, "policy_steps": steps},
    }
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        replicate = PretrainRun(
            recipe=parse_recipe(block, arm),
            budget=Budget(grid=GRID, steps=NETWORK_STEPS, batch_size=BATCH),
            config=PretrainConfig(),
            source="phantom",
            recipe_name=arm,
            seed=seed,
            checkpoints=Path(folder),
        )
        with pretraining(store, splits, replicate) as result:
            history = result.history
    last = history.ffill().iloc[-1]
    figures = {name: round(float(last[name]), 4) for name in FIGURES if name in last}
    seconds = round(time.perf_counter() - begin)
    threads = torch.get_num_threads()
    return {"policy_steps": steps, **figures, "seconds": seconds, "threads": threads}


def judge(table: pd.DataFrame) -> None:
    """Print each arm's figures with t intervals, how many bars it passes, and the learners."""
    print("| arm | seeds | " + " | ".join(BARS["all"]) + " | bars passed |")
    print("| --- " * (len(BARS["all"]) + 3) + "|")
    for arm, rows in table.groupby("arm", sort=False):
        bars = BARS.get(str(arm), BARS["all"])
        passed = sum(holds(rows, name, bar) for name, bar in bars.items())
        shown = " | ".join(said(rows.eval(name)) for name in BARS["all"])
        print(f"| `{arm}` | {len(rows)} | {shown} | {passed} of {len(bars)} |")
    learners = table.pivot(index="seed", columns="arm", values=["lift", "seconds"])
    pair = ("a3c_asynchronous", "a3c")
    if set(pair) <= set(table["arm"]):
        for figure in ("lift", "seconds"):
            difference = learners[figure][pair[0]] - learners[figure][pair[1]]
            print(f"\n{figure}, asynchronous - synchronous: {said(difference.dropna())}")


def ends(values: pd.Series) -> tuple[float, float]:
    """Return the ends of the 95 % t interval of the mean over seeds."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std() / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def holds(rows: pd.DataFrame, name: str, bar: float) -> bool:
    """Say whether the figure's interval lies on the right side of its bar."""
    low, high = ends(rows.eval(name))
    return high < bar if name == "position_share" else low > bar


def said(values: pd.Series) -> str:
    """Return mean and interval in print."""
    low, high = ends(values)
    return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"


def known(path: Path, seed: int, arm: str) -> bool:
    """Return whether the table has the arm's row."""
    if not path.exists():
        return False
    table = pd.read_csv(path)
    return bool(((table["seed"] == seed) & (table["arm"] == arm)).any())


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row to the table."""
    columns = ["seed", "arm", "policy_steps", *FIGURES, "seconds", "threads"]
    table = pd.DataFrame([row]).reindex(columns=columns)
    table.to_csv(path, mode="a", index=False, header=not path.exists())


if __name__ == "__main__":
    main()
