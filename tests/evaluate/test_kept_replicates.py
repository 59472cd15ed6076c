"""What a study commits says what evaluate said of its replicates, whenever it was kept."""

from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluate.test_evaluate import CLASSES, QUICK, replicate
from maskwise.evaluate.stage import Evaluated, evaluate
from project import PROJECT

RECIPES, SEEDS, FRACTIONS = ("dqn", "scratch"), (0, 1, 2), (0.1, 0.25, 1.0)
PROBABILITIES = [f"p_{name}" for name in CLASSES]


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))
    return import_module("keep_replicates"), import_module("score_replicates")


def predicted(recipe: str, seed: int, fraction: float) -> pd.DataFrame:
    """Return test and validation rows, answers so sure that float32 holds many of them as 1."""
    test = replicate(recipe, seed, 2.0 * fraction, fraction=fraction)
    held_out = replicate(recipe, seed, fraction=fraction, images=30, chance=1).assign(
        split="validation"
    )
    held_out = held_out.assign(
        image_id="v" + held_out["image_id"], group="w" + held_out["group"]
    )
    table = pd.concat([test, held_out], ignore_index=True)
    sure = table[PROBABILITIES].to_numpy() ** 12
    return table.assign(
        **dict(zip(PROBABILITIES, (sure / sure.sum(axis=1, keepdims=True)).T, strict=True))
    )


def used(table: pd.DataFrame) -> pd.DataFrame:
    """Return subsets: of 200 training images and of the validation part the fraction."""
    parts = []
    for (recipe, seed, fraction), rows in table.groupby(["recipe", "seed", "fraction"]):
        validated = rows[rows["split"] == "validation"].head(round(30 * fraction))
        names = [f"t{seed}{number}" for number in range(round(200 * fraction))]
        trained = pd.DataFrame({"image_id": names, "group": names, "label": "benign"})
        labels = validated[["image_id", "group"]].assign(label=validated["truth"])
        both = pd.concat(
            [trained.assign(role="train"), labels.assign(role="validation")], ignore_index=True
        )
        parts.append(both.assign(source="phantom", recipe=recipe, seed=seed, fraction=fraction))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    tables = [predicted(*one) for one in product(RECIPES, SEEDS, FRACTIONS)]
    return pd.concat(tables, ignore_index=True)


def finish(data: Path, predictions: pd.DataFrame) -> None:
    """Write replicates as finetune does."""
    for (recipe, seed), rows in predictions.groupby(["recipe", "seed"]):
        folder = data / f"07_model_output/phantom/predictions/{recipe}/s{seed}"
        folder.mkdir(parents=True)
        rows.to_parquet(folder / "predictions.parquet", index=False)
        used(rows).to_parquet(folder / "subsets.parquet", index=False)


def scored(score: Any, folder: Path) -> Evaluated:
    """Score a committed study by itself, as the script does."""
    table = score.read_predictions(folder / "phantom_cells.parquet")
    kept = score.read_subsets(folder / "phantom_subsets.parquet")
    return evaluate(table, score.subsets_of(table, kept), QUICK, "phantom", "diagnosis")


def test_committed_tables_give_every_figure_of_evaluate(
    scripts: tuple[Any, Any], predictions: pd.DataFrame, tmp_path: Path
) -> None:
    keep, score = scripts
    finish(tmp_path, predictions)
    keep.keep("phantom", tmp_path, tmp_path)
    again = scored(score, tmp_path)
    first = evaluate(predictions, used(predictions), QUICK, "phantom", "diagnosis")
    assert first.scores["shrinkage"]["probe"]["recipes"]["dqn"]["images"] == [20, 200]
    assert again.scores == first.scores
    pd.testing.assert_frame_equal(again.paired, first.paired)
    pd.testing.assert_frame_equal(again.label_efficiency, first.label_efficiency)
    printed = score.shrinkage_tables(again)
    (pair,) = first.scores["shrinkage"]["probe"]["pairs"]
    told = "{value:+.3f} [{low:+.3f}, {high:+.3f}]"
    row = (
        f"| `dqn` | `scratch` | {told.format(**pair['area'])} | {told.format(**pair['drop'])} |"
    )
    assert row in printed.splitlines()


def test_answers_that_differ_stay_apart_however_sure_they_are(
    scripts: tuple[Any, Any], predictions: pd.DataFrame, tmp_path: Path
) -> None:
    keep, score = scripts
    # Float32 has nothing between 1 and 1 - 6e-8.
    sure = 1 - 10.0 ** -np.linspace(8, 14, len(predictions))
    table = predictions.assign(p_benign=1 - sure, p_malignant=sure, p_normal=0.0)
    finish(tmp_path, table)
    keep.keep("phantom", tmp_path, tmp_path)
    kept = score.read_predictions(tmp_path / "phantom_cells.parquet")
    keys = ["recipe", "seed", "fraction", "split", "image_id"]
    both = table.merge(kept, on=keys, suffixes=("", "_kept"))
    assert len(both) == len(table)
    for name in PROBABILITIES:
        assert (both[name] == both[f"{name}_kept"]).all()


def test_what_was_kept_before_subsets_were_can_be_scored_and_added_to(
    scripts: tuple[Any, Any], predictions: pd.DataFrame, tmp_path: Path
) -> None:
    keep, score = scripts
    old = predictions[predictions["recipe"] == "scratch"]
    single = old.astype(dict.fromkeys([*PROBABILITIES, "fraction"], "float32"))
    words = ["source", "recipe", "mode", "image_id", "group", "split", "truth"]
    single.astype(dict.fromkeys(words, "category")).to_parquet(
        tmp_path / "phantom_cells.parquet"
    )
    alone = scored(score, tmp_path)
    assert alone.scores["shrinkage"] == {}
    assert score.shrinkage_tables(alone) == ""
    assert set(alone.scores["scores"]["scratch"]["probe"]) == {"1.0", "0.25", "0.1"}
    finish(tmp_path, predictions[predictions["recipe"] == "dqn"])
    keep.keep("phantom", tmp_path, tmp_path)
    both = scored(score, tmp_path).scores
    first = evaluate(predictions, used(predictions), QUICK, "phantom", "diagnosis").scores
    assert both["scores"]["dqn"] == first["scores"]["dqn"]
    # Each fraction's images are known from the recipes whose subsets were kept.
    areas = both["shrinkage"]["probe"]["recipes"]
    assert areas["dqn"] == first["shrinkage"]["probe"]["recipes"]["dqn"]
    assert areas["scratch"]["area"]["value"] == pytest.approx(
        first["shrinkage"]["probe"]["recipes"]["scratch"]["area"]["value"], abs=0.01
    )


def test_a_committed_study_of_before_is_read_whole(scripts: tuple[Any, Any]) -> None:
    _, score = scripts
    table = score.read_predictions(PROJECT / "docs/results/hippocampus_cells.parquet")
    subsets = score.subsets_of(table, score.read_subsets(PROJECT / "docs/results/none.parquet"))
    assert set(table["fraction"]) == {0.25, 1.0}
    assert set(subsets["role"]) == {"validation"}


def test_a_replicate_of_another_split_is_refused_and_one_of_a_fold_that_was_not_kept_is_not(
    scripts: tuple[Any, Any], predictions: pd.DataFrame, tmp_path: Path
) -> None:
    keep, _ = scripts
    finish(tmp_path, predictions)
    kept = keep.keep("phantom", tmp_path, tmp_path)
    other = predictions.assign(image_id="x" + predictions["image_id"])
    finish(tmp_path / "other", other)
    with pytest.raises(SystemExit, match=r"48 test images, such as x\w+, are not in phantom_c"):
        keep.keep("phantom", tmp_path / "other", tmp_path)
    finish(tmp_path / "fold", other.assign(fold=1))
    assert len(keep.keep("phantom", tmp_path / "fold", tmp_path)) == len(kept)


def test_a_replicate_without_its_subsets_is_refused_by_name(
    scripts: tuple[Any, Any], predictions: pd.DataFrame, tmp_path: Path
) -> None:
    keep, _ = scripts
    finish(tmp_path, predictions)
    (gone,) = tmp_path.rglob("dqn/s1/subsets.parquet")
    gone.unlink()
    with pytest.raises(
        SystemExit, match=r"dqn/s1: holds no subsets\.parquet; run its finetune"
    ):
        keep.keep("phantom", tmp_path, tmp_path)
    assert not list(tmp_path.glob("*.parquet"))
