"""Blocks of YAML become the stages' configs: for the check before a run, and again in the node.

``where`` is the block's path in the YAML, for messages. Everything is imported late.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from maskwise.replicates import Study

Parse = Callable[[Any, str], Any]


def ingest(block: Any, where: str) -> Any:
    """Options of ingest."""
    from maskwise.config import parse
    from maskwise.ingest.config import IngestConfig

    return parse(IngestConfig, block, where)


def ingest_source(block: Any, where: str) -> Any:
    """A source and how it is read."""
    from maskwise.config import choose
    from maskwise.ingest.sources import SOURCES

    return choose(SOURCES, block, where)


def preprocess(block: Any, where: str) -> Any:
    """Options of preprocess."""
    from maskwise.config import parse
    from maskwise.preprocess.config import PreprocessConfig

    return parse(PreprocessConfig, block, where)


def preprocess_source(block: Any, where: str) -> Any:
    """What a source's images become."""
    from maskwise.config import parse
    from maskwise.preprocess.config import SourcePreprocessConfig

    return parse(SourcePreprocessConfig, block, where)


def pretrain(block: Any, where: str) -> Any:
    """Options of the loop."""
    from maskwise.config import parse
    from maskwise.pretrain.recipe import PretrainConfig

    return parse(PretrainConfig, block, where)


def pretrain_source(block: Any, where: str) -> Any:
    """A source's grid and budget."""
    from maskwise.config import parse
    from maskwise.pretrain.recipe import Budget

    return parse(Budget, block, where)


def recipe(block: Any, where: str) -> Any:
    """A recipe."""
    from maskwise.pretrain.recipe import parse_recipe

    return parse_recipe(block, where)


def finetune(block: Any, where: str) -> Any:
    """Options of finetune."""
    from maskwise.config import parse
    from maskwise.finetune.run import FinetuneConfig

    return parse(FinetuneConfig, block, where)


def finetune_source(block: Any, where: str) -> Any:
    """A source's task and budget."""
    from maskwise.finetune.run import parse_budget

    return parse_budget(block, where)


def evaluate(block: Any, where: str) -> Any:
    """Options of evaluate."""
    from maskwise.config import parse
    from maskwise.evaluate.config import EvaluateConfig

    return parse(EvaluateConfig, block, where)


def report(block: Any, where: str) -> Any:
    """Options of the page."""
    from maskwise.config import parse
    from maskwise.report.inputs import ReportConfig

    return parse(ReportConfig, block, where)


def rankings() -> list[str]:
    """Return the metrics that the page can rank recipes by: larger is better."""
    from maskwise.report import scores

    return scores.rankings()


def predict(block: Any, where: str) -> Any:
    """Options of predict; which model and which scans, only a run of it must say."""
    from maskwise.config import parse
    from maskwise.prediction.stage import PredictConfig, options_of

    return parse(PredictConfig, options_of(block, where), where)


STAGE_BLOCKS: dict[str, Parse] = {
    "ingest": ingest,
    "preprocess": preprocess,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "report": report,
    "predict": predict,
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
    from maskwise.masks import check_grid

    source = study.source
    images = preprocess_source(parameters[source]["preprocess"], f"{source}.preprocess")
    budget = pretrain_source(parameters[source]["pretrain"], f"{source}.pretrain")
    _check_modality(parameters[source], source)
    check_grid(budget.grid, images.height, images.width, f"{source}.pretrain.grid")
    _rehearse(parameters, study, images, budget)
    if study.finetunes and "finetune" in parameters[source]:
        _check_outlines(parameters, study, images)
    if study.generated:
        _check_generates(parameters[source]["ingest"], source)


def _check_modality(blocks: Mapping[str, Any], source: str) -> None:
    """Raise ``UserError`` where ingest and preprocess name two modalities.

    Ingest takes any word, which the manifest repeats; one that preprocess does not know, as
    ``unknown``, contradicts nothing.
    """
    from maskwise.errors import UserError, shown
    from maskwise.preprocess.config import MODALITIES
    from maskwise.scans.modality import our_word

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
    from maskwise.errors import UserError, joined
    from maskwise.pretrain.contracts import Setting
    from maskwise.pretrain.rehearsal import rehearse

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
    )
    problems = []
    for name in study.recipes:
        try:
            rehearse(recipe(parameters[name], name), name, setting)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(joined(problems))


def _check_outlines(parameters: Mapping[str, Any], study: Study, images: Any) -> None:
    """Raise ``UserError`` where what outlines lesions could not be built round an encoder."""
    import torch

    from maskwise.encoders.segmenter import Segmenter
    from maskwise.errors import UserError, joined
    from maskwise.finetune.lesion.config import LesionConfig

    source = study.source
    task = finetune_source(parameters[source]["finetune"], f"{source}.finetune").task
    problems = []
    for name in study.recipes if isinstance(task, LesionConfig) else ():
        try:
            with torch.device("meta"):
                encoder = recipe(parameters[name], name).encoder.build(images.channels)
                size, network = (images.height, images.width), task.network
                Segmenter(encoder, 1, size, images.channels, network)
        except UserError as error:
            problems.append(f"{name}.{error}")
    if problems:
        raise UserError(joined(problems))


def _check_generates(block: Mapping[str, Any], source: str) -> None:
    from maskwise.errors import UserError, hint
    from maskwise.ingest.contracts import GeneratedSource
    from maskwise.ingest.sources import SOURCES

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
        return int(chosen.timeline(budget.steps).steps) if chosen.trains else 0
    if stage == "finetune":
        budget = finetune_source(parameters[source]["finetune"], f"{source}.finetune")
        config = finetune(parameters["finetune"], "finetune")
        images = preprocess_source(parameters[source]["preprocess"], f"{source}.preprocess")
        if not list(chosen.encoder.build(images.channels).parameters()):
            config = replace(config, modes=("probe",))
        return int(budget.planned_steps(len(study.fractions), config))
    return 0
