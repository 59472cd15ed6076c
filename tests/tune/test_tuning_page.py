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
from maskwise.tune.stage import Tuned, TuneRun, summarise
from pretrain.toys import SIMCLR
from tune.toys import RATE, config, run, space

FOLDER = "reports of ours/tuning/toy"
BASE: dict[str, Any] = {
    "recipe": SIMCLR,
    "pretrain": {"steps": 5},
    "finetune": {"task": {"name": "diagnosis"}, "steps": 5},
}


@pytest.fixture(scope="module")
def tuned(shared_folder: Path) -> Tuned:
    """Return what a study of eight trials says, some of them given up."""
    options: dict[str, Any] = {"trials": 8, "seeds": [0, 1], "sampler": {"name": "random"}}
    study, _ = run(shared_folder, **options)
    asked = config(**options)
    stages = PretrainConfig(), FinetuneConfig(), EvaluateConfig()
    return summarise(
        study, TuneRun(asked, "phantom", "toy", BASE, *stages, shared_folder), space(asked)
    )


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
    assert f"Trial {best['trial']} of 8 is the best: {best['score']:.3f} macro AUROC" in page
    for words in (
        "over 2 seeds",
        "Parallel coordinates",
        "of 9 of seed 0",
        f"cp '{FOLDER}/best.yml' conf/local",
        "seeds: [2, 3]",
    ):
        assert words in unescape(page)
    assert page == render(tuned.trials, tuned.facts, FOLDER)
