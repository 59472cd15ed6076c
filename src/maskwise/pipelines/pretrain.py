"""Store and splits in; an encoder and the story of its training out, one node per replicate."""

from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines.binding import bind
from maskwise.pipelines.standing import stands_alone, until_saved
from maskwise.replicates import Replicate, Study


@stands_alone
def pretrain(
    store: Any,
    splits: Any,
    recipe: dict[str, Any],
    budget: dict[str, Any],
    options: dict[str, Any],
    learnt: Any = None,
    *,
    replicate: Replicate,
    project: Path,
) -> tuple[Any, Any, Any, Any]:
    """Train the replicate's encoder without labels, or go on where a run was interrupted."""
    # torch takes seconds to import, and Kedro loads this module to list the pipelines.
    from maskwise.pretrain.replicate import pretraining

    run = run_of(recipe, budget, options, learnt, replicate, project)
    result = until_saved(pretraining(store, splits, run))
    result.encoder.metadata = result.metadata
    return result.encoder, result.history, result.gallery, result.policy


def run_of(
    recipe: dict[str, Any],
    budget: dict[str, Any],
    options: dict[str, Any],
    learnt: Any,
    replicate: Replicate,
    project: Path,
) -> Any:
    """Return the ``PretrainRun`` that the blocks of YAML describe."""
    from maskwise.pipelines import parsing
    from maskwise.pretrain.replicate import PretrainRun

    config = parsing.pretrain(options, "pretrain")
    return PretrainRun(
        recipe=parsing.recipe(recipe, replicate.recipe),
        budget=parsing.pretrain_source(budget, f"{replicate.source}.pretrain"),
        config=config,
        source=replicate.source,
        recipe_name=replicate.recipe,
        seed=replicate.seed,
        checkpoints=project / config.checkpoints / replicate.checkpoints,
        learnt=learnt,
    )


def create_pipeline(study: Study, project: Path) -> Pipeline:
    """The stage of one source: one node per replicate, in the replicate's namespace."""
    return Pipeline([_node(study, replicate, project) for replicate in study.all_replicates])


def _node(study: Study, replicate: Replicate, project: Path) -> Node:
    before = study.before(replicate)
    return Node(
        bind(pretrain, replicate=replicate, project=project),
        [
            study.dataset("store"),
            study.dataset("splits"),
            f"params:{replicate.recipe}",
            study.parameters("pretrain"),
            "params:pretrain",
            *([] if before is None else [before.dataset("policy")]),
        ],
        replicate.datasets("encoder", "history", "gallery", "policy"),
        name="pretrain",
        namespace=replicate.namespace,
        tags="pretrain",
    )
