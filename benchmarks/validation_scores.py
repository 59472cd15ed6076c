"""Rank recipes by their validation images, as a study chooses before it looks at its test part.

Reads the committed table of a study (`keep_replicates.py`) and no row of its test part. Printed
are macro AUROC per recipe, as the mean over seeds with its standard error, and the mean
difference from a recipe, paired by seed.

    python benchmarks/validation_scores.py transfer --against imagenet_lite0 --fraction 0.1
"""

import argparse

import pandas as pd
from sklearn.metrics import roc_auc_score

from score_replicates import ROOT, as_table, read_predictions


def main() -> None:
    """Print one row per recipe, the best first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="docs/results/STUDY_cells.parquet")
    parser.add_argument("--against", required=True, help="a recipe")
    parser.add_argument("--fraction", type=float, default=0.1, help="of the labels")
    parser.add_argument("--mode", default="probe", choices=["probe", "full"])
    arguments = parser.parse_args()
    scores = by_seed(
        read_predictions(ROOT / f"docs/results/{arguments.study}_cells.parquet"),
        arguments.fraction,
        arguments.mode,
    )
    differences = scores.sub(scores[arguments.against], axis=0)
    lines = [["recipe", "seeds", "macro AUROC", f"less `{arguments.against}`"]]
    for recipe in scores.mean().sort_values(ascending=False).index:
        apart = differences[recipe].dropna()
        lines.append(
            [
                f"`{recipe}`",
                str(scores[recipe].count()),
                mean_and_error(scores[recipe].dropna()),
                mean_and_error(apart) if recipe != arguments.against else "",
            ]
        )
    print(as_table(lines))


def by_seed(predictions: pd.DataFrame, fraction: float, mode: str) -> pd.DataFrame:
    """Return macro AUROC of validation images, seeds down and recipes across."""
    asked = predictions[
        (predictions["split"] == "validation")
        & (predictions["fraction"] == fraction)
        & (predictions["mode"] == mode)
    ]
    classes = [name for name in asked.columns if name.startswith("p_")]
    scores = {
        key: roc_auc_score(
            rows["truth"].astype(str),
            rows[classes].div(rows[classes].sum(axis=1), axis=0),
            labels=[name.removeprefix("p_") for name in classes],
            multi_class="ovr",
        )
        for key, rows in asked.groupby(["seed", "recipe"], observed=True)
    }
    return pd.Series(scores).unstack()


def mean_and_error(values: "pd.Series[float]") -> str:
    """Return the mean, and its standard error where there is more than one value."""
    text = f"{values.mean():.3f}"
    return f"{text} (standard error {values.sem():.3f})" if len(values) > 1 else text


if __name__ == "__main__":
    main()
