"""What is refused before any stage runs: wrong options anywhere, and inputs that are not there.

All blocks are parsed, those of stages that this run leaves out too: DVC runs one stage a
process, and a misspelt key of `evaluate` must not come to light after an hour of `pretrain`.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline

from maskwise.cells import RAW_ROOT, Study
from maskwise.errors import UserError, hint
from maskwise.pipelines import blocks

STAGES = ("ingest", "preprocess", "pretrain", "finetune", "evaluate", "report", "predict")
"""Each has a file ``conf/base/parameters_<stage>.yml`` with one block of that name."""
SOURCE_STAGES = ("ingest", "preprocess", "pretrain", "finetune")
"""Blocks of a file ``conf/base/sources/parameters_<source>.yml``."""


def check_parameters(
    parameters: Mapping[str, Any], studies: Iterable[Study], known: Iterable[str]
) -> None:
    """Parse the blocks of all stages, and those of the run's sources and their recipes.

    Args:
        parameters: All parameters, runtime ones included.
        studies: The sources of this run.
        known: Top-level names that the files of ``conf`` hold.

    Raises:
        UserError: naming everything that is wrong, each by its path in the YAML.
    """
    studies = list(studies)
    problems = _unknown_names(parameters, studies, set(known))
    for attempt in _attempts(parameters, studies):
        try:
            attempt()
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    for study in studies:
        blocks.check_together(parameters, study)


def names_in_files(conf: Path, environments: Iterable[str], sources: Iterable[str]) -> set[str]:
    """Return the top-level names that parameter files may hold: stages, sources, recipes."""
    recipes = {
        path.stem.removeprefix("parameters_")
        for environment in environments
        for path in (conf / environment / "recipes").glob("parameters_*.y*ml")
    }
    return {*STAGES, *sources, *recipes, "experiment"}


def _unknown_names(
    parameters: Mapping[str, Any], studies: list[Study], known: set[str]
) -> list[str]:
    problems = [
        f"{name}: there is no such parameter; {hint(name, {*known, RAW_ROOT})}"
        for name in parameters
        if name not in known and name != RAW_ROOT
    ]
    if RAW_ROOT in parameters:
        problems += [
            f"{RAW_ROOT}: the source {study.source!r} is generated and reads no folder of yours"
            for study in studies
            if study.generated
        ]
    return problems


def _attempts(
    parameters: Mapping[str, Any], studies: list[Study]
) -> Iterable[Callable[[], object]]:
    """Yield what must succeed, one attempt a block, so that all errors are found at once."""
    for stage, parse_stage in blocks.STAGE_BLOCKS.items():
        file = f"conf/base/parameters_{stage}.yml"
        yield partial(_attempt, parse_stage, parameters, stage, file, stage)
    for study in studies:
        source, file = study.source, f"conf/base/sources/parameters_{study.source}.yml"
        block = parameters.get(source)
        yield partial(_attempt, _only_known, parameters, source, file, source)
        for stage, parse_source in blocks.SOURCE_BLOCKS.items():
            if isinstance(block, Mapping) and not _needless(block, stage):
                where = f"{source}.{stage}"
                yield partial(_attempt, parse_source, block, stage, source, where)
        for recipe in study.recipes:
            file = f"conf/base/recipes/parameters_{recipe}.yml"
            yield partial(_attempt, blocks.recipe, parameters, recipe, file, recipe)


def _needless(block: Mapping[str, Any], stage: str) -> bool:
    """Return whether a source without labels leaves out what only labels need."""
    return stage == "finetune" and stage not in block and not _labelled(block)


def _labelled(block: Mapping[str, Any]) -> bool:
    preprocess = block.get("preprocess")
    return not isinstance(preprocess, Mapping) or preprocess.get("label") is not None


def check_labels(parameters: Mapping[str, Any], study: Study, stages: Iterable[str]) -> None:
    """Raise ``UserError`` where a run would fine-tune for labels that the source has not.

    Args:
        parameters: All parameters, checked.
        study: One source.
        stages: What this run does of it.
    """
    source = study.source
    if "finetune" in stages and not _labelled(parameters[source]):
        raise UserError(
            f"{source}.preprocess.label: null, so there is nothing to fine-tune for; to "
            "pre-train without labels, add --tags ingest,preprocess,pretrain, or name a label"
        )


def _attempt(
    parse: Callable[[Any, str], object],
    holder: Mapping[str, Any],
    name: str,
    file: str,
    where: str,
) -> object:
    return parse(_block(holder, name, file), where)


def _block(blocks: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in blocks:
        raise UserError(f"{where}: should hold a block `{name}`, but there is none")
    return blocks[name]


def _only_known(block: Any, source: str) -> None:
    if not isinstance(block, Mapping):
        raise UserError(f"{source}: should hold the blocks of a source, but is {block!r}")
    problems = [
        f"{source}.{key}: there is no such block; {hint(key, SOURCE_STAGES)}"
        for key in block
        if key not in SOURCE_STAGES
    ]
    if problems:
        raise UserError("\n".join(problems))


def check_inputs(
    pipeline: Pipeline, whole: Pipeline, catalog: Any, name: str, env: str | None = None
) -> None:
    """Raise ``UserError`` for each input that no node of the run makes and that is not there.

    Args:
        pipeline: What this run is about to do.
        whole: All nodes of the source, to say which command makes what is missing.
        catalog: Kedro's catalog.
        name: The registered name of ``whole``.
        env: What ``--env`` said.
    """
    problems = [
        _missing(dataset, whole, catalog, name, env)
        for dataset in sorted(pipeline.inputs())
        if not dataset.startswith("params:") and not catalog.exists(dataset)
    ]
    if problems:
        raise UserError("\n".join(problems))


def _missing(dataset: str, whole: Pipeline, catalog: Any, name: str, env: str | None) -> str:
    path = getattr(catalog.get(dataset), "_filepath", None)
    makers = [node for node in whole.nodes if dataset in node.outputs]
    if path is None:
        return f"{dataset}: is never on disk; run its stage as a whole, with --tags"
    if not makers:
        return (
            f"{path}: absent or empty. Put the raw files of {name!r} there (docs/sources.md "
            f"says where to get them), or say where they are: --params {RAW_ROOT}=FOLDER"
        )
    maker = makers[0]
    environment = f" --env {env}" if env else ""
    command = f"kedro run{environment} --pipelines {name} --tags {min(maker.tags)}"
    if maker.namespace:
        command += f" --namespaces {maker.namespace}"
    return f"{path}: not made yet. Make it: {command}   (or, if it was pushed: dvc pull)"
