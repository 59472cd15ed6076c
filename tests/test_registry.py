"""What `kedro run` finds: pipelines, namespaces, tags, and how fast."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kedro.pipeline import Pipeline

from maskwise.errors import UserError
from maskwise.experiment import read_studies
from maskwise.pipeline_registry import PROJECT, register_pipelines, source_pipeline
from maskwise.session import check_environment, check_request, check_runtime

STAGES = {"generate", "ingest", "preprocess", "pretrain", "finetune", "evaluate", "report"}


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Pipeline]:
    return register_pipelines()


def test_every_configured_source_has_a_pipeline_of_its_name(
    pipelines: dict[str, Pipeline],
) -> None:
    assert set(read_studies(PROJECT)) <= set(pipelines)


def test_plain_kedro_run_is_the_demonstration(pipelines: dict[str, Pipeline]) -> None:
    assert pipelines["__default__"] is pipelines["phantom"]


def test_every_node_carries_its_stage_as_a_tag(pipelines: dict[str, Pipeline]) -> None:
    for name in read_studies(PROJECT):
        assert all(node.tags and node.tags <= STAGES for node in pipelines[name].nodes)


def test_a_recipe_and_a_seed_select_exactly_one_pretraining(
    pipelines: dict[str, Pipeline],
) -> None:
    chosen = pipelines["phantom"].filter(tags=["pretrain"], node_namespaces=["dqn.s0"])
    assert [node.name for node in chosen.nodes] == ["dqn.s0.pretrain"]


def test_only_a_generated_source_generates(pipelines: dict[str, Pipeline]) -> None:
    assert pipelines["phantom"].only_nodes_with_tags("generate").nodes
    assert "busi.raw" in pipelines["busi"].inputs()


@pytest.mark.filterwarnings("ignore:.*dataset names contain")
def test_whatever_a_replicate_writes_is_read_in_its_own_recipe(
    pipelines: dict[str, Pipeline],
) -> None:
    study = read_studies(PROJECT)["phantom"]
    without_labels = source_pipeline(replace(study, fractions=()), PROJECT)
    for pipeline in (pipelines["phantom"], without_labels):
        for recipe in study.recipes:
            inside = pipeline.only_nodes_with_namespaces([recipe])
            written = {name for name in inside.all_outputs() if ".s0." in name}
            assert not written - inside.all_inputs()


@pytest.mark.filterwarnings("ignore:.*dataset names contain")
def test_a_recipe_that_asks_an_agent_is_trained_after_it_with_the_same_seed() -> None:
    study = replace(
        read_studies(PROJECT)["busi"],
        recipes=("simclr_spare", "a3c"),
        seeds=(0, 3),
        needs={"simclr_spare": "a3c"},
    )
    pipeline = source_pipeline(study, PROJECT).only_nodes_with_tags("pretrain")
    for seed in (0, 3):
        node = next(n for n in pipeline.nodes if n.name == f"simclr_spare.s{seed}.pretrain")
        agents = [name for name in node.inputs if name.endswith(".policy")]
        assert agents == [f"busi.a3c.s{seed}.policy"]
        order = [each.name for each in pipeline.nodes]
        assert order.index(f"a3c.s{seed}.pretrain") < order.index(node.name)


@pytest.mark.filterwarnings("ignore:.*dataset names contain")
def test_a_source_without_labels_has_the_stages_that_need_none() -> None:
    study = replace(read_studies(PROJECT)["phantom"], fractions=())
    tags = {tag for node in source_pipeline(study, PROJECT).nodes for tag in node.tags}
    assert tags == STAGES - {"finetune", "evaluate"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pipeline_names": ["fantom"]}, "--pipelines: there is no 'fantom'.*'phantom'"),
        (
            {"pipeline_names": ["busi", "phantom"]},
            "--pipelines: busi, phantom .*one name per run",
        ),
        ({"namespaces": ["dqn_"]}, "--namespaces: there is no 'dqn_'.*'dqn'"),
        ({"namespaces": ["dqn.s9"]}, "--namespaces: there is no 'dqn.s9'.*'dqn.s0'"),
        ({"tags": ["pretrian"]}, "--tags: there is no 'pretrian'.*'pretrain'"),
        ({"node_names": ("ingst",)}, "--nodes: there is no 'ingst'.*'ingest'"),
        ({"from_nodes": ["ingst"]}, "--from-nodes: there is no 'ingst'.*'ingest'"),
        (
            {"from_inputs": ["phantom.manifst"]},
            "--from-inputs: there is no 'phantom.manifst'.*'phantom.manifest'",
        ),
        ({"to_outputs": ["phantom.score"]}, "--to-outputs: .*mean 'phantom.scores'"),
        (
            {"namespaces": ["dqn.s0"], "tags": ["evaluate"]},
            "--tags, --namespaces.* leave nothing to run.*leave --namespaces out",
        ),
        ({"load_versions": {"phantom.scores": "b"}}, "--load-versions: .*git checkout REV"),
    ],
)
def test_a_request_for_what_there_is_not_names_what_to_ask_for_instead(
    pipelines: dict[str, Pipeline], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_request(pipelines, options)


def test_an_environment_that_there_is_not_gets_the_close_match() -> None:
    check_environment(PROJECT / "conf", None)
    check_environment(PROJECT / "conf", "test")
    with pytest.raises(UserError, match=r"--env: there is no 'tset'.*did you mean 'test'"):
        check_environment(PROJECT / "conf", "tset")


@pytest.mark.parametrize("value", ["", None, 5, 1e5, True, ["a"]])
def test_a_raw_folder_that_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match=r"raw_root: should be the path .* quotation marks"):
        check_runtime({"raw_root": value})


def test_an_experiment_on_the_command_line_is_not_passed_over_in_silence() -> None:
    with pytest.raises(UserError, match=r"--params experiment: .*experiment\.yml"):
        check_runtime({"experiment": {"seeds": 3}})


@pytest.mark.parametrize("command", [["--help"], ["registry", "list"]])
def test_kedro_lists_and_helps_without_waiting_for_torch(command: list[str]) -> None:
    code = (
        "import sys; from kedro.framework.cli.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'pandas', 'sklearn', 'matplotlib', 'lightning_fabric'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=Path(PROJECT),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_misspelt_option_is_told_without_waiting_for_libraries_of_the_stages() -> None:
    code = (
        "import sys; from kedro.framework.cli.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'sklearn', 'matplotlib', 'lightning_fabric', 'scipy.stats'}\n"
        "print(heavy & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "--params", "ingest.wrokers=2"],
        cwd=Path(PROJECT),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ingest.wrokers" in done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
