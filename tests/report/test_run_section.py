"""What the page says was run: what a seed repeats, and what is equal between recipes."""

from dataclasses import replace

import pytest

from maskwise.report.facts import read_facts
from maskwise.report.formatting import TIMES
from maskwise.report.inputs import ReportInputs
from maskwise.report.sections import run
from maskwise.weights_origin import WeightsOrigin
from report.synthetic import GRID, RECIPES, study


def told(inputs: ReportInputs) -> str:
    return str(run.build(read_facts(inputs)))


def test_seeds_that_share_a_split_are_not_called_repetitions_of_everything() -> None:
    inputs = study()
    folds = inputs.splits.assign(fold=[i % 2 for i in range(len(inputs.splits))])

    assert "all seeds share one split: the same groups train, the same others test" in told(
        inputs
    )
    assert "holds out another part of the data" in told(replace(inputs, splits=folds))


def test_equal_steps_are_not_called_equal_computing() -> None:
    text = told(study())

    assert "one learning rate, tuned for none of them" in text
    assert "SimCLR sees two views of each image per step" in text
    assert "two views" not in told(study(recipes=("scratch", "random_box", "dqn")))


def test_an_encoder_from_the_middle_of_a_run_is_said_to_have_fewer_steps() -> None:
    inputs = study()
    weights = "data/06_models/x/checkpoints/dqn/s{seed}/step_000234.safetensors"
    stopped = {**RECIPES["simclr"], "objective": {"name": "none"}}
    stopped["encoder"] = {"name": "context_cnn", "weights": weights}

    text = told(replace(inputs, recipes={**inputs.recipes, "simclr": stopped}))

    assert "Nothing was trained for SimCLR: the encoder of another recipe, as it was" in text
    assert "after fewer steps" not in told(inputs)


def test_learning_rates_of_their_own_are_said() -> None:
    inputs = study()
    tuned = {**RECIPES["simclr"], "optimisation": {"learning_rate": 0.0003}}

    text = told(replace(inputs, recipes={**inputs.recipes, "simclr": tuned}))

    assert "learning rates of their own" in text


LITE0 = WeightsOrigin("lite0-package 0.1.0", "trained on ImageNet", "Apache-2.0", "ab" * 32)


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        ("simclr", "The encoder of SimCLR begins with the weights of the package lite0"),
        (
            "none",
            "Nothing was pre-trained here for SimCLR: its encoder begins with the weights",
        ),
    ],
)
def test_where_weights_came_from_and_their_licence_are_said(objective: str, says: str) -> None:
    inputs = study()
    block = {**RECIPES["simclr"], "objective": {"name": objective}}
    block["encoder"] = {"name": "efficientnet_lite0", "weights": "package"}

    text = told(
        replace(
            inputs,
            recipes={**inputs.recipes, "simclr": block},
            weights={("simclr", 0): LITE0},
        )
    )

    assert says in text
    assert "They are: trained on ImageNet; licence Apache-2.0; SHA-256 abababababab…." in text


def test_a_licence_that_nobody_stated_is_said_to_be_not_stated() -> None:
    inputs = study()
    block = {**RECIPES["simclr"], "encoder": {"name": "context_cnn", "weights": "my/file.pth"}}
    origin = replace(LITE0, licence="")

    text = told(
        replace(
            inputs,
            recipes={**inputs.recipes, "simclr": block},
            weights={("simclr", 0): origin},
        )
    )

    assert "begins with the weights in `my/file.pth`" in text
    assert "licence not stated" in text


def test_the_grid_that_was_taken_and_the_share_that_was_hidden_are_those_of_the_masks() -> None:
    inputs = study(recipes=("scratch", "dqn"))
    drawn = inputs.galleries["dqn", 0]
    coarse = replace(drawn, masks=drawn.masks[:, :, ::2, ::2])
    assert f"of {GRID} {TIMES} {GRID} cells" in str(run.build(read_facts(inputs)))
    galleries = {**inputs.galleries, ("dqn", 0): coarse}
    said = str(run.build(read_facts(replace(inputs, galleries=galleries))))
    half = GRID // 2
    share = 100 * coarse.masks.mean()
    assert f"{share:.1f}".rstrip("0").rstrip(".") in said
    assert f"of {half} {TIMES} {half} cells" in said
