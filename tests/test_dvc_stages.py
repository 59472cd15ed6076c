"""A source with recipes and seeds of its own has DVC stages of its own."""

from pathlib import Path

import pytest
from dvc.repo import Repo

from maskwise.dvc_stages import write_stages
from maskwise.errors import UserError
from maskwise.experiment import read_studies
from project import Project, copy_project

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy whose stages are listed."""
    return copy_project(tmp_path_factory.mktemp("stages") / "project")


def addresses(project: Project, file: str) -> set[str]:
    with Repo(project.root) as repo:
        return {stage.name for stage in repo.index.stages if stage.path_in_repo == file}


@pytest.mark.parametrize("source", ["phantom_study", "busi_study", "busi"])
def test_dvc_knows_the_replicates_that_kedro_knows(project: Project, source: str) -> None:
    study = read_studies(project.root)[source]
    path = write_stages(project.root, source)
    assert path == project.root / "studies" / source / "dvc.yaml"
    replicates = {
        f"{stage}@{source}-{recipe}-{seed}"
        for stage in ("pretrain", "finetune")
        for recipe in study.recipes
        for seed in study.seeds
    }
    whole = {f"{stage}@{source}" for stage in ("ingest", "preprocess", "evaluate", "report")}
    generated = {f"generate@{source}"} if study.generated else set()
    assert addresses(project, f"studies/{source}/dvc.yaml") == replicates | whole | generated


def test_a_list_that_is_changed_later_needs_no_new_file(
    project: Project, tmp_path: Path
) -> None:
    copy = copy_project(tmp_path / "copy")
    write_stages(copy.root, "phantom_study")
    copy.edit("conf/base/experiment.yml", experiment__sources__phantom_study__seeds=[7])
    found = addresses(copy, "studies/phantom_study/dvc.yaml")
    assert {name for name in found if name.startswith("pretrain@phantom_study-dqn-")} == {
        "pretrain@phantom_study-dqn-7"
    }


def test_a_recipe_that_asks_an_agent_has_a_stage_that_waits_for_it(
    project: Project, tmp_path: Path
) -> None:
    copy = copy_project(tmp_path / "copy")
    copy.edit(
        "conf/base/experiment.yml",
        experiment__sources__busi_study__recipes=[
            "scratch",
            "simclr_spare",
            "a3c",
            "simclr_spare_shuffled",
        ],
        experiment__sources__busi_study__seeds=[0, 5],
    )
    write_stages(copy.root, "busi_study")
    found = addresses(copy, "studies/busi_study/dvc.yaml")
    assert {name for name in found if name.startswith("pretrain")} == {
        f"{stage}@busi_study-{recipe}-{seed}"
        for stage, recipes in (
            ("pretrain", ["scratch", "a3c"]),
            ("pretrain_after_a3c", ["simclr_spare", "simclr_spare_shuffled"]),
        )
        for recipe in recipes
        for seed in (0, 5)
    }
    with Repo(copy.root) as repo:
        before = {
            stage.name: {
                other.name
                for other in repo.index.graph.successors(stage)
                if "pretrain" in other.name
            }
            for stage in repo.index.stages
            if "simclr_spare-5" in stage.name and "pretrain" in stage.name
        }
    assert before == {
        "pretrain_after_a3c@busi_study-simclr_spare-5": {"pretrain@busi_study-a3c-5"}
    }


def test_evaluation_depends_on_the_lists_of_its_own_source(project: Project) -> None:
    write_stages(project.root, "busi_study")
    text = (project.root / "studies/busi_study/dvc.yaml").read_text(encoding="utf-8")
    for key in ("recipes", "seeds", "fractions"):
        assert f"- experiment.sources.busi_study.{key}\n" in text
        assert f"- experiment.{key}\n" not in text


def test_its_stages_write_where_kedro_reads(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "small", ("phantom", "phantom_study"), ("scratch",))
    project.edit(
        "conf/base/experiment.yml",
        experiment__recipes=["scratch"],
        experiment__sources__phantom_study__recipes=["scratch"],
    )
    project.edit("conf/base/parameters_evaluate.yml", evaluate__primary={})
    project.edit(
        "conf/base/sources/parameters_phantom_study.yml", phantom_study__ingest__images=60
    )
    project.run("python", "-m", "maskwise.dvc_stages", "phantom_study")
    file = "studies/phantom_study/dvc.yaml"
    project.run("dvc", "repro", "-q", f"{file}:ingest@phantom_study")
    assert (project.root / "data/02_intermediate/phantom_study/manifest.parquet").is_file()
    assert (project.root / "studies/phantom_study/dvc.lock").is_file()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("phantom", "stands under `reproduce`, so dvc.yaml makes it already"),
        ("fantom", "there is no source 'fantom'; did you mean 'phantom'"),
    ],
)
def test_a_source_that_has_its_stages_already_or_is_none_is_refused(
    project: Project, source: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        write_stages(project.root, source)
    assert not (project.root / "studies" / source).exists()
