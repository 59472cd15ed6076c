"""What a network that outlines sees at each step, and how long it learns."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import count as counting
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from finetune.blobs import write_blobs
from finetune.patches import small_encoder
from maskwise.artefacts.store import Laterality
from maskwise.encoders.segmenter import Segmenter
from maskwise.finetune.lesion import training
from maskwise.finetune.lesion.augmentation import OutlineAugmentation, draw_change
from maskwise.finetune.lesion.config import LesionConfig
from maskwise.finetune.lesion.outlines import Outlines
from maskwise.finetune.lesion.sampling import draw_plan
from maskwise.finetune.lesion.training import Lesson, build_loss, look_at, train
from maskwise.finetune.lesion.watch import Look, Watch, unit_dice
from maskwise.finetune.optimisation import FullConfig, batches
from maskwise.progress import bar, planning

STILL = OutlineAugmentation(0, 0, 0, False, 0, 0, 0)


def draws() -> np.random.Generator:
    return np.random.default_rng(5)


def changed(
    images: Tensor, config: OutlineAugmentation, laterality: Laterality = "free"
) -> Tensor:
    return draw_change(images, config, laterality, draws()).apply(images)


def slowly(image: Tensor, values: NDArray[np.float32], config: OutlineAugmentation) -> Tensor:
    """Change one image ``(C, H, W)``, pixel by pixel; ``values`` are its eight draws."""
    _, h, w = image.shape
    signed = [2 * value - 1 for value in values]
    angle = np.deg2rad(signed[0] * config.rotation)
    size = (1 + config.scale) ** signed[1]
    down, right = signed[2] * config.shift * h, signed[3] * config.shift * w
    flip = -1 if values[4] < 0.5 and config.flip else 1
    moved = torch.empty_like(image)
    for y in range(h):
        for x in range(w):
            across, along = flip * (x - (w - 1) / 2), y - (h - 1) / 2
            from_x = (np.cos(angle) * across - np.sin(angle) * along) / size - right
            from_y = (np.sin(angle) * across + np.cos(angle) * along) / size - down
            moved[:, y, x] = between(image, from_y + (h - 1) / 2, from_x + (w - 1) / 2)
    low, high = moved.min(), moved.max()
    exponent = (1 + config.gamma) ** signed[7]
    lit = ((moved - low) / (high - low)) ** exponent * (high - low) + low
    contrast = (1 + config.contrast) ** signed[5]
    mean = lit.mean()
    changed_one: Tensor = (lit - mean) * contrast + mean + signed[6] * config.brightness
    return changed_one


def between(image: Tensor, y: float, x: float) -> Tensor:
    """Return the bilinear mean of the four pixels round a place, the border repeated."""
    _, h, w = image.shape
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    top, left = int(y), int(x)
    found = torch.zeros(len(image))
    for row, weight_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, weight_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            pixel = image[:, min(row, h - 1), min(column, w - 1)]
            found += weight_y * weight_x * pixel
    return found


def test_a_batch_is_changed_as_each_of_its_images_pixel_by_pixel() -> None:
    config = OutlineAugmentation(40, 0.5, 0.2, True, 0.4, 0.3, 0.5)
    images = torch.randn(4, 2, 6, 9, generator=torch.Generator().manual_seed(0))
    values = draws().random((8, 4), dtype=np.float32)
    expected = [slowly(image, values[:, i], config) for i, image in enumerate(images)]
    torch.testing.assert_close(
        changed(images, config), torch.stack(expected), rtol=1e-4, atol=1e-4
    )


def test_an_outline_goes_where_its_image_goes_and_holds_no_new_class() -> None:
    config = replace(STILL, rotation=90.0, scale=0.3, shift=0.2, flip=True)
    y, x = torch.meshgrid(torch.arange(32), torch.arange(48), indexing="ij")
    classes = torch.where((y - 10) ** 2 + (x - 30) ** 2 < 49, 2, 0)[None, None].repeat(
        6, 1, 1, 1
    )
    change = draw_change(classes.float(), config, "free", draws())
    moved, seen = change.apply_to_classes(classes), change.apply(classes.float())
    assert set(moved.unique().tolist()) == {0, 2}
    assert ((seen - moved).abs() < 1).float().mean() > 0.99
    assert not moved.equal(classes)


def test_an_image_that_nothing_is_to_happen_to_stays_as_it_is() -> None:
    images = torch.randn(3, 1, 7, 5)
    torch.testing.assert_close(changed(images, STILL), images)


@pytest.mark.parametrize(("flip", "laterality"), [(True, "fixed"), (False, "free")])
def test_no_image_is_mirrored_where_left_and_right_matter_or_flips_are_off(
    flip: bool, laterality: Laterality
) -> None:
    images = torch.randn(50, 1, 4, 4)
    config = replace(STILL, flip=flip)
    torch.testing.assert_close(changed(images, config, laterality), images)


def test_half_of_the_images_are_mirrored_where_they_may_be() -> None:
    images = torch.randn(400, 1, 4, 4)
    found = changed(images, replace(STILL, flip=True))
    mirrored = (found - images.flip(3)).abs().flatten(1).amax(dim=1) < 1e-4
    assert 0.4 < mirrored.float().mean() < 0.6


def test_an_image_of_one_grey_level_has_no_gamma_and_no_contrast() -> None:
    images = torch.full((2, 1, 4, 4), 0.3)
    config = replace(STILL, gamma=1.0, contrast=1.0)
    torch.testing.assert_close(changed(images, config), images)


@hypothesis.given(
    kinds=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30),
    batch=st.integers(1, 9),
    share=st.floats(0, 1),
)
def test_a_share_of_every_batch_shows_something(
    kinds: list[tuple[bool, bool]], batch: int, share: float
) -> None:
    shown = np.array(kinds)
    plan = list(draw_plan(shown, 5, batch, share, seed=0))
    assert [len(picked) for picked in plan] == [batch] * 5
    wanted = round(share * batch) if shown.any() else 0
    assert all(shown[picked[:wanted]].any(axis=1).all() for picked in plan)


def test_each_class_is_drawn_equally_often_however_rare_it_is() -> None:
    shown = np.array([[True, False]] * 38 + [[False, True]] * 2)
    plan = np.concatenate([p[:3] for p in draw_plan(shown, 10, 8, 0.4, seed=0)])
    assert shown[plan].sum(axis=0).tolist() == [15, 15]


def test_without_a_share_batches_are_those_of_every_task() -> None:
    shown = np.ones((20, 1), bool)
    plain = list(batches(20, 6, 8, seed=3))
    assert all(
        found.tolist() == expected.tolist()
        for found, expected in zip(draw_plan(shown, 6, 8, 0.0, 3), plain, strict=True)
    )


def test_the_same_seed_draws_the_same_images_and_another_others() -> None:
    shown = np.random.default_rng(0).random((40, 2)) < 0.3
    first, again, other = (
        np.concatenate(list(draw_plan(shown, 6, 8, 0.5, seed))) for seed in (0, 0, 1)
    )
    assert first.tolist() == again.tolist() != other.tolist()


def watched(dices: Sequence[float], patience: int, every: int = 10) -> tuple[Watch, int]:
    """Return a watch that saw validation Dice go by, and the steps that were made."""
    network, steps = torch.nn.Linear(1, 1), every * len(dices)
    answers = iter(Look(dice, 0.0) for dice in dices)
    with bar("finetune", "test", steps, 1) as shown:
        watch = Watch(network, every, patience, steps, lambda: next(answers), shown)
        for made in counting(1):
            network.weight.data.fill_(made)
            if watch.stops_after(made) or made == steps:
                return watch, made
    raise AssertionError


def test_the_weights_that_did_best_are_the_result() -> None:
    watch, made = watched([0.1, 0.6, 0.5, 0.55], patience=0)
    watch.restore()
    assert made == 40
    assert watch.best_step == next(watch.network.parameters()).item() == 20


def test_training_stops_when_as_many_looks_as_the_patience_found_no_better() -> None:
    watch, made = watched([0.1, 0.6, 0.5, 0.61, 0.6, 0.61, 0.9], patience=2)
    assert (made, watch.best_step) == (60, 40)


def test_of_equal_dice_the_lower_loss_is_better() -> None:
    assert Look(0.0, -1.0) > Look(0.0, -2.0)
    assert Look(0.1, -9.0) > Look(0.0, -2.0)


def test_the_last_step_is_looked_at_though_it_is_no_multiple() -> None:
    network = torch.nn.Linear(1, 1)
    with bar("finetune", "test", 7, 1) as shown:
        watch = Watch(network, 5, 3, 7, lambda: Look(0.5, 0.0), shown)
        looks = [made for made in range(1, 8) if watch.stops_after(made) or watch.made == made]
    assert looks == list(range(1, 8))
    assert watch.best == Look(0.5, 0.0)


def test_a_network_that_is_no_longer_finite_stops_at_once() -> None:
    network = torch.nn.Linear(1, 1)
    with bar("finetune", "test", 9, 1) as shown:
        watch = Watch(network, 3, 0, 9, lambda: Look(0.0, float("nan")), shown)
        assert [watch.stops_after(made) for made in (1, 2, 3)] == [False, False, True]


def test_dice_is_that_of_units_and_groups_weigh_the_same() -> None:
    counts = pd.DataFrame(
        {
            "tp_a": [2, 0, 0, 5],
            "fp_a": [0, 2, 0, 0],
            "fn_a": [0, 2, 0, 5],
        }
    )
    units = np.array(["v", "v", "w", "x"], dtype=object)
    groups = np.array(["g", "g", "h", "h"], dtype=object)
    # v: 4 / 8; w shows nothing and nothing was called: 1; x: 10 / 15.
    assert unit_dice(counts, units, groups) == pytest.approx((0.5 + (1 + 2 / 3) / 2) / 2)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Lesson:
    store, _ = write_blobs(tmp_path_factory.mktemp("blobs") / "store")
    validation = np.arange(40, 50)
    return Lesson(
        store=store,
        outlines=Outlines(np.asarray(store.masks), ("lesion",)),
        rows=np.arange(40),
        mode="full",
        task=LesionConfig(every=2, patience=1),
        validation=validation,
        units=validation.astype(object),
        groups=validation.astype(object),
        steps=40,
        batch_size=4,
        learning_rate=1e-9,
        seed=0,
        device=torch.device("cpu"),
    )


def start() -> Segmenter:
    return Segmenter(small_encoder(), classes=1, size=(16, 16))


def test_a_step_s_images_and_outlines_moved_alike(lesson: Lesson) -> None:
    store = lesson.store
    own = replace(store.header.preparation, mean=(0.0,), std=(1.0,))
    masks = np.asarray(store.masks)
    drawn = replace(
        store,
        images=masks[:, None].astype(np.uint8) * 255,
        header=replace(store.header, preparation=own),
    )
    geometry = replace(STILL, rotation=30.0, scale=0.2, shift=0.1, flip=True)
    rows = np.arange(20)
    task = LesionConfig(augmentation=geometry)
    images, truths = replace(lesson, store=drawn, task=task).draw(1, rows)
    assert ((images > 0.5) == (truths == 1)).float().mean() > 0.98
    assert not (truths[:, 0].numpy() == masks[rows]).all()


def test_the_same_step_is_drawn_the_same_and_another_otherwise(lesson: Lesson) -> None:
    rows = np.arange(4)
    first, again, other = (lesson.draw(step, rows)[0] for step in (3, 3, 4))
    assert first.equal(again)
    assert not first.equal(other)


def test_a_network_that_stopped_leaves_the_rest_of_its_steps_out_of_the_plan(
    lesson: Lesson, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    never_better = replace(lesson, learning_rate=0.0)
    with (
        planning(total_steps=100) as plan,
        bar("finetune", "test", 40, 4, estimate_after=2, may_stop=True) as shown,
    ):
        found = train(start(), never_better, FullConfig(), shown)
    assert (found.steps, found.best_step) == (4, 2)
    assert (plan.total_steps, plan.done_steps) == (64, 4)
    assert "38 steps left, at most " in caplog.text


def test_a_look_is_the_mean_of_images_also_where_the_last_block_is_not_full(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, loss_of = start().eval(), build_loss()
    images = torch.from_numpy(lesson.store.normalised(lesson.validation))
    truths = torch.from_numpy(lesson.outlines.of(lesson.validation).astype(np.int64))[:, None]
    with torch.inference_mode():
        logits = model(images)
    losses = [float(loss_of(logits[part], truths[part])) for part in (slice(8), slice(8, 10))]
    monkeypatch.setattr(training, "IMAGES_AT_ONCE", 8)
    found: Any = look_at(model, lesson)
    assert -found.gain == pytest.approx((8 * losses[0] + 2 * losses[1]) / 10)


def test_looking_changes_nothing_of_what_is_learnt(
    lesson: Lesson, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Look] = []

    def look(network: Segmenter, given: Lesson) -> Look:
        seen.append(look_at(network, given))
        return seen[-1]

    monkeypatch.setattr(training, "look_at", look)
    given, last = start(), []
    for every in (4, 1):
        task = LesionConfig(every=every, patience=0)
        learnt = replace(lesson, steps=4, learning_rate=1e-2, task=task)
        with bar("finetune", "test", 4, 4) as shown:
            train(given, learnt, FullConfig(), shown)
        last.append(seen[-1])
    assert len(seen) == 5
    assert last[0] == last[1]
