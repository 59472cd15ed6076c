"""Rank recipes by their validation images, as a study chooses before it looks at its test part.

Reads the committed table of a study (`keep_replicates.py`) and no row of its test part. Printed
are macro AUROC per recipe, as the mean over seeds with its standard error, and the mean
difference from a recipe, paired by seed. Where images show several labels, it is the mean over
the labels that some validation images show and others do not.

    python benchmarks/validation_scores.py transfer --against imagenet_lite0 --fraction 0.1
    python benchmarks/validation_scores.py phantom_fine --against mae --recipes miram --seeds 0

Without `--seeds`, the mean of a recipe is over all seeds that it has, which may be others than
those of the next recipe; a difference is over the seeds that both have.
"""

import argparse

import pandas as pd
from sklearn.metrics import roc_auc_score

from score_replicates import (
    ROOT,
    add_choice_of_replicates,
    as_table,
    chosen,
    read_predictions,
    task_of,
)


def main() -> None:
    """Print one row per recipe, the best first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="docs/results/STUDY_cells.parquet")
    parser.add_argument("--against", required=True, help="a recipe")
    parser.add_argument("--fraction", type=float, default=0.1, help="of the labels")
    parser.add_argument("--mode", default="probe", choices=["probe", "full"])
    add_choice_of_replicates(parser)
    arguments = parser.parse_args()
    predictions = read_predictions(ROOT / f"docs/results/{arguments.study}_cells.parquet")
    recipes = arguments.recipes and [*arguments.recipes, arguments.against]
    predictions = chosen(predictions, "recipe", recipes)
    predictions = chosen(predictions, "seed", arguments.seeds)
    scores = by_seed(predictions, arguments.fraction, arguments.mode)
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
    auroc = of_labels if task_of(predictions) == "multilabel" else of_classes
    scores = {
        key: auroc(rows) for key, rows in asked.groupby(["seed", "recipe"], observed=True)
    }
    return pd.Series(scores).unstack()


def of_classes(rows: pd.DataFrame) -> float:
    """Return macro AUROC, one class against the rest."""
    classes = [name for name in rows.columns if name.startswith("p_")]
    return float(
        roc_auc_score(
            rows["truth"].astype(str),
            rows[classes].div(rows[classes].sum(axis=1), axis=0),
            labels=[name.removeprefix("p_") for name in classes],
            multi_class="ovr",
        )
    )


def of_labels(rows: pd.DataFrame) -> float:
    """Return macro AUROC over the labels that some images show and others do not."""
    labels = [name.removeprefix("p_") for name in rows.columns if name.startswith("p_")]
    differ = [name for name in labels if rows[f"truth_{name}"].nunique() > 1]
    truth, chances = ([f"{kind}_{name}" for name in differ] for kind in ("truth", "p"))
    return float(roc_auc_score(rows[truth], rows[chances], average="macro"))


def mean_and_error(values: "pd.Series[float]") -> str:
    """Return the mean, and its standard error where there is more than one value."""
    text = f"{values.mean():.3f}"
    return f"{text} (standard error {values.sem():.3f})" if len(values) > 1 else text


if __name__ == "__main__":
    main()
