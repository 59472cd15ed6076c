"""A study that costs no training: its scores follow from the values by arithmetic."""

from dataclasses import dataclass, field
from functools import partial
from operator import mul
from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.study import Study

from maskwise.config import parse
from maskwise.tune.config import TuneConfig
from maskwise.tune.space import Space, Values, build_space
from maskwise.tune.storage import open_study
from maskwise.tune.trials import Progress, Score, Trials

RATE = "recipe.optimisation.learning_rate"
SPACE: dict[str, Any] = {RATE: {"name": "float", "low": 0.0, "high": 1.0}}
EPOCHS = 9


@dataclass
class Toy:
    """Scores ``rate + seed / 1000``; each of nine epochs reports ``rate * share``."""

    asked: list[tuple[float, int, int]] = field(default_factory=list)
    """Rate, seed and trial of every call."""
    done: list[int] = field(default_factory=list)

    def __call__(self, values: Values, seed: int, trial: int, progress: Progress) -> Score:
        self.asked.append((values[RATE], seed, trial))
        for epoch in range(1, EPOCHS + 1):
            progress(epoch / EPOCHS, partial(mul, values[RATE], epoch / EPOCHS))
        return Score("macro_auroc", values[RATE] + seed / 1000)

    def finished(self, trial: int) -> None:
        self.done.append(trial)


def config(**options: Any) -> TuneConfig:
    """Return options of tune that search ``SPACE`` for the recipe ``toy``."""
    return parse(TuneConfig, {"spaces": {"toy": SPACE}, **options}, "tune")


def space(options: TuneConfig) -> Space:
    return build_space(options.space("toy"), "tune.spaces.toy")


def open_toy(folder: Path, options: TuneConfig, **facts: Any) -> Study:
    return open_study(options, folder, "toy", {"space": space(options).described(), **facts})


def run(folder: Path, train: Any = None, **options: Any) -> tuple[Study, Any]:
    """Make the trials of a study in ``folder``; return it, and what trained."""
    chosen, train = config(**options), train or Toy()
    study = open_toy(folder, chosen)
    turn = FileLock(folder / "turn.lock")
    Trials(study, space(chosen), chosen, train, train.finished, turn).run()
    return study, train
