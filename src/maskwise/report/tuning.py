"""The page of a study of tune."""

import itertools
import shlex
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pandas as pd

from maskwise.errors import shown
from maskwise.report.elements import (
    Commands,
    Element,
    Files,
    Fold,
    Items,
    Paragraph,
    Pictures,
    Section,
    Table,
)
from maskwise.report.figures.tuning import (
    draw_curves,
    draw_history,
    draw_importances,
    draw_parallel,
)
from maskwise.report.formatting import labels, listing, number, share
from maskwise.report.html import render_html
from maskwise.report.pictures import as_svg
from maskwise.report.scores import METRICS
from maskwise.wording import count

MODES = {
    "probe": "a linear probe of the frozen encoder",
    "full": "the fine-tuned network",
    "knn": "a probe by nearest neighbours",
}


def render(trials: pd.DataFrame, study: Mapping[str, Any], folder: str) -> str:
    """Draw the page; the same trials give the same bytes.

    Args:
        trials: ``tables.TRIALS``.
        study: what ``tune.stage.Tuned`` calls facts.
        folder: in which the page will lie, as one types it in the project's.
    """
    return render_html(
        "tuning.html.jinja",
        study["source"],
        False,
        title=f"tuning of {study['recipe']}",
        recipe=study["recipe"],
        sentence=sentence(trials, study),
        first=list(_first(study, folder)),
        sections=[
            _history(trials, study),
            _mattered(trials, study),
            _given_up(trials, study),
            _files(study),
        ],
    )


def sentence(trials: pd.DataFrame, study: Mapping[str, Any]) -> str:
    """Say which trial is the best, of how many, and by what."""
    best = trials[trials["trial"] == study["best"]].iloc[0]
    asked = study["objective"]
    return (
        f"Of {count(study['counted'], 'trial')}, number {study['best']} is the best: "
        f"{number(best['score'])} {_metric(study)} on validation images, by "
        f"{MODES[asked['mode']]} with {labels(asked['fraction'])}, the mean over "
        f"{count(len(study['seeds']), 'seed')}."
    )


def unused_seeds(seeds: Collection[int]) -> Iterator[int]:
    """Yield as many seeds as there are, none of which is one of them."""
    return itertools.islice(
        (seed for seed in itertools.count() if seed not in seeds), len(seeds)
    )


def _metric(study: Mapping[str, Any]) -> str:
    metric: str = study["metric"]
    return METRICS.get(metric, metric)


def _first(study: Mapping[str, Any], folder: str) -> Iterator[Element]:
    rows = [
        [path, "—" if before is None else shown(before), shown(value)]
        for path, (before, value) in study["changes"].items()
    ]
    yield Table("The best trial's values", ["parameter", "recipe", "best"], rows)
    yield Paragraph(
        "Of many trials the best is also the luckiest: its validation score is too good by "
        "that choice alone, and no test image was looked at. How good it is, the test part "
        "says once, with seeds that the study did not use: write "
        f"`seeds: {list(unused_seeds(study['seeds']))}` for {study['source']} in "
        "conf/base/experiment.yml, and type"
    )
    yield Commands(
        [
            shlex.join(["cp", f"{folder}/best.yml", "conf/local/parameters_tuned.yml"]),
            f"kedro run --pipelines {study['source']}",
        ]
    )
    yield Paragraph(
        "To add trials later, take conf/local/parameters_tuned.yml away first: the study is "
        "one of the recipe as it was, and refuses the tuned one."
    )


def _history(trials: pd.DataFrame, study: Mapping[str, Any]) -> Section:
    pictures = [
        as_svg(
            draw_history(trials, _metric(study)),
            "Score of each complete trial, in their order",
            "Each complete trial's score; the line is the best so far.",
        )
    ]
    return Section("history", "History", [Pictures(pictures)])


def _mattered(trials: pd.DataFrame, study: Mapping[str, Any]) -> Section:
    elements: list[Element] = []
    shares = study["importances"]
    if shares:
        picture = as_svg(
            draw_importances(shares),
            "Each parameter's share of what scores differ by",
            "Importance of each parameter, of complete trials alone; parameters that are not "
            "searched in every trial are left out.",
        )
        elements.append(Pictures([picture]))
    else:
        elements.append(
            Paragraph(
                "Too few trials were completed, or they scored too much alike, to say which "
                "parameter matters."
            )
        )
    lines = as_svg(
        draw_parallel(trials, study["parameters"], _metric(study)),
        "Each trial as a line over the axes of all parameters",
        "Parallel coordinates: one line per trial, the brighter the better; grey: given up.",
    )
    return Section("mattered", "What mattered", [*elements, Pictures([lines])])


def _given_up(trials: pd.DataFrame, study: Mapping[str, Any]) -> Section:
    tallies = trials["state"].value_counts()
    states = [f"{tallies[state]} {state}" for state in tallies.index]
    complete = trials[trials["state"] == "complete"]
    counted = trials[trials["state"].isin(["complete", "given up"])]
    elements: list[Element] = [Paragraph(f"Trials: {listing(states)}.")]
    if complete["epochs"].sum():
        spent, whole = counted["epochs"].sum(), complete["epochs"].mean() * len(counted)
        elements.append(
            Paragraph(
                "Those that were completed or given up took "
                f"{count(int(spent), 'epoch')} of pre-training, "
                f"{share(round(100 * spent / whole) / 100)} of what they would have taken had "
                "none been given up."
            )
        )
    if any(study["curves"].values()):
        picture = as_svg(
            draw_curves(study["curves"], trials, study["reports"]),
            "What each trial's first seed reported during pre-training",
            "Balanced accuracy, of outlines Dice, of nearest neighbours during the first "
            "seed's pre-training; a cross marks where a trial was given up.",
        )
        elements.append(Pictures([picture]))
    reasons = [f"Trial {row.trial}: {row.why}" for row in trials.itertuples() if row.why]
    if reasons:
        elements.append(Fold("Why, trial by trial", [Items(reasons)]))
    return Section("given-up", "What was given up", elements)


def _files(study: Mapping[str, Any]) -> Section:
    return Section(
        "files",
        "Files",
        [
            Files(
                [
                    ("trials.parquet", "all trials, one row each"),
                    ("best.yml", "the best trial's values, to be laid over conf/"),
                    ("study.json", "what this page is drawn from, beside the trials"),
                ]
            ),
            Paragraph(
                f"The study is called {study['study']}. More trials are added to it by a "
                "larger `tune.trials` and the same command, as long as best.yml is not laid "
                "over conf/."
            ),
        ],
    )
