"""Blocks of YAML become a study of tune, which is checked before it begins."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline

from maskwise.config import overlaid
from maskwise.errors import UserError, hint, refuse, shown
from maskwise.finetune.run import check_modes
from maskwise.finetune.stage import check_device
from maskwise.pipelines import parsing
from maskwise.replicates import Replicate, Study
from maskwise.tune.objective import parse_blocks, refuse_folds
from maskwise.tune.space import Blocks, laid, overlay
from maskwise.tune.stage import TuneRun, check_study


def read_run(
    blocks: Mapping[str, Any], base: Blocks, source: str, recipe: str, project: Path
) -> TuneRun:
    """Return the study of ``recipe`` on ``source``.

    Args:
        blocks: options of the stages ``tune``, ``pretrain``, ``finetune``, ``evaluate``.
        base: the recipe's block and the source's ``pretrain`` and ``finetune``.
        source: name of the source.
        recipe: name of the recipe.
        project: the folder that paths in parameters begin at.
    """
    loop = parsing.pretrain(blocks["pretrain"], "pretrain")
    return TuneRun(
        config=parsing.tune(blocks["tune"], "tune"),
        source=source,
        recipe=recipe,
        base=base,
        pretrain=loop,
        finetune=parsing.finetune(blocks["finetune"], "finetune"),
        evaluate=parsing.evaluate(blocks["evaluate"], "evaluate"),
        folder=project / loop.checkpoints / source / "tune" / recipe,
    )


def without_password(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return the block ``tune`` as it may be written down: without what opens its database."""
    from maskwise.tune.storage import hidden

    storage = block.get("storage")
    return {**block, "storage": hidden(str(storage))} if storage else dict(block)


def replicates(pipeline: Pipeline, parameters: Mapping[str, Any]) -> list[Replicate]:
    """Return what a run of tune trains: one recipe of one source, with the study's seeds.

    Raises:
        UserError: if the run asks for several recipes, of which each has its own space.
    """
    studies = sorted(str(node.namespace) for node in pipeline.nodes if "tune" in node.tags)
    if len(studies) > 1:
        raise UserError(
            f"--pipelines tune: one recipe of one source per run, but this asks for "
            f"{len(studies)}; name one, as in --namespaces {studies[0]}"
        )
    source, recipe = studies[0].split(".")
    seeds = parsing.tune(parameters["tune"], "tune").seeds
    return [Replicate(source, recipe, seed) for seed in seeds]


def check(
    project: Path,
    parameters: Mapping[str, Any],
    planned: Study,
    recipe: str,
    recipes: Collection[str],
) -> None:
    """Raise ``UserError`` where a study could not begin, or would not mean what it says.

    Every parameter of the space is laid over the recipe at its extremes, parsed as the stages
    do, and built for the source's images.

    Args:
        project: The folder that paths in parameters begin at.
        parameters: All parameters, checked.
        planned: The source and its replicates.
        recipe: What is tuned.
        recipes: All that have a file.
    """
    source = planned.source
    base = {
        "recipe": parameters[recipe],
        **{stage: parameters[source][stage] for stage in ("pretrain", "finetune")},
    }
    run = read_run(parameters, base, source, recipe, project)
    unknown = [
        f"tune.spaces.{name}: there is no recipe {shown(name)}; {hint(name, recipes)}"
        for name in run.config.spaces
        if name not in recipes
    ]
    refuse(unknown)
    images = parsing.preprocess_source(parameters[source]["preprocess"], f"{source}.preprocess")
    refuse_folds(images.folds, source)
    check_device(run.finetune)  # of pretrain's, as before any run of it
    _check_recipe(run, planned)
    probes, problems = list(run.space.probes()), []
    for _, values in probes:
        try:
            parse_blocks(laid(values, base), f"tune.spaces.{recipe}.")
        except UserError as error:
            problems.append(str(error))
    refuse(problems)
    for path, values in probes:
        changes = overlay(values, base)
        own = {stage: block for stage, block in changes.items() if stage != "recipe"}
        tried = overlaid(parameters, {recipe: changes.get("recipe", {}), source: own})
        try:
            parsing.check_together(tried, replace(planned, recipes=(recipe,)))
        except UserError as error:
            raise UserError(
                f"tune.spaces.{recipe}.{path}: with {shown(values[path])} the recipe does not "
                f"suit the images ({error})"
            ) from None
    check_study(run)


def _check_recipe(run: TuneRun, planned: Study) -> None:
    parsed = parse_blocks(run.base, "")
    if parsed.recipe.transductive:
        raise UserError(
            f"{run.recipe}.transductive: true, but tune never looks at the test part; leave it "
            "out, or tune another recipe"
        )
    if run.recipe in planned.needs:
        raise UserError(
            f"--namespaces {run.name}: {run.recipe} asks the agent of "
            f"{planned.needs[run.recipe]}, which was trained with other seeds and for other "
            "images than a trial's; tune that recipe, or one that asks nobody"
        )
    task = parsed.tuning.task
    check_modes(
        task,
        replace(run.finetune, modes=(run.config.objective.mode,)),
        f"{run.source}.finetune.task",
    )
