"""Hiding what is hard: the choice, the teacher that follows, the predictor that learns."""

import copy
import io
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, spearmanr
from torch import Generator, Tensor, nn

from maskwise.config import parse
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.errors import UserError
from maskwise.masks import Grid, cell_means
from maskwise.pretrain.contracts import Batch, Outcome
from maskwise.pretrain.objectives.autoencoder import AutoencoderConfig
from maskwise.pretrain.objectives.context_encoder import ContextEncoderConfig
from maskwise.pretrain.policies.hardest import Hardest, HardestConfig, hide
from maskwise.pretrain.policies.hardest_predictor import (
    Predictor,
    pair_loss,
    standardised_loss,
)
from maskwise.pretrain.policies.hardest_teacher import Momentum, Teacher, follow
from maskwise.pretrain.policies.random_cells import RandomCells
from pretrain.toys import make_setting

GRID: Grid = (8, 8)
SOURCES: list[dict[str, Any]] = [
    {},
    {"coverage": "complementary"},
    {"source": "predictor"},
    {"source": "predictor", "relative": False},
]


class Blank(nn.Module):
    """An objective that draws 0 plus what it has learnt: its error is known by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Identity()
        self.level = nn.Parameter(torch.zeros(()))
        self.asked: list[Tensor] = []

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        self.asked.append(mask)
        errors = cell_means(
            (self.level - batch.images).square(), (mask.shape[1], mask.shape[2])
        )
        loss = torch.where(mask, errors, 0.0).sum() / mask.sum()
        return Outcome(loss, torch.where(mask, errors.detach(), torch.nan))


def noisy(number: int = 8) -> Tensor:
    """Return images of 16 x 16 pixels, cells of 2 x 2, each cell with a contrast of its own."""
    generator = Generator().manual_seed(0)
    contrast = torch.rand(number, 1, 8, 8, generator=generator)
    contrast = contrast.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return contrast * torch.randn(number, 1, 16, 16, generator=generator)


def a_batch(images: Tensor, progress: float = 0.5) -> Batch:
    rows = torch.arange(len(images))
    return Batch(images, rows, rows, rows, progress)


def build(objective: Any = None, seed: int = 0, **block: Any) -> Hardest:
    setting = make_setting(
        height=16, width=16, grid=GRID, objective=Blank() if objective is None else objective
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return parse(HardestConfig, block, "policy").build(setting)


def teacher_of(policy: Hardest) -> Any:
    assert isinstance(policy.judge, Teacher)
    return policy.judge


def a_network(**options: Any) -> Any:
    """Return a context encoder whose decoder has batch norm."""
    torch.manual_seed(0)
    encoder = ContextCnnConfig(widths=(8, 8), convolutions=(1, 1), norm="batch").build(1)
    setting = make_setting(height=16, width=16, grid=GRID)
    return ContextEncoderConfig(decoder="release", **options).build(setting, encoder)


def step(policy: Hardest, network: Any, images: Tensor, progress: float, seed: int = 0) -> Any:
    """Make one step of the loop on the network and the policy."""
    batch = a_batch(images, progress)
    proposal = policy.propose(batch, GRID, Generator().manual_seed(seed))
    outcome = network(batch, proposal.mask)
    outcome.loss.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= 0.1 * parameter.grad
            parameter.grad = None
    return policy.learn(proposal, outcome)


def difficulty_of(images: Tensor) -> Tensor:
    """Return what ``Blank`` finds hard, ``(B, 64)``."""
    return cell_means(images.square(), GRID).flatten(1)


# ------------------------------------------------------------------------------------- choice


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


def uniform_share(made: Tensor) -> float:
    """Return how likely cells hidden at random differ so much in how often they are hidden."""
    number, cells = len(made), made[0].numel()
    rate = float(made[0].sum()) / cells
    counts = made.flatten(1).double().sum(0)
    spread = number * rate * (1 - rate) * cells / (cells - 1)
    return float(chi2.sf(float((counts - number * rate).square().sum()) / spread, cells - 1))


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


# ------------------------------------------------------------------------------------ teacher


def test_the_teacher_is_a_copy_that_keeps_what_the_papers_formula_says() -> None:
    teacher, student = a_network(), a_network()
    with torch.no_grad():
        for weight in (*student.parameters(), *student.buffers()):
            weight.add_(1)
    old = copy.deepcopy(teacher)
    follow(teacher, student, 0.9)
    for new, before, now in zip(
        teacher.parameters(), old.parameters(), student.parameters(), strict=True
    ):
        torch.testing.assert_close(new, 0.9 * before + 0.1 * now)
    assert all(map(torch.equal, teacher.buffers(), student.buffers()))
    assert len(list(teacher.buffers())) > 0


def test_the_average_begins_with_the_network_that_the_first_step_leaves() -> None:
    network = Blank()
    policy = build(network)
    with torch.no_grad():
        network.level.fill_(3.0)  # taught while the policy was not
    step(policy, network, noisy(), 0.0)
    assert teacher_of(policy).network.level.equal(network.level)
    first = float(network.level.detach())
    step(policy, network, noisy() + 9, 0.1)
    # One epoch is 5 steps here, longer than 5 % of the run: exp(-1/5) is kept.
    kept = math.exp(-1 / 5)
    expected = kept * first + (1 - kept) * float(network.level.detach())
    assert float(teacher_of(policy).network.level) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("steps", "epoch"), [(100, 2.0), (1000, 2.0), (240, 12.0), (240, 60.0)]
)
def test_the_decay_follows_the_run_s_length_and_is_no_shorter_than_an_epoch(
    steps: int, epoch: float
) -> None:
    momentum = Momentum(memory=0.05)
    tau = max(epoch, 0.05 * steps)
    kept = momentum.decay(0.5, 0.5 + 1 / steps, epoch)
    assert kept == pytest.approx(math.exp(-1 / tau))
    quarter = math.prod(
        momentum.decay(i / steps, (i + 1) / steps, epoch) for i in range(steps // 4)
    )
    assert quarter == pytest.approx(math.exp(-steps / 4 / tau))


def test_the_papers_decay_hardly_moves_in_a_short_run_and_is_an_option() -> None:
    momentum = Momentum(scale="steps")
    decays = [momentum.decay(i / 240, (i + 1) / 240, 12.0) for i in range(240)]
    assert decays[0] == pytest.approx(0.999 + 0.0009 / 60)
    assert decays[59:] == pytest.approx([0.9999] * 181)
    assert math.prod(decays) > 0.94


def test_parts_of_one_batch_move_the_teacher_once() -> None:
    network = Blank()
    policy = build(network)
    step(policy, network, noisy(), 0.0)
    step(policy, network, noisy() + 9, 0.5)
    once = teacher_of(policy).network.level.clone()
    assert not once.equal(network.level)
    step(policy, network, noisy() + 9, 0.5)
    assert teacher_of(policy).network.level.equal(once)


@pytest.mark.parametrize("coverage", ["single", "complementary"])
def test_no_gradient_reaches_the_teacher_and_nothing_of_the_network_changes(
    coverage: str,
) -> None:
    network = a_network()
    policy = build(network, coverage=coverage, order="constant")
    before = copy.deepcopy(network.state_dict())
    batch = a_batch(noisy())
    with torch.enable_grad():
        proposal = policy.propose(batch, GRID, Generator().manual_seed(0))
        policy.learn(proposal, network.eval()(batch, proposal.mask))
    policy.maps(noisy(), GRID)
    policy.choose_masks(noisy(), GRID, Generator())
    assert all(not weight.requires_grad for weight in teacher_of(policy).network.parameters())
    assert all(weight.grad is None for weight in network.parameters())
    assert all(weight.requires_grad for weight in network.parameters())
    assert all(before[name].equal(now) for name, now in network.state_dict().items())


def test_the_teacher_answers_as_in_use_while_the_network_trains() -> None:
    network = a_network().train()
    policy = build(network, order="constant", share_end=1.0)
    assert not any(module.training for module in teacher_of(policy).network.modules())
    step(policy, network, noisy(), 0.5)
    assert not any(module.training for module in teacher_of(policy).network.modules())
    assert all(module.training for module in network.modules())


def test_a_teacher_goes_on_where_it_was_saved() -> None:
    network = a_network()
    policy = build(network)
    for number in range(3):
        step(policy, network, noisy(), number / 4, number)
    file = io.BytesIO()
    torch.save(policy.state_dict(), file)
    file.seek(0)
    again = build(a_network())
    again.load_state_dict(torch.load(file, weights_only=True))
    assert again.progress == policy.progress == 0.5
    teacher_of(again).student.load_state_dict(network.state_dict())
    for each in (policy, again):
        step(each, teacher_of(each).student, noisy(), 0.75, 3)
    states = [teacher_of(each).network.state_dict() for each in (policy, again)]
    assert all(states[0][name].equal(states[1][name]) for name in states[0])
    assert not states[0]["decoder.head.0.weight"].equal(network.decoder.head[0].weight)


def test_a_teacher_finds_what_is_hard_to_draw() -> None:
    images = 0.1 * noisy(64)
    images[:, :, 4:8, 10:14] += torch.randn(64, 1, 4, 4, generator=Generator().manual_seed(2))
    torch.manual_seed(0)
    encoder = ContextCnnConfig(widths=(8, 8), convolutions=(1, 1)).build(1)
    setting = make_setting(height=16, width=16, grid=GRID)
    network = AutoencoderConfig().build(setting, encoder)
    policy = build(network, ratio=0.25, share_end=0.5)
    for number in range(10):
        step(policy, network, images[:8], number / 10, number)
    made = policy.choose_masks(images, GRID, Generator().manual_seed(0)).double().mean(0)
    rest = torch.ones(GRID, dtype=torch.bool)
    rest[2:4, 5:7] = False
    # A quarter of the cells are tested, and of those 16 the 7 hardest are hidden.
    assert made[2:4, 5:7].mean() > made[rest].mean() + 0.1


def test_the_map_is_the_teacher_s_error_in_every_cell() -> None:
    images = noisy(20)
    maps = build(ratio=0.3).maps(images, GRID)
    assert (maps.box, maps.stride) == ((1, 1), 1)
    torch.testing.assert_close(maps.values.flatten(1), difficulty_of(images))


def test_a_teacher_needs_a_network_to_copy() -> None:
    with pytest.raises(ValueError, match="objective is None, but the teacher is a copy of it"):
        HardestConfig().build(make_setting(grid=GRID))
    HardestConfig(source="predictor").build(make_setting(grid=GRID))


# ---------------------------------------------------------------------------------- predictor


def errors_of_some(seed: int = 0) -> Tensor:
    """Return errors ``(3, 12)`` of 6 cells an image, two of them equal, NaN elsewhere."""
    generator = Generator().manual_seed(seed)
    errors = torch.rand(3, 12, generator=generator)
    hidden = torch.rand(3, 12, generator=generator).argsort(1)
    errors[0, hidden[0, 0]] = errors[0, hidden[0, 1]]
    return errors.scatter(1, hidden[:, 6:], torch.nan)


def pair_loss_by_loop(predicted: Tensor, errors: Tensor) -> float:
    """Go through all ordered pairs of cells with unequal errors, as the paper's formula."""
    losses = []
    for image in range(len(errors)):
        hidden = [c for c in range(errors.shape[1]) if not math.isnan(errors[image, c])]
        for i, j in itertools.permutations(hidden, 2):
            if errors[image, i] == errors[image, j]:
                continue
            chance = 1 / (1 + math.exp(float(predicted[image, j] - predicted[image, i])))
            right = chance if errors[image, i] > errors[image, j] else 1 - chance
            losses.append(-math.log(right))
    return sum(losses) / len(losses)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999))
def test_the_pair_loss_is_that_of_a_loop_over_pairs(seed: int) -> None:
    predicted = torch.randn(3, 12, generator=Generator().manual_seed(seed))
    errors = errors_of_some(seed)
    made = float(pair_loss(predicted, errors, 6))
    assert made == pytest.approx(pair_loss_by_loop(predicted, errors), rel=1e-5)


def test_the_pair_loss_of_equal_predictions_is_ln_2() -> None:
    assert float(pair_loss(torch.full((3, 12), 4.0), errors_of_some(), 6)) == pytest.approx(
        math.log(2)
    )


def test_the_pair_loss_vanishes_as_the_margin_grows_in_the_right_order_only() -> None:
    errors = errors_of_some()
    ranks = errors.nan_to_num(0.0).argsort(1).argsort(1).float()
    losses = [float(pair_loss(margin * ranks, errors, 6)) for margin in (1, 4, 16, 64)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-6
    assert float(pair_loss(-64 * ranks, errors, 6)) > 64


@settings(max_examples=20, deadline=None)
@given(st.floats(-50, 50))
def test_a_constant_added_to_an_image_s_predictions_does_not_change_the_pair_loss(
    constant: float,
) -> None:
    predicted = torch.randn(3, 12, generator=Generator().manual_seed(1))
    shifted = predicted + torch.tensor([[0.0], [constant], [-constant]])
    losses = [float(pair_loss(each, errors_of_some(), 6)) for each in (predicted, shifted)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_where_all_errors_are_equal_there_is_nothing_to_learn() -> None:
    predicted = torch.randn(3, 12, requires_grad=True)
    loss = pair_loss(predicted, torch.ones(3, 12), 12)
    loss.backward()
    assert float(loss.detach()) == 0
    assert predicted.grad is not None
    assert predicted.grad.abs().max() == 0


@pytest.mark.parametrize("relative", [True, False])
def test_predictions_for_visible_cells_are_not_judged(relative: bool) -> None:
    errors = errors_of_some()
    predicted = torch.randn(3, 12, requires_grad=True)
    (
        pair_loss(predicted, errors, 6) if relative else standardised_loss(predicted, errors)
    ).backward()
    assert predicted.grad is not None
    assert ((predicted.grad == 0) == errors.isnan()).all()


def test_the_absolute_loss_is_to_each_image_s_standardised_errors() -> None:
    errors = errors_of_some()
    predicted = torch.randn(3, 12, generator=Generator().manual_seed(1))
    total = 0.0
    for row, target in zip(predicted.numpy(), errors.numpy(), strict=True):
        hidden = ~np.isnan(target)
        values = target[hidden].astype(float)
        goal = (values - values.mean()) / np.sqrt(values.var() + 1e-6)
        total += float(((row[hidden] - goal) ** 2).sum())
    assert float(standardised_loss(predicted, errors)) == pytest.approx(total / 18, rel=1e-5)


@pytest.mark.parametrize("relative", [True, False])
def test_a_predictor_learns_which_cells_are_hard_and_then_hides_them(relative: bool) -> None:
    images, network = noisy(96), Blank()
    policy = build(
        network,
        source="predictor",
        relative=relative,
        learning_rate=0.01,
        ratio=0.25,
        share_end=1.0,
        order="constant",
    )
    losses = []
    for number in range(80):
        rows = torch.arange(8) + 8 * (number % 8)
        batch = a_batch(images[rows], number / 80)
        # Against masks at random, so that all cells are seen; the network is not taught.
        mask = RandomCells(16).choose_masks(batch.images, GRID, Generator().manual_seed(number))
        proposal = policy.propose(batch, GRID, Generator())
        proposal = type(proposal)(mask, batch, proposal.hard)
        losses.append(float(policy.learn(proposal, network(batch, mask))["policy_loss"]))
    assert losses[-1] < 0.6 * losses[0]
    unseen, hard = images[64:], difficulty_of(images[64:])
    opinion = policy.maps(unseen, GRID).values.flatten(1)
    correlation = np.mean(
        [spearmanr(a, b).statistic for a, b in zip(opinion, hard, strict=True)]
    )
    assert correlation > 0.6
    made = policy.choose_masks(unseen, GRID, Generator().manual_seed(0)).flatten(1)
    assert float(hard[made].mean()) > 1.5 * float(hard.mean())
    assert [set(m.nonzero()[:, 0].tolist()) for m in made] == [
        set(row.argsort()[-16:].tolist()) for row in opinion
    ]


def test_the_predictor_s_gradient_never_reaches_the_network() -> None:
    network: Any = a_network().eval()
    policy = build(network, source="predictor", order="constant")
    batch = a_batch(noisy())
    assert isinstance(policy.judge, Predictor)
    ours = {id(weight) for weight in policy.judge.network.parameters()}
    assert not ours & {id(weight) for weight in network.parameters()}
    proposal = policy.propose(batch, GRID, Generator().manual_seed(0))
    before = copy.deepcopy(network.state_dict())
    old = [weight.detach().clone() for weight in policy.judge.network.parameters()]
    policy.learn(proposal, network(batch, proposal.mask))
    assert all(weight.grad is None for weight in network.parameters())
    assert all(before[name].equal(now) for name, now in network.state_dict().items())
    assert not all(map(torch.equal, old, policy.judge.network.parameters()))


def test_a_predictor_that_has_learnt_nothing_finds_all_cells_equal() -> None:
    policy = build(source="predictor", order="constant", share_end=1.0)
    assert policy.maps(noisy(), GRID).values.abs().max() == 0
    made = policy.choose_masks(torch.zeros(2000, 1, 16, 16), GRID, Generator().manual_seed(0))
    assert uniform_share(made) > 0.001


def test_a_predictor_goes_on_where_it_was_saved() -> None:
    policy, again = build(source="predictor"), build(source="predictor", seed=1)
    for number in range(3):
        step(policy, Blank(), noisy(), number / 4, number)
    again.load_state_dict(copy.deepcopy(policy.state_dict()))
    for each in (policy, again):
        step(each, Blank(), noisy(), 0.75, 3)
    first, second = (each.maps(noisy(), GRID).values for each in (policy, again))
    assert first.equal(second)
    assert first.abs().max() > 0


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"ratio": 1.0}, "ratio is 1.0, but must lie between 0 and 1"),
        ({"share_end": 1.5}, r"share_end is 1.5, but must lie in \[0, 1\]"),
        ({"share_start": -0.1}, r"share_start is -0.1, but must lie in \[0, 1\]"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, but should be above 0"),
        ({"source": "oracle"}, "policy.source: .*'teacher_loss' or 'predictor'"),
        (
            {"source": "predictor", "coverage": "complementary"},
            "coverage: complementary needs source: teacher_loss",
        ),
        ({"relative": False}, "relative: false needs source: predictor"),
        ({"teacher": {"memory": 0}}, r"teacher: memory is 0.0, but must lie in \(0, 1\]"),
        ({"teacher": {"ramp": 2}}, r"teacher: ramp is 2.0, but must lie in \(0, 1\]"),
        ({"teacher": {"start": 1.0}}, r"teacher: start is 1.0, but must lie in \[0, 1\)"),
        ({"teacher": {"scale": "fixed"}}, "policy.teacher.scale: .*'run' or 'steps'"),
    ],
)
def test_a_wrong_option_is_named(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**block)
