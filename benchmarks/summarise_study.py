"""Tables of a finished study, as Markdown: what the pages in docs/results show.

Reads what `kedro run --pipelines <source>` wrote and adds nothing but means over seeds. The
interval of a mean over seeds is Student's, and holds the chance of training alone; the table
over seeds and groups draws the probe's groups as well. Those of scores are the report's own.

    python benchmarks/summarise_study.py phantom_study --pictures FOLDER > tables.md
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy import stats

from maskwise.array_types import Floats
from maskwise.artefacts.gallery import read_gallery
from maskwise.artefacts.store import Store, open_store
from maskwise.evaluate.resampling import LEAST, draw, interval, resample
from maskwise.masks import cell_means
from maskwise.pretrain.diagnostics.lift import lift_matrix
from maskwise.pretrain.diagnostics.lift import lifts as lift_draws
from maskwise.report.figures import agent_view
from score_replicates import METRICS, as_table, difference, score

DATA = Path(__file__).parents[1] / "data"
DRAWS = 4000
MODES = {
    "diagnosis": {"probe": "linear probe", "full": "full fine-tuning"},
    "multilabel": {"probe": "linear probe", "full": "full fine-tuning"},
    "lesion": {"probe": "decoder alone", "full": "full fine-tuning"},
}
FIGURES = {
    "lift": "lift",
    "content_lift": "content lift",
    "content_lift_above_variance": "its lead over most variance",
    "position_share": "position share",
    "variance_correlation": "rank correlation with variance",
    "entropy": "entropy",
    "top_share": "top share",
}


def main() -> None:
    """Print all tables of one source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument(
        "--pairs",
        nargs="+",
        default=["dqn:dqn_shuffled"],
        help="recipe:other, whose content lift is paired",
    )
    parser.add_argument("--pictures", type=Path, help="folder for the pictures")
    arguments = parser.parse_args()
    histories = read_histories(arguments.data, arguments.source)
    print("### What the agent chose, at the end of training\n")
    print(markdown(lifts(histories)))
    print("\n### Content lift over training, mean of the seeds\n")
    print(markdown(over_training(histories)))
    print("\n### At the end of training, over seeds and groups of probe images\n")
    print(markdown(over_groups(arguments.data, arguments.source)))
    for pair in arguments.pairs:
        print("\n" + paired(histories, *pair.split(":")))
    print("\n### Filling in, and speed\n")
    print(markdown(costs(arguments.data, arguments.source, histories)))
    if arguments.pictures:
        name = str(arguments.source)
        draw_lifts(histories, arguments.pictures / f"{name}_content_lift.png")
        for path in sorted(
            (arguments.data / "07_model_output" / name / "training").glob("*/s0/gallery.npz")
        ):
            draw_choices(path, arguments.pictures / f"{name}_{path.parts[-3]}.png")
    written = arguments.data / "08_reporting" / arguments.source / "scores.json"
    if written.exists():
        scores = json.loads(written.read_text(encoding="utf-8"))
        print_scores(scores)
        for metric in (scores["leading"], "hd95"):
            rows = differences(written.parent / "plots" / "paired.csv", metric)
            if rows:
                print(f"\n### Paired differences of {METRICS[metric]}\n")
                print(markdown(rows))


def read_histories(data: Path, source: str) -> pd.DataFrame:
    """Return one row per epoch of every replicate that trained."""
    tables = []
    for path in sorted(
        (data / "07_model_output" / source / "training").glob("*/s*/history.csv")
    ):
        table = pd.read_csv(path)
        if len(table):
            recipe, seed = path.parts[-3], int(path.parts[-2][1:])
            tables.append(table.assign(recipe=recipe, seed=seed))
    return pd.concat(tables, ignore_index=True)


def lifts(histories: pd.DataFrame) -> list[dict[str, str]]:
    """Return one row per recipe that hides something: last epochs, mean over seeds."""
    last = histories.groupby(["recipe", "seed"]).tail(1)
    rows = []
    for recipe, replicates in last.groupby("recipe"):
        if replicates["lift"].notna().any():
            row = {"recipe": f"`{recipe}`", "seeds": str(len(replicates))}
            row |= {
                shown: mean(replicates[name])
                for name, shown in FIGURES.items()
                if name in replicates
            }
            first = replicates.iloc[0]
            for name in ("uniform", "centre", "variance", "oracle"):
                row[f"{name} masks' lift"] = f"{first[f'lift_{name}']:.2f}"
            rows.append(row)
    return rows


def over_groups(data: Path, source: str) -> list[dict[str, str]]:
    """Return one row per recipe: lifts, intervals over seeds (Student) and groups (bootstrap).

    Computed anew from the masks that galleries keep of the last epoch they drew.
    """
    store = open_store(data / "03_primary" / source / "store")
    rows, galleries = [], data / "07_model_output" / source / "training"
    for recipe in sorted(path.name for path in galleries.iterdir()):
        replicates = sorted((galleries / recipe).glob("s*/gallery.npz"))
        drawn = [
            found for path in replicates if (found := drawn_lifts(path, store)) is not None
        ]
        if not drawn:
            continue
        if len({one[:2] for one in drawn}) > 1:
            return []  # Folds: each seed has probe images of its own.
        images, groups = drawn[0][0], drawn[0][1]
        draws = draw(len(drawn), (groups,), DRAWS, 0)
        lift, content = (
            resample(np.stack([one[place] for one in drawn]), draws) for place in (2, 3)
        )
        row = {"recipe": f"`{recipe}`", "seeds": str(len(drawn))}
        row |= {"images": str(images), "groups": str(groups)}
        for name, values in (("lift", lift), ("content lift", content)):
            low, high = interval(values.draws)
            row[name] = f"{values.value:.2f} [{low:.2f}, {high:.2f}]"
        rows.append(row)
    return rows


def drawn_lifts(path: Path, store: Store) -> tuple[int, int, Floats, Floats] | None:
    """Return how many images and groups the probe has, and both lifts ``(1 + DRAWS,)``."""
    with np.load(path, allow_pickle=False) as kept:
        ids, masks = kept["probe_ids"], kept["probe_masks"]
        side = kept["masks"].shape[2:] if kept["masks"].ndim == 4 else None
    if not len(masks) or side is None or store.masks is None:
        return None
    rows = store.rows(ids)
    hidden = np.unpackbits(masks[-1], axis=1)[:, : side[0] * side[1]].reshape(-1, *side)
    lesions = torch.from_numpy(np.asarray(store.masks[rows]) > 0).double()
    cells = cell_means(lesions[:, None], (side[0], side[1]))
    matrix = lift_matrix(torch.from_numpy(hidden).bool(), cells).numpy()
    groups = pd.factorize(store.index["group"].to_numpy()[rows])[0].astype(np.int64)
    counts = draw(1, (int(groups.max()) + 1,), DRAWS, 0).groups.T
    return len(rows), counts.shape[1], *lift_draws(matrix, groups, counts)


def over_training(histories: pd.DataFrame) -> list[dict[str, str]]:
    """Return one row per recipe, at the first epoch and at fifths of each seed's own epochs.

    In folds seeds train on other numbers of images, so that their epochs end at other steps.
    """
    rows = []
    for recipe, replicates in histories.dropna(subset=["content_lift"]).groupby("recipe"):
        lines = [line["content_lift"].to_numpy() for _, line in replicates.groupby("seed")]
        row = {"recipe": f"`{recipe}`"}
        for share in np.linspace(0, 1, 6):
            values = [line[round(share * (len(line) - 1))] for line in lines]
            shown = "first epoch" if not share else f"{share:.0%} of the epochs"
            row[shown] = f"{np.mean(values):.2f}"
        rows.append(row)
    return rows


def paired(histories: pd.DataFrame, recipe: str, other: str) -> str:
    """Return the difference of two recipes' final content lift, paired by seed."""
    last = (
        histories.groupby(["recipe", "seed"])
        .tail(1)
        .pivot(index="seed", columns="recipe", values="content_lift")
    )
    if not {recipe, other} <= set(last):
        return f"`{recipe}` or `{other}` was not run."
    difference = (last[recipe] - last[other]).dropna()
    return (
        f"Content lift of `{recipe}` minus `{other}`, paired by seed (n = {len(difference)} "
        f"seeds): {mean(difference)}."
    )


def costs(data: Path, source: str, histories: pd.DataFrame) -> list[dict[str, str]]:
    """Return one row per recipe: error in the mask beside two trivial answers, and time."""
    rows = []
    for recipe, replicates in histories.groupby("recipe"):
        last = replicates.dropna(subset=["error"]).groupby("seed").tail(1)
        runs = list(
            (data / "06_models" / source / "encoders" / str(recipe)).glob("s*/run.json")
        )
        facts = [next(iter(json.loads(run.read_text()).values())) for run in runs]
        row = {"recipe": f"`{recipe}`", "seeds": str(replicates["seed"].nunique())}
        for name, shown in (
            ("error", "error"),
            ("error_mean_image", "mean image"),
            ("error_smooth_fill", "smooth fill"),
        ):
            row[shown] = f"{last[name].mean():.2f}" if len(last) else ""
        row["seconds"] = f"{np.median([fact['seconds'] for fact in facts]):.0f}"
        speeds = [fact["images_per_second"] for fact in facts if "images_per_second" in fact]
        row["images/s"] = f"{np.median(speeds):.0f}" if speeds else ""
        rows.append(row)
    return rows


def draw_lifts(histories: pd.DataFrame, path: Path) -> None:
    """Draw content lift over training, one line per seed."""
    replicates = histories.dropna(subset=["content_lift"])
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for number, (recipe, table) in enumerate(replicates.groupby("recipe")):
        for seed, line in table.groupby("seed"):
            label = str(recipe) if seed == table["seed"].min() else None
            axes.plot(line["step"], line["content_lift"], f"C{number}-", lw=1.2, label=label)
    untrained = replicates["content_lift_variance"].dropna()
    if len(untrained):
        axes.axhline(untrained.iloc[-1], color="0.4", ls="-.", label="most variance, untrained")
    axes.axhline(0, color="0.7", lw=0.8)
    axes.set(xlabel="step", ylabel="content lift")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)


def draw_choices(gallery: Path, path: Path) -> None:
    """Draw masks and maps of three probe images with a lesion, at five moments."""
    shown = read_gallery(gallery)
    if not len(shown.epochs) or not shown.maps.size:
        return
    moments = np.unique(np.linspace(0, len(shown.epochs) - 1, 5).round().astype(np.int64))
    images = np.flatnonzero(shown.lesions.any(axis=(1, 2)))[:3]
    agent_view.draw(shown, moments, images).savefig(path, dpi=64)


def print_scores(scores: dict[str, Any]) -> None:
    """Print one table per metric and mode: recipes down, fractions across."""
    for metric, shown in METRICS.items():
        for mode, name in MODES[scores["task"]].items():
            rows = []
            for recipe, modes in scores["scores"].items():
                row = {"recipe": f"`{recipe}`"}
                for fraction in sorted(modes.get(mode, {}), key=float, reverse=True):
                    found = modes[mode][fraction].get(metric)
                    if found is not None and found["value"] is not None:
                        row[f"{100 * float(fraction):.0f} % of the labels"] = score(found)
                if len(row) > 1:
                    rows.append(row)
            if rows:
                print(f"\n### {shown}, {name}\n")
                print(markdown(rows))


def differences(path: Path, metric: str) -> list[dict[str, str]]:
    """Return the report's paired differences of a metric."""
    table = pd.read_csv(path)
    return [
        {
            "mode": row.mode,
            "labels": f"{100 * row.fraction:.0f} %",
            "recipe": f"`{row.recipe}`",
            "against": f"`{row.against}`",
            "difference": difference(row.difference, row.low, row.high),
            "p": "" if pd.isna(row.p) else f"{row.p:.3f}",
            "p (Holm)": "" if pd.isna(row.p_holm) else f"{row.p_holm:.3f}",
        }
        for row in table[table["metric"] == metric].itertuples()
    ]


def mean(values: pd.Series) -> str:
    """Return mean and Student's 95 % interval over seeds, of 1 or 2 the mean alone."""
    found = values.dropna()
    if len(found) < LEAST:
        return f"{found.mean():.2f}" if len(found) else ""
    half = stats.t.ppf(0.975, len(found) - 1) * stats.sem(found)
    return f"{found.mean():.2f} [{found.mean() - half:.2f}, {found.mean() + half:.2f}]"


def markdown(rows: Iterable[dict[str, str]]) -> str:
    """Return a table of the rows; what one of them lacks is a blank."""
    rows = list(rows)
    if not rows:
        return "(none)"
    names = list(dict.fromkeys(name for row in rows for name in row))
    return as_table([names, *([row.get(each, "") for each in names] for row in rows)])


if __name__ == "__main__":
    main()
