"""All artefacts in; one page out."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kedro.pipeline import Node, Pipeline

from maskwise.pipelines.binding import bind
from maskwise.pipelines.evaluate import Predicted, join
from maskwise.pipelines.standing import stands_alone
from maskwise.replicates import Replicate, Study

_OF_IMAGES = ("manifest", "rejects", "data_summary", "store_summary", "splits")
_OF_SOURCE = (*_OF_IMAGES, "scores", "paired", "store", "referee")
_OF_CARDS = ("manifest", "splits", "data_summary")
_WRITTEN = (
    "report",
    "figure",
    "training_curves",
    "study_table",
    "study_pairs",
    "study_markdown",
    "study_latex",
    "study_svg",
    "study_pdf",
    "referee_page",
)
"""Artefacts of ``report``; the first is the page."""


@dataclass(frozen=True)
class Pretrained:
    """How the seeds of one recipe were pre-trained, by ``(recipe, seed)``."""

    histories: dict[tuple[str, int], Any]
    galleries: dict[tuple[str, int], Any]
    encoders: dict[tuple[str, int], Any]
    """``report.inputs.EncoderFile``."""
    agents: dict[tuple[str, int], int]
    """How many weights the agent's map has, of those that keep one."""
    weights: dict[tuple[str, int], Any]
    """``WeightsOrigin`` of those that began with weights from elsewhere."""


@stands_alone
def collect_pretraining(
    *artefacts: Any, replicates: tuple[Replicate, ...], project: Path
) -> Pretrained:
    """Join the seeds of one recipe: each replicate's history, gallery, agent and encoder."""
    runs = [(replicate.recipe, replicate.seed) for replicate in replicates]
    histories, galleries, policies, encoders = (artefacts[first::4] for first in range(4))
    files = [_file(encoder, project) for encoder in encoders]
    return Pretrained(
        histories=dict(zip(runs, histories, strict=True)),
        galleries=dict(zip(runs, galleries, strict=True)),
        encoders=dict(zip(runs, files, strict=True)),
        agents=_agents(runs, policies),
        weights=_begun(runs, [encoder.metadata.weights for encoder in encoders]),
    )


def _agents(runs: list[tuple[str, int]], policies: Iterable[Any]) -> dict[tuple[str, int], int]:
    sizes = [sum(tensor.numel() for tensor in one.tensors.values()) for one in policies]
    return {run: size for run, size in zip(runs, sizes, strict=True) if size}


def _begun(runs: list[tuple[str, int]], origins: Iterable[Any]) -> dict[tuple[str, int], Any]:
    return {run: origin for run, origin in zip(runs, origins, strict=True) if origin}


def _file(encoder: Any, project: Path) -> Any:
    from maskwise.report.inputs import EncoderFile

    path: Path = encoder.path
    return EncoderFile(
        # As it is typed in the project's folder: the page names no machine.
        path=str(path.relative_to(project) if path.is_relative_to(project) else path),
        parameters=sum(parameter.numel() for parameter in encoder.parameters()),
        width=encoder.channels[-1],
    )


@stands_alone
def report_pretraining(
    options: dict[str, Any],
    loop: dict[str, Any],
    settings: dict[str, Any],
    *artefacts: Any,
    study: Study,
) -> tuple[str, Any]:
    """Draw the page; ``artefacts`` stand in the order of ``create_pretraining_pipeline``."""
    from maskwise.pipelines import parsing
    from maskwise.pretrain.diagnostics.symptoms import warnings
    from maskwise.report import page
    from maskwise.report.inputs import PretrainingInputs

    of_images = dict(zip(_OF_IMAGES, artefacts, strict=False))
    rest = artefacts[len(_OF_IMAGES) :]
    count = len(study.recipes)
    trained: list[Pretrained] = list(rest[count:])
    histories = {run: table for one in trained for run, table in one.histories.items()}
    result = page.render_pretraining(
        PretrainingInputs(
            source=study.source,
            generated=study.generated,
            **of_images,
            histories=histories,
            galleries={run: one for each in trained for run, one in each.galleries.items()},
            encoders={run: one for each in trained for run, one in each.encoders.items()},
            agents={run: one for each in trained for run, one in each.agents.items()},
            weights={run: one for each in trained for run, one in each.weights.items()},
            recipes=dict(zip(study.recipes, rest[:count], strict=True)),
            settings=settings,
            deterministic=parsing.pretrain(loop, "pretrain").deterministic,
            config=parsing.report(options, "report"),
            warnings={run: warnings(table) for run, table in histories.items()},
        )
    )
    return result.html, result.training


@dataclass(frozen=True)
class Trained:
    """How the seeds of one recipe were trained, by ``(recipe, seed)``."""

    histories: dict[tuple[str, int], Any]
    galleries: dict[tuple[str, int], Any]
    models: dict[tuple[str, int], Path]
    """Folder of the fine-tuned models."""
    agents: dict[tuple[str, int], int]
    """How many weights the agent's map has, of those that keep one."""
    weights: dict[tuple[str, int], Any]
    """``WeightsOrigin`` of those that began with weights from elsewhere."""


@stands_alone
def collect_training(*artefacts: Any, replicates: tuple[Replicate, ...]) -> Trained:
    """Join the seeds of one recipe: each replicate's history, gallery, agent and models."""
    from maskwise.artefacts.model_index import read_weights_origin

    runs = [(replicate.recipe, replicate.seed) for replicate in replicates]
    histories, galleries, policies, models = (artefacts[first::4] for first in range(4))
    return Trained(
        histories=dict(zip(runs, histories, strict=True)),
        galleries=dict(zip(runs, galleries, strict=True)),
        models=dict(zip(runs, models, strict=True)),
        agents=_agents(runs, policies),
        weights=_begun(runs, map(read_weights_origin, models)),
    )


@stands_alone
def report(
    options: dict[str, Any],
    loop: dict[str, Any],
    settings: dict[str, Any],
    *artefacts: Any,
    study: Study,
) -> tuple[Any, ...]:
    """Draw the page; ``artefacts`` stand in the order of ``create_pipeline``."""
    from maskwise.pipelines import parsing
    from maskwise.pretrain.diagnostics.symptoms import warnings
    from maskwise.report import page
    from maskwise.report.inputs import ReportInputs
    from maskwise.report.referee.page import render_referee

    of_source = dict(zip(_OF_SOURCE, artefacts, strict=False))
    asked = of_source.pop("referee")
    rest = artefacts[len(_OF_SOURCE) :]
    count = len(study.recipes)
    recipes = dict(zip(study.recipes, rest[:count], strict=True))
    predicted: list[Predicted] = list(rest[count : 2 * count])
    trained: list[Trained] = list(rest[2 * count :])
    histories = {run: table for one in trained for run, table in one.histories.items()}
    everything = join(*predicted)
    inputs = ReportInputs(
        source=study.source,
        generated=study.generated,
        **of_source,
        subsets=everything.subsets,
        predictions=everything.predictions,
        histories=histories,
        galleries={run: one for each in trained for run, one in each.galleries.items()},
        weights={run: one for each in trained for run, one in each.weights.items()},
        models={run: path for each in trained for run, path in each.models.items()},
        agents={run: one for each in trained for run, one in each.agents.items()},
        recipes=recipes,
        settings=settings,
        deterministic=parsing.pretrain(loop, "pretrain").deterministic,
        config=parsing.report(options, "report"),
        warnings={run: warnings(table) for run, table in histories.items()},
    )
    result = page.render(inputs)
    # In the order of ``_WRITTEN``.
    return (
        result.html,
        result.figure,
        result.training,
        result.study_table,
        result.study_pairs,
        result.study_markdown,
        result.study_latex,
        result.study_svg,
        result.study_pdf,
        render_referee(inputs, asked),
    )


@stands_alone
def describe_models(*artefacts: Any, replicates: tuple[Replicate, ...]) -> dict[Any, Any]:
    """Return what the cards say of each seed of one recipe: encoder and, if any, models."""
    each = len(artefacts) // len(replicates)
    return {
        (one.recipe, one.seed): _files_of(*artefacts[each * i : each * (i + 1)])
        for i, one in enumerate(replicates)
    }


def _files_of(encoder: Any, models: Path | None = None) -> Any:
    from maskwise.artefacts.hashing import sha256_of
    from maskwise.artefacts.model_index import read_model_index
    from maskwise.report.cards.facts import ModelFiles

    index = [] if models is None else read_model_index(models)
    kept = [] if models is None else [models / one["file"] for one in index if one.get("file")]
    return ModelFiles(
        metadata=asdict(encoder.metadata),
        parameters=sum(parameter.numel() for parameter in encoder.parameters()),
        width=encoder.channels[-1],
        hashes={path.name: sha256_of(path) for path in (encoder.path, *kept)},
        models=index,
    )


@stands_alone
def write_cards(
    options: dict[str, Any], settings: dict[str, Any], *artefacts: Any, study: Study
) -> dict[str, bytes]:
    """Return the cards; ``artefacts`` stand in the order of ``_cards``."""
    from maskwise.pipelines import parsing
    from maskwise.report.cards.cards import cards
    from maskwise.report.cards.facts import CardInputs
    from maskwise.report.inputs import CardConfig

    config = parsing.report(options, "report")
    named = _of_cards(study)
    of_source = dict(zip(named, artefacts, strict=False))
    rest, count = artefacts[len(named) :], len(study.recipes)
    return cards(
        CardInputs(
            source=study.source,
            generated=study.generated,
            **of_source,
            recipes=dict(zip(study.recipes, rest[:count], strict=True)),
            settings=settings,
            titles=config.titles,
            said=config.cards.get(study.source, CardConfig()),
            files={run: one for each in rest[count:] for run, one in each.items()},
        )
    )


def _of_cards(study: Study) -> tuple[str, ...]:
    return (*_OF_CARDS, "scores") if study.finetunes else _OF_CARDS


def _cards(study: Study) -> list[Node]:
    """Return the nodes that make the cards: one per recipe, and one that joins them."""
    artefacts = ("encoder", "models") if study.finetunes else ("encoder",)
    return [
        *_collecting(study, describe_models, artefacts, "models"),
        Node(
            bind(write_cards, study=study),
            [
                "params:report",
                f"params:{study.source}",
                *(study.dataset(artefact) for artefact in _of_cards(study)),
                *(f"params:{recipe}" for recipe in study.recipes),
                *(study.collected(recipe, "models") for recipe in study.recipes),
            ],
            study.dataset("cards"),
            name="cards",
            tags="report",
        ),
    ]


def create_pipeline(study: Study) -> Pipeline:
    """The stage of one source, after one node per recipe that joins its seeds in memory."""
    joined = [study.collected(recipe, "predictions") for recipe in study.recipes]
    node = Node(
        bind(report, study=study),
        [*_inputs(study, _OF_SOURCE), *joined, *_trained(study)],
        [study.dataset(artefact) for artefact in _WRITTEN],
        name="report",
        tags="report",
    )
    artefacts = ("history", "gallery", "policy", "models")
    collecting = _collecting(study, collect_training, artefacts, "training")
    return Pipeline([*collecting, node, *_cards(study)])


def create_pretraining_pipeline(study: Study, project: Path) -> Pipeline:
    """The same of a source that stops after pre-training."""
    node = Node(
        bind(report_pretraining, study=study),
        [*_inputs(study, _OF_IMAGES), *_trained(study)],
        [study.dataset(artefact) for artefact in ("report", "training_curves")],
        name="report",
        tags="report",
    )
    artefacts = ("history", "gallery", "policy", "encoder")
    collecting = _collecting(study, collect_pretraining, artefacts, "training", project=project)
    return Pipeline([*collecting, node, *_cards(study)])


def _inputs(study: Study, of_source: tuple[str, ...]) -> list[str]:
    return [
        "params:report",
        "params:pretrain",
        f"params:{study.source}",
        *(study.dataset(artefact) for artefact in of_source),
        *(f"params:{recipe}" for recipe in study.recipes),
    ]


def _trained(study: Study) -> list[str]:
    return [study.collected(recipe, "training") for recipe in study.recipes]


def _collecting(
    study: Study,
    function: Callable[..., Any],
    artefacts: tuple[str, ...],
    joined: str,
    **known: Any,
) -> list[Node]:
    return [
        Node(
            bind(function, replicates=study.replicates(recipe), **known),
            [name for one in study.replicates(recipe) for name in one.datasets(*artefacts)],
            study.collected(recipe, joined),
            name=f"collect_{joined}",
            namespace=recipe,
            tags="report",
        )
        for recipe in study.recipes
    ]
