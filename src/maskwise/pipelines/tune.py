"""A recipe, a source and a search space in; trials, the best values and a page out."""

from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines import standing
from maskwise.pipelines.binding import bind
from maskwise.pipelines.standing import stands_alone
from maskwise.replicates import Study

_BLOCKS = ("tune", "pretrain", "finetune", "evaluate")
"""Parameter files of stages that a study reads."""


@stands_alone
def tune(
    store: Any,
    splits: Any,
    recipe_block: dict[str, Any],
    budget: dict[str, Any],
    settings: dict[str, Any],
    *options: dict[str, Any],
    source: str,
    recipe: str,
    project: Path,
) -> tuple[Any, str, dict[str, Any], str]:
    """Make the study's trials, or go on with those that are left, and draw the page.

    In one node, which several workers may be in at once: all of them end with the last trial.
    """
    from maskwise.pipelines.tuning import read_run
    from maskwise.report import tuning
    from maskwise.tune import stage

    folder = standing.folder()

    base = {"recipe": recipe_block, "pretrain": budget, "finetune": settings}
    blocks = dict(zip(_BLOCKS, options, strict=True))
    result = stage.tune(store, splits, read_run(blocks, base, source, recipe, project))
    page = tuning.render(result.trials, result.facts, shown_folder(folder, project))
    return result.trials, result.best, result.facts, page


def shown_folder(folder: Path | None, project: Path) -> str:
    """Return a folder as one types it in the project's; a blank to fill where none is known."""
    if folder is None:
        return "FOLDER"
    return str(folder.relative_to(project) if folder.is_relative_to(project) else folder)


def create_pipeline(studies: dict[str, Study], project: Path) -> Pipeline:
    """A study for each recipe of each source with labels, of which a run makes one."""
    return Pipeline(
        [
            _node(planned, recipe, project)
            for planned in studies.values()
            if planned.finetunes
            for recipe in planned.recipes
        ]
    )


def _node(planned: Study, recipe: str, project: Path) -> Node:
    namespace = f"{planned.source}.{recipe}"
    trials, best, facts, page = (
        planned.collected(recipe, artefact) for artefact in ("trials", "best", "study", "page")
    )
    return Node(
        bind(tune, source=planned.source, recipe=recipe, project=project),
        [
            planned.dataset("store"),
            planned.dataset("splits"),
            f"params:{recipe}",
            planned.parameters("pretrain"),
            planned.parameters("finetune"),
            *(f"params:{block}" for block in _BLOCKS),
        ],
        [trials, best, facts, page],
        name="tune",
        namespace=namespace,
        tags="tune",
    )
