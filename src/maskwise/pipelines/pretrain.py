"""Store and splits in; an encoder and the story of its training out, one node per cell."""

from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.cells import Cell, Study
from maskwise.pipelines import blocks
from maskwise.pipelines.binding import bind
from maskwise.pipelines.saving import until_saved


def pretrain(
    store: Any,
    splits: Any,
    recipe: dict[str, Any],
    budget: dict[str, Any],
    options: dict[str, Any],
    *,
    cell: Cell,
    project: Path,
) -> tuple[Any, Any, Any]:
    """Train the cell's encoder without labels, or go on where an interrupted run stopped."""
    # torch takes seconds to import, and Kedro loads this module to list the pipelines.
    from maskwise.pretrain.cell import PretrainRun, pretraining

    config = blocks.pretrain(options, "pretrain")
    run = PretrainRun(
        recipe=blocks.recipe(recipe, cell.recipe),
        budget=blocks.pretrain_source(budget, f"{cell.source}.pretrain"),
        config=config,
        source=cell.source,
        recipe_name=cell.recipe,
        seed=cell.seed,
        checkpoints=project / config.checkpoints / cell.checkpoints,
    )
    result = until_saved(pretraining(store, splits, run))
    result.encoder.metadata = result.metadata
    return result.encoder, result.history, result.gallery


def create_pipeline(study: Study, project: Path) -> Pipeline:
    """The stage of one source: one node per cell, in the cell's namespace."""
    cells = [cell for recipe in study.recipes for cell in study.cells(recipe)]
    return Pipeline([_node(study, cell, project) for cell in cells])


def _node(study: Study, cell: Cell, project: Path) -> Node:
    return Node(
        bind(pretrain, cell=cell, project=project),
        [
            study.dataset("store"),
            study.dataset("splits"),
            f"params:{cell.recipe}",
            study.parameters("pretrain"),
            "params:pretrain",
        ],
        [cell.dataset("encoder"), cell.dataset("history"), cell.dataset("gallery")],
        name="pretrain",
        namespace=cell.namespace,
        tags="pretrain",
    )
