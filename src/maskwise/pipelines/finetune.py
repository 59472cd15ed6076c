"""Encoder and few labels in; predictions and models out, one node per replicate."""

from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines.binding import bind
from maskwise.pipelines.standing import stands_alone
from maskwise.replicates import Replicate, Study


@stands_alone
def finetune(
    encoder: Any,
    store: Any,
    splits: Any,
    fractions: list[float],
    settings: dict[str, Any],
    options: dict[str, Any],
    *,
    replicate: Replicate,
) -> tuple[Any, Any, Any]:
    """Probe and fine-tune the replicate's encoder at every label fraction."""
    from maskwise.finetune import stage
    from maskwise.pipelines import parsing

    run = stage.FinetuneRun(
        budget=parsing.finetune_source(settings, f"{replicate.source}.finetune"),
        config=parsing.finetune(options, "finetune"),
        fractions=tuple(fractions),
        source=replicate.source,
        recipe=replicate.recipe,
        seed=replicate.seed,
    )
    result = stage.finetune(encoder, store, splits, run)
    return result.subsets, result.predictions, result.write_models


def create_pipeline(study: Study) -> Pipeline:
    """The stage of one source: one node per replicate, in the replicate's namespace."""
    return Pipeline([_node(study, replicate) for replicate in study.all_replicates])


def _node(study: Study, replicate: Replicate) -> Node:
    return Node(
        bind(finetune, replicate=replicate),
        [
            replicate.dataset("encoder"),
            study.dataset("store"),
            study.dataset("splits"),
            study.fractions_parameter,
            study.parameters("finetune"),
            "params:finetune",
        ],
        replicate.datasets("subsets", "predictions", "models"),
        name="finetune",
        namespace=replicate.namespace,
        tags="finetune",
    )
