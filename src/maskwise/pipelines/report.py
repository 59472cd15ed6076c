"""All artefacts in; one page out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines import parsing
from maskwise.pipelines.binding import bind
from maskwise.pipelines.evaluate import Predicted, join
from maskwise.replicates import Replicate, Study

_OF_SOURCE = ("manifest", "rejects", "data_summary", "splits", "scores", "paired", "store")


@dataclass(frozen=True)
class Trained:
    """How the seeds of one recipe were trained, by ``(recipe, seed)``."""

    histories: dict[tuple[str, int], Any]
    galleries: dict[tuple[str, int], Any]
    models: dict[tuple[str, int], Path]
    """Folder of the fine-tuned models."""


def collect_training(*artefacts: Any, replicates: tuple[Replicate, ...]) -> Trained:
    """Join the seeds of one recipe: each replicate's history, gallery and models."""
    runs = [(replicate.recipe, replicate.seed) for replicate in replicates]
    return Trained(
        histories=dict(zip(runs, artefacts[::3], strict=True)),
        galleries=dict(zip(runs, artefacts[1::3], strict=True)),
        models=dict(zip(runs, artefacts[2::3], strict=True)),
    )


def report(
    options: dict[str, Any],
    loop: dict[str, Any],
    settings: dict[str, Any],
    *artefacts: Any,
    study: Study,
) -> tuple[str, bytes, Any]:
    """Draw the page; ``artefacts`` stand in the order of ``create_pipeline``."""
    from maskwise.pretrain.diagnostics.symptoms import warnings
    from maskwise.report import page
    from maskwise.report.inputs import ReportInputs

    of_source = dict(zip(_OF_SOURCE, artefacts, strict=False))
    rest = artefacts[len(_OF_SOURCE) :]
    count = len(study.recipes)
    recipes = dict(zip(study.recipes, rest[:count], strict=True))
    predicted: list[Predicted] = list(rest[count : 2 * count])
    trained: list[Trained] = list(rest[2 * count :])
    histories = {run: table for one in trained for run, table in one.histories.items()}
    everything = join(*predicted)
    result = page.render(
        ReportInputs(
            source=study.source,
            generated=study.generated,
            **of_source,
            subsets=everything.subsets,
            predictions=everything.predictions,
            histories=histories,
            galleries={run: one for each in trained for run, one in each.galleries.items()},
            models={run: path for each in trained for run, path in each.models.items()},
            recipes=recipes,
            settings=settings,
            deterministic=parsing.pretrain(loop, "pretrain").deterministic,
            config=parsing.report(options, "report"),
            warnings={run: warnings(table) for run, table in histories.items()},
        )
    )
    return result.html, result.figure, result.training


def create_pipeline(study: Study) -> Pipeline:
    """The stage of one source, after one node per recipe that joins its seeds in memory."""
    node = Node(
        bind(report, study=study),
        [
            "params:report",
            "params:pretrain",
            f"params:{study.source}",
            *(study.dataset(artefact) for artefact in _OF_SOURCE),
            *(f"params:{recipe}" for recipe in study.recipes),
            *(study.collected(recipe, "predictions") for recipe in study.recipes),
            *(study.collected(recipe, "training") for recipe in study.recipes),
        ],
        [study.dataset(artefact) for artefact in ("report", "figure", "training_curves")],
        name="report",
        tags="report",
    )
    return Pipeline([*(_collect(study, recipe) for recipe in study.recipes), node])


def _collect(study: Study, recipe: str) -> Node:
    replicates = study.replicates(recipe)
    return Node(
        bind(collect_training, replicates=replicates),
        [each for one in replicates for each in one.datasets("history", "gallery", "models")],
        study.collected(recipe, "training"),
        name="collect_training",
        namespace=recipe,
        tags="report",
    )
