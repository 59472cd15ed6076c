"""What is searched: read once, told apart, laid over a recipe."""

from typing import Any

import optuna
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maskwise.config import overlaid, parse
from maskwise.errors import UserError
from maskwise.pretrain.recipe import parse_recipe
from maskwise.tune.config import TuneConfig
from maskwise.tune.space import Space, build_space, laid, overlay

BASE: dict[str, Any] = {
    "recipe": {
        "objective": {"name": "context_encoder"},
        "policy": {"name": "dqn", "preset": "paper"},
        "encoder": {"name": "context_cnn"},
    },
    "pretrain": {"steps": 10},
    "finetune": {"task": {"name": "diagnosis"}, "steps": 5},
}
POLICY = "recipe.policy.name"
BOX = "recipe.policy.box"


def read(**parameters: Any) -> Space:
    """Return the space of these parameters, whose dots are written as two underscores."""
    named = {path.replace("__", "."): block for path, block in parameters.items()}
    options = parse(TuneConfig, {"spaces": {"dqn": named}}, "tune")
    return build_space(options.space("dqn"), "tune.spaces.dqn")


def policies() -> Space:
    return read(
        recipe__policy__box={
            "name": "categorical",
            "choices": [[2, 2], [4, 4]],
            "when": {POLICY: ["random_box"]},
        },
        recipe__policy__name={"name": "categorical", "choices": ["dqn", "random_box"]},
    )


def suggested(space: Space, trials: int = 20) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(trials)]


@pytest.mark.parametrize(
    ("block", "kind", "allowed"),
    [
        ({"name": "float", "low": 0.1, "high": 0.2}, float, lambda v: 0.1 <= v <= 0.2),
        ({"name": "float", "low": 1e-5, "high": 1, "log": True}, float, lambda v: v <= 1),
        ({"name": "float", "low": 0, "high": 1, "step": 0.25}, float, lambda v: v % 0.25 == 0),
        ({"name": "int", "low": 8, "high": 31, "step": 8}, int, lambda v: v in (8, 16, 24)),
        ({"name": "int", "low": 1, "high": 99, "log": True}, int, lambda v: 1 <= v <= 99),
        ({"name": "categorical", "choices": [True, None]}, object, lambda v: v in (True, None)),
    ],
)
def test_each_kind_of_parameter_proposes_what_it_allows(
    block: dict[str, Any], kind: type, allowed: Any
) -> None:
    values = [one["pretrain.steps"] for one in suggested(read(pretrain__steps=block))]

    assert all(isinstance(value, kind) and allowed(value) for value in values)
    assert len(set(values)) > 1


def test_a_logarithmic_parameter_tries_small_numbers_as_often_as_large_ones() -> None:
    space = read(pretrain__steps={"name": "float", "low": 1e-4, "high": 1.0, "log": True})

    small = [one["pretrain.steps"] < 1e-2 for one in suggested(space, 200)]

    assert 70 < sum(small) < 130


def test_a_parameter_with_a_condition_is_searched_only_where_it_holds() -> None:
    for values in suggested(policies()):
        assert (BOX in values) == (values[POLICY] == "random_box")


def test_a_list_among_the_choices_comes_back_as_a_list() -> None:
    boxes = [values[BOX] for values in suggested(policies()) if BOX in values]

    assert [2, 2] in boxes
    assert [4, 4] in boxes


def test_another_name_takes_away_what_only_the_former_name_has() -> None:
    recipe = laid({POLICY: "random_box", BOX: [2, 2]}, BASE)["recipe"]

    assert recipe["policy"] == {"name": "random_box", "preset": None, "box": [2, 2]}
    assert parse_recipe(recipe, "recipe").names["policy"] == "random_box"


def test_the_same_name_leaves_all_as_it_is() -> None:
    assert laid({POLICY: "dqn"}, BASE) == BASE


@given(st.floats(1e-6, 1e-1), st.integers(1, 10**6))
def test_what_is_laid_over_the_files_is_what_the_trial_had(rate: float, steps: int) -> None:
    values = {"recipe.optimisation.learning_rate": rate, "pretrain.steps": steps}

    written = yaml.safe_load(yaml.safe_dump(overlay(values, BASE)))

    assert overlaid(BASE, written) == laid(values, BASE)
    assert laid(values, BASE)["pretrain"]["steps"] == steps
    assert parse_recipe(laid(values, BASE)["recipe"], "r").optimisation.learning_rate == rate


def test_probes_reach_both_ends_and_fulfil_conditions() -> None:
    found = [(path, values[path], values.get(POLICY)) for path, values in policies().probes()]

    assert (BOX, [4, 4], "random_box") in found
    assert (POLICY, "dqn", "dqn") in found


@pytest.mark.parametrize("rest", ["", ".name", ".label", ".labels", ".separator", ".none"])
def test_what_is_scored_is_no_part_of_a_search(rest: str) -> None:
    path, whole = f"finetune.task{rest}", {"name": "multilabel", "label": "findings"}
    with pytest.raises(UserError, match=rf"dqn\.{path}: changes what is scored"):
        read(**{path: {"name": "categorical", "choices": ["a", "b"] if rest else [whole]}})


def test_an_option_of_the_task_that_only_shapes_its_training_is_searched() -> None:
    path = "finetune.task.class_weights"
    assert list(read(**{path: {"name": "categorical", "choices": ["none"]}}).parameters) == [
        path
    ]


def test_null_takes_away_a_parameter_that_another_file_names() -> None:
    flag = {"name": "categorical", "choices": [1, 2]}

    assert list(read(pretrain__steps=flag, pretrain__batch_size=None).parameters) == [
        "pretrain.steps"
    ]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, r"tune\.spaces\.dqn: holds no parameter.*as in recipe\.optim"),
        (
            {"recpie.policy.name": {"name": "categorical", "choices": [1]}},
            r"recpie\.policy\.name: a path begins with.*did you mean 'recipe'",
        ),
        (
            {"recipe.transductive": {"name": "categorical", "choices": [True]}},
            "recipe.transductive: would let test images into pre-training",
        ),
        (
            {"pretrain.steps": {"name": "int", "low": 5, "high": 5}},
            r"tune\.spaces\.dqn\.pretrain\.steps: low is 5 and high 5, so there is nothing",
        ),
        (
            {"pretrain.steps": {"name": "int", "low": 0, "high": 5, "log": True}},
            "log: true asks for one above 0",
        ),
        (
            {"pretrain.steps": {"name": "inte", "low": 0, "high": 5}},
            "there is no 'inte'; did you mean 'int'",
        ),
        (
            {"pretrain.steps": {"name": "int", "low": 1, "high": 5, "hihg": 3}},
            r"hihg: there is no such option; did you mean 'high'",
        ),
        (
            {
                "pretrain.steps": {"name": "int", "low": 1, "high": 5},
                BOX: {
                    "name": "categorical",
                    "choices": [1, 2],
                    "when": {"pretrain.stepz": [1]},
                },
            },
            r"when\.pretrain\.stepz: is not in the space; did you mean 'pretrain\.steps'",
        ),
        (
            {
                "recipe.policy.name": {"name": "categorical", "choices": ["dqn", "a3c"]},
                BOX: {"name": "categorical", "choices": [1, 2], "when": {POLICY: ["dqm"]}},
            },
            "'dqm' is none of its choices; did you mean 'dqn'",
        ),
        (
            {
                "pretrain.steps": {"name": "int", "low": 2, "high": 9, "step": 3},
                BOX: {
                    "name": "categorical",
                    "choices": [1],
                    "when": {"pretrain.steps": [5, 6]},
                },
            },
            r"when\.pretrain\.steps: 6 is none of its values, 2 to 8 in steps of 3",
        ),
        (
            {
                "recipe.optimisation.weight_decay": {"name": "float", "low": 0, "high": 1},
                BOX: {
                    "name": "categorical",
                    "choices": [1],
                    "when": {"recipe.optimisation.weight_decay": [0.5]},
                },
            },
            "is a float, which is hardly ever equal to a value",
        ),
        (
            {
                "pretrain.steps": {
                    "name": "categorical",
                    "choices": [1, 2],
                    "when": {"pretrain.batch_size": [1]},
                },
                "pretrain.batch_size": {
                    "name": "categorical",
                    "choices": [1, 2],
                    "when": {"pretrain.steps": [1]},
                },
            },
            "wait for one another",
        ),
        (
            {
                "recipe.policy": {"name": "categorical", "choices": [{"name": "dqn"}]},
                POLICY: {"name": "categorical", "choices": ["dqn"]},
            },
            "recipe.policy.name: stands inside recipe.policy",
        ),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_with_its_path(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(**parameters)
