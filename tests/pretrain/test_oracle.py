"""The ceiling that is told the lesions: what it hides, how it knows, who may not ask."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from maskwise.artefacts.store import Store
from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.pretrain.assembly import _rows
from maskwise.pretrain.augmentation import AugmentationConfig, augment
from maskwise.pretrain.batches import Batches
from maskwise.pretrain.contracts import Batch
from maskwise.pretrain.policies.oracle import Oracle, OracleConfig
from maskwise.pretrain.recipe import parse_recipe
from pretrain.toys import SIMCLR, make_run, make_setting, make_store, pretrain

GRID = (8, 8)


def lesions(number: int) -> Tensor:
    """Return a box of lesion for each of ``number`` images, the last without any."""
    found = torch.zeros(number, 1, 32, 32)
    for i in range(number - 1):
        found[i, 0, 3 * i : 3 * i + 11, 5 + i : 14 + i] = 1
    return found


def build(goal: str, outlined: Tensor, ratio: float = 0.25) -> Oracle:
    setting = make_setting(lesions=lambda index, seeds: outlined[index])
    block = {"goal": goal, "ratio": ratio}
    return parse(OracleConfig, block, "policy").build(setting)


def a_batch(number: int) -> Batch:
    rows = torch.arange(number)
    return Batch(torch.zeros(number, 1, 32, 32), rows, rows, rows, 0.0)


def by_loop(lesion: Tensor) -> list[float]:
    return [
        float(lesion[0, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean())
        for y in range(8)
        for x in range(8)
    ]


@pytest.mark.parametrize(("goal", "sign"), [("hide", 1), ("spare", -1)])
@pytest.mark.parametrize("ratio", [0.05, 0.25, 0.9])
def test_the_cells_with_most_lesion_are_hidden_or_left(
    goal: str, sign: int, ratio: float
) -> None:
    outlined = lesions(5)
    policy = build(goal, outlined, ratio)
    masks = policy.propose(a_batch(5), GRID, Generator().manual_seed(0)).mask
    number = round(64 * ratio)
    for mask, lesion in zip(masks, outlined, strict=True):
        shares = by_loop(lesion)
        best = sum(sorted(shares, key=lambda share: sign * share)[-number:])
        hidden = mask.flatten().tolist()
        assert sum(hidden) == number
        found = sum(s for s, inside in zip(shares, hidden, strict=True) if inside)
        assert found == pytest.approx(best)


def test_equal_cells_are_parted_by_lot() -> None:
    policy = build("hide", torch.zeros(1, 1, 32, 32))
    masks = [
        policy.propose(a_batch(1), GRID, Generator().manual_seed(seed)).mask
        for seed in range(2)
    ]
    assert not masks[0].equal(masks[1])


def batches_of(store: Store, rows: Any) -> Batches:
    return Batches(
        store=store,
        rows=rows,
        batch_size=4,
        seed=0,
        augmentation=AugmentationConfig(),
        laterality="free",
        device=torch.device("cpu"),
        groups=rows,
    )


def test_outlines_move_as_the_images_do(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    batches = batches_of(store, _rows(store, splits, ["train"]))
    index = torch.tensor([0, 1, 2])
    seeds = torch.tensor([11, 12, 13])
    assert (
        batches.lesions(index, None)[:, 0]
        .bool()
        .equal(torch.from_numpy(store.lesions(index.numpy())))
    )
    # Shown as an image, an outline is moved by the code that moves images.
    pictures = torch.from_numpy(store.lesions(index.numpy()))[:, None].float()

    expected = augment(pictures, seeds, AugmentationConfig(), "free")
    assert batches.lesions(index, seeds).equal(expected)
    assert not expected.equal(pictures)


@pytest.mark.parametrize(("goal", "within"), [("hide", (1.5, 4.1)), ("spare", (-0.1, 0.5))])
def test_a_run_that_is_told_shows_it_in_its_lift(
    tmp_path: Path, goal: str, within: tuple[float, float]
) -> None:
    store, splits = make_store(tmp_path / "store")
    block = {**SIMCLR, "policy": {"name": "oracle", "goal": goal, "ratio": 0.25}}
    history = pretrain(store, splits, make_run(tmp_path, block, steps=2)).history
    assert within[0] < float(history["lift"].iloc[-1]) < within[1]


def test_a_source_without_outlines_has_no_ceiling() -> None:
    with pytest.raises(UserError, match=r"policy\.name: oracle hides or spares outlined"):
        parse(OracleConfig, {"goal": "hide"}, "policy").build(make_setting(lesions=None))


def test_what_it_is_for_must_be_written_and_test_images_are_left_out() -> None:
    with pytest.raises(UserError, match=r"recipe\.policy\.goal: missing"):
        parse_recipe({**SIMCLR, "policy": {"name": "oracle"}}, "recipe")
    block = {**SIMCLR, "policy": {"name": "oracle", "goal": "hide"}, "transductive": True}
    with pytest.raises(UserError, match=r"recipe\.transductive: true, but policy oracle"):
        parse_recipe(block, "recipe")
