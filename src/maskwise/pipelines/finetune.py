"""Encoder and few labels in; predictions and models out, one node per cell."""

from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.cells import Cell, Study
from maskwise.pipelines import blocks
from maskwise.pipelines.binding import bind


def finetune(
    encoder: Any,
    store: Any,
    splits: Any,
    fractions: list[float],
    settings: dict[str, Any],
    options: dict[str, Any],
    *,
    cell: Cell,
) -> tuple[Any, Any, Any]:
    """Probe and fine-tune the cell's encoder at every label fraction."""
    from maskwise.finetune import stage

    run = stage.FinetuneRun(
        budget=blocks.finetune_source(settings, f"{cell.source}.finetune"),
        config=blocks.finetune(options, "finetune"),
        fractions=tuple(fractions),
        source=cell.source,
        recipe=cell.recipe,
        seed=cell.seed,
    )
    result = stage.finetune(encoder, store, splits, run)
    return result.subsets, result.predictions, result.write_models


def create_pipeline(study: Study) -> Pipeline:
    """The stage of one source: one node per cell, in the cell's namespace."""
    cells = [cell for recipe in study.recipes for cell in study.cells(recipe)]
    return Pipeline([_node(study, cell) for cell in cells])


def _node(study: Study, cell: Cell) -> Node:
    return Node(
        bind(finetune, cell=cell),
        [
            cell.dataset("encoder"),
            study.dataset("store"),
            study.dataset("splits"),
            study.fractions_parameter,
            study.parameters("finetune"),
            "params:finetune",
        ],
        [cell.dataset("subsets"), cell.dataset("predictions"), cell.dataset("models")],
        name="finetune",
        namespace=cell.namespace,
        tags="finetune",
    )
