"""The DVC graph is the Kedro graph: the same inputs, outputs and parameters, stage by stage."""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from dvc.stage import PipelineStage
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Pipeline

from maskwise.dvc_stages import AFTER, write_stages
from maskwise.experiment import EXPERIMENT, read_studies
from maskwise.pipeline_registry import PROJECT, source_pipeline
from maskwise.pretrain import checkpoint
from maskwise.replicates import Study
from project import Project, copy_project

RECIPES = Path("conf/base/recipes")
_LISTS = ("recipes", "seeds")
GLUE = {
    "__init__.py",
    "annotations.py",
    "array_types.py",
    "bounds.py",
    "replicates.py",
    "config.py",
    "description.py",
    "interruption.py",
    "device.py",
    "errors.py",
    "pipelines",
    "progress.py",
    "weights_origin.py",
    "wording.py",
    "workers.py",
}
"""Of the package; what it shapes is no figure."""


@dataclass(frozen=True)
class Graphs:
    """The project as DVC and as Kedro see it."""

    study: Study
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


@pytest.fixture(scope="module", params=["reproduced", "without labels", "with an agent asked"])
def graphs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Graphs]:
    """Yield both views of the source under `reproduce`, and of a study of each other kind."""
    bootstrap_project(PROJECT)
    project, study = PROJECT, read_studies(PROJECT)["phantom"]
    if request.param == "without labels":
        project = copy_project(tmp_path_factory.mktemp("lineage") / "project").root
        study = without_labels(project)
    if request.param == "with an agent asked":
        project = copy_project(tmp_path_factory.mktemp("lineage") / "project").root
        study = asking(project)
    with (
        pytest.MonkeyPatch.context() as patch,
        KedroSession.create(project_path=PROJECT, env="base") as session,
        Repo(project) as repo,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=".*dataset names contain '.' characters")
        patch.chdir(project)
        stages = [stage for stage in repo.index.stages if stage.cmd]
        yield Graphs(
            study=study,
            stages={stage.name: stage for stage in stages if study.source in words(stage.name)},
            pipelines={study.source: source_pipeline(study, PROJECT)},
            catalog=session.load_context().catalog,  # type: ignore[attr-defined]
        )


def words(address: str) -> list[str]:
    """Return stage, source, recipe and seed of a DVC stage's name."""
    stage, *others = re.split("[@-]", address)
    return [stage.partition(AFTER)[0], *others]


def without_labels(project: Path) -> Study:
    """Give a source of the copy at ``project`` no fraction, and DVC stages; return it."""
    name = "phantom_study"
    Project(project).edit(
        "conf/base/experiment.yml", **{f"experiment__sources__{name}__fractions": []}
    )
    write_stages(project, name)
    return read_studies(project)[name]


def asking(project: Path) -> Study:
    """Give a source of the copy at ``project`` recipes that ask an agent; return it."""
    name = "phantom_study"
    recipes = ["scratch", "a3c", "simclr_spare", "simclr_spare_variance"]
    Project(project).edit(
        "conf/base/experiment.yml", **{f"experiment__sources__{name}__recipes": recipes}
    )
    write_stages(project, name)
    return read_studies(project)[name]


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
    study, labelled = graphs.study, graphs.study.finetunes
    whole = {"generate", "ingest", "preprocess", "report"} | (
        {"evaluate"} if labelled else set()
    )
    expected = {f"{stage}@{study.source}" for stage in whole}
    for stage in ("pretrain", "finetune") if labelled else ("pretrain",):
        after = {name: f"{AFTER}{first}" for name, first in study.needs.items()}
        expected |= {
            f"{stage}{after.get(recipe, '') if stage == 'pretrain' else ''}"
            f"@{study.source}-{recipe}-{seed}"
            for recipe in study.recipes
            for seed in study.seeds
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


def replicates_of(study: Study) -> set[str]:
    """Return what decides which replicates a source has, its own lists among it."""
    own = f"sources.{study.source}"
    lists = [f"{own}.{key}" if study.source == "phantom_study" else key for key in _LISTS]
    return {f"params:experiment.{key}" for key in (*lists, own)}


def test_dvc_and_kedro_take_the_same_parameters(graphs: Graphs) -> None:
    recipes = {f"params:{recipe}" for recipe in graphs.study.recipes}
    for address, stage in graphs.stages.items():
        inputs = {name for name in graphs.nodes(address).inputs() if name.startswith("params:")}
        declared = parameters(stage) - replicates_of(graphs.study)
        if RECIPES in dependencies(stage):
            inputs -= recipes
        assert declared == inputs, address


def test_stages_that_join_replicates_depend_on_which_replicates_there_are(
    graphs: Graphs,
) -> None:
    for address, stage in graphs.stages.items():
        if address.startswith(("evaluate@", "report@")):
            assert replicates_of(graphs.study) <= parameters(stage)


def test_every_file_of_code_and_of_parameters_that_dvc_names_exists(graphs: Graphs) -> None:
    for stage in graphs.stages.values():
        for dep in stage.deps:
            path = Path(dep.def_path)
            assert path.parts[0] == "data" or (PROJECT / path).exists(), (stage, path)


def test_every_stage_depends_on_its_own_code(graphs: Graphs) -> None:
    for address, stage in graphs.stages.items():
        name = words(address)[0]
        assert Path(f"src/maskwise/pipelines/{name}.py") in dependencies(stage)
        package = Path("src/maskwise") / ("ingest/sources" if name == "generate" else name)
        assert package in dependencies(stage), address


def test_every_stage_depends_on_all_the_code_that_shapes_what_it_writes(
    graphs: Graphs,
) -> None:
    for address, stage in graphs.stages.items():
        own = Path("src/maskwise/pipelines", f"{words(address)[0]}.py")
        known = dependencies(stage)
        unknown = {path for path in reached(own) if not known & {path, *path.parents}}
        assert not unknown, address


def test_a_checkpoint_is_of_all_the_code_that_pre_training_depends_on(graphs: Graphs) -> None:
    address = next(name for name in graphs.stages if name.startswith("pretrain@"))
    code = {path for path in dependencies(graphs.stages[address]) if path.parts[0] == "src"}
    own = {Path("src/maskwise", name) for name in checkpoint.CODE}
    assert own == {path for path in code if "pipelines" not in path.parts}


@cache
def reached(start: Path) -> frozenset[Path]:
    """Return the project's files that the imports of ``start`` lead to, glue left out."""
    seen, todo = {start}, [start]
    while todo:
        for path in imported(todo.pop()) - seen:
            if path.parts[2] not in GLUE:
                seen.add(path)
                todo.append(path)
    return frozenset(seen)


@cache
def imported(path: Path) -> frozenset[Path]:
    """Return the files that ``path`` imports from by name, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse((PROJECT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    modules = {Path("src", *name.split(".")) for name in names if name.startswith("maskwise")}
    files = {module.with_suffix(".py") for module in modules}
    files |= {module / "__init__.py" for module in modules}
    return frozenset(file for file in files if (PROJECT / file).is_file())


def test_what_differs_from_run_to_run_is_hidden_from_dvc(graphs: Graphs) -> None:
    with Repo(PROJECT) as repo:
        for name in ("run.json", "subsets.parquet.lock", "__pycache__"):
            path = PROJECT / "data/07_model_output/phantom/predictions/dqn/s0" / name
            assert repo.dvcignore.is_ignored_file(str(path)), name


def test_the_experiment_is_read_by_the_registry_and_by_dvc(graphs: Graphs) -> None:
    assert f"- {EXPERIMENT}" in (PROJECT / "dvc.yaml").read_text(encoding="utf-8")
