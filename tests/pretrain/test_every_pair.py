"""Every policy with every objective that fills hidden cells in, two steps through the product.

Both come from the registries, so that a new one is tested before it has a test of its own.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor

from maskwise.artefacts.store import Store, open_store
from maskwise.config import choose
from maskwise.pretrain.contracts import (
    Batch,
    EqualCells,
    HidesUnequally,
    Objective,
    Policy,
    PolicyConfig,
)
from maskwise.pretrain.objectives import OBJECTIVES
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.policies.cells import hidden_cells
from maskwise.pretrain.policies.none import NoneConfig
from maskwise.pretrain.recipe import parse_recipe
from maskwise.pretrain.replicate import Pretrained
from pretrain.toys import (
    SMALL,
    TOKENS,
    crashing,
    make_run,
    make_setting,
    make_store,
    pretrain,
    small_tokens,
)

GRID = (8, 8)
NEEDED: dict[str, dict[str, Any]] = {
    "mean_map": {"policy": {"name": "a3c"}},
    "oracle": {"goal": "hide"},
}
"""Options without a default."""
BLOCKS: dict[str, dict[str, Any]] = {
    " ".join(filter(None, (name, preset))): {
        "name": name,
        **NEEDED.get(name, {}),
        **({"preset": preset} if preset else {}),
    }
    for name, config in POLICIES.items()
    if config is not NoneConfig
    for preset in getattr(config, "PRESETS", [None])
}
BLOCKS["dqn filled"] = {"name": "dqn", "box": [2, 3], "boxes": 2, "fill_to": 0.5}
BLOCKS["random_box filled"] = {"name": "random_box", "boxes": 1, "fill_to": 0.75}
OPTIONS: dict[str, dict[str, Any]] = {
    # The form that `auto` chooses by time may be another after a crash in the first step.
    "spark": {"name": "spark", "width": 16, "packed": "always"},
    "mae": {"name": "mae", "width": 16, "heads": 4},
    "multiscale": {"name": "multiscale", "width": 16, "heads": 4, "hi_target": "upsampled"},
}
SIDES = {"spark": 64, "mae": 64, "multiscale": 64, "features": 64}
"""Pixels of an image, where cells must hold a whole place of the encoder's stride of 8."""


def hides_unequally(policy: str) -> bool:
    config = choose(POLICIES, BLOCKS[policy], "policy")
    return isinstance(config, HidesUnequally) and config.unequal() is not None


def encoder_for(objective: str) -> dict[str, Any]:
    """Return one of tokens for objectives that leave hidden ones out."""
    return TOKENS if isinstance(OBJECTIVES[objective](), EqualCells) else SMALL


ENOUGH = ("random_cells", "dqn", "a3c", "hardest", "attention")
"""Policies that are tried with `multiscale`, of which none sees more than of `mae`."""
FILLING_IN = [name for name, config in OBJECTIVES.items() if config.needs_mask]
pairs = pytest.mark.parametrize(
    ("policy", "objective"),
    [
        (policy, each)
        for each in FILLING_IN
        for policy in BLOCKS
        if OBJECTIVES[each]().draws_pixels or policy != "dqn release"  # rewarded by pixels
        if not (isinstance(OBJECTIVES[each](), EqualCells) and hides_unequally(policy))
        if policy != "attention" or isinstance(OBJECTIVES[each](), EqualCells)  # of tokens
        if each != "multiscale" or policy in ENOUGH
    ],
)


def recipe(policy: str, objective: str) -> dict[str, Any]:
    chosen = OPTIONS.get(objective, {"name": objective})
    encoder = encoder_for(objective)
    return {"objective": chosen, "policy": BLOCKS[policy], "encoder": encoder}


def side(objective: str) -> int:
    return SIDES.get(objective, 32)


def promised(config: PolicyConfig) -> tuple[float, str]:
    """Return the share of the grid that is to be hidden, and how exactly."""
    if hasattr(config, "within"):
        return promised(config.within())
    filled = getattr(config, "fill_to", None)
    if filled is not None:
        return hidden_cells(filled, GRID) / 64, "exactly"
    if hasattr(config, "box"):
        cropped = getattr(config, "actions", "valid") == "all_cells"
        share = config.box[0] * config.box[1] / 64
        return share, "at most" if cropped else "exactly"
    assert hasattr(config, "ratio"), f"say here what {config} promises to hide"
    varies = getattr(config, "sampler", None) == "bernoulli" and not getattr(
        config, "exact_k", False
    )
    return hidden_cells(config.ratio, GRID) / 64, "on average" if varies else "exactly"


def check_area(masks: Tensor, config: PolicyConfig) -> None:
    share, how = promised(config)
    areas = masks.double().mean((1, 2))
    if how == "exactly":
        assert areas.tolist() == [share] * len(areas)
    elif how == "at most":
        assert (areas <= share).all()
        assert (areas > 0).all()
    else:
        # Of independent cells a mask's area varies by .5 / 8 at most.
        assert abs(float(areas.mean()) - share) < 4 * 0.5 / 8 / len(areas) ** 0.5


@pytest.fixture(scope="module", autouse=True)
def _small_tokens() -> Iterator[None]:
    with small_tokens():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    for pixels in {32, *SIDES.values()}:
        _, splits = make_store(folder / str(pixels) / "store", side=pixels)
        splits.to_parquet(folder / str(pixels) / "splits.parquet")
    return folder


@pytest.fixture(scope="module")
def before(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Tensor]]:
    """Return encoders' weights before training, which are those of all runs of one seed."""
    none = {"name": "none"}
    found = {}
    for encoder in (SMALL, TOKENS):
        block = {"objective": none, "policy": none, "encoder": encoder}
        checkpoints = tmp_path_factory.mktemp("before")
        begun = run(block, open_store(folder / "32/store"), checkpoints, every=2)
        found[str(encoder["name"])] = begun.encoder.state_dict()
    return found


def run(block: dict[str, Any], store: Store, folder: Path, every: int = 1) -> Pretrained:
    """Make two steps, with a checkpoint after each or, where nobody goes on, none between."""
    splits = pd.read_parquet(store.path.parent / "splits.parquet")
    options = {"steps": 2, "grid": GRID, "checkpoint_every": every}
    return pretrain(store, splits, make_run(folder, block, **options))


@pairs
def test_two_steps_teach_the_encoder_hide_what_was_promised_and_survive_a_crash(
    folder: Path,
    tmp_path: Path,
    before: dict[str, dict[str, Tensor]],
    policy: str,
    objective: str,
) -> None:
    block, store = recipe(policy, objective), open_store(folder / f"{side(objective)}/store")
    result = run(block, store, tmp_path / "undisturbed", every=2)
    assert np.isfinite(result.history["loss"].to_numpy(float)).all()
    weights = result.encoder.state_dict()
    assert all(tensor.isfinite().all() for tensor in weights.values())
    first = before[encoder_for(objective)["name"]]
    assert not any(weights[name].equal(first[name]) for name in first if "weight" in name)
    packed = result.gallery.probe_masks
    masks = np.unpackbits(packed, axis=-1, count=64).reshape(-1, *GRID).astype(bool)
    check_area(torch.from_numpy(masks), choose(POLICIES, BLOCKS[policy], "policy"))
    with pytest.raises(OSError, match="the disk is gone"):
        run(block, crashing(store), tmp_path / "crashed")
    resumed = run(block, store, tmp_path / "crashed")
    again = resumed.encoder.state_dict()
    assert all(tensor.equal(again[name]) for name, tensor in weights.items())
    assert resumed.history.equals(result.history)


@cache
def images(side: int) -> Tensor:
    return torch.randn(64, 1, side, side, generator=Generator().manual_seed(0))


def made(policy: str, objective: str) -> tuple[Objective, Policy[Any]]:
    """Build both as the product does."""
    parsed = parse_recipe(recipe(policy, objective), "recipe")
    size, seen = side(objective), images(side(objective))
    shown = make_setting(
        grid=GRID, images=lambda index, seed: seen[index], rows=64, height=size, width=size
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = parsed.objective.build(shown, parsed.encoder.build(1))
        return network, parsed.policy.build(replace(shown, objective=network))


@pairs
def test_a_policy_hides_what_it_promised_and_never_touches_the_network(
    policy: str, objective: str
) -> None:
    network, chosen = made(policy, objective)
    module: Any = network.eval()  # batch norms move by what they see, whoever shows it
    # A mean over many is needed only where masks differ in size; tokens take their time.
    seen = images(side(objective))[: 12 if encoder_for(objective) is TOKENS else 64]
    config = choose(POLICIES, BLOCKS[policy], "policy")
    rows, generator = torch.arange(len(seen)), Generator().manual_seed(0)
    state = copy.deepcopy(network.state_dict())
    asks = [weight.requires_grad for weight in module.parameters()]
    modes = [part.training for part in module.modules()]
    for progress in (0.0, 0.5, 1.0):
        batch = Batch(seen, rows, rows, rows, progress)
        proposal = chosen.propose(batch, GRID, generator)
        check_area(proposal.mask, config)
        outcome = network(batch, proposal.mask)
        chosen.learn(proposal, outcome)
        chosen.maps(seen, GRID)
        check_area(chosen.choose_masks(seen, GRID, generator), config)
        after = network.state_dict()
        assert all(tensor.equal(after[name]) for name, tensor in state.items())
        assert all(weight.grad is None for _, weight in network.named_parameters())
        assert [weight.requires_grad for weight in module.parameters()] == asks
        assert [part.training for part in module.modules()] == modes
