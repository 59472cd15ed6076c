"""Around a run: checks before, one line per node, ``run.json``, the report's path."""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.pipeline import Node, Pipeline

from maskwise import run_facts
from maskwise.checks import (
    check_idle,
    check_inputs,
    check_labels,
    check_parameters,
    check_task,
    check_typed,
    check_writable,
    names_in_files,
)
from maskwise.pipelines import parsing
from maskwise.pipelines.saving import saving
from maskwise.progress import planning
from maskwise.replicates import Study, address, read_studies

log = logging.getLogger(__name__)


class MaskwiseHooks:
    """One object per process; Kedro calls it at the moments that name its methods."""

    def __init__(self) -> None:
        self._context: Any = None
        self._catalog: Any = None
        self._machine: dict[str, Any] = {}
        self._watch: run_facts.Watch | None = None
        self._unsaved: set[str] = set()
        self._run, self._node = ExitStack(), ExitStack()

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep what the checks need."""
        self._context = context

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Refuse what cannot go well, before any stage runs."""
        context, loader = self._context, self._context.config_loader
        studies = read_studies(context.project_path)
        heads = {name.removeprefix("params:").split(".")[0] for name in pipeline.datasets()}
        chosen = [study for study in studies.values() if study.source in heads]
        environments = (loader.base_env, context.env or loader.default_run_env)
        known = names_in_files(Path(loader.conf_source), environments)
        check_typed(context.params, loader.runtime_params or {})
        check_parameters(context.params, chosen, known)
        stages = {tag for node in pipeline.nodes for tag in node.tags}
        for study in chosen:
            check_labels(context.params, study, stages)
            check_idle(context.project_path, context.params, study.source, stages)
            check_writable(context.project_path, context.params, study.source, stages)
        name = (run_params["pipeline_names"] or ["__default__"])[0]
        shown = chosen[0].source if name == "__default__" and chosen else name
        check_inputs(pipeline, pipelines[name], catalog, shown, context.env)
        self._machine = run_facts.describe_machine(context.project_path)
        self._run.enter_context(planning(_steps(pipeline, studies, context.params)))

    @hook_impl
    def before_node_run(self, node: Node, catalog: Any, inputs: dict[str, Any]) -> None:
        """Refuse a task that the images have no label for; say what begins, start its watch."""
        # In a notebook, after Ctrl-C, which is no error to Kedro.
        self._abandon(KeyboardInterrupt())
        self._check_task(inputs)
        self._catalog, self._unsaved = catalog, set(node.outputs)
        self._node.enter_context(saving())
        paths = self._paths(node)
        if (
            paths and "pretrain" not in node.tags
        ):  # a replicate of it can also wait: it has its own
            self._node.enter_context(run_facts.alone(paths[0], _address(node)))
        if paths:
            log.info("%s", _address(node))
            self._watch = run_facts.Watch()

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """After a node's last output, write ``run.json`` beside its first."""
        self._unsaved.discard(dataset_name)
        if self._unsaved:
            return
        if self._watch is not None:
            facts, self._watch = self._watch.stop(), None
            log.info("%s took %.1f s", _address(node), facts["seconds"])
            folder = self._paths(node)[0].parent
            run_facts.write_facts(folder, _address(node), {**self._machine, **facts})
        self._node.close()

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """End with the line that a reader looks for."""
        self._run.close()
        for name in sorted(pipeline.all_outputs()):
            kind = name.rpartition(".")[2]
            if kind in ("report", "page"):
                log.info("The %s is in %s", kind, catalog.get(name)._filepath)

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """Stop watching, and let the node know that its outputs are not on disk."""
        self._run.close()
        self._abandon(error)

    def _check_task(self, inputs: dict[str, Any]) -> None:
        for name, artefact in inputs.items():
            source, _, kind = name.partition(".")
            table = {"manifest": artefact, "store": getattr(artefact, "index", None)}.get(kind)
            if table is not None:
                check_task(self._context.params, source, table.columns)

    def _abandon(self, error: BaseException) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        self._node.__exit__(type(error), error, error.__traceback__)

    def _paths(self, node: Node) -> list[Path]:
        """Return where the node's outputs lie; nothing for one that joins tables in memory."""
        found = [getattr(self._catalog.get(name), "_filepath", None) for name in node.outputs]
        return [path for path in found if path is not None]


def _address(node: Node) -> str:
    return address(min(node.tags), node.outputs[0])


def _steps(pipeline: Pipeline, studies: dict[str, Study], parameters: dict[str, Any]) -> int:
    """Return the optimiser steps of all nodes of the run, for the time that is left."""
    steps = 0
    for node in pipeline.nodes:
        source, recipe, *_ = node.outputs[0].split(".")
        for stage in node.tags & {"pretrain", "finetune"}:
            steps += parsing.planned_steps(stage, studies[source], recipe, parameters)
    return steps
