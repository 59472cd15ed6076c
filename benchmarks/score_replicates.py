"""Score what a finished study predicted, from its committed tables alone: Markdown.

    python benchmarks/score_replicates.py lgg --metrics volume_dice hd95

reads `docs/results/lgg_cells.parquet`, `lgg_subsets.parquet` and
`conf/base/parameters_evaluate.yml` and prints what `kedro run --pipelines lgg --tags evaluate`
would write: scores with intervals, what is left as labels vanish, then paired differences. A
figure is missing where in some fold nothing defines it. A study that was kept before its
subsets were has no second table, and nothing is said of labels that vanish.

Recipes can be compared only over the same seeds. Where a study has more seeds of some recipes
than of others, ask for the seeds that all have, or for the recipes that have them all:

    python benchmarks/score_replicates.py phantom_fine --seeds 0 1 2 3 4
    python benchmarks/score_replicates.py phantom_fine --recipes mae miram miram_upsampled

Of the comparisons that were named beforehand, only those among the recipes asked for are
printed, and p (Holm) is adjusted for these alone: ask for the recipes of all of them at once.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from maskwise.artefacts.tables import SUBSETS
from maskwise.config import parse
from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.stage import Evaluated, evaluate

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs/results"
MODES = {
    "probe": "linear probe",
    "knn": "nearest-neighbour probe",
    "full": "full fine-tuning",
}
METRICS = {
    "macro_auroc": "macro AUROC",
    "macro_average_precision": "macro average precision",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "volume_dice": "Dice of a volume",
    "volume_hd95": "95 % Hausdorff distance of a volume",
    "dice": "Dice of an image",
    "lesion_dice": "Dice of an image that shows a lesion",
    "hd95": "95 % Hausdorff distance of an image",
}
"""Those of all tasks; a study has its own."""


def main() -> None:
    """Print all tables of one study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", help="docs/results/STUDY_cells.parquet")
    parser.add_argument("--metrics", nargs="+", help="by default the leading one")
    parser.add_argument("--fractions", nargs="+", type=float, help="by default all")
    add_choice_of_replicates(parser)
    parser.add_argument("--paired", nargs="+", help="metrics whose differences are printed")
    parser.add_argument("--notes", action="store_true", help="print the notes as well")
    arguments = parser.parse_args()
    predictions = read_predictions(ROOT / f"docs/results/{arguments.study}_cells.parquet")
    predictions = chosen(predictions, "fraction", arguments.fractions)
    predictions = chosen(predictions, "recipe", arguments.recipes)
    predictions = chosen(predictions, "seed", arguments.seeds)
    subsets = subsets_of(
        predictions, read_subsets(RESULTS / f"{arguments.study}_subsets.parquet")
    )
    found = evaluate(predictions, subsets, options(), arguments.study, task_of(predictions))
    if arguments.notes:
        print("\n".join(f"- {note}" for note in found.scores["notes"]))
    for metric in arguments.metrics or [found.scores["leading"]]:
        for mode in sorted(set(predictions["mode"]), reverse=True):
            print(f"\n### {METRICS.get(metric, metric)}, {MODES[mode]}\n")
            print(scores_table(found, metric, mode))
    print(shrinkage_tables(found))
    for metric in arguments.paired or [found.scores["leading"]]:
        print(f"\n### Paired differences of {METRICS.get(metric, metric)}\n")
        print(differences_table(found.paired[found.paired["metric"] == metric]))


def task_of(predictions: pd.DataFrame) -> str:
    """Return what was learnt; a committed table does not say it."""
    for column, task in (("tp_", "lesion"), ("threshold_", "multilabel")):
        if any(str(name).startswith(column) for name in predictions):
            return task
    return "diagnosis"


def add_choice_of_replicates(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which replicates are read."""
    parser.add_argument("--seeds", nargs="+", type=int, help="by default all")
    parser.add_argument("--recipes", nargs="+", help="by default all")


def chosen(
    predictions: pd.DataFrame, column: str, wanted: Sequence[float | str] | None
) -> pd.DataFrame:
    """Return the rows whose ``column`` is among ``wanted``; where that is nothing, all."""
    if not wanted:
        return predictions
    present = sorted(set(predictions[column]))
    absent, kept = (
        ", ".join(map(str, values))
        for values in ([one for one in wanted if one not in present], present)
    )
    if absent:
        raise SystemExit(f"no {column} {absent} was kept; there are {kept}")
    return predictions[predictions[column].isin(list(wanted))]


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a committed table, its small types made plain."""
    table = pd.read_parquet(path)
    named = table.select_dtypes("category").columns
    table = table.astype(dict.fromkeys(named, object))
    if table["fraction"].dtype == "float32":  # as it was once kept: .1 is .10000000149
        table = table.assign(fraction=table["fraction"].astype(float).round(6))
    return table


def read_subsets(path: Path) -> pd.DataFrame:
    """Read which labels each fraction used; no rows where that was not kept."""
    if not path.exists():
        return pd.DataFrame(columns=list(SUBSETS))
    return read_predictions(path)[list(SUBSETS)]


def subsets_of(predictions: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """Return the ``subsets`` of what was predicted, as they were kept.

    Of replicates without them, the whole validation part; which images trained is not known.
    """
    of = ["source", "recipe", "seed", "fraction"]
    asked = pd.MultiIndex.from_frame(predictions[of])
    there = pd.MultiIndex.from_frame(kept[of])
    rows = predictions[(predictions["split"] == "validation") & ~asked.isin(there)]
    old = rows[[*of, "image_id", "group"]].assign(role="validation", label=rows["truth"])
    known = kept[there.isin(asked)]
    parts = [each for each in (known, old) if len(each)]
    return pd.concat(parts or [old], ignore_index=True)


def options() -> EvaluateConfig:
    """Return the project's options of evaluate."""
    block = yaml.safe_load((ROOT / "conf/base/parameters_evaluate.yml").read_text("utf-8"))
    return parse(EvaluateConfig, block["evaluate"], "evaluate")


def scores_table(found: Evaluated, metric: str, mode: str) -> str:
    """Return recipes down, fractions across."""
    fractions = sorted({row for modes in _modes(found, mode) for row in modes[1]}, key=float)
    head = ["recipe", *(f"{100 * float(share):g} % of the labels" for share in fractions[::-1])]
    lines = []
    for recipe, points in _modes(found, mode):
        figures = [points.get(share, {}).get(metric) for share in fractions[::-1]]
        lines.append([f"`{recipe}`", *(score(each) for each in figures)])
    return as_table([head, *lines])


def _modes(found: Evaluated, mode: str) -> list[tuple[str, dict[str, Any]]]:
    scores = found.scores["scores"]
    return [(recipe, modes[mode]) for recipe, modes in sorted(scores.items()) if mode in modes]


def score(figures: dict[str, float] | None) -> str:
    """Return a score with its interval."""
    if figures is None:
        return ""
    if figures["value"] is None:
        return "—"
    return f"{figures['value']:.3f} [{figures['low']:.3f}, {figures['high']:.3f}]"


def shrinkage_tables(found: Evaluated) -> str:
    """Return what is left as labels vanish, of recipes and of pairs; empty if unknown."""
    parts: list[str] = []
    for mode, entry in sorted(found.scores["shrinkage"].items(), reverse=True):
        rows = [
            [f"`{name}`", told(one["area"]), told(one["drop"])]
            for name, one in sorted(entry["recipes"].items())
        ]
        title = (
            f"{METRICS.get(found.scores['leading'], found.scores['leading'])}, {MODES[mode]}"
        )
        parts += [f"\n### As labels vanish: {title}\n"]
        parts += [as_table([["recipe", "area under the curve", "share lost"], *rows])]
        head = ["recipe", "against", "larger area by", "share lost more by"]
        rows = [
            [f"`{pair['recipe']}`", f"`{pair['against']}`"]
            + [told(pair[name], "+") for name in ("area", "drop")]
            for pair in entry["pairs"]
        ]
        parts += ["", as_table([head, *rows])] if rows else []
    return "\n".join(parts)


def told(figures: dict[str, float | None], sign: str = "") -> str:
    """Return a figure with its interval, as far as it has them."""
    value, low, high = (figures[end] for end in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "—" if value is None else f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def differences_table(paired: pd.DataFrame) -> str:
    """Return one row per comparison; a p only of those that were named beforehand."""
    head = ["mode", "labels", "recipe", "against", "difference", "p", "p (Holm)"]
    lines = [
        [
            str(row.mode),
            f"{100 * row.fraction:g} %",
            f"`{row.recipe}`",
            f"`{row.against}`",
            difference(row.difference, row.low, row.high),
            *("" if pd.isna(p) else f"{p:.3f}" for p in (row.p, row.p_holm)),
        ]
        for row in paired.sort_values(
            ["mode", "fraction"], ascending=[True, False], kind="stable"
        ).itertuples()
    ]
    if paired["p"].isna().all():
        head, lines = head[:5], [line[:5] for line in lines]
    return as_table([head, *lines])


def difference(value: float, low: float, high: float) -> str:
    """Return a difference with its interval."""
    return "—" if pd.isna(value) else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def as_table(lines: list[list[str]]) -> str:
    """Return a table of the lines, the first of them its head."""
    lines = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
