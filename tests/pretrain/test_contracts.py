"""What ``contracts.py`` promises, of every policy, preset and objective that has a name."""

import copy
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from maskwise.config import choose
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.vit import VitConfig
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.pretrain.cells import WholePlaces
from maskwise.pretrain.contracts import Batch, EqualCells, Objective, Policy
from maskwise.pretrain.objectives import OBJECTIVES
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.policies.random_box import RandomBox, RandomBoxConfig
from maskwise.pretrain.recipe import parse_recipe
from pretrain.policy_toys import zeros
from pretrain.toys import SMALL, make_run, make_setting, make_store, pretrain

GRID: Grid = (16, 16)
IMAGES = torch.randn(4, 1, 32, 32, generator=Generator().manual_seed(0))
ROWS = torch.arange(4)
BATCH = Batch(IMAGES, index=ROWS, group=ROWS, augmentation_seed=ROWS, progress=0.5)
SETTING = make_setting(
    grid=GRID, images=lambda index, augmentation_seed: IMAGES[index], rows=len(IMAGES)
)

POLICY_BLOCKS: dict[str, dict[str, Any]] = {name: {"name": name} for name in POLICIES} | {
    f"{name} {preset}": {"name": name, "preset": preset}
    for name, config in POLICIES.items()
    for preset in getattr(config, "PRESETS", {})
}
# Hides its share in expectation only: with half, every other image would be hidden further.
POLICY_BLOCKS["a3c ahm"]["ratio"] = 0.375
POLICY_BLOCKS["oracle"]["goal"] = "hide"
POLICY_BLOCKS["mean_map"]["policy"] = {"name": "a3c"}
TRAINED = [name for name, config in OBJECTIVES.items() if config.needs_training]
Make = Callable[[], Policy[Any]]


def made(block: dict[str, Any]) -> Policy[Any]:
    """Build a policy as the YAML would, always from the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        asks = "mae" if block["name"] == "attention" else "context_encoder"
        setting = replace(SETTING, objective=an_objective(asks))
        return choose(POLICIES, block, "policy").build(setting)


def drawn(policy: Policy[Any], seed: int) -> Tensor:
    mask: Tensor = policy.propose(BATCH, GRID, Generator().manual_seed(seed)).mask
    return mask


def train(policy: Policy[Any], steps: int = 2) -> None:
    generator = Generator().manual_seed(1)
    for _ in range(steps):
        proposal = policy.propose(BATCH, GRID, generator)
        policy.learn(proposal, zeros(BATCH, proposal.mask))


def same(one: Any, two: Any) -> bool:
    """Compare states: tensors and numbers in plain containers."""
    if isinstance(one, Tensor):
        return np.array_equal(one.numpy(), two.numpy(), equal_nan=True)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return bool(one == two)


def check_masks_are_cells_of_the_grid(make: Make) -> None:
    policy = make()
    for mask in (drawn(policy, 0), policy.choose_masks(IMAGES, GRID, Generator())):
        assert mask.dtype == torch.bool
        assert mask.shape == (4, *GRID)


def check_at_most_half_of_an_image_is_hidden(make: Make) -> None:
    policy = make()
    for seed in range(3):
        chosen = policy.choose_masks(IMAGES, GRID, Generator().manual_seed(seed))
        for mask in (drawn(policy, seed), chosen):
            assert (mask.double().mean((1, 2)) <= 0.5).all()


def check_equal_generators_give_equal_masks(make: Make) -> None:
    first, second = make(), make()
    for seed in range(3):
        assert drawn(first, seed).equal(drawn(second, seed))
        chosen = [
            policy.choose_masks(IMAGES, GRID, Generator().manual_seed(seed))
            for policy in (first, second)
        ]
        assert chosen[0].equal(chosen[1])


def check_nobody_draws_from_the_global_generator(make: Make) -> None:
    policy, before = make(), torch.get_rng_state()
    train(policy)
    policy.choose_masks(IMAGES, GRID, Generator().manual_seed(0))
    policy.maps(IMAGES, GRID)
    assert torch.get_rng_state().equal(before)


def check_looking_at_a_policy_does_not_change_it(make: Make) -> None:
    policy = make()
    train(policy)
    before = copy.deepcopy(policy.state_dict())
    policy.choose_masks(IMAGES, GRID, Generator().manual_seed(0))
    policy.maps(IMAGES, GRID)
    assert same(before, policy.state_dict())


def check_a_saved_policy_goes_on_with_the_same_masks(make: Make) -> None:
    policy, file = make(), io.BytesIO()
    train(policy)
    torch.save(policy.state_dict(), file)
    file.seek(0)
    resumed = make()
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert drawn(policy, 0).equal(drawn(resumed, 0))
    train(policy, 1)
    train(resumed, 1)
    assert drawn(policy, 1).equal(drawn(resumed, 1))
    assert same(policy.state_dict(), resumed.state_dict())


def check_a_policy_changes_with_training_if_it_says_that_it_learns(make: Make) -> None:
    policy = make()
    before = copy.deepcopy(policy.state_dict())
    train(policy)
    assert same(before, policy.state_dict()) != policy.learns


CHECKS = [
    check_a_policy_changes_with_training_if_it_says_that_it_learns,
    check_masks_are_cells_of_the_grid,
    check_at_most_half_of_an_image_is_hidden,
    check_equal_generators_give_equal_masks,
    check_nobody_draws_from_the_global_generator,
    check_looking_at_a_policy_does_not_change_it,
    check_a_saved_policy_goes_on_with_the_same_masks,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", POLICY_BLOCKS)
def test_every_policy_keeps_the_contract(name: str, check: Callable[[Make], None]) -> None:
    check(lambda: made(POLICY_BLOCKS[name]))


class Faulty(RandomBox):
    """A policy of boxes that breaks the contract in one way."""

    def __init__(self, fault: str) -> None:
        super().__init__(RandomBoxConfig())
        self.fault = fault
        self.learns = fault == "boasts"
        self.register_buffer("asked", torch.zeros(()))
        self.secret = 0

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        if self.fault == "counts":
            self.get_buffer("asked").add_(1)
        if self.fault == "forgets":
            self.secret += 1
            generator = Generator().manual_seed(self.secret)
        if self.fault == "global":
            generator = torch.default_generator
        mask = super().choose_masks(images, grid, generator)
        return {"inverted": ~mask, "pixels": mask.float()}.get(self.fault, mask)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("boasts", check_a_policy_changes_with_training_if_it_says_that_it_learns),
        ("counts", check_a_policy_changes_with_training_if_it_says_that_it_learns),
        ("pixels", check_masks_are_cells_of_the_grid),
        ("inverted", check_at_most_half_of_an_image_is_hidden),
        ("global", check_equal_generators_give_equal_masks),
        ("global", check_nobody_draws_from_the_global_generator),
        ("counts", check_looking_at_a_policy_does_not_change_it),
        ("forgets", check_a_saved_policy_goes_on_with_the_same_masks),
    ],
)
def test_a_policy_that_breaks_the_contract_is_found_out(
    fault: str, check: Callable[[Make], None]
) -> None:
    check(lambda: Faulty("none"))
    with pytest.raises(AssertionError):
        check(lambda: Faulty(fault))


FEW = ContextCnnConfig(widths=(8, 8), convolutions=(1, 1))


def needs_large_cells(name: str) -> bool:
    return isinstance(OBJECTIVES[name](), WholePlaces)


def an_objective(name: str) -> Objective:
    large: dict[str, Any] = {"height": 128, "width": 128} if needs_large_cells(name) else {}
    large["fine"] = 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = choose(OBJECTIVES, {"name": name}, "objective")
        encoder = VitConfig() if isinstance(config, EqualCells) else FEW
        return config.build(replace(SETTING, **large), encoder.build(1))


def batch_for(name: str) -> Batch:
    """Return the same batch, its cells as large as the encoder's stride where they must be."""
    if not needs_large_cells(name):
        return BATCH
    fine = torch.randn(4, 1, 256, 256, generator=Generator().manual_seed(0))
    return replace(BATCH, images=nn.functional.avg_pool2d(fine, 2), fine=fine)


def a_mask() -> Tensor:
    return drawn(made({"name": "random_box"}), 0)


@pytest.mark.parametrize("name", TRAINED)
def test_an_objective_answers_with_a_loss_and_an_error_for_hidden_cells_only(name: str) -> None:
    mask, before = a_mask(), torch.get_rng_state()
    outcome = an_objective(name)(batch_for(name), mask)
    assert outcome.loss.shape == ()
    assert outcome.loss.requires_grad
    assert outcome.error_map.isnan().equal(~mask)
    detached = [outcome.error_map, outcome.residual, outcome.reconstruction]
    detached += outcome.figures.values()
    assert not any(tensor.requires_grad for tensor in detached if tensor is not None)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("name", TRAINED)
def test_errors_and_the_rewards_made_of_them_are_float32_under_autocast(name: str) -> None:
    policy = made({"name": "dqn"})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        proposal = policy.propose(BATCH, GRID, Generator().manual_seed(0))
        outcome = an_objective(name)(batch_for(name), proposal.mask)
        figures = policy.learn(proposal, outcome)
    assert outcome.error_map.dtype == torch.float32
    errors = outcome.error_map.double()
    by_hand = errors.nanmean((1, 2)).mean()
    assert figures["reward"].dtype == torch.float32
    assert float(figures["reward"]) == pytest.approx(float(by_hand), rel=1e-6)


@pytest.mark.parametrize("name", TRAINED)
def test_an_objective_that_was_saved_answers_as_before(name: str) -> None:
    objective, mask, batch = an_objective(name), a_mask(), batch_for(name)
    optimiser = torch.optim.SGD([weight for _, weight in objective.named_parameters()], 0.1)
    objective(batch, mask).loss.backward()
    optimiser.step()
    again = an_objective(name)
    assert not again(batch, mask).loss.equal(objective(batch, mask).loss)
    again.load_state_dict(objective.state_dict())
    assert again(batch, mask).loss.equal(objective(batch, mask).loss)


def recipe(policy: str, objective: str) -> dict[str, Any]:
    return {
        "objective": {"name": objective},
        "policy": POLICY_BLOCKS[policy],
        "encoder": {"name": "vit"} if policy == "attention" else SMALL,
    }


def may_go_together(policy: str, objective: str) -> bool:
    try:
        parse_recipe(recipe(policy, objective), "recipe")
    except UserError:
        return False
    return True


TOGETHER = [
    (policy, objective)
    for objective in OBJECTIVES
    for policy in POLICY_BLOCKS
    if may_go_together(policy, objective)
]


ELSEWHERE = [name for name, config in OBJECTIVES.items() if config.needs_mask]
"""Objectives that fill in: ``test_every_pair.py`` asks more of them."""


@pytest.mark.parametrize(
    ("policy", "objective"),
    [pair for pair in TOGETHER if pair[1] not in ELSEWHERE],
)
def test_every_policy_trains_every_objective_that_it_may_go_with(
    tmp_path: Path, policy: str, objective: str
) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path, recipe(policy, objective), grid=GRID, steps=2)
    result = pretrain(store, splits, run)
    trains = objective in TRAINED
    assert len(result.history) == trains
    assert np.isfinite(result.history["loss"].to_numpy(float)).all()
    assert all(weight.isfinite().all() for weight in result.encoder.parameters())
