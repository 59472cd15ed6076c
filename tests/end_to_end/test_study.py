"""`kedro study`: what is missing is made, what is there stays, and questions have answers."""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from maskwise.errors import UserError
from maskwise.evaluate.config import EvaluateConfig, Primary
from maskwise.replicates import Study
from maskwise.study_command import check_primary, job, missing
from project import Finished, Project

pytestmark = pytest.mark.xdist_group("finished")
STUDY = Study(
    source="phantom",
    generated=True,
    recipes=("scratch", "dqn"),
    seeds=(0,),
    fractions=(1.0, 0.1),
    fractions_parameter="params:experiment.fractions",
)


@pytest.fixture(scope="module")
def copy(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("study") / "copy"
    shutil.copytree(finished.project.root, root, symlinks=True)
    project = Project(root)
    project.edit(
        "conf/base/parameters_evaluate.yml",
        evaluate__primary={
            "phantom": {
                "comparisons": [["dqn", "random_box"]],
                "mode": "full",
                "fraction": 0.1,
                "written": date(2026, 11, 29),
            }
        },
    )
    return project


def test_what_is_missing_is_made_and_scored_and_the_rest_stays(copy: Project) -> None:
    predictions = copy.root / "data/07_model_output/phantom/predictions"
    kept = predictions / "dqn/s0/predictions.parquet"
    before = kept.stat().st_mtime_ns
    shutil.rmtree(predictions / "scratch")
    (copy.root / "data/08_reporting/phantom/scores.json").unlink()

    said = copy.run("kedro", "study", "phantom", "--side-by-side", "2")

    assert "1 replicate to make, 2 there already." in said
    assert "1 of 1: scratch.s0 took" in said
    assert (predictions / "scratch/s0/predictions.parquet").is_file()
    assert kept.stat().st_mtime_ns == before
    assert (copy.root / "data/08_reporting/phantom/scores.json").is_file()
    assert "The report is in" in said


def test_a_replicate_that_fails_is_named_with_what_it_said(copy: Project) -> None:
    shutil.rmtree(copy.root / "data/07_model_output/phantom/predictions/random_box")
    copy.edit("conf/base/recipes/parameters_random_box.yml", random_box__policy__bxo=[2, 2])

    said = copy.run("kedro", "study", "phantom", fails=True)

    assert "1 of 1: random_box.s0 FAILED" in said
    assert "bxo" in said
    assert "nothing was scored" in said
    log = (copy.root / "data/study/phantom/random_box.s0.log").read_text(encoding="utf-8")
    assert log.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in log
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("phatnom",), "there is no source 'phatnom'; did you mean"),
        (("phantom", "--env", "nope"), "--env: there is no 'nope'"),
    ],
)
def test_what_does_not_exist_is_one_message(
    copy: Project, asked: tuple[str, ...], message: str
) -> None:
    said = copy.run("kedro", "study", *asked, fails=True)
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"comparisons": (("dqn", "simclr"),)},
            r"evaluate\.primary\.phantom\.comparisons: 'simclr' is not among the recipes",
        ),
        (
            {"fraction": 0.25},
            r"evaluate\.primary\.phantom\.fraction: 0\.25 is not among .*1\.0, 0\.1",
        ),
    ],
)
def test_a_question_that_the_study_does_not_answer_is_refused_beforehand(
    changes: dict[str, Any], message: str
) -> None:
    asked: dict[str, Any] = {"comparisons": (("dqn", "scratch"),), "fraction": 0.1}
    primary = Primary(**{**asked, **changes}, mode="full", written=date(2026, 11, 29))
    with pytest.raises(UserError, match=message):
        check_primary(STUDY, EvaluateConfig(primary={"phantom": primary}))
    check_primary(STUDY, EvaluateConfig(primary={"busi": primary}))
    check_primary(STUDY, EvaluateConfig())


def test_an_encoder_that_is_there_is_not_trained_again() -> None:
    scratch, dqn = STUDY.replicates("scratch")[0], STUDY.replicates("dqn")[0]
    trained = {*scratch.datasets("encoder", "history", "gallery", "policy")}
    assert missing(STUDY, trained.__contains__) == {
        scratch: ["finetune"],
        dqn: ["pretrain", "finetune"],
    }
    predicted = trained | {scratch.dataset("predictions")}
    assert missing(STUDY, predicted.__contains__) == {dqn: ["pretrain", "finetune"]}
    unlabelled = replace(STUDY, fractions=())
    assert missing(unlabelled, trained.__contains__) == {dqn: ["pretrain"]}


def test_agents_that_others_ask_are_trained_first(tmp_path: Path) -> None:
    asking = replace(STUDY, recipes=("simclr_spare", "a3c"), needs={"simclr_spare": "a3c"})
    first, *_ = asking.replicates("simclr_spare")
    assert job(first, asking, tmp_path, print).after == "a3c.s0"
    assert job(asking.replicates("a3c")[0], asking, tmp_path, print).after is None
