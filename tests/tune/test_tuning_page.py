"""The page of a study, and the file that its best trial leaves."""

from html import unescape
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from maskwise.artefacts.tables import TRIALS, check_columns
from maskwise.config import overlaid
from maskwise.evaluate.config import EvaluateConfig
from maskwise.finetune.run import FinetuneConfig
from maskwise.pretrain.recipe import PretrainConfig, parse_recipe
from maskwise.report.tuning import render
from maskwise.tune.space import Values
from maskwise.tune.stage import Tuned, TuneRun, summarise
from maskwise.tune.trials import Progress, Score
from pretrain.toys import SIMCLR
from tune.toys import RATE, Toy, config, run, space

FOLDER = "reports of ours/tuning/toy"
BASE: dict[str, Any] = {
    "recipe": SIMCLR,
    "pretrain": {"steps": 5},
    "finetune": {"task": {"name": "diagnosis"}, "steps": 5},
}


def summed_up(folder: Path, train: Any = None, **options: Any) -> Tuned:
    """Return what a study says when all its trials are made."""
    study, _ = run(folder, train, **options)
    asked = config(**options)
    stages = PretrainConfig(), FinetuneConfig(), EvaluateConfig()
    return summarise(
        study, TuneRun(asked, "phantom", "toy", BASE, *stages, folder), space(asked)
    )


@pytest.fixture(scope="module")
def tuned(shared_folder: Path) -> Tuned:
    """Return what a study of eight trials says, some of them given up."""
    return summed_up(shared_folder, trials=8, seeds=[0, 1], sampler={"name": "random"})


def test_the_best_file_laid_over_conf_is_the_best_trials_recipe(tuned: Tuned) -> None:
    laid = overlaid({"toy": SIMCLR}, yaml.safe_load(tuned.best))

    best = tuned.trials.loc[tuned.trials["score"].idxmax()]
    assert parse_recipe(laid["toy"], "toy").optimisation.learning_rate == best[RATE]
    assert tuned.best.startswith("# The best of 8 trials")


def test_the_table_has_a_row_per_trial_and_survives_its_file(
    tuned: Tuned, tmp_path: Path
) -> None:
    check_columns(tuned.trials, TRIALS, "trials")
    tuned.trials.to_parquet(tmp_path / "trials.parquet", index=False)

    again = pd.read_parquet(tmp_path / "trials.parquet")
    assert list(again["trial"]) == list(range(8))
    assert again.loc[again["state"] == "given up", "why"].str.contains("of seed 0").all()


def test_the_page_says_what_is_best_what_mattered_and_what_was_given_up(tuned: Tuned) -> None:
    page = render(tuned.trials, tuned.facts, FOLDER)

    best = tuned.trials.loc[tuned.trials["score"].idxmax()]
    first = f"Of 8 trials, number {best['trial']} is the best: {best['score']:.3f} macro AUROC"
    assert first in page
    for words in (
        "over 2 seeds",
        "Parallel coordinates",
        "of 9 of seed 0",
        "Those that were completed or given up took",
        f"cp '{FOLDER}/best.yml' conf/local",
        "seeds: [2, 3]",
        "To add trials later, take conf/local/parameters_tuned.yml away first",
    ):
        assert words in unescape(page)
    assert page == render(tuned.trials, tuned.facts, FOLDER)


class BrokenOff(Toy):
    """Is interrupted in its first training."""

    def __call__(self, values: Values, seed: int, trial: int, progress: Progress) -> Score:
        if not self.asked:
            self.asked.append((values[RATE], seed, trial))
            raise KeyboardInterrupt
        return super().__call__(values, seed, trial, progress)


def test_a_trial_that_was_tried_again_counts_once(folder: Path) -> None:
    options: dict[str, Any] = {"trials": 2, "seeds": [0], "prune_epochs": {"name": "none"}}
    toy = BrokenOff()
    with pytest.raises(KeyboardInterrupt):
        run(folder, toy, **options)

    tuned = summed_up(folder, toy, **options)

    assert sorted(tuned.trials["state"]) == ["complete", "complete", "interrupted"]
    assert "Of 2 trials, number" in render(tuned.trials, tuned.facts, FOLDER)
