"""What pruning saves: epochs until a pruned study has the unpruned study's best score.

Studies of SimCLR with a small encoder on generated images, in pairs with the same trials:
values at random, which no result changes. Of each pair one trains every trial to its end; the
other is the same study under `prune_epochs` and `prune_seeds` as they are by default. Equal
values and seeds give equal weights; so the second study takes its reports and scores from the
first one's training, up to where it gives a trial up. Aim: at most half of the epochs, the
median over the studies.

A study can be tuned, and so pruned, as far as its validation images can tell trials apart.
With 36 of them the seeds of one trial differ as much as trials do, and no early look knows
better. So as many validate here as train.

    python benchmarks/pruning.py [--studies 5] [--trials 20] [--seeds 2] [--epochs 9]
"""

import argparse
import math
import shutil
import statistics
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.study import Study
from optuna.trial import TrialState

from maskwise.config import parse
from maskwise.evaluate.config import EvaluateConfig
from maskwise.finetune.run import FinetuneConfig
from maskwise.pretrain.recipe import PretrainConfig
from maskwise.tune.config import TuneConfig
from maskwise.tune.objective import Training
from maskwise.tune.pruning import HyperbandConfig
from maskwise.tune.space import Values, build_space
from maskwise.tune.storage import open_study
from maskwise.tune.trials import EPOCHS, Figure, Progress, Score, Trials
from turns import machine

SPACE: dict[str, Any] = {
    "recipe.optimisation.learning_rate": {
        "name": "float", "low": 0.0001, "high": 0.03, "log": True,
    },
    "recipe.objective.temperature": {"name": "float", "low": 0.05, "high": 1.0, "log": True},
    "recipe.optimisation.weight_decay": {
        "name": "float", "low": 0.001, "high": 0.3, "log": True,
    },
}  # fmt: skip
RECIPE: dict[str, Any] = {
    "objective": {"name": "simclr", "temperature": 0.2},
    "policy": {"name": "none"},
    "encoder": {"name": "context_cnn", "widths": [8, 16, 32], "convolutions": [1, 1, 1]},
    "augmentation": {"horizontal_flip": False, "shift_px": 0},
}
PRUNER, FIRST = HyperbandConfig(), 0
"""Whose decisions are made, of the first seed."""
TO_THE_END = {"prune_epochs": {"name": "none"}, "prune_seeds": {"name": "none"}}


def told(measured: float | None) -> float | None:
    """Return what was measured when it was trained."""
    return measured


@dataclass
class Remembered:
    """Trains what was not trained before, and tells the rest as it was told then."""

    train: Training
    known: dict[tuple[Any, ...], tuple[list[tuple[float, float | None]], Score]] = field(
        default_factory=dict
    )

    def __call__(self, values: Values, seed: int, trial: int, progress: Progress) -> Score:
        key = (*sorted(values.items()), seed)
        if key not in self.known:
            heard: list[tuple[float, float | None]] = []

            def hear(share: float, figure: Figure) -> None:
                report = math.floor(PRUNER.reports * share + 1e-9)
                decides = seed == FIRST and report in PRUNER.decides
                heard.append((share, figure() if decides else None))

            score = self.train(values, seed, trial, hear)
            self.known[key] = heard, score
        heard, score = self.known[key]
        for share, measured in heard:
            progress(share, partial(told, measured))
        return score

    def finished(self, trial: int) -> None:
        """Leave nothing behind."""
        self.train.finished(trial)


def make_images(folder: Path, images: int, side: int) -> Training:
    """Generate images, and bring them to what a study trains on."""
    from maskwise.artefacts.store import open_store
    from maskwise.ingest.config import IngestConfig
    from maskwise.ingest.sources.phantom import PhantomConfig
    from maskwise.ingest.stage import ingest
    from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
    from maskwise.preprocess.stage import preprocess

    raw = folder / "raw"
    source = PhantomConfig(images=images)
    for path, content in source.files():
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).write_bytes(content)
    found = ingest(raw, source, IngestConfig(workers=1), "phantom")
    block = {
        "height": side, "width": side, "modality": "ultrasound", "label": "diagnosis",
        "validation_share": 0.45, "test_share": 0.1,
    }  # fmt: skip
    own = parse(SourcePreprocessConfig, block, "phantom.preprocess")
    prepared = preprocess(raw, found.manifest, own, PreprocessConfig(workers=1), "phantom")
    prepared.write_store(folder / "store")
    return Training(
        store=open_store(folder / "store"),
        splits=prepared.splits,
        source="phantom",
        recipe="simclr",
        base={},
        objective=TuneConfig().objective,
        pretrain=PretrainConfig(device="cpu"),
        finetune=FinetuneConfig(device="cpu"),
        evaluate=EvaluateConfig(),
        reports=TuneConfig().prune_epochs.reports,
        folder=folder / "trials",
    )


def run(folder: Path, train: Remembered, number: int, asked: dict[str, Any]) -> Study:
    """Make all trials of a study."""
    block = {
        "spaces": {"simclr": SPACE},
        "sampler": {"name": "random", "seed": number},
        **asked,
    }
    config = parse(TuneConfig, block, "tune")
    space = build_space(config.space("simclr"), "tune.spaces.simclr")
    study = open_study(config, folder, f"study {number}", {})
    turn = FileLock(folder / "turn.lock")
    Trials(study, space, config, train, train.finished, turn).run()
    return study


def spent(study: Study) -> int:
    """Return the epochs of all trials."""
    return sum(int(trial.user_attrs[EPOCHS]) for trial in study.get_trials())


def until(study: Study, score: float) -> float:
    """Return the epochs until a complete trial scored so much; infinite where none did."""
    epochs = 0
    for trial in study.get_trials():
        epochs += int(trial.user_attrs[EPOCHS])
        complete = trial.state is TrialState.COMPLETE  # others have their last report as value
        if complete and trial.value is not None and trial.value >= score - 1e-12:
            return epochs
    return math.inf


def main() -> None:
    """Print each study, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=5)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--images", type=int, default=960)
    parser.add_argument("--side", type=int, default=32)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        compare(folder, arguments)
    finally:
        shutil.rmtree(folder)


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    """Run the studies in pairs."""
    training = make_images(folder, arguments.images, arguments.side)
    trained = int((training.splits["split"] == "train").sum())
    batch = 16
    training.base.update(
        recipe=RECIPE,
        pretrain={
            "grid": [8, 8],
            "steps": arguments.epochs * math.ceil(trained / batch),
            "batch_size": batch,
        },
        finetune={"task": {"name": "diagnosis"}, "steps": 1, "batch_size": batch},
    )
    print(
        f"{machine()}; {arguments.studies} studies of {arguments.trials} trials, "
        f"{arguments.seeds} seeds, {arguments.epochs} epochs of {trained} images"
    )
    reached, whole = [], []
    for number in range(arguments.studies):
        train = Remembered(training)
        asked = {"trials": arguments.trials, "seeds": list(range(arguments.seeds))}
        full = run(folder / f"{number}_full", train, number, {**asked, **TO_THE_END})
        pruned = run(folder / f"{number}_pruned", train, number, asked)
        epochs = spent(full)
        reached.append(until(pruned, full.best_value) / epochs)
        whole.append(spent(pruned) / epochs)
        print(
            f"study {number}: best {full.best_value:.4f} and {pruned.best_value:.4f}; "
            f"reached after {reached[-1]:.3f} of {epochs} epochs, all trials took "
            f"{whole[-1]:.3f}",
            flush=True,
        )
    print(f"median until the unpruned best: {statistics.median(reached):.3f} of the epochs")
    print(f"median of all trials: {statistics.median(whole):.3f} of the epochs")


if __name__ == "__main__":
    main()
