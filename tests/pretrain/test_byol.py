"""BYOL: the loss, the target and its schedule."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Batch
from maskwise.pretrain.objectives.byol import Byol, ByolConfig, apart
from maskwise.pretrain.objectives.momentum import warn_of_lag
from pretrain.contrast_toys import NOTHING, a_batch, a_setting, an_encoder, draw
from pretrain.toys import SIMCLR, make_run, make_store, pretrain


def build(block: dict[str, Any] | None = None, **setting: Any) -> Byol:
    options = {"hidden": 8, "embedding": 6, **(block or {})}
    config = parse(ByolConfig, options, "objective")
    return config.build(a_setting(**setting), an_encoder()).train()


def test_equal_vectors_are_0_apart_strangers_2_and_opposite_ones_4() -> None:
    one = draw(3, 5).double()
    torch.testing.assert_close(apart(one, 7 * one), torch.zeros(3).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(apart(one, -one), torch.full((3,), 4.0).double())
    axes = torch.eye(5)[:2]
    torch.testing.assert_close(apart(axes, axes.roll(1, 0)), torch.full((2,), 2.0))


def test_the_loss_is_that_of_a_loop_over_images_and_both_ways() -> None:
    objective, seen = build(), []
    objective.encoder.register_forward_hook(lambda module, given, out: seen.append(given[0]))
    loss = objective(a_batch(), NOTHING).loss.detach()
    online, target = [], []
    for view in seen[:2]:
        with torch.no_grad():
            online.append(objective.predictor(objective.projections(view)))
            target.append(objective._target(view))
    total = 0.0
    for i in range(4):
        for one, other in ((0, 1), (1, 0)):
            p, z = online[one][i].double(), target[other][i].double()
            total += float((p / p.norm() - z / z.norm()).square().sum())
    assert float(loss) == pytest.approx(total / 4, rel=1e-4)


def test_each_view_is_seen_by_itself() -> None:
    objective, sizes = build(), []
    objective.encoder.register_forward_hook(
        lambda module, given, out: sizes.append(len(given[0]))
    )
    objective(a_batch(), NOTHING)
    assert sizes == [4, 4]


def test_swapping_the_views_leaves_the_loss_as_it_was() -> None:
    objective, batch = build(), a_batch()
    swapped = Batch(batch.images, batch.index, batch.group, ~batch.augmentation_seed, 0.0)
    one, other = (objective(each, NOTHING).loss for each in (batch, swapped))
    torch.testing.assert_close(one, other)


def test_no_gradient_reaches_the_target() -> None:
    objective = build()
    objective(a_batch(), NOTHING).loss.backward()
    for name, parameter in objective.named_parameters():
        assert (parameter.grad is None) is name.startswith("target"), name


@pytest.mark.parametrize("start", [0.9, 0.99, 0.996])
def test_the_target_keeps_more_from_step_to_step_and_at_the_end_all(start: float) -> None:
    objective = build({"momentum": start})
    kept = [objective.kept(step / 20) for step in range(21)]
    assert kept[0] == pytest.approx(start)
    assert kept[-1] == 1.0
    assert kept == sorted(kept)
    expected = [1 - (1 - start) * (math.cos(math.pi * t / 20) + 1) / 2 for t in range(21)]
    assert kept == pytest.approx(expected)


def test_the_release_s_target_swings_with_a_period_of_two_epochs() -> None:
    objective = build({"preset": "wolf_release", "hidden": 8}, steps=40, steps_per_epoch=5.0)
    kept = [objective.kept(step / 40) for step in range(41)]
    assert kept[0] == kept[10] == kept[20] == pytest.approx(0.996)
    assert kept[5] == kept[15] == pytest.approx(1.0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_target_moves_once_per_optimiser_step(
    accumulate: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []
    kept = Byol.kept

    def noting(self: Byol, progress: float) -> float:
        shares.append(progress)
        return kept(self, progress)

    monkeypatch.setattr(Byol, "kept", noting)
    store, splits = make_store(tmp_path / "store")
    block = {
        **SIMCLR,
        "objective": {"name": "byol", "hidden": 8, "embedding": 6},
        "optimisation": {"accumulate": accumulate},
    }
    pretrain(store, splits, make_run(tmp_path, block))
    assert shares == [pytest.approx(step / 9) for step in range(1, 10)]


def test_with_a_mask_an_image_s_loss_is_the_error_of_its_hidden_cells() -> None:
    mask = NOTHING.clone()
    mask[:, 1:3, 1:3] = True
    outcome = build()(a_batch(), mask)
    errors: Tensor = outcome.error_map[mask].reshape(4, 4)
    assert torch.equal(outcome.error_map.isnan(), ~mask)
    torch.testing.assert_close(errors[:, 0].mean(), outcome.loss.detach())


def test_a_batch_of_one_is_refused() -> None:
    config = ByolConfig()
    with pytest.raises(UserError, match=r"objective.name: byol's heads have batch norm"):
        config.build(replace(a_setting(), batch_size=1), an_encoder())


def test_the_encoder_that_is_kept_has_the_plain_network_s_names() -> None:
    assert build().encoder.state_dict().keys() == an_encoder().state_dict().keys()


@pytest.mark.parametrize(
    ("momentum", "steps", "said"),
    [
        (0.99, 300, "follows over 100 steps, but the run has 300"),
        (0.99, 2000, ""),
        (0.93, 300, ""),
        (1.0, 300, ""),
    ],
)
def test_a_copy_that_is_too_slow_for_the_run_is_warned_of(
    momentum: float, steps: int, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_lag("byol", momentum, steps)
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)
