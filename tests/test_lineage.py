"""The DVC graph is the Kedro graph: the same inputs, outputs and parameters, stage by stage."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from dvc.stage import PipelineStage
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Pipeline

from maskwise.pipeline_registry import PROJECT, register_pipelines
from maskwise.replicates import EXPERIMENT, read_studies

RECIPES = Path("conf/base/recipes")
GLUE = {
    "__init__.py",
    "annotations.py",
    "bounds.py",
    "replicates.py",
    "config.py",
    "device.py",
    "errors.py",
    "pipelines",
    "progress.py",
    "workers.py",
}
"""Of the package; what it shapes is no figure."""


@dataclass(frozen=True)
class Graphs:
    """The project as DVC and as Kedro see it."""

    stages: dict[str, PipelineStage]
    pipelines: dict[str, Pipeline]
    catalog: Any

    def nodes(self, address: str) -> Pipeline:
        """Return what the command of the DVC stage ``address`` runs."""
        words = self.stages[address].cmd.split()
        options = dict(zip(words[2::2], words[3::2], strict=True))
        namespaces = [options["--namespaces"]] if "--namespaces" in options else None
        pipeline = self.pipelines[options["--pipelines"]]
        return pipeline.filter(tags=[options["--tags"]], node_namespaces=namespaces)

    def path(self, dataset: str) -> Path | None:
        """Return where a data set lies, None for one that stays in memory."""
        path = getattr(self.catalog.get(dataset), "_filepath", None)
        return None if path is None else Path(path).relative_to(PROJECT)


@pytest.fixture(scope="module")
def graphs() -> Iterator[Graphs]:
    bootstrap_project(PROJECT)
    with (
        pytest.MonkeyPatch.context() as patch,
        KedroSession.create(project_path=PROJECT, env="base") as session,
        Repo(PROJECT) as repo,
    ):
        patch.chdir(PROJECT)  # DVC calls its stages as seen from where one stands
        yield Graphs(
            stages={stage.addressing: stage for stage in repo.index.stages if stage.cmd},
            pipelines=register_pipelines(),
            catalog=session.load_context().catalog,  # type: ignore[attr-defined]
        )


def covers(dependency: Path, path: Path) -> bool:
    return path == dependency or dependency in path.parents


def dependencies(stage: PipelineStage) -> set[Path]:
    return {Path(dep.def_path) for dep in stage.deps if not hasattr(dep, "params")}


def parameters(stage: PipelineStage) -> set[str]:
    """Return the stage's parameters by Kedro's names; a whole file of a recipe is its name."""
    found = set()
    for dep in stage.deps:
        for key in getattr(dep, "params", None) or []:
            found.add(f"params:{key}")
        if hasattr(dep, "params") and not dep.params:
            found.add(f"params:{Path(dep.def_path).stem.removeprefix('parameters_')}")
    return found


def test_dvc_has_a_stage_for_every_stage_and_replicate_of_the_reproduced_sources(
    graphs: Graphs,
) -> None:
    studies = read_studies(PROJECT)
    expected = {"generate@phantom"}
    for stage in ("ingest", "preprocess", "evaluate", "report"):
        expected.add(f"{stage}@phantom")
    for recipe in studies["phantom"].recipes:
        for seed in studies["phantom"].seeds:
            expected |= {
                f"{stage}@phantom-{recipe}-{seed}" for stage in ("pretrain", "finetune")
            }
    assert set(graphs.stages) == expected


def test_dvc_and_kedro_write_the_same_files(graphs: Graphs) -> None:
    for address, stage in graphs.stages.items():
        outputs = {graphs.path(name) for name in graphs.nodes(address).all_outputs()} - {None}
        assert {Path(out.def_path) for out in stage.outs} == outputs, address


def test_whatever_kedro_reads_dvc_depends_on(graphs: Graphs) -> None:
    for address, stage in graphs.stages.items():
        for name in graphs.nodes(address).inputs():
            path = None if name.startswith("params:") else graphs.path(name)
            if path is not None:
                assert any(covers(dep, path) for dep in dependencies(stage)), (address, path)


def test_whatever_data_dvc_depends_on_kedro_reads(graphs: Graphs) -> None:
    for address, stage in graphs.stages.items():
        read = {graphs.path(name) for name in graphs.nodes(address).inputs()} - {None}
        for dependency in dependencies(stage):
            if dependency.parts[0] == "data":
                assert any(path and covers(dependency, path) for path in read), (
                    address,
                    dependency,
                )


def test_dvc_and_kedro_take_the_same_parameters(graphs: Graphs) -> None:
    studies = read_studies(PROJECT)
    recipes = {f"params:{recipe}" for study in studies.values() for recipe in study.recipes}
    for address, stage in graphs.stages.items():
        inputs = {name for name in graphs.nodes(address).inputs() if name.startswith("params:")}
        declared = parameters(stage) - {"params:experiment.recipes", "params:experiment.seeds"}
        if RECIPES in dependencies(stage):
            inputs -= recipes
        assert declared == inputs, address


def test_stages_that_join_replicates_depend_on_which_replicates_there_are(
    graphs: Graphs,
) -> None:
    for address, stage in graphs.stages.items():
        if address.startswith(("evaluate@", "report@")):
            assert {"params:experiment.recipes", "params:experiment.seeds"} <= parameters(stage)


def test_every_file_of_code_and_of_parameters_that_dvc_names_exists(graphs: Graphs) -> None:
    for stage in graphs.stages.values():
        for dep in stage.deps:
            path = Path(dep.def_path)
            assert path.parts[0] == "data" or (PROJECT / path).exists(), (stage, path)


def test_every_stage_depends_on_its_own_code(graphs: Graphs) -> None:
    for address, stage in graphs.stages.items():
        name = address.split("@")[0]
        assert Path(f"src/maskwise/pipelines/{name}.py") in dependencies(stage)
        package = Path("src/maskwise") / ("ingest/sources" if name == "generate" else name)
        assert package in dependencies(stage), address


def test_every_stage_depends_on_all_the_code_that_shapes_what_it_writes(
    graphs: Graphs,
) -> None:
    for address, stage in graphs.stages.items():
        own = Path("src/maskwise/pipelines", f"{address.split('@')[0]}.py")
        known = dependencies(stage)
        unknown = {path for path in reached(own) if not known & {path, *path.parents}}
        assert not unknown, address


def reached(start: Path) -> set[Path]:
    """Return the project's files that the imports of ``start`` lead to, glue left out."""
    seen, todo = {start}, [start]
    while todo:
        for path in imported(todo.pop()) - seen:
            if path.parts[2] not in GLUE:
                seen.add(path)
                todo.append(path)
    return seen


def imported(path: Path) -> set[Path]:
    """Return the files that ``path`` imports from by name, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse((PROJECT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    modules = {Path("src", *name.split(".")) for name in names if name.startswith("maskwise")}
    files = {module.with_suffix(".py") for module in modules}
    files |= {module / "__init__.py" for module in modules}
    return {file for file in files if (PROJECT / file).is_file()}


def test_what_differs_from_run_to_run_is_hidden_from_dvc(graphs: Graphs) -> None:
    with Repo(PROJECT) as repo:
        for name in ("run.json", "subsets.parquet.lock", "__pycache__"):
            path = PROJECT / "data/07_model_output/phantom/predictions/dqn/s0" / name
            assert repo.dvcignore.is_ignored_file(str(path)), name


def test_the_experiment_is_read_by_the_registry_and_by_dvc(graphs: Graphs) -> None:
    assert f"- {EXPERIMENT}" in (PROJECT / "dvc.yaml").read_text(encoding="utf-8")
