"""What is refused as soon as the options are read: what no file should hold or lack.

All blocks are parsed, those of stages that this run leaves out too: DVC runs one stage per
process, and a misspelt key of `evaluate` must not come to light after an hour of `pretrain`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from maskwise.checks.labels import needless
from maskwise.checks.names import unknown
from maskwise.errors import UserError, cut, hint, refuse, shown
from maskwise.pipelines import parsing
from maskwise.replicates import RAW_ROOT, Study
from maskwise.report.scores import rankings

GLOBALS = ("data_root", "objects_root", "objects_gigabytes")
"""What ``conf/base/globals.yml`` holds."""


@dataclass(frozen=True)
class Names:
    """Sources and recipes that have a file, whether or not the experiment takes them."""

    sources: frozenset[str]
    recipes: frozenset[str]

    @property
    def blocks(self) -> frozenset[str]:
        """Top-level names of all parameter files."""
        return self.sources | self.recipes | {*parsing.STAGE_BLOCKS, "experiment"}


def check_parameters(
    parameters: Mapping[str, Any], studies: Iterable[Study], known: Names
) -> None:
    """Parse the blocks of all stages, and those of the run's sources and their recipes.

    Args:
        parameters: All parameters, runtime ones included.
        studies: The sources of this run.
        known: What the files of ``conf`` are named after.

    Raises:
        UserError: naming everything that is wrong, each by its path in the YAML.
    """
    studies = list(studies)
    problems = _unknown_names(parameters, studies, known.blocks)
    for attempt in _attempts(parameters, studies, known):
        try:
            attempt()
        except UserError as error:
            problems.append(str(error))
    refuse(problems)
    for study in studies:
        parsing.check_together(parameters, study)


def check_typed(parameters: Mapping[str, Any], runtime: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where a file names the raw folder, which only a command line can.

    Args:
        parameters: All parameters, runtime ones included.
        runtime: Those alone.
    """
    if RAW_ROOT in parameters and RAW_ROOT not in runtime:
        raise UserError(
            f"{RAW_ROOT}: stands in a file of conf, where it has no effect; remove it there, "
            f"and give --params {RAW_ROOT}=FOLDER"
        )


def check_globals(given: Iterable[str]) -> None:
    """Raise ``UserError`` where a file ``globals.yml`` names what nothing reads."""
    refuse(
        f"globals.yml: {cut(name)}: there is no such setting; {hint(name, GLOBALS)}"
        for name in map(str, given)
        if name not in GLOBALS
    )


def names_in_files(conf: Path, environments: Iterable[str]) -> Names:
    """Return what the files of sources and recipes below ``conf`` are named after."""
    environments = list(environments)

    def stems(folder: str) -> frozenset[str]:
        return frozenset(
            path.stem.removeprefix("parameters_")
            for environment in environments
            for path in (conf / environment / folder).glob("parameters_*.y*ml")
        )

    return Names(stems("sources"), stems("recipes"))


def _unknown_names(
    parameters: Mapping[str, Any], studies: list[Study], known: frozenset[str]
) -> list[str]:
    problems = [
        f"{cut(str(name))}: there is no such parameter; {hint(str(name), {*known, RAW_ROOT})}"
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
    parameters: Mapping[str, Any], studies: list[Study], known: Names
) -> Iterable[Callable[[], object]]:
    """Yield what must succeed, one attempt per block, so that all errors are found at once."""
    for stage, parse_stage in parsing.STAGE_BLOCKS.items():
        found = partial(_block, parameters, stage, f"conf/base/parameters_{stage}.yml")
        yield partial(_attempt, parse_stage, found, stage)
    yield partial(_check_compared, parameters, known)
    yield partial(_check_shown, parameters, known)
    for study in studies:
        source = study.source
        file = f"conf/base/sources/parameters_{source}.yml"
        found = partial(_block, parameters, source, file, known.sources)
        yield partial(_attempt, _only_known, found, source)
        block = parameters.get(source)
        for stage, parse_source in parsing.SOURCE_BLOCKS.items():
            if isinstance(block, Mapping) and not needless(block, stage, study):
                found = partial(_block, block, stage, source)
                yield partial(_attempt, parse_source, found, f"{source}.{stage}")
        for recipe in study.recipes:
            file = f"conf/base/recipes/parameters_{recipe}.yml"
            found = partial(_block, parameters, recipe, file, known.recipes)
            yield partial(_attempt, parsing.recipe, found, recipe)


def _attempt(
    parse: Callable[[Any, str], object], find: Callable[[], Any], where: str
) -> object:
    return parse(find(), where)


def _block(
    blocks: Mapping[str, Any], name: str, where: str, known: Collection[str] = ()
) -> Any:
    """Return the block ``name``; ``known`` are the names that it may have been meant to be."""
    if name in blocks:
        return blocks[name]
    meant = f"; {hint(name, known)}" if known and name not in known else ""
    raise UserError(f"{where}: should hold a block `{name}`, but there is none{meant}")


def _only_known(block: Any, source: str) -> None:
    if not isinstance(block, Mapping):
        raise UserError(f"{source}: should hold the blocks of a source, but is {shown(block)}")
    known = parsing.SOURCE_BLOCKS
    problems = [
        f"{source}.{cut(str(key))}: there is no such block; {hint(str(key), known)}"
        for key in block
        if key not in known
    ]
    refuse(problems)


def _check_compared(parameters: Mapping[str, Any], known: Names) -> None:
    """Raise ``UserError`` where evaluate names a recipe or a source that has no file.

    Evaluate ignores a recipe that was not run, and so it would ignore a misspelt one.
    """
    config = parsing.evaluate(parameters.get("evaluate", {}), "evaluate")
    named = [("against", config.against)]
    named += [("except_recipes", name) for name in config.except_recipes]
    named += [("pairs", name) for pair in config.pairs for name in pair]
    problems = []
    for source, primary in config.primary.items():
        where = f"primary.{source}"
        problems.append(unknown(f"evaluate.{where}", "source", source, known.sources))
        if primary.metric is not None:
            metric = f"evaluate.{where}.metric"
            problems.append(unknown(metric, "metric", primary.metric, rankings()))
        pairs = primary.comparisons
        named += [(f"{where}.comparisons", name) for pair in pairs for name in pair]
    for source, asked in config.referee.items():
        where = f"referee.{source}"
        problems.append(unknown(f"evaluate.{where}", "source", source, known.sources))
        named += [(f"{where}.recipe", asked.recipe)] if asked.recipe is not None else []
    problems += [
        unknown(f"evaluate.{key}", "recipe", name, known.recipes) for key, name in named
    ]
    refuse(problems)


def _check_shown(parameters: Mapping[str, Any], known: Names) -> None:
    """Raise ``UserError`` where a page names a metric, recipe or source that there is not."""
    config = parsing.report(parameters.get("report", {}), "report")
    titles = (unknown("report.titles", "recipe", name, known.recipes) for name in config.titles)
    studies = (
        unknown(f"report.study.{name}", "source", name, known.sources) for name in config.study
    )
    named = [] if config.metric is None else [config.metric]
    metrics = (unknown("report.metric", "metric", name, rankings()) for name in named)
    cards = (unknown("report.cards", "source", name, known.sources) for name in config.cards)
    refuse([*metrics, *titles, *studies, *cards])
