"""Hiding what is hard: which cells that are, how many, and what is proposed when."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from maskwise.errors import UserError
from maskwise.pretrain.policies.hardest.policy import HardestConfig, hide
from maskwise.pretrain.policies.random_cells import RandomCells
from pretrain.cell_toys import uniform_share
from pretrain.hardest_toys import (
    GRID,
    Blank,
    a_batch,
    build,
    difficulty_of,
    noisy,
    step,
    teacher_of,
)

SOURCES: list[dict[str, Any]] = [
    {},
    {"coverage": "complementary"},
    {"source": "predictor"},
    {"source": "predictor", "relative": False},
]


def hide_by_loop(difficulty: Tensor, lots: Tensor, hard: int, number: int) -> list[set[int]]:
    """Choose cells one image after the other."""
    chosen = []
    for row, lot in zip(difficulty.tolist(), lots.tolist(), strict=True):
        cells = sorted(range(len(row)), key=lambda cell: (row[cell], lot[cell]), reverse=True)
        rest = sorted(cells[hard:], key=lambda cell: lot[cell], reverse=True)
        chosen.append({*cells[:hard], *rest[: number - hard]})
    return chosen


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(2, 5), st.integers(0, 999), st.data())
def test_the_hardest_cells_are_hidden_and_others_by_lot(
    gh: int, gw: int, seed: int, data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, gh * gw - 1))
    hard = data.draw(st.integers(0, number))
    generator = Generator().manual_seed(seed)
    # Few values, so that there are ties, and cells that nobody tested.
    difficulty = torch.randint(3, (4, gh * gw), generator=generator).float()
    difficulty[:, ::3] = -torch.inf
    lots = torch.rand(4, gh * gw, generator=generator)
    made = hide(difficulty, lots, hard, number, (gh, gw)).flatten(1)
    by_loop = hide_by_loop(difficulty, lots, hard, number)
    assert [set(mask.nonzero()[:, 0].tolist()) for mask in made] == by_loop


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 16), st.permutations(range(24)))
def test_cells_in_another_order_have_their_masks_in_that_order(
    hard: int, order: list[int]
) -> None:
    difficulty = torch.randint(5, (3, 24), generator=Generator().manual_seed(0)).float()
    lots = torch.rand(3, 24, generator=Generator().manual_seed(1))
    made = hide(difficulty, lots, hard, 16, (4, 6)).flatten(1)
    moved = hide(difficulty[:, order], lots[:, order], hard, 16, (4, 6)).flatten(1)
    assert moved.equal(made[:, order])


@pytest.mark.parametrize("hard", [1, 8, 16])
def test_where_all_cells_are_equally_hard_each_is_hidden_equally_often(hard: int) -> None:
    lots = torch.rand(20_000, 64, generator=Generator().manual_seed(0))
    assert uniform_share(hide(torch.zeros_like(lots), lots, hard, 16, GRID)) > 0.001


@pytest.mark.parametrize("coverage", ["single", "complementary"])
def test_a_teacher_who_finds_all_cells_equally_hard_hides_each_equally_often(
    coverage: str,
) -> None:
    policy = build(coverage=coverage, share_end=1.0, order="constant", ratio=0.3)
    flat = torch.ones(10_000, 1, 16, 16)
    made = policy.propose(a_batch(flat), GRID, Generator().manual_seed(0)).mask
    assert uniform_share(made) > 0.001


@pytest.mark.parametrize("block", SOURCES, ids=str)
def test_without_a_share_of_hard_cells_masks_are_those_of_random_cells(
    block: dict[str, Any],
) -> None:
    images = noisy()
    policy = build(**block)  # at the start of easy to hard
    made = policy.propose(a_batch(images, 0.0), GRID, Generator().manual_seed(3)).mask
    assert made.equal(RandomCells(32).choose_masks(images, GRID, Generator().manual_seed(3)))


@pytest.mark.parametrize("block", SOURCES, ids=str)
@pytest.mark.parametrize("order", ["easy_to_hard", "hard_to_easy", "constant"])
def test_before_it_has_learnt_anything_it_hides_at_random(
    block: dict[str, Any], order: str
) -> None:
    images = noisy()
    policy = build(**block, order=order, share_end=1.0, learnt=False)
    proposed = policy.propose(a_batch(images), GRID, Generator().manual_seed(3)).mask
    chosen = policy.choose_masks(images, GRID, Generator().manual_seed(3))
    at_random = RandomCells(32).choose_masks(images, GRID, Generator().manual_seed(3))
    assert proposed.equal(at_random)
    assert chosen.equal(at_random)


@pytest.mark.parametrize("ratio", [0.2, 0.25, 0.5, 0.7])
def test_with_all_cells_tested_and_all_hard_the_hardest_are_hidden_exactly(
    ratio: float,
) -> None:
    policy = build(ratio=ratio, coverage="complementary", share_end=1.0, order="constant")
    images, number = noisy(), round(64 * ratio)
    made = policy.propose(a_batch(images), GRID, Generator().manual_seed(0)).mask.flatten(1)
    for mask, hard in zip(made, difficulty_of(images), strict=True):
        assert set(mask.nonzero()[:, 0].tolist()) == set(hard.argsort()[-number:].tolist())


def test_a_single_test_finds_the_hardest_of_the_cells_that_it_hid() -> None:
    network, images = Blank(), noisy()
    policy = build(network, ratio=0.25, share_end=0.5, order="constant")
    made = policy.propose(a_batch(images), GRID, Generator().manual_seed(0)).mask.flatten(1)
    (tested,) = teacher_of(policy).network.asked
    hard = difficulty_of(images).masked_fill(~tested.flatten(1), -torch.inf)
    for image in range(8):
        hardest = set(hard[image].argsort()[-8:].tolist())
        assert hardest <= set(made[image].nonzero()[:, 0].tolist())
    # What fills up is drawn anew, not taken from the cells that were tested.
    others = made & ~tested.flatten(1)
    assert others.any(1).all()


@pytest.mark.parametrize(("ratio", "passes"), [(0.5, 2), (0.25, 4), (0.3, 4), (0.7, 2)])
def test_complementary_tests_hide_every_cell_and_the_promised_number(
    ratio: float, passes: int
) -> None:
    policy = build(ratio=ratio, coverage="complementary", order="constant")
    policy.propose(a_batch(noisy()), GRID, Generator().manual_seed(0))
    asked = torch.stack(teacher_of(policy).network.asked)
    assert len(asked) == passes
    assert asked.any(0).all()
    assert (asked.sum((2, 3)) == policy.number).all()
    assert asked.sum() - asked.any(0).sum() == 8 * (passes * policy.number - 64)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(SOURCES),
    st.floats(0.05, 0.9),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(["easy_to_hard", "hard_to_easy", "constant"]),
    st.floats(0, 1),
)
def test_every_image_has_the_same_number_of_hidden_cells_all_along_the_run(
    block: dict[str, Any], ratio: float, start: float, end: float, order: str, progress: float
) -> None:
    policy = build(**block, ratio=ratio, share_start=start, share_end=end, order=order)
    proposal = policy.propose(a_batch(noisy(3), progress), GRID, Generator().manual_seed(0))
    assert (proposal.mask.sum((1, 2)) == policy.number).all()
    assert 0 <= proposal.hard <= policy.number


@pytest.mark.parametrize(
    ("order", "by_hand"),
    [
        ("easy_to_hard", [0.2, 0.35, 0.5, 0.65, 0.8]),
        ("hard_to_easy", [0.8, 0.65, 0.5, 0.35, 0.2]),
        ("constant", [0.8, 0.8, 0.8, 0.8, 0.8]),
    ],
)
def test_the_share_of_hard_cells_goes_steadily_from_its_start_to_its_end(
    order: Any, by_hand: list[float]
) -> None:
    config = HardestConfig(share_start=0.2, share_end=0.8, order=order)
    assert [config.share(i / 4) for i in range(5)] == pytest.approx(by_hand)


def test_the_history_tells_the_share_that_was_really_hidden() -> None:
    policy = build(ratio=0.05, share_end=0.5)  # 3 of 64 cells
    shares = [float(step(policy, Blank(), noisy(), i / 4, i)["hard_share"]) for i in range(5)]
    assert shares == pytest.approx([0, 0, 1 / 3, 1 / 3, 2 / 3])


@pytest.mark.parametrize("block", SOURCES, ids=str)
def test_the_choice_at_a_look_is_that_of_the_last_step_and_asks_image_by_image(
    block: dict[str, Any],
) -> None:
    network, images = Blank(), noisy(20)  # more than the 8 of a step
    policy = build(network, **block, share_end=1.0)
    before = policy.choose_masks(images, GRID, Generator().manual_seed(5))
    assert before.equal(RandomCells(32).choose_masks(images, GRID, Generator().manual_seed(5)))
    for number in range(4):
        step(policy, network, images[:8], number / 4)
    after = policy.choose_masks(images, GRID, Generator().manual_seed(5))
    assert not after.equal(before)
    proposed = policy.propose(a_batch(images, 0.75), GRID, Generator().manual_seed(5)).mask
    assert proposed.equal(after)
    others = torch.cat([images[:10], noisy(30)[20:]])
    chosen = policy.choose_masks(others, GRID, Generator().manual_seed(5))
    assert chosen[:10].equal(after[:10])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"source": "oracle"}, "policy.source: .*'teacher_loss' or 'predictor'"),
        (
            {"source": "predictor", "coverage": "complementary"},
            "coverage: complementary needs source: teacher_loss",
        ),
        ({"relative": False}, "relative: false needs source: predictor"),
        ({"teacher": {"scale": "fixed"}}, "policy.teacher.scale: .*'run' or 'steps'"),
    ],
)
def test_a_wrong_option_is_named(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**block)
