"""The loop: what it sees, in which order, what it writes, and when it stops."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor, nn

from maskwise import progress
from maskwise.artefacts.store import Laterality, Store
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.pretrain.augmentation import AugmentationConfig
from maskwise.pretrain.batches import Batches
from maskwise.pretrain.contracts import Batch, Outcome, Proposal, Setting
from maskwise.pretrain.objectives.context_encoder import ContextEncoder, ContextEncoderConfig
from maskwise.pretrain.objectives.simclr import Simclr
from maskwise.pretrain.policies.random_box import RandomBox, RandomBoxConfig
from maskwise.pretrain.replicate import Pretrained, PretrainRun
from pretrain.toys import RANDOM_BOX, SIMCLR, at_rate, make_run, make_store, pretrain

LATERALITIES: tuple[Laterality, ...] = ("free", "fixed")


def equal(one: nn.Module, two: nn.Module) -> bool:
    other = two.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in one.state_dict().items())


def batches(store: Store, rows: np.ndarray, batch_size: int, seed: int = 0) -> Batches:
    return Batches(
        store=store,
        rows=rows,
        batch_size=batch_size,
        seed=seed,
        augmentation=AugmentationConfig(),
        laterality="free",
        device=torch.device("cpu"),
        groups=np.arange(len(store)) // 2,
    )


def test_every_epoch_shows_every_image_once_in_another_order(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path / "store")
    rows = np.arange(3, 13)
    made = batches(store, rows, batch_size=4)
    seen = torch.cat([made.batch(step, 0.0).index for step in range(5)]).numpy()
    first, second = seen[:10], seen[10:]
    assert sorted(first) == sorted(second) == list(rows)
    assert list(first) != list(second)


def test_a_batch_larger_than_the_data_is_full_all_the_same(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path / "store")
    made = batches(store, np.arange(3), batch_size=8).batch(0, 0.0)
    assert torch.bincount(made.index).tolist() == [3, 3, 2] or len(made.index) == 8
    assert made.images.shape == (8, 1, 32, 32)


def test_a_batch_is_rebuilt_bit_for_bit_from_its_rows_and_seeds(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path / "store")
    made = batches(store, np.arange(12), batch_size=4)
    batch = made.batch(7, 0.7)
    assert torch.equal(made.images(batch.index, batch.augmentation_seed), batch.images)
    assert torch.equal(made.batch(7, 0.7).images, batch.images)
    assert batch.progress == 0.7
    assert torch.equal(batch.group, batch.index // 2)


def test_the_loss_falls_and_the_history_has_a_row_an_epoch(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    history = pretrain(store, splits, make_run(tmp_path, RANDOM_BOX, steps=60)).history
    assert list(history["epoch"]) == list(range(1, 21))  # 12 images, 4 per step, 60 steps
    assert list(history["step"]) == list(range(3, 61, 3))
    assert history["loss"].iloc[-4:].mean() < 0.8 * history["loss"].iloc[0]
    assert history.columns[0] == "epoch"
    assert {"gradient_norm", "hidden_share", "lift", "content_lift", "error"} <= set(history)


def test_simclr_runs_in_the_same_loop_without_a_mask(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    result = pretrain(store, splits, make_run(tmp_path, SIMCLR, steps=30))
    assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]
    assert {"alignment", "uniformity"} <= set(result.history)
    assert (result.history["hidden_share"] == 0).all()


@pytest.mark.parametrize("block", [RANDOM_BOX, SIMCLR], ids=["random_box", "simclr"])
def test_the_same_replicate_gives_the_same_weights_bit_for_bit(
    tmp_path: Path, block: dict[str, Any]
) -> None:
    store, splits = make_store(tmp_path / "store")
    first = pretrain(store, splits, make_run(tmp_path / "a", block))
    torch.rand(7)  # someone else draws from the global generator
    second = pretrain(store, splits, make_run(tmp_path / "b", block))
    other = pretrain(store, splits, make_run(tmp_path / "c", block, seed=1))
    assert equal(first.encoder, second.encoder)
    assert first.history.equals(second.history)
    assert not equal(first.encoder, other.encoder)


def test_test_images_never_enter_unless_the_recipe_says_so(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")

    def trained(folder: str, change: bool, transductive: bool) -> Pretrained:
        tests = store.rows(splits.loc[splits["split"] == "test", "image_id"].to_numpy())
        images = np.array(store.images)
        images[tests] = 0 if change else images[tests]
        block = {**RANDOM_BOX, "transductive": transductive}
        return pretrain(
            replace(store, images=images), splits, make_run(tmp_path / folder, block)
        )

    assert equal(trained("a", False, False).encoder, trained("b", True, False).encoder)
    assert not equal(trained("c", False, True).encoder, trained("d", True, True).encoder)


def test_looking_at_the_policy_changes_nothing_of_the_run(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    often = pretrain(store, splits, make_run(tmp_path / "a", RANDOM_BOX, gallery_moments=8))
    once = pretrain(store, splits, make_run(tmp_path / "b", RANDOM_BOX, gallery_moments=1))
    assert equal(often.encoder, once.encoder)
    assert list(often.gallery.epochs) == [1, 2, 3]
    assert list(once.gallery.epochs) == [3]
    assert often.gallery.reconstructions.shape == (3, 6, 32, 32)


UNFLIPPED: dict[str, Any] = {"augmentation": {"horizontal_flip": False}}


def test_a_store_whose_sides_mean_something_is_trained_on_without_mirroring(
    tmp_path: Path,
) -> None:
    free = make_store(tmp_path / "free")
    fixed = make_store(tmp_path / "fixed", laterality="fixed")
    usual = pretrain(*fixed, make_run(tmp_path / "a", RANDOM_BOX))
    unflipped = pretrain(*free, make_run(tmp_path / "b", RANDOM_BOX | UNFLIPPED))
    mirrored = pretrain(*free, make_run(tmp_path / "c", RANDOM_BOX))
    assert equal(usual.encoder, unflipped.encoder)
    assert not equal(usual.encoder, mirrored.encoder)


def test_views_too_are_mirrored_only_where_the_store_lets_them(tmp_path: Path) -> None:
    runs = {
        name: pretrain(
            *make_store(tmp_path / name, laterality=name),
            make_run(tmp_path / f"{name}_run", SIMCLR | UNFLIPPED, steps=2),
        )
        for name in LATERALITIES
    }
    assert not equal(runs["free"].encoder, runs["fixed"].encoder)


@dataclass(frozen=True)
class Asked(RandomBoxConfig):
    """Writes down what it is built for."""

    settings: ClassVar[list[Setting]] = []

    def build(self, setting: Setting) -> RandomBox:
        self.settings.append(setting)
        return super().build(setting)


def test_a_policy_is_built_for_the_images_of_the_store(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store", modality="mr", laterality="fixed")
    run = make_run(tmp_path, RANDOM_BOX, steps=1)
    pretrain(store, splits, with_policy(run, Asked(box=(2, 2))))
    setting = Asked.settings.pop()
    assert (setting.channels, setting.height, setting.width) == (1, 32, 32)
    assert (setting.mean, setting.std) == ((0.5,), (0.25,))
    assert (setting.modality, setting.laterality) == ("mr", "fixed")
    assert (setting.rows, setting.batch_size, setting.steps_per_epoch) == (24, 4, 3.0)
    index, seeds = torch.arange(4), torch.zeros(4, dtype=torch.int64)
    assert setting.images(index, seeds).shape == (4, 1, 32, 32)


def test_speed_is_noted_for_the_run_and_stays_out_of_the_history(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    with progress.collecting_facts() as facts:
        history = pretrain(store, splits, make_run(tmp_path, RANDOM_BOX)).history
    assert float(facts.values["images_per_second"]) > 0
    assert not any("second" in column for column in history)


@dataclass(frozen=True)
class TopLeft:
    """Hides the first cells of every image, and writes down who was asked when."""

    def build(self, setting: Setting) -> "TopLeftPolicy":
        return TopLeftPolicy()


class TopLeftPolicy(RandomBox):
    """See ``TopLeft``."""

    order: ClassVar[list[str]] = []

    def __init__(self) -> None:
        super().__init__(RandomBoxConfig(box=(2, 2)))

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> Proposal:
        self.order.append(f"propose {len(batch.images)}")
        return super().propose(batch, grid, generator)

    def learn(self, proposal: Proposal, outcome: Outcome) -> dict[str, Tensor]:
        assert not outcome.error_map.requires_grad
        self.order.append(f"learn {len(proposal.mask)}")
        return {"reward": outcome.error_map.nanmean()}

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        mask = torch.zeros(len(images), *grid, dtype=torch.bool)
        mask[:, :2, :2] = True
        return mask


def with_policy(run: PretrainRun, policy: Any) -> PretrainRun:
    return replace(run, recipe=replace(run.recipe, policy=policy))


def test_a_policy_learns_from_every_part_of_a_batch_after_the_step(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    block = {**RANDOM_BOX, "optimisation": {"accumulate": 2}}
    run = make_run(tmp_path, block, steps=1, batch_size=8)
    TopLeftPolicy.order.clear()
    history = pretrain(store, splits, with_policy(run, TopLeft())).history
    assert TopLeftPolicy.order == ["propose 4", "propose 4", "learn 4", "learn 4"]
    assert history["reward"].iloc[0] == pytest.approx(history["loss"].iloc[0])


def test_a_batch_in_parts_gives_the_weights_of_the_whole_batch(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")

    def trained(parts: int) -> dict[str, Tensor]:
        block = {**RANDOM_BOX, "optimisation": {"accumulate": parts}}
        run = make_run(tmp_path / str(parts), block, steps=3, batch_size=8)
        return pretrain(store, splits, with_policy(run, TopLeft())).encoder.state_dict()

    whole, halves = trained(1), trained(2)
    for name, tensor in whole.items():
        torch.testing.assert_close(tensor, halves[name], atol=2e-4, rtol=1e-3)


def test_an_objective_hears_of_every_optimiser_step_once_and_never_when_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[float] = []
    monkeypatch.setattr(Simclr, "stepped", lambda self, progress: heard.append(progress))
    store, splits = make_store(tmp_path / "store")
    parts = {**SIMCLR, "optimisation": {"accumulate": 2}}
    pretrain(store, splits, make_run(tmp_path / "parts", parts))
    assert heard == [pytest.approx(step / 9) for step in range(1, 10)]


def test_a_batch_that_cannot_be_cut_evenly_is_refused(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    block = {**RANDOM_BOX, "optimisation": {"accumulate": 3}}
    with pytest.raises(
        UserError, match=r"recipe.optimisation.accumulate: 3 parts do not divide .* of 4"
    ):
        pretrain(store, splits, make_run(tmp_path, block))


def test_gradients_are_clipped_to_the_norm_asked_for(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")

    def moved(clip_norm: float) -> float:
        # SGD-like: with a tiny gradient Adam's epsilon dominates, and the step shrinks with it.
        block = {**RANDOM_BOX, "optimisation": {"clip_norm": clip_norm, "weight_decay": 0.0}}
        run = make_run(tmp_path / str(clip_norm), block, steps=1)
        result = pretrain(store, splits, run)
        still = make_run(
            tmp_path / "s", {**block, "optimisation": {"learning_rate": 1e-12}}, steps=1
        )
        start = pretrain(store, splits, still).encoder.state_dict()
        changes = [
            (tensor - start[name]).abs().max()
            for name, tensor in result.encoder.state_dict().items()
        ]
        return float(torch.stack(changes).max())

    assert moved(1e-12) < 0.1 * moved(1.0)


class Spied(ContextEncoder):
    """Writes down how it is run."""

    seen: ClassVar[list[dict[str, bool]]] = []

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        last = torch.channels_last
        self.seen.append(
            {
                "images": batch.images.is_contiguous(memory_format=last),
                "weights": all(
                    weight.is_contiguous(memory_format=last)
                    for weight in self.parameters()
                    if weight.ndim == 4
                ),
                "deterministic": torch.are_deterministic_algorithms_enabled(),
                "benchmark": torch.backends.cudnn.benchmark,
            }
        )
        return super().forward(batch, mask)


class SpiedConfig(ContextEncoderConfig):
    """See ``Spied``."""

    def build(self, setting: Setting, encoder: Encoder) -> ContextEncoder:
        return Spied(self, setting, encoder)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_layout_and_kernels_are_those_asked_for_while_it_trains(
    tmp_path: Path, channels_last: bool, deterministic: bool
) -> None:
    store, splits = make_store(tmp_path / "store", channels=3)
    run = make_run(
        tmp_path,
        RANDOM_BOX,
        steps=1,
        channels_last=channels_last,
        deterministic=deterministic,
    )
    Spied.seen.clear()
    before = torch.backends.cudnn.benchmark
    pretrain(store, splits, replace(run, recipe=replace(run.recipe, objective=SpiedConfig())))
    assert Spied.seen[0] == {
        "images": channels_last,
        "weights": channels_last,
        "deterministic": deterministic,
        "benchmark": not deterministic,
    }
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark == before


@pytest.mark.parametrize("option", [{"channels_last": False}, {"deterministic": True}], ids=str)
def test_layout_and_deterministic_kernels_change_at_most_the_last_bits(
    tmp_path: Path, option: dict[str, Any]
) -> None:
    store, splits = make_store(tmp_path / "store")
    usual = pretrain(store, splits, make_run(tmp_path / "a", RANDOM_BOX, steps=3))
    other = pretrain(store, splits, make_run(tmp_path / "b", RANDOM_BOX, steps=3, **option))
    assert usual.history["loss"].iloc[0] == pytest.approx(
        other.history["loss"].iloc[0], rel=1e-4
    )


def test_a_loss_that_is_no_number_stops_the_run_with_place_and_cause(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path, RANDOM_BOX, steps=30)
    with pytest.raises(
        UserError,
        match=r"pretrain recipe seed 0: .* at step \d+ \(epoch \d\); likely the learning rate",
    ):
        pretrain(store, splits, at_rate(run, 1e18))


def test_images_that_are_no_numbers_are_named_as_the_cause(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store", scale=float("nan"))
    with pytest.raises(UserError, match=r"at step 1 \(epoch 1\); the images of that step hold"):
        pretrain(store, splits, make_run(tmp_path, RANDOM_BOX))


def test_rewards_that_are_no_numbers_are_named_with_replicate_epoch_and_batch(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    block = {
        **RANDOM_BOX,
        "policy": {"name": "dqn", "box": [2, 2]},
    }
    late = {"finite_checks": "checkpoint"}  # or the loss would be named before its reward
    # There are 12 training images: an epoch is two batches of 6, or one of 12.
    with pytest.raises(UserError) as caught:
        pretrain(store, splits, at_rate(make_run(tmp_path, block, batch_size=6, **late), 1e30))
    assert str(caught.value).startswith(
        "pretrain recipe seed 0, step 2 (epoch 1, batch 2): policy dqn: 6 of 6 rewards (100 %) "
        "are not finite; lower the objective's learning rate"
    )
    with pytest.raises(UserError, match=r"seed 0, step 2 \(epoch 2, batch 1\): policy dqn: 12"):
        pretrain(store, splits, at_rate(make_run(tmp_path, block, batch_size=12, **late), 1e30))


@dataclass(frozen=True)
class Noted(RandomBoxConfig):
    """Writes down which images it is shown and what it hides of them."""

    def build(self, setting: Setting) -> "NotedPolicy":
        return NotedPolicy(self)


class NotedPolicy(RandomBox):
    """See ``Noted``."""

    shown: ClassVar[list[Tensor]] = []
    hidden: ClassVar[list[Tensor]] = []

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> Proposal:
        proposal = super().propose(batch, grid, generator)
        self.shown.append(batch.index)
        self.hidden.append(proposal.mask)
        return proposal


def test_masks_and_the_order_of_images_follow_from_the_seed_each_for_itself(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    fewer = splits.assign(split=splits["split"].where(splits.index != 3, "test"))

    def noted(folder: str, given: pd.DataFrame, box: int, **options: int) -> list[Tensor]:
        NotedPolicy.shown.clear()
        NotedPolicy.hidden.clear()
        run = make_run(tmp_path / folder, RANDOM_BOX, **options)
        pretrain(store, given, with_policy(run, Noted(box=(box, box))))
        return [torch.cat(NotedPolicy.shown), torch.cat(NotedPolicy.hidden)]

    order, masks = noted("a", splits, box=2)
    other_order, same_masks = noted("b", fewer, box=2)
    same_order, other_masks = noted("c", splits, box=3)
    next_order, next_masks = noted("d", splits, box=2, seed=1)
    assert same_masks.equal(masks)
    assert not other_order.equal(order)
    assert same_order.equal(order)
    assert not other_masks.equal(masks)
    assert not next_order.equal(order)
    assert not next_masks.equal(masks)
