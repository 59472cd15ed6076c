"""Blocks of YAML become the stages' configs: for the check before a run, and again in the node.

Each parser takes a block and ``where``, its path in the YAML, for messages. This module imports
every stage, and with them torch, for seconds: import it late.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from maskwise.artefacts.policy import LearntPolicy
from maskwise.artefacts.weights import weights_path
from maskwise.config import choose, parse
from maskwise.embedding import config as embedding
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError, hint, refuse, shown
from maskwise.evaluate.config import EvaluateConfig
from maskwise.experiment import needed, recipe_file
from maskwise.finetune.lesion.config import LesionConfig
from maskwise.finetune.multilabel.task import MultilabelConfig
from maskwise.finetune.run import FinetuneConfig, check_modes, parse_budget
from maskwise.ingest.config import IngestConfig
from maskwise.ingest.contracts import GeneratedSource
from maskwise.ingest.sources import SOURCES
from maskwise.masks import check_grid
from maskwise.prediction import config as prediction
from maskwise.preprocess.config import MODALITIES, PreprocessConfig, SourcePreprocessConfig
from maskwise.pretrain.beginning import weights_of
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.recipe import Budget, PretrainConfig, check_machine, parse_recipe
from maskwise.pretrain.rehearsal import rehearse, untaught
from maskwise.replicates import Replicate, Study
from maskwise.report.inputs import ReportConfig
from maskwise.resources import ResourcesConfig
from maskwise.scans.modality import our_word
from maskwise.selection import stage as selection
from maskwise.tune.config import TuneConfig

Parse = Callable[[Any, str], Any]

ingest = partial(parse, IngestConfig)
ingest_source: Parse = partial(choose, SOURCES)
preprocess = partial(parse, PreprocessConfig)
preprocess_source = partial(parse, SourcePreprocessConfig)
pretrain = partial(parse, PretrainConfig)
pretrain_source = partial(parse, Budget)
recipe = parse_recipe
finetune = partial(parse, FinetuneConfig)
finetune_source = parse_budget
evaluate = partial(parse, EvaluateConfig)
report = partial(parse, ReportConfig)
resources = partial(parse, ResourcesConfig)
tune = partial(parse, TuneConfig)
predict: Parse = prediction.parse_options
embed: Parse = embedding.parse_options
select: Parse = selection.parse_options

STAGE_BLOCKS: dict[str, Parse] = {
    "ingest": ingest,
    "preprocess": preprocess,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "report": report,
    "predict": predict,
    "embed": embed,
    "select": select,
    "resources": resources,
    "tune": tune,
}
"""One per file ``conf/base/parameters_<stage>.yml``."""
SOURCE_BLOCKS: dict[str, Parse] = {
    "ingest": ingest_source,
    "preprocess": preprocess_source,
    "pretrain": pretrain_source,
    "finetune": finetune_source,
}
"""In each file ``conf/base/sources/parameters_<source>.yml``."""


def check_together(parameters: Mapping[str, Any], study: Study) -> None:
    """Raise ``UserError`` where blocks that are right by themselves do not go together."""
    source = study.source
    images = preprocess_source(parameters[source]["preprocess"], f"{source}.preprocess")
    budget = pretrain_source(parameters[source]["pretrain"], f"{source}.pretrain")
    _check_modality(parameters[source], source)
    check_grid(budget.grid, images.height, images.width, f"{source}.pretrain.grid")
    _rehearse(parameters, study, images, budget)
    if study.finetunes and "finetune" in parameters[source]:
        _check_outlines(parameters, study, images)
        _check_separator(parameters, study, images)
        tuning = finetune_source(parameters[source]["finetune"], f"{source}.finetune")
        config = finetune(parameters["finetune"], "finetune")
        check_modes(tuning.task, config, f"{source}.finetune.task")
    if study.generated:
        _check_generates(parameters[source]["ingest"], source)


def _check_modality(blocks: Mapping[str, Any], source: str) -> None:
    """Raise ``UserError`` where ingest and preprocess name two modalities.

    Ingest takes any word, which the manifest repeats; one that preprocess does not know, as
    ``unknown``, contradicts nothing.
    """
    block, prepared = blocks["ingest"], blocks["preprocess"].get("modality")
    word = our_word(str(ingest_source(block, f"{source}.ingest").modality))
    if prepared is None or word == prepared or word not in MODALITIES:
        return
    said = (
        f"{source}.ingest.modality is {shown(block['modality'])}"
        if "modality" in block
        else f"{source}.ingest.name is {shown(block['name'])}, whose scans are {word}"
    )
    raise UserError(
        f"{source}.preprocess.modality: is {shown(prepared)}, but {said}; the two describe the "
        "same scans, so mend the one that is wrong"
    )


def _rehearse(parameters: Mapping[str, Any], study: Study, images: Any, budget: Any) -> None:
    """Build each recipe for the source's images: a box too large must not wait for its turn."""
    setting = Setting(
        channels=images.channels,
        height=images.height,
        width=images.width,
        grid=budget.grid,
        steps_per_epoch=1.0,
        batch_size=budget.batch_size,
        modality=images.modality,
        images=lambda index, seeds: index,  # never asked for: nothing is learnt
        mean=(0.0,) * images.channels,
        std=(1.0,) * images.channels,
        laterality=images.laterality,
        rows=budget.batch_size,
        steps=budget.steps,
        trained_on=None,
        window=images.preparation().window,
        fine=images.fine,
        lesions=lambda index, seeds: index,  # never asked for, as images
        histogram=lambda: torch.ones(256),  # of no image: those are not there yet
    )
    problems = []
    for name in study.recipes:
        try:
            learnt = _untaught(parameters, study, name, setting, images.preparation())
            chosen = recipe(parameters[name], name)
            rehearse(chosen, name, replace(setting, learnt=learnt))
        except UserError as error:
            problems.append(str(error))
    refuse(problems)


def weights(
    parameters: Mapping[str, Any], replicate: Replicate, made: Collection[Path]
) -> None:
    """Read the weights that a replicate begins with, and throw them away.

    One that is absent in a folder of ``made`` is passed over: this run may be about to make it.

    Raises:
        UserError: as ``pretrain`` does.
    """
    chosen, source = recipe(parameters[replicate.recipe], replicate.recipe), replicate.source
    named = chosen.encoder.start.weights
    if named is None:
        return
    path = weights_path(named, replicate.seed).absolute()
    if not path.exists() and any(path.is_relative_to(folder) for folder in made):
        return
    images = preprocess_source(parameters[source]["preprocess"], f"{source}.preprocess")
    weights_of(chosen, replicate.recipe, images.channels, replicate.seed)


def machine(parameters: Mapping[str, Any], replicates: Collection[Replicate]) -> None:
    """Raise ``UserError`` where this machine lacks what pretrain asks for.

    Devices, trackers, and batches that can be shared out over the processes.
    """
    config = pretrain(parameters["pretrain"], "pretrain")
    for replicate in replicates:
        chosen, source = (
            recipe(parameters[replicate.recipe], replicate.recipe),
            replicate.source,
        )
        if chosen.trains:
            check_machine(
                config,
                pretrain_source(parameters[source]["pretrain"], f"{source}.pretrain"),
                chosen,
                source,
            )


def _untaught(
    parameters: Mapping[str, Any], study: Study, name: str, setting: Any, preparation: Any
) -> Any:
    """Return the agent that the recipe ``name`` asks, as it is before its training, if any.

    Raises:
        UserError: if the options name another recipe than the files of conf/base do, which
            alone say what is trained first.
    """
    asked, known = needed(parameters[name]), study.needs.get(name)
    if asked != known:
        raise UserError(
            f"{name}.policy.map.recipe: is {shown(asked)}, but {recipe_file(name)} says "
            f"{shown(known)}; what is trained first is read there alone, so change it there"
        )
    if asked is None:
        return None
    made: LearntPolicy = untaught(
        recipe(parameters[asked], asked), asked, setting, preparation, study.source
    )
    return made


def _check_outlines(parameters: Mapping[str, Any], study: Study, images: Any) -> None:
    """Raise ``UserError`` where what outlines lesions could not be built round an encoder."""
    source = study.source
    task = finetune_source(parameters[source]["finetune"], f"{source}.finetune").task
    if not isinstance(task, LesionConfig):
        return
    problems, size = [], (images.height, images.width)
    for name in study.recipes:
        try:
            with torch.device("meta"):
                encoder = recipe(parameters[name], name).encoder.build(images.channels)
                Segmenter(encoder, 1, size, images.channels, task.network)
        except UserError as error:
            problems.append(f"{name}.{error}")
    refuse(problems)


def _check_separator(parameters: Mapping[str, Any], study: Study, images: Any) -> None:
    """Raise ``UserError`` where two stages would read the cells of one column differently."""
    source = study.source
    task = finetune_source(parameters[source]["finetune"], f"{source}.finetune").task
    if not isinstance(task, MultilabelConfig) or task.label != images.label:
        return
    if task.separator != images.separator:
        raise UserError(
            f"{source}.preprocess.separator: is {shown(images.separator)}, but "
            f"{source}.finetune.task.separator is {shown(task.separator)}, and both read the "
            f"labels {shown(task.label)}; write the same in both"
        )


def _check_generates(block: Mapping[str, Any], source: str) -> None:
    if isinstance(ingest_source(block, f"{source}.ingest"), GeneratedSource):
        return
    able = [name for name, config in SOURCES.items() if issubclass(config, GeneratedSource)]
    raise UserError(
        f"{source}.ingest.name: {block['name']!r} reads files and writes none, but "
        f"conf/base/experiment.yml says that {source!r} is generated; remove that there, or "
        f"{hint('', able)} here"
    )


def planned_steps(stage: str, study: Study, name: str, parameters: Mapping[str, Any]) -> int:
    """Return the optimiser steps of one replicate of the recipe ``name`` in ``stage``."""
    source = study.source
    chosen = recipe(parameters[name], name)
    if stage == "pretrain":
        budget = pretrain_source(parameters[source]["pretrain"], f"{source}.pretrain")
        return chosen.timeline(budget.steps).steps if chosen.trains else 0
    if stage == "finetune":
        tuning = finetune_source(parameters[source]["finetune"], f"{source}.finetune")
        config = finetune(parameters["finetune"], "finetune")
        images = preprocess_source(parameters[source]["preprocess"], f"{source}.preprocess")
        if not list(chosen.encoder.build(images.channels).parameters()):
            config = replace(config, modes=("probe",))
        return tuning.planned_steps(len(study.fractions), config)
    return 0
