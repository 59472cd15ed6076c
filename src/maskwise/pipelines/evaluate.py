"""All replicates' predictions in; scores and paired differences out."""

from dataclasses import dataclass
from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines.binding import bind
from maskwise.pipelines.standing import stands_alone
from maskwise.replicates import Replicate, Study


@dataclass(frozen=True)
class Predicted:
    """What the seeds of one recipe predicted."""

    predictions: Any
    """Data frame, ``artefacts.tables.PREDICTIONS``."""
    subsets: Any
    """Data frame, ``artefacts.tables.SUBSETS`` with ``recipe`` and ``seed``."""


@stands_alone
def collect_predictions(*tables: Any, replicates: tuple[Replicate, ...]) -> Predicted:
    """Join the seeds of one recipe; ``tables`` are each replicate's predictions and subsets."""
    import pandas as pd

    subsets = [
        table.assign(recipe=replicate.recipe, seed=replicate.seed)
        for replicate, table in zip(replicates, tables[1::2], strict=True)
    ]
    return Predicted(
        predictions=pd.concat(tables[::2], ignore_index=True),
        subsets=pd.concat(subsets, ignore_index=True),
    )


@stands_alone
def evaluate(
    options: dict[str, Any],
    settings: dict[str, Any],
    manifest: Any,
    store: Any,
    *predicted: Predicted,
    source: str,
) -> tuple[Any, ...]:
    """Score all replicates of the source: the only reader of the test split's truth."""
    from maskwise.evaluate import stage
    from maskwise.evaluate.referee.stage import Images, referee
    from maskwise.evaluate.referee.table import referee_table
    from maskwise.pipelines import parsing

    everything = join(*predicted)
    budget = parsing.finetune_source(settings, f"{source}.finetune")
    config, task = parsing.evaluate(options, "evaluate"), budget.task.scored_as
    result = stage.evaluate(everything.predictions, everything.subsets, config, source, task)
    images = Images(manifest, store)
    asked = referee(everything.predictions, everything.subsets, images, config, source, task)
    return (
        result.scores,
        headline(result.scores),
        result.paired,
        result.label_efficiency,
        asked,
        referee_table(asked),
    )


def headline(scores: dict[str, Any]) -> dict[str, Any]:
    """Return what `dvc metrics diff` shows: the leading metric by recipe, mode, fraction."""
    leading = scores["leading"]
    figures = {
        recipe: {
            mode: {
                f"{float(fraction):.0%}": metrics[leading]["value"]
                for fraction, metrics in fractions.items()
            }
            for mode, fractions in modes.items()
        }
        for recipe, modes in scores["scores"].items()
    }
    counts = {key: scores[key] for key in ("n_images", "n_groups", "n_seeds")}
    return {leading: figures, "test": counts}


def join(*predicted: Predicted) -> Predicted:
    """Lay the recipes of a source below one another."""
    import pandas as pd

    return Predicted(
        predictions=pd.concat([one.predictions for one in predicted], ignore_index=True),
        subsets=pd.concat([one.subsets for one in predicted], ignore_index=True),
    )


def create_pipeline(study: Study) -> Pipeline:
    """The stage of one source, after one node per recipe that joins its seeds in memory.

    Joined inside the recipe's namespace, because what a replicate writes and no node in
    its namespace reads would appear on kedro-viz's first page, once per seed.
    """
    artefacts = (
        "scores",
        "metrics",
        "paired",
        "label_efficiency",
        "referee",
        "referee_table",
    )
    of_images = [study.dataset(artefact) for artefact in ("manifest", "store")]
    joined = [study.collected(recipe, "predictions") for recipe in study.recipes]
    node = Node(
        bind(evaluate, source=study.source),
        ["params:evaluate", study.parameters("finetune"), *of_images, *joined],
        [study.dataset(artefact) for artefact in artefacts],
        name="evaluate",
        tags="evaluate",
    )
    return Pipeline([*(_collect(study, recipe) for recipe in study.recipes), node])


def _collect(study: Study, recipe: str) -> Node:
    replicates = study.replicates(recipe)
    return Node(
        bind(collect_predictions, replicates=replicates),
        [each for one in replicates for each in one.datasets("predictions", "subsets")],
        study.collected(recipe, "predictions"),
        name="collect_predictions",
        namespace=recipe,
        tags=["evaluate", "report"],
    )
