"""The optimisers by name, each held against its paper's formula written out in a loop."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maskwise.config import parse
from maskwise.decay import divided
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.vit import VitConfig
from maskwise.errors import UserError
from maskwise.pretrain.objectives.multiscale import MaeConfig
from maskwise.pretrain.objectives.simclr import SimclrConfig
from maskwise.pretrain.optimisation import OptimisationConfig, build_optimiser
from maskwise.pretrain.recipe import parse_recipe
from pretrain.toys import RANDOM_BOX, SIMCLR, make_run, make_setting, make_store, pretrain

RATE, DECAY, STEPS = 0.1, 0.3, 4
SHARES = {"stem.": 0.25, "stages.0.": 0.5, "stages.1.": 1.0}
"""Of the rate of an encoder of two stages, each at half of that of the one behind it."""
Weights = dict[str, Tensor]


class Toy(nn.Module):
    """A weight that is decayed, a bias that is not, and one that bears a spared name."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for name, shape in (("weight", (3, 2)), ("bias", (3,)), ("prototypes", (2, 2))):
            values = torch.randn(shape, generator=generator, dtype=torch.float64)
            self.register_parameter(name, nn.Parameter(values))


def gradient(step: int, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(100 + step)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64)


def trained(block: dict[str, Any]) -> Weights:
    """Return the weights after some steps of the optimiser that ``block`` names."""
    config = parse(
        OptimisationConfig,
        {"optimiser": block, "learning_rate": RATE, "weight_decay": DECAY},
        "optimisation",
    )
    toy: Any = Toy()
    optimiser = build_optimiser(config, toy)
    for step in range(STEPS):
        for parameter in toy.parameters():
            parameter.grad = gradient(step, parameter)
        optimiser.step()
    return {name: parameter.detach() for name, parameter in toy.named_parameters()}


def by_formula(update: Callable[[str, Tensor, Tensor, dict[str, Any]], Tensor]) -> Weights:
    """Return the weights after as many steps of ``update``, which sees one tensor at a time."""
    weights = {name: each.detach().clone() for name, each in Toy().named_parameters()}
    states: dict[str, dict[str, Any]] = {name: {} for name in weights}
    for step in range(STEPS):
        for name, weight in weights.items():
            states[name]["step"] = step + 1
            change = update(name, weight, gradient(step, weight), states[name])
            weights[name] = weight - RATE * change
    return weights


def sgd(name: str, weight: Tensor, slope: Tensor, state: dict[str, Any]) -> Tensor:
    decay = DECAY if name == "weight" else 0.0
    state["v"] = 0.9 * state.get("v", 0.0) + slope + decay * weight
    velocity: Tensor = state["v"]
    return velocity


def lars(name: str, weight: Tensor, slope: Tensor, state: dict[str, Any]) -> Tensor:
    decay = DECAY if name == "weight" else 0.0
    if weight.ndim > 1:
        lengths = slope.norm() + decay * weight.norm()
        slope = (slope + decay * weight) * 1e-3 * weight.norm() / lengths
    state["v"] = 0.9 * state.get("v", 0.0) + slope
    velocity: Tensor = state["v"]
    return velocity


def adamw(name: str, weight: Tensor, slope: Tensor, state: dict[str, Any]) -> Tensor:
    decay = DECAY if name == "weight" else 0.0
    state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * slope
    state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * slope**2
    first = state["m"] / (1 - 0.9 ** state["step"])
    second = state["v"] / (1 - 0.999 ** state["step"])
    change: Tensor = first / (second.sqrt() + 1e-8) + decay * weight
    return change


def lamb(name: str, weight: Tensor, slope: Tensor, state: dict[str, Any]) -> Tensor:
    state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * slope
    state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * slope**2
    change: Tensor = state["m"] / (state["v"].sqrt() + 1e-6)
    if name != "weight":  # Adam, whose epsilon here comes before the correction
        correction = math.sqrt(1 - 0.999 ** state["step"]) / (1 - 0.9 ** state["step"])
        corrected: Tensor = correction * change
        return corrected
    change = change + DECAY * weight
    scaled: Tensor = change * weight.norm() / (change.norm() + 1e-6)
    return scaled


@pytest.mark.parametrize(
    ("name", "formula"), [("adamw", adamw), ("sgd", sgd), ("lars", lars), ("lamb", lamb)]
)
def test_an_optimiser_makes_the_steps_of_its_paper(name: str, formula: Any) -> None:
    expected = by_formula(formula)
    for key, weight in trained({"name": name}).items():
        torch.testing.assert_close(weight, expected[key], atol=1e-9, rtol=1e-9)


def test_weight_decay_spares_biases_norms_and_what_has_a_name_for_it() -> None:
    decayed, spared = divided(Toy().named_parameters())
    assert [tuple(each.shape) for each in decayed] == [(3, 2)]
    assert [tuple(each.shape) for each in spared] == [(3,), (2, 2)]


def test_what_is_frozen_is_in_no_optimiser() -> None:
    toy: Any = Toy()
    toy.weight.requires_grad_(False)
    optimiser = build_optimiser(OptimisationConfig(), toy)
    held = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert held == {id(toy.bias), id(toy.prototypes)}


def test_the_recipe_knows_its_optimiser_by_name() -> None:
    block = {**RANDOM_BOX, "optimisation": {"optimiser": {"name": "sgd", "momentum": 0.5}}}
    assert parse_recipe(block, "recipe").names["optimiser"] == "sgd"
    assert parse_recipe(RANDOM_BOX, "recipe").names["optimiser"] == "adamw"


@pytest.mark.parametrize(
    ("optimiser", "message"),
    [
        ({"name": "lar"}, r"optimisation.optimiser.name: there is no 'lar'.*'lars'"),
        ({"name": "adamw", "momentum": 0.9}, r"optimisation.optimiser.momentum: .*'adamw'"),
        ({"name": "sgd", "momentum": 1.0}, r"optimisation.optimiser.momentum: .*below 1"),
    ],
)
def test_a_wrong_option_of_an_optimiser_is_named(
    optimiser: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse(OptimisationConfig, {"optimiser": optimiser}, "optimisation")


def test_each_stage_has_a_share_of_the_rate_of_the_one_behind_it() -> None:
    encoder = ContextCnnConfig(widths=(8, 8, 16), convolutions=(1, 1, 1), stride=16).build(1)
    objective = SimclrConfig(hidden=8, embedding=8).build(make_setting(), encoder)
    optimiser = build_optimiser(OptimisationConfig(stage_decay=0.5), objective)
    share_of = {
        id(parameter): group["share"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    expected = {0: 0.125, 1: 0.25, 2: 0.5, 3: 1.0}
    for position, modules in enumerate(encoder.parts()):
        for parameter in nn.ModuleList(modules).parameters():
            assert share_of[id(parameter)] == expected[position]
    assert {share_of[id(p)] for p in objective.projector.parameters()} == {1.0}
    assert len(share_of) == len(list(objective.parameters()))


def test_each_block_of_a_transformer_has_a_share_of_the_rate_of_the_one_behind_it() -> None:
    encoder = VitConfig(patch=8).build(1)
    objective = MaeConfig(width=16, heads=4).build(make_setting(), encoder)
    optimiser = build_optimiser(OptimisationConfig(stage_decay=0.75), objective)
    share_of = {
        id(parameter): group["share"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    for number, block in enumerate(encoder.blocks_in_order(), 1):
        for parameter in block.parameters():
            assert share_of[id(parameter)] == pytest.approx(0.75 ** (13 - number))
    assert {share_of[id(p)] for p in encoder.patch_embed.parameters()} == {0.75**13}
    assert {share_of[id(p)] for p in objective.decoders.parameters()} == {1.0}


def test_a_stage_of_half_the_rate_moves_half_as_far(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    optimisation = {
        "optimiser": {"name": "sgd", "momentum": 0.0},
        "learning_rate": 0.01,
        "weight_decay": 0.0,
        "warm_up": 0.0,
        "clip_norm": None,
    }
    moved = []
    for decay in (1.0, 0.5):
        block = {**SIMCLR, "optimisation": {**optimisation, "stage_decay": decay}}
        run = make_run(tmp_path / str(decay), block, steps=1, watches=0)
        fresh = make_run(tmp_path / "none", {**SIMCLR, "objective": {"name": "none"}})
        start = pretrain(store, splits, fresh).encoder.state_dict()
        after = pretrain(store, splits, run).encoder.state_dict()
        moved.append({name: after[name] - start[name] for name in start})
    for name, far in moved[0].items():
        (share,) = (share for part, share in SHARES.items() if name.startswith(part))
        torch.testing.assert_close(moved[1][name], share * far, atol=1e-6, rtol=1e-3)
