"""Around a run: checks before, and where the results are. A node looks after itself."""

import logging
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.pipeline import Node, Pipeline

from maskwise import run_facts
from maskwise.experiment import parse_studies, read_studies
from maskwise.missing_inputs import check_inputs
from maskwise.pipelines import standing
from maskwise.progress import planning
from maskwise.replicates import Replicate, Study

log = logging.getLogger(__name__)

PARAMETERS = "params:"
"""How Kedro's names of options begin."""

JOINING = frozenset({"evaluate", "report"})
"""Stages that speak of all replicates, and so are made again when there is one more."""
MOST_ENCODERS = 8
"""Named one by one when a run ends."""


class MaskwiseHooks:
    """Kedro calls it at the moments that name its methods."""

    def __init__(self) -> None:
        self._context: Any = None
        self._before: dict[str, float] = {}
        """When each page of the run was last written before it."""
        self._drawn: set[str] = set()
        """Sources whose subsets the run has looked at."""
        self._run = ExitStack()

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep what the checks need."""
        self._context = context

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Refuse what cannot go well, before any stage runs."""
        # Which imports torch, and `kedro registry list` loads this module.
        from maskwise import checks

        self._drawn.clear()
        context, loader = self._context, self._context.config_loader
        studies = read_studies(context.project_path)
        heads = {name.removeprefix("params:").split(".")[0] for name in pipeline.datasets()}
        chosen = [study for study in studies.values() if study.source in heads]
        environments = (loader.base_env, context.env or loader.default_run_env)
        known = checks.names_in_files(Path(loader.conf_source), environments)
        checks.check_globals(loader["globals"])
        checks.check_typed(context.params, loader.runtime_params or {})
        checks.check_parameters(context.params, chosen, known)
        stages = {tag for node in pipeline.nodes for tag in node.tags}
        searched: list[Replicate] = []
        if "tune" in stages:
            from maskwise.pipelines import tuning  # and Optuna with it

            searched = tuning.replicates(pipeline, context.params)
            stages |= {"pretrain", "finetune"}
        for study in chosen:
            checks.check_labels(context.params, study, stages)
            checks.check_idle(context.project_path, context.params, study.source, stages)
            checks.check_writable(context.project_path, context.params, study.source, stages)
        begun = {node.outputs[0] for node in pipeline.nodes if "pretrain" in node.tags}
        checks.check_weights(
            context.project_path,
            context.params,
            [
                replicate
                for study in chosen
                for replicate in study.all_replicates
                if replicate.dataset("encoder") in begun
            ]
            + searched,
        )
        name = (run_params["pipeline_names"] or ["__default__"])[0]
        if searched:  # from artefacts of the source's own pipeline
            name = searched[0].source
        shown = chosen[0].source if name == "__default__" and chosen else name
        check_inputs(pipeline, pipelines[name], catalog, shown, context.env)
        if searched:
            recipe = searched[0].recipe
            tuning.check(context.project_path, context.params, chosen[0], recipe, known.recipes)
        if run_params["only_missing_outputs"]:
            mark_outdated(pipeline, catalog)
        self._before = {name: _changed(name, catalog) for name in _pages(pipeline)}
        run_facts.describe_machine.cache_clear()  # of an earlier run in this process
        self._run.enter_context(planning(_steps(pipeline, studies, context.params)))

    @hook_impl
    def before_node_run(self, node: Node, catalog: Any, inputs: dict[str, Any]) -> None:
        """Refuse a task that the images do not suffice for; tell the node where it writes.

        In whichever process the node runs, of which this may be all that Kedro calls.
        """
        _check_task(inputs, catalog)
        if node.tags & {"preprocess", "pretrain"}:
            self._check_fractions(inputs, catalog)
        paths = [getattr(catalog.get(name), "_filepath", None) for name in node.outputs]
        paths = [path for path in paths if path is not None]
        options = {
            name.removeprefix(PARAMETERS): value
            for name, value in inputs.items()
            # What these are asked for names scans, and so perhaps patients.
            if name.startswith(PARAMETERS) and not node.tags & {"predict", "embed", "select"}
        }
        if "tune" in options:
            from maskwise.pipelines import tuning

            options["tune"] = tuning.without_password(options["tune"])
        standing.tell(
            standing.Place(
                address=standing.address_of(node),
                output=paths[0] if paths else None,
                # Pre-training can also wait and has its own, and a study has many workers.
                locks=not node.tags & {"pretrain", "tune"},
                options=options,
            )
        )

    def _check_fractions(self, inputs: dict[str, Any], catalog: Any) -> None:
        """Refuse a fraction that lacks a class, once a source, when its images are split."""
        for name, store in inputs.items():
            source, _, kind = name.partition(".")
            splits = inputs.get(f"{source}.splits")
            if kind != "store" or splits is None or source in self._drawn:
                continue
            from maskwise.checks import check_fractions

            parameters = catalog.load("parameters")
            study = parse_studies(parameters["experiment"])[source]
            check_fractions(parameters, study, store, splits)
            self._drawn.add(source)

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """End with the lines that a reader looks for."""
        self._run.close()
        for name in _pages(pipeline):
            kind, path = name.rpartition(".")[2], catalog.get(name)._filepath
            if _changed(name, catalog) != self._before.get(name):
                log.info("The %s is in %s", kind, path)
            else:
                log.info(
                    "The %s of an earlier run is in %s; nothing that it is made of is newer",
                    kind,
                    path,
                )
        for line in _encoders(pipeline, catalog):
            log.info("%s", line)

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Forget what the run planned."""
        self._run.close()


def _check_task(inputs: dict[str, Any], catalog: Any) -> None:
    for name, artefact in inputs.items():
        source, _, kind = name.partition(".")
        table = {"manifest": artefact, "store": getattr(artefact, "index", None)}.get(kind)
        if table is not None:
            from maskwise.checks import check_subgroups, check_task, check_terms

            parameters = catalog.load("parameters")
            study = parse_studies(parameters["experiment"])[source]
            check_task(parameters, study, table.columns)
            check_terms(parameters, study, table)
            if kind == "manifest":
                check_subgroups(parameters, study, table.columns)


def _pages(pipeline: Pipeline) -> list[str]:
    """Return the outputs that a reader opens."""
    ends = ("report", "page")
    return sorted(name for name in pipeline.all_outputs() if name.rpartition(".")[2] in ends)


def mark_outdated(pipeline: Pipeline, catalog: Any) -> None:
    """Let a run of what is missing make again what joins replicates and is older than they are.

    Kedro would train a new seed, and leave scores and page as they are without it.
    """
    changed: dict[str, float] = {}
    for node in pipeline.nodes:  # in the order in which they run
        rests_on = (changed.get(name, _changed(name, catalog)) for name in node.inputs)
        newest = max(rests_on, default=-math.inf)
        written = {name: _changed(name, catalog) for name in node.outputs}
        written = {name: when for name, when in written.items() if when > -math.inf}
        if node.tags & JOINING and written and newest > min(written.values()):
            for name in written:
                catalog.get(name).outdated = True
            written = dict.fromkeys(written, math.inf)
        # What stays in memory is as new as what it is made of.
        changed |= {name: written.get(name, newest) for name in node.outputs}


def _changed(name: str, catalog: Any) -> float:
    """Return when a data set changed: infinite where it is yet to be made, -inf in memory."""
    path = getattr(catalog.get(name), "_filepath", None)
    if path is None:
        return -math.inf
    return float(path.stat().st_mtime) if path.exists() else math.inf


def _encoders(pipeline: Pipeline, catalog: Any) -> Iterator[str]:
    """Yield where the encoders lie that a run ends with, those that it does not fine-tune."""
    fine_tuned = {
        name for node in pipeline.nodes if "finetune" in node.tags for name in node.inputs
    }
    ends = sorted(name for name in pipeline.all_outputs() if name.endswith(".encoder"))
    paths = {name: catalog.get(name)._filepath for name in ends if name not in fine_tuned}
    if len(paths) > MOST_ENCODERS:
        folder = os.path.commonpath(list(paths.values()))
        yield (
            f"The encoders of {len(paths)} replicates are in {folder}, each as "
            "RECIPE/sSEED/encoder.safetensors"
        )
        return
    for name, path in paths.items():
        _, recipe, seed, _ = name.split(".")
        yield f"The encoder of recipe {recipe}, seed {seed.removeprefix('s')}, is in {path}"


def _steps(pipeline: Pipeline, studies: dict[str, Study], parameters: dict[str, Any]) -> int:
    """Return the optimiser steps of all nodes of the run, for the time that is left."""
    from maskwise.pipelines.parsing import planned_steps

    steps = 0
    for node in pipeline.nodes:
        source, recipe, *_ = node.outputs[0].split(".")
        for stage in node.tags & {"pretrain", "finetune"}:
            steps += planned_steps(stage, studies[source], recipe, parameters)
    return steps
