"""A recipe, a source and a search space in; trials, the best values and a page out."""

from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

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
) -> tuple[Any, str, dict[str, Any]]:
    """Make the study's trials, or go on with those that are left."""
    from maskwise.pipelines.tuning import read_run
    from maskwise.tune import stage

    base = {"recipe": recipe_block, "pretrain": budget, "finetune": settings}
    blocks = dict(zip(_BLOCKS, options, strict=True))
    result = stage.tune(store, splits, read_run(blocks, base, source, recipe, project))
    return result.trials, result.best, result.facts


@stands_alone
def draw_study(trials: Any, facts: dict[str, Any]) -> str:
    """Draw the page of a study."""
    from maskwise.report import tuning

    return tuning.render(trials, facts)


def create_pipeline(studies: dict[str, Study], project: Path) -> Pipeline:
    """A study for each recipe of each source with labels, of which a run makes one."""
    return Pipeline(
        [
            node
            for study in studies.values()
            if study.finetunes
            for recipe in study.recipes
            for node in _nodes(study, recipe, project)
        ]
    )


def _nodes(study: Study, recipe: str, project: Path) -> list[Node]:
    namespace = f"{study.source}.{recipe}"
    trials, best, facts, page = (
        study.collected(recipe, artefact) for artefact in ("trials", "best", "study", "page")
    )
    search = Node(
        bind(tune, source=study.source, recipe=recipe, project=project),
        [
            study.dataset("store"),
            study.dataset("splits"),
            f"params:{recipe}",
            study.parameters("pretrain"),
            study.parameters("finetune"),
            *(f"params:{block}" for block in _BLOCKS),
        ],
        [trials, best, facts],
        name="tune",
        namespace=namespace,
        tags="tune",
    )
    drawn = Node(
        draw_study,
        [trials, facts],
        page,
        name="draw_study",
        namespace=namespace,
        tags="report",
    )
    return [search, drawn]
