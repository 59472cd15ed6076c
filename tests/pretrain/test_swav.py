"""SwAV: codes by a slow loop, which view may say what, prototypes and queue."""

import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Batch
from maskwise.pretrain.objectives.moco_v2 import look_up
from maskwise.pretrain.objectives.ring import Ring
from maskwise.pretrain.objectives.simclr import contrast
from maskwise.pretrain.objectives.sinkhorn import sinkhorn
from maskwise.pretrain.objectives.swav import Swav, SwavConfig, swapped
from pretrain.contrast_toys import NOTHING, SIZE, a_batch, a_setting, an_encoder, draw

SMALL: dict[str, Any] = {
    "hidden": 8,
    "embedding": 6,
    "prototypes": 5,
    "queue": 8,
    "queue_from": 0.0,
    "freeze_prototypes_steps": 0,
    "crops": 2,
}


def build(block: dict[str, Any] | None = None, **setting: Any) -> Swav:
    config = parse(SwavConfig, {**SMALL, **(block or {})}, "objective")
    return config.build(a_setting(**setting), an_encoder()).train()


def go_on(objective: Swav, steps: int, rate: float = 0.1) -> None:
    held = [p for p in objective.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(held, lr=rate, momentum=0.9)
    for step in range(steps):
        objective(a_batch(step), NOTHING).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        objective.stepped((step + 1) / 100)


def by_loop(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Return the authors' form, entry by entry, in float64."""
    q = [[math.exp(float(s) / epsilon) for s in row] for row in scores.double()]
    b, k = len(q), len(q[0])
    total = sum(map(sum, q))
    q = [[value / total for value in row] for row in q]
    for _ in range(iterations):
        for j in range(k):
            column = sum(q[i][j] for i in range(b))
            for i in range(b):
                q[i][j] /= column * k
        for i in range(b):
            row = sum(q[i])
            q[i] = [value / (row * b) for value in q[i]]
    return torch.tensor([[value * b for value in row] for row in q], dtype=torch.float64)


@given(st.integers(1, 6), st.integers(2, 5), st.integers(1, 4), st.integers(0, 99))
def test_codes_are_those_of_the_authors_form(b: int, k: int, times: int, seed: int) -> None:
    scores = draw(b, k, seed=seed).clamp(-1, 1)
    codes = sinkhorn(scores, 0.25, times)
    torch.testing.assert_close(codes.double(), by_loop(scores, 0.25, times), atol=1e-5, rtol=0)
    torch.testing.assert_close(codes.sum(1), torch.ones(b))


def test_the_more_iterations_the_more_even_is_the_use_of_prototypes() -> None:
    codes = sinkhorn(draw(12, 4).clamp(-1, 1), 0.1, 500)
    torch.testing.assert_close(codes.sum(0), torch.full((4,), 3.0), atol=1e-3, rtol=0)


def test_codes_are_finite_for_sharp_and_for_half_precision_scores() -> None:
    scores = draw(6, 4).clamp(-1, 1).requires_grad_()
    for given_scores in (scores, scores.half()):
        codes = sinkhorn(given_scores, 0.005, 3)
        assert codes.isfinite().all()
        assert codes.dtype == torch.float32
        assert not codes.requires_grad


def test_equal_images_have_equal_codes_and_order_changes_none() -> None:
    scores = draw(6, 4).clamp(-1, 1)
    scores[3] = scores[0]
    codes = sinkhorn(scores, 0.05, 3)
    assert codes[3].equal(codes[0])
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    torch.testing.assert_close(sinkhorn(scores[order], 0.05, 3), codes[order])
    torch.testing.assert_close(sinkhorn(torch.ones(3, 4), 0.05, 3), torch.full((3, 4), 0.25))


def test_the_loss_predicts_each_view_s_codes_from_all_others() -> None:
    scores, codes = (
        draw(3, SIZE, 5).double(),
        [draw(SIZE, 5, seed=i).softmax(1) for i in (1, 2)],
    )
    losses = swapped(scores, codes, 0.1)
    for image in range(SIZE):
        total = 0.0
        for assigning in range(2):
            for view in range(3):
                if view != assigning:
                    logs = (scores[view, image] / 0.1).log_softmax(0)
                    total -= float((codes[assigning][image] * logs).sum()) / 2
        assert float(losses[image]) == pytest.approx(total / 2, rel=1e-6)


def test_a_network_that_tells_no_images_apart_is_at_chance() -> None:
    scores = torch.zeros(3, SIZE, 5)
    codes = [sinkhorn(scores[0], 0.05, 3)] * 2
    torch.testing.assert_close(swapped(scores, codes, 0.1), torch.full((SIZE,), math.log(5)))


def test_swapping_the_large_views_leaves_the_loss_as_it_was() -> None:
    objective, batch = build({"crops": 0}), a_batch()
    other = Batch(batch.images, batch.index, batch.group, ~batch.augmentation_seed, 0.0)
    torch.testing.assert_close(
        objective(batch, NOTHING).loss, objective(other, NOTHING).loss, atol=1e-5, rtol=1e-5
    )


def test_small_views_have_their_size_and_never_say_anything_about_codes() -> None:
    objective, told, seen = build(), [], []
    objective.encoder.register_forward_pre_hook(
        lambda module, given: seen.append(tuple(given[0].shape))
    )
    codes = objective._codes
    objective._codes = lambda view, vectors: told.append(codes(view, vectors)) or told[-1]  # type: ignore[func-returns-value, method-assign]
    # Eval mode: in batch norm the views of a batch would know of each other.
    objective.eval()(a_batch(), NOTHING)
    objective.crops.config = replace(objective.crops.config, contrast=5.0, brightness=0.9)
    objective(a_batch(), NOTHING)
    assert seen[:2] == [(2 * SIZE, 1, 32, 32), (2 * SIZE, 1, 16, 16)]
    assert told[0].equal(told[2])
    assert told[1].equal(told[3])


def test_prototypes_are_unit_vectors_before_every_forward_pass() -> None:
    objective = build()
    for _ in range(3):
        torch.testing.assert_close(objective.prototypes.norm(dim=1), torch.ones(5))
        go_on(objective, 1)


def test_frozen_prototypes_stand_still_to_the_bit_and_gather_no_momentum() -> None:
    objective = build({"freeze_prototypes_steps": 3})
    held = [p for p in objective.parameters() if p.requires_grad]
    optimiser, first = torch.optim.SGD(held, lr=0.1, momentum=0.9), objective.prototypes.clone()
    for step in range(4):
        assert objective.prototypes.equal(first)
        assert objective.prototypes not in optimiser.state
        objective(a_batch(step), NOTHING).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        objective.stepped((step + 1) / 100)
    assert not objective.prototypes.equal(first)
    assert objective.prototypes in optimiser.state


def test_the_queue_is_unused_until_it_is_full_and_its_time_has_come() -> None:
    for start, uses in ((0.0, [SIZE, SIZE, 3 * SIZE]), (0.025, [SIZE, SIZE, SIZE, 3 * SIZE])):
        objective = build({"queue": 8, "queue_from": start})
        for step, expected in enumerate(uses):
            rows: list[int] = []
            with pytest.MonkeyPatch.context() as patch:

                def noting(scores: Tensor, *options: Any, rows: list[int] = rows) -> Tensor:
                    rows.append(len(scores))
                    return sinkhorn(scores, *options)

                patch.setattr("maskwise.pretrain.objectives.swav.sinkhorn", noting)
                objective(a_batch(step), NOTHING)
            objective.stepped((step + 1) / 100)
            assert rows == [expected] * 2


def test_the_codes_that_come_back_are_those_of_the_batch() -> None:
    objective = build({"prototypes": 6, "epsilon": 0.05})
    with torch.no_grad():
        objective.prototypes.copy_(torch.eye(6))
        ring = cast(Ring, objective.queues[0])
        ring.vectors.copy_(torch.eye(6)[[4, 5] * 4])
    ring.filled = 8
    batch = torch.eye(6)[:SIZE]
    assert objective._codes(0, batch).argmax(1).tolist() == list(range(SIZE))


def test_a_saved_objective_goes_on_with_its_queue_and_its_count() -> None:
    objective, resumed = build(), build()
    go_on(objective, 2)
    resumed.load_state_dict(objective.state_dict())
    assert resumed.steps == 2
    assert resumed.progress == objective.progress
    one, other = (each(a_batch(7), NOTHING).loss for each in (objective, resumed))
    assert one == other


@pytest.mark.parametrize(
    ("block", "images", "message"),
    [
        ({"prototypes": 200}, 100, "objective.prototypes: 200 are more than the 100 images"),
        ({"queue": 6}, 100, "objective.queue: 6 is no number of whole batches of 4"),
        ({"queue": 200}, 100, "objective.queue: 200 embeddings are more than the 100"),
        ({"freeze_prototypes_steps": 21}, 100, "freeze_prototypes_steps: 21 are more than 20%"),
        ({"crop_side": 64}, 100, "crop_side: 64 pixels are more than an image of 32 x 32"),
        ({"crop_side": 1}, 100, "crop_side: a crop of 1 x 1 pixels is smaller than"),
    ],
)
def test_what_cannot_be_is_refused(block: dict[str, Any], images: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(block, trained_on=images)


def test_freezing_said_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="say one thing in two ways"):
        SwavConfig(freeze_prototypes_steps=5, freeze_prototypes_epochs=1)


@pytest.mark.parametrize("name", ["swav", "moco_v2", "simclr"])
def test_cosines_keep_their_float32_under_autocast(name: str) -> None:
    vectors = torch.nn.functional.normalize(draw(8, 64), dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        if name == "moco_v2":
            _, cosines = look_up(
                vectors[:4], vectors[4:], vectors, torch.ones(4, 8, dtype=torch.bool), 0.2
            )
            assert cosines.dtype == torch.float32
            exact = (vectors[:4, None] * vectors).sum(2)
            torch.testing.assert_close(cosines[:, 1:], exact, atol=1e-6, rtol=0)
        elif name == "simclr":
            losses, _ = contrast(vectors, torch.arange(4), 0.05)
            with torch.autocast("cpu", enabled=False):
                exact, _ = contrast(vectors, torch.arange(4), 0.05)
            assert losses.equal(exact)
        else:
            objective = build({"crops": 0}).eval()
            objective.project = lambda pooled: vectors[: len(pooled), :6]  # type: ignore[method-assign]
            loss = objective(a_batch(), NOTHING).loss
            with torch.autocast("cpu", enabled=False):
                assert loss.equal(objective(a_batch(), NOTHING).loss)


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"objective.name: swav's projector has batch norm"):
        SwavConfig().build(replace(a_setting(), batch_size=1), an_encoder())


@pytest.mark.parametrize(("images", "prototypes"), [(100, 100), (5_000, 300), (50_000, 3_000)])
def test_there_are_more_prototypes_for_more_images_but_no_more_than_these(
    images: int, prototypes: int
) -> None:
    assert SwavConfig().number(a_setting(trained_on=images)) == prototypes


def test_the_release_freezes_its_prototypes_for_313_epochs() -> None:
    config = parse(SwavConfig, {"preset": "wolf_release"}, "objective")
    assert config.frozen(a_setting()) == 313 * 5
