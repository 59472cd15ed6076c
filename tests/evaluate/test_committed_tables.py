"""The scripts in benchmarks/ that score a study from its committed table."""

import importlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from evaluate.test_evaluate import replicate
from evaluate.test_multilabel_scores import LABELS, predicted
from project import PROJECT

SEEDS = {"mae": (0, 1, 2), "miram": (0, 1, 2), "scratch": (0, 1)}
"""A study in which a recipe has fewer seeds than others."""


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Return both scripts, which find table and options below ``tmp_path``."""
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    found = {
        name: importlib.import_module(name)
        for name in ("score_replicates", "validation_scores")
    }
    options = "conf/base/parameters_evaluate.yml"
    (tmp_path / options).parent.mkdir(parents=True)
    shutil.copy(PROJECT / options, tmp_path / options)
    (tmp_path / "docs/results").mkdir(parents=True)
    for module in found.values():
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return found


def several_labels() -> pd.DataFrame:
    """Return validation and test predictions of several labels."""
    return pd.concat(
        [
            predicted(recipe, seed, images=40).assign(split=split)
            for recipe, seeds in SEEDS.items()
            for seed in seeds
            for split in ("validation", "test")
        ]
    )


def macro(metric: Callable[..., Any], tables: Sequence[pd.DataFrame]) -> float:
    """Return the mean over labels and tables; two images per group weigh all images alike."""
    return float(
        np.mean(
            [
                metric(rows[f"truth_{name}"], rows[f"p_{name}"])
                for rows in tables
                for name in LABELS
            ]
        )
    )


def printed(
    script: ModuleType,
    table: pd.DataFrame,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> dict[str, list[str]]:
    """Return what a script prints of a study: first cell of a row -> the others."""
    table.to_parquet(script.ROOT / "docs/results/films_cells.parquet")
    monkeypatch.setattr("sys.argv", [f"{script.__name__}.py", "films", *line.split()])
    script.main()
    rows = [row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()]
    return {cells[0]: cells[1:] for cells in rows if len(cells) > 1 and cells[0] != "---"}


def test_several_labels_are_told_by_their_thresholds_and_scored_label_by_label(
    scripts: dict[str, ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script, table = scripts["score_replicates"], several_labels()
    assert script.task_of(table) == "multilabel"
    assert script.task_of(replicate("mae", 0)) == "diagnosis"
    assert script.task_of(pd.DataFrame(columns=["p_a", "tp_a"])) == "lesion"
    line = "--seeds 0 1 --metrics macro_average_precision"
    rows = printed(script, table, line, monkeypatch, capsys)
    test = table[(table["split"] == "test") & (table["seed"] < 2)]
    for recipe in SEEDS:
        each = [rows for _, rows in test[test["recipe"] == recipe].groupby("seed")]
        assert rows[f"`{recipe}`"][0].startswith(
            f"{macro(average_precision_score, each):.3f} ["
        )


def test_recipes_of_other_seeds_are_compared_once_some_of_them_are_asked_for(
    scripts: dict[str, ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script, table = scripts["score_replicates"], several_labels()
    rows = printed(script, table, "--recipes mae miram", monkeypatch, capsys)
    test = table[(table["split"] == "test") & (table["recipe"] == "mae")]
    each = [rows for _, rows in test.groupby("seed")]
    assert "`scratch`" not in rows
    assert rows["`mae`"][0].startswith(f"{macro(roc_auc_score, each):.3f} [")


@pytest.mark.parametrize("name", ["score_replicates", "validation_scores"])
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--recipes mea", "no recipe mea was kept; there are mae, miram, scratch"),
        ("--seeds 1 7", "no seed 7 was kept; there are 0, 1, 2"),
    ],
)
def test_recipes_and_seeds_that_were_not_kept_are_named(
    scripts: dict[str, ModuleType],
    name: str,
    line: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line += " --against mae" if name == "validation_scores" else ""
    with pytest.raises(SystemExit, match=told):
        printed(scripts[name], several_labels(), line, monkeypatch, capsys)


def test_validation_images_rank_the_recipes_and_seeds_that_are_asked_for(
    scripts: dict[str, ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script, table = scripts["validation_scores"], several_labels()
    table.loc[table["split"] == "test", [f"p_{name}" for name in LABELS]] = 0.5
    line = "--against mae --fraction 1 --recipes scratch --seeds 1"
    rows = printed(script, table, line, monkeypatch, capsys)
    assert {*rows} == {"recipe", "`mae`", "`scratch`"}
    asked = table[(table["split"] == "validation") & (table["seed"] == 1)]
    for recipe in ("mae", "scratch"):
        auroc = macro(roc_auc_score, [asked[asked["recipe"] == recipe]])
        assert rows[f"`{recipe}`"][:2] == ["1", f"{auroc:.3f}"]
    everything = printed(script, table, "--against mae --fraction 1", monkeypatch, capsys)
    assert [everything[f"`{name}`"][0] for name in SEEDS] == ["3", "3", "2"]
