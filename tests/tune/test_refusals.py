"""What is refused before a study begins, each in one sentence."""

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Node, Pipeline
from optuna import load_study

from maskwise.checks import names_in_files
from maskwise.errors import HinderedError, UserError
from maskwise.evaluate.config import EvaluateConfig
from maskwise.experiment import read_studies
from maskwise.finetune.run import FinetuneConfig
from maskwise.hooks import MaskwiseHooks
from maskwise.pipeline_registry import PROJECT
from maskwise.pipelines import standing, tuning
from maskwise.pipelines.tune import create_pipeline
from maskwise.pretrain.recipe import PretrainConfig
from maskwise.settings import CONFIG_LOADER_ARGS
from maskwise.tune.stage import _NO_SCORE, own_folder

STUDY = read_studies(PROJECT)["phantom"]
RECIPES = names_in_files(PROJECT / "conf", ["base"]).recipes
RATE = "recipe.optimisation.learning_rate"
NUMBER = {"name": "float", "low": 0.001, "high": 0.01}
SPACE = {RATE: NUMBER}


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    arguments: dict[str, Any] = {**CONFIG_LOADER_ARGS, "default_run_env": "base"}
    loader = OmegaConfigLoader(str(PROJECT / "conf"), "base", **arguments)
    parameters: dict[str, Any] = loader["parameters"]
    return parameters


def check(
    shipped: dict[str, Any],
    folder: Path,
    space: Any = None,
    recipe: str = "random_box",
    **tune: Any,
) -> None:
    """Check a study of the recipe on generated images; without a space the shipped one."""
    spaces = shipped["tune"]["spaces"] if space is None else {recipe: space}
    options = {**shipped["tune"], "spaces": spaces, **tune}
    tuning.check(folder, {**shipped, "tune": options}, STUDY, recipe, RECIPES)


def test_the_space_that_the_project_ships_suits_the_demonstration(
    shipped: dict[str, Any], folder: Path
) -> None:
    check(shipped, folder)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, r"tune\.spaces\.random_box: holds no parameter, so there is nothing to tune"),
        (
            {"recipe.optimisation.learning_rat": NUMBER},
            r"tune\.spaces\.random_box\.recipe\.optimisation\.learning_rat: there is no such "
            r"option; did you mean 'learning_rate'\?",
        ),
        (
            {"recipe.optimisaton.learning_rate": NUMBER},
            r"recipe\.optimisaton: there is no such option; did you mean 'optimisation'\?",
        ),
        (
            {"pretrain.stepz": {"name": "int", "low": 5, "high": 9}},
            r"pretrain\.stepz: there is no such option; did you mean 'steps'\?",
        ),
        (
            {RATE: {**NUMBER, "high": 500.0}},
            r"learning_rate: is 500\.0, but",
        ),
        (
            {"recipe.policy.box": {"name": "categorical", "choices": [[2, 2], [16, 16]]}},
            r"recipe\.policy\.box: with \[16, 16\] the recipe does not suit the images",
        ),
    ],
)
def test_a_space_that_does_not_suit_the_recipe_is_refused_in_one_sentence(
    shipped: dict[str, Any], folder: Path, space: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        check(shipped, folder, space)

    assert "\n" not in str(caught.value)
    assert not list(folder.rglob("study.db"))


def test_a_space_of_no_recipe_gets_the_close_match(
    shipped: dict[str, Any], folder: Path
) -> None:
    message = r"tune\.spaces\.random_bax: there is no recipe .*did you mean 'random_box'"
    with pytest.raises(UserError, match=message):
        check(shipped, folder, spaces={"random_bax": SPACE})


def test_a_recipe_that_sees_test_images_is_not_tuned(
    shipped: dict[str, Any], folder: Path
) -> None:
    recipe = {**shipped["random_box"], "transductive": True}
    with pytest.raises(UserError, match="transductive: true, but tune never looks at the test"):
        check({**shipped, "random_box": recipe}, folder, SPACE)


def test_folds_of_which_every_image_is_tested_are_refused(
    shipped: dict[str, Any], folder: Path
) -> None:
    images = {**shipped["phantom"]["preprocess"], "split": "own", "folds": 5}
    source = {**shipped["phantom"], "preprocess": images}
    with pytest.raises(UserError, match=r"^phantom\.preprocess\.folds: 5, .* with folds: 0"):
        check({**shipped, "phantom": source}, folder, SPACE)
    assert not list(folder.rglob("study.db"))


def test_a_mode_that_the_task_lacks_is_refused(shipped: dict[str, Any], folder: Path) -> None:
    task = {"name": "lesion"}
    source = {
        **shipped["phantom"],
        "finetune": {**shipped["phantom"]["finetune"], "task": task},
    }
    with pytest.raises(UserError, match="knn is no mode of the task"):
        check({**shipped, "phantom": source}, folder, SPACE, objective={"mode": "knn"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_finetune_asks_for_and_is_not_there_is_told_before_anything_is_trained(
    shipped: dict[str, Any], folder: Path
) -> None:
    options = {**shipped["finetune"], "device": "cuda"}
    with pytest.raises(HinderedError, match=r"^finetune\.device: .* no CUDA device"):
        check({**shipped, "finetune": options}, folder, SPACE)


def test_a_storage_that_cannot_be_reached_is_told_before_anything_runs(
    shipped: dict[str, Any], folder: Path
) -> None:
    with pytest.raises(UserError, match="cannot be reached"):
        check(shipped, folder, SPACE, storage="sqlite:////proc/nowhere/study.db")


def test_a_changed_recipe_or_space_is_another_study(
    shipped: dict[str, Any], folder: Path
) -> None:
    check(shipped, folder, {RATE: {**NUMBER, "high": 0.02}})
    check(shipped, folder, SPACE)  # a study without a trial can still become another
    (path,) = folder.rglob("study.db")
    load_study(study_name="phantom.random_box", storage=f"sqlite:///{path}").ask()
    check(shipped, folder, SPACE)
    recipe = {**shipped["random_box"], "augmentation": {"shift_px": 1}}
    probe = {**shipped["finetune"], "probe": {"strengths": [0.5]}}
    aside = {**shipped["pretrain"], "checkpoint_every": 7}

    with pytest.raises(UserError, match=r"its recipe \(augmentation\)"):
        check({**shipped, "random_box": recipe}, folder, SPACE)
    with pytest.raises(UserError, match=rf"its space \({RATE}\)"):
        check(shipped, folder, {RATE: {**NUMBER, "high": 0.02}})
    with pytest.raises(UserError, match=r"its options \(finetune\.probe\)"):
        check({**shipped, "finetune": probe}, folder, SPACE)
    check({**shipped, "pretrain": aside}, folder, SPACE)


def test_two_studies_of_a_recipe_keep_their_trials_apart() -> None:
    folders = {own_folder(Path("tune/dqn"), name) for name in ("first", "a/b", "..", "second")}
    assert len(folders) == 4
    assert {folder.parent for folder in folders} == {Path("tune/dqn")}


def place_of(node: Node, inputs: dict[str, Any]) -> standing.Place:
    """Return what the hooks tell a node before it runs."""
    MaskwiseHooks().before_node_run(node, SimpleNamespace(get=lambda name: None), inputs)
    place = standing._PLACE.get()
    standing._PLACE.set(None)
    assert place is not None
    return place


@pytest.mark.filterwarnings("ignore:.*dataset names contain")
def test_workers_of_a_study_keep_one_another_from_no_node() -> None:
    """They all end with the study's last trial, within a second."""
    pipeline: Pipeline = create_pipeline({"phantom": STUDY}, PROJECT)
    for node in pipeline.nodes:
        assert not place_of(node, {}).locks


@pytest.mark.filterwarnings("ignore:.*dataset names contain")
def test_run_json_does_not_hold_the_password_of_the_database() -> None:
    node = create_pipeline({"phantom": STUDY}, PROJECT).nodes[0]
    options = {"trials": 5, "storage": "postgresql://me:secret@host/db"}

    written = place_of(node, {"params:tune": options}).options["tune"]

    assert written == {"trials": 5, "storage": "postgresql://me:***@host/db"}


@pytest.mark.parametrize(
    ("stage", "options"),
    [("pretrain", PretrainConfig), ("finetune", FinetuneConfig), ("evaluate", EvaluateConfig)],
)
def test_what_a_study_leaves_aside_are_options_that_there_are(stage: str, options: Any) -> None:
    assert _NO_SCORE[stage] < {each.name for each in fields(options)}


@pytest.mark.filterwarnings("ignore:.*dataset names contain")
def test_a_run_tunes_one_recipe_of_one_source(shipped: dict[str, Any]) -> None:
    pipeline: Pipeline = create_pipeline({"phantom": STUDY}, PROJECT)
    with pytest.raises(UserError, match=r"name one, as in --namespaces phantom\.dqn"):
        tuning.replicates(pipeline, shipped)

    one = tuning.replicates(
        pipeline.only_nodes_with_namespaces(["phantom.random_box"]), shipped
    )
    assert {(each.source, each.recipe) for each in one} == {("phantom", "random_box")}
    assert [each.seed for each in one] == shipped["tune"]["seeds"]
