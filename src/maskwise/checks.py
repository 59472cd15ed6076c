"""What is refused before any stage runs: wrong options anywhere, and folders in use or shut.

All blocks are parsed, those of stages that this run leaves out too: DVC runs one stage per
process, and a misspelt key of `evaluate` must not come to light after an hour of `pretrain`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from maskwise.errors import UserError, cut, hint, joined, shown
from maskwise.evaluate.referee.columns import LABEL, known_columns
from maskwise.evaluate.referee.config import LESION_SIZE, Referee
from maskwise.finetune.multilabel.task import MultilabelConfig
from maskwise.pipelines import parsing
from maskwise.replicates import EXPERIMENT, RAW_ROOT, Replicate, Study
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
    if problems:
        raise UserError(joined(problems))
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
    _refuse(
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
            if isinstance(block, Mapping) and not _needless(block, stage, study):
                found = partial(_block, block, stage, source)
                yield partial(_attempt, parse_source, found, f"{source}.{stage}")
        for recipe in study.recipes:
            file = f"conf/base/recipes/parameters_{recipe}.yml"
            found = partial(_block, parameters, recipe, file, known.recipes)
            yield partial(_attempt, parsing.recipe, found, recipe)


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
        problems.append(_unknown(f"evaluate.{where}", "source", source, known.sources))
        if primary.metric is not None:
            metric = f"evaluate.{where}.metric"
            problems.append(_unknown(metric, "metric", primary.metric, rankings()))
        pairs = primary.comparisons
        named += [(f"{where}.comparisons", name) for pair in pairs for name in pair]
    for source, asked in config.referee.items():
        where = f"referee.{source}"
        problems.append(_unknown(f"evaluate.{where}", "source", source, known.sources))
        named += [(f"{where}.recipe", asked.recipe)] if asked.recipe is not None else []
    problems += [
        _unknown(f"evaluate.{key}", "recipe", name, known.recipes) for key, name in named
    ]
    _refuse(problems)


def _check_shown(parameters: Mapping[str, Any], known: Names) -> None:
    """Raise ``UserError`` where a page names a metric, recipe or source that there is not."""
    config = parsing.report(parameters.get("report", {}), "report")
    titles = (
        _unknown("report.titles", "recipe", name, known.recipes) for name in config.titles
    )
    studies = (
        _unknown(f"report.study.{name}", "source", name, known.sources) for name in config.study
    )
    named = [] if config.metric is None else [config.metric]
    metrics = (_unknown("report.metric", "metric", name, rankings()) for name in named)
    cards = (_unknown("report.cards", "source", name, known.sources) for name in config.cards)
    _refuse([*metrics, *titles, *studies, *cards])


def _unknown(where: str, kind: str, name: str, known: Collection[str]) -> str:
    """Return what is wrong about ``name``, nothing where it is known."""
    return (
        ""
        if name in known
        else f"{where}: there is no {kind} {shown(name)}; {hint(name, known)}"
    )


def _refuse(problems: Iterable[str]) -> None:
    found = [problem for problem in problems if problem]
    if found:
        raise UserError(joined(found))


def _needless(block: Mapping[str, Any], stage: str, study: Study) -> bool:
    """Return whether a source without labels leaves out what only labels need."""
    if stage != "finetune" or stage in block:
        return False
    return not study.finetunes or not _labelled(block)


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
    if "finetune" in stages and _lacks_label(parameters[source], source):
        raise UserError(
            f"{source}.preprocess.label: null, so there is nothing to fine-tune for; for "
            "pre-training and its report alone write `fractions: []` under "
            f"experiment.sources.{source} in {EXPERIMENT}, or name a label"
        )


def _lacks_label(block: Mapping[str, Any], source: str) -> bool:
    if _labelled(block):
        return False
    if "finetune" not in block:
        return True
    task = parsing.finetune_source(block["finetune"], f"{source}.finetune").task
    return bool(task.needs_label)


def check_idle(
    project: Path, parameters: Mapping[str, Any], source: str, stages: Iterable[str]
) -> None:
    """Raise ``UserError`` where a run would replace images that another one is training on.

    Whatever ``second_run`` says: a run holds one replicate at a time, so that waiting for what
    it holds now would end between two of them, and the images would change under the next.

    Args:
        project: The folder that paths in parameters begin at.
        parameters: All parameters, checked.
        source: Whose images they are.
        stages: What this run does of it.
    """
    from filelock import FileLock, Timeout

    if not {"generate", "ingest", "preprocess"} & set(stages):
        return
    config = parsing.pretrain(parameters["pretrain"], "pretrain")
    folder = project / config.checkpoints / source
    trials = folder.glob("tune/*/study_*/trial_*/*/lock")
    for path in sorted([*folder.glob("checkpoints/*/*/lock"), *trials]):
        try:
            with FileLock(path, blocking=False):
                pass
        except Timeout:
            raise UserError(
                f"{source}: another run is training {path.parent.parent.name}."
                f"{path.parent.name} on these images (it holds {path}), and this one would "
                "make them anew, for which `pretrain.second_run: wait` does not wait; wait "
                "until that run ends, or run other replicates of it: --tags pretrain,finetune "
                "--namespaces RECIPE"
            ) from None


def check_writable(
    project: Path, parameters: Mapping[str, Any], source: str, stages: Iterable[str]
) -> None:
    """Raise ``UserError`` where a run would train for hours and then save no checkpoint.

    Args:
        project: The folder that paths in parameters begin at.
        parameters: All parameters, checked.
        source: Whose replicates are trained.
        stages: What this run does of it.
    """
    if "pretrain" not in stages:
        return
    config = parsing.pretrain(parameters["pretrain"], "pretrain")
    folder = project / config.checkpoints / source / "checkpoints"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"pretrain.checkpoints: {shown(str(config.checkpoints))}, where nothing can be "
            f"saved ({folder}: {error.strerror}); name a folder that you can write to, or "
            "change its permissions"
        ) from None


def check_weights(
    project: Path, parameters: Mapping[str, Any], replicates: Collection[Replicate]
) -> None:
    """Raise ``UserError`` where weights that a recipe begins with are absent or do not fit.

    Or where this machine lacks what the training asks for.

    A file that the run itself writes before, of a recipe of the same source, need not be there.

    Args:
        project: The folder that paths in parameters begin at.
        parameters: All parameters, checked.
        replicates: Those that this run pre-trains.
    """
    parsing.machine(parameters, replicates)
    config = parsing.pretrain(parameters["pretrain"], "pretrain")
    made = {project / config.checkpoints / replicate.source for replicate in replicates}
    problems = []
    for replicate in replicates:
        try:
            parsing.weights(parameters, replicate, made)
        except UserError as error:
            problems.append(str(error))
    _refuse(problems)


def check_task(parameters: Mapping[str, Any], study: Study, columns: Iterable[str]) -> None:
    """Raise ``UserError`` where the source's task learns a label that its images do not have.

    Which labels there are, only its files say; so this is looked at when they were read, and
    before an encoder is trained for hours.

    Args:
        parameters: All parameters, checked.
        study: The source whose task it is.
        columns: Of the source's manifest, or of its store's index.
    """
    block = parameters[study.source]
    if not study.finetunes or _needless(block, "finetune", study):
        return
    where = f"{study.source}.finetune"
    # A task that learns no label has no such option.
    label = getattr(parsing.finetune_source(block["finetune"], where).task, "label", None)
    known = [name.removeprefix("label_") for name in columns if name.startswith("label_")]
    if label is not None:
        _refuse([_unknown(f"{where}.task.label", "label", label, known)])


def check_subgroups(
    parameters: Mapping[str, Any], study: Study, columns: Iterable[str]
) -> None:
    """Raise ``UserError`` where a referee's subgroup is no column of the source's manifest.

    As ``check_task``: when the files were read, and before an encoder is trained for hours.

    Args:
        parameters: All parameters, checked.
        study: The source whose images they are.
        columns: Of the source's manifest.
    """
    config = parsing.evaluate(parameters["evaluate"], "evaluate")
    asked = config.referee.get(study.source, Referee())
    known = [*known_columns(columns), LESION_SIZE]
    where = f"evaluate.referee.{study.source}.subgroups"
    _refuse(
        _unknown(where, "column", name.removeprefix(LABEL), known) for name in asked.subgroups
    )


def check_terms(parameters: Mapping[str, Any], study: Study, images: Any) -> None:
    """Raise ``UserError`` where an image is labelled with what the source's task does not know.

    Args:
        parameters: All parameters, checked.
        study: The source whose task it is.
        images: The source's manifest, or its store's index, which ``check_task`` has seen.
    """
    block = parameters[study.source]
    if not study.finetunes or _needless(block, "finetune", study):
        return
    where = f"{study.source}.finetune"
    task = parsing.finetune_source(block["finetune"], where).task
    if isinstance(task, MultilabelConfig):
        task.check(images, f"{where}.task")


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
    _refuse(problems)
