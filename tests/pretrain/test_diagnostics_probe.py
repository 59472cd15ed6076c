"""The probe: which images, what is measured, what is drawn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor

from maskwise.artefacts.store import Store, StoreHeader, open_store, writing_store
from maskwise.encoders import ENCODERS
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.masks import Grid, boxes, to_pixels
from maskwise.pretrain.contracts import Batch, Outcome, PlaceMap, Setting
from maskwise.pretrain.diagnostics import Probe, draw, measure, pack
from maskwise.pretrain.objectives.context_encoder import ContextEncoderConfig
from maskwise.pretrain.policies.dqn.places import Places
from maskwise.pretrain.policies.none import NoneConfig
from maskwise.pretrain.policies.random_box import RandomBox, RandomBoxConfig
from preparations import preparation
from pretrain.dqn_toys import a_policy
from pretrain.toys import make_setting

GRID: Grid = (8, 8)
LIFTS = {"lift", "content_lift", "lift_uniform", "lift_centre", "lift_variance", "lift_oracle"}


def a_store(path: Path, number: int = 60, masks: bool = True) -> tuple[Store, pd.DataFrame]:
    """Write images with a bright square each, every fourth without; thirds are the splits."""
    rng = np.random.default_rng(0)
    header = StoreHeader(
        preparation=preparation(32, mean=(0.5,), std=(0.25,), modality="other"),
        laterality="free",
        largest_rounding_error=0.0,
        data_hash="x",
    )
    index = pd.DataFrame(
        {
            "image_id": [f"i{i:03}" for i in range(number)],
            "group": [f"g{i // 2}" for i in range(number)],
            "has_mask": masks,
            "scale": 1 / 255,
            "offset": 0.0,
        }
    )
    images = rng.integers(100, 140, (number, 1, 32, 32)).astype(np.uint8)
    lesions = np.zeros((number, 32, 32), bool)
    for i in range(number):
        y, x = rng.integers(0, 24, 2)
        if i % 4:
            images[i, 0, y : y + 8, x : x + 8] = rng.integers(0, 256, (8, 8))
            lesions[i, y : y + 8, x : x + 8] = True
    with writing_store(path, images.shape, "uint8", masks) as writer:
        np.load(writer.images, mmap_mode="r+")[:] = images
        if writer.masks is not None:
            np.load(writer.masks, mmap_mode="r+")[:] = lesions
        writer.finish(index, header)
    splits = index[["image_id", "group"]].assign(fold=-1)
    splits["split"] = np.repeat(["train", "validation", "test"], number // 3)
    return open_store(path), splits


class Fixed:
    """Hides given masks."""

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        return self.masks[: len(images)]

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap | None:
        return None


def a_setting() -> Setting:
    return make_setting(modality="other")


def test_the_probe_is_validation_images_with_lesions_and_never_test(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store")
    probe = Probe.build(store, splits, GRID, 0)
    wanted = [f"i{i:03}" for i in range(20, 40) if i % 4]
    assert probe.image_ids.tolist() == wanted
    assert probe.lesions is not None
    assert probe.lesions.flatten(1).any(1).all()
    assert probe.groups.max() + 1 == len({i // 2 for i in range(20, 40) if i % 4})


def test_the_probe_holds_at_most_256_images(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store", number=1200)
    assert len(Probe.build(store, splits, GRID, 0).images) == 256


def test_without_lesions_the_lifts_are_left_out_and_the_rest_works(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store", masks=False)
    probe = Probe.build(store, splits, GRID, 0)
    assert len(probe.images) == 20
    policy = a_policy(torch.zeros(4, 1, 32, 32))
    figures = measure(probe, policy, Generator().manual_seed(0))
    assert not LIFTS & set(figures)
    assert {"hidden_share", "entropy", "top_share", "variance_correlation"} <= set(figures)


def test_without_validation_images_training_images_are_looked_at(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store")
    splits = splits.replace({"split": {"validation": "train"}})
    probe = Probe.build(store, splits, GRID, 0)
    assert set(probe.image_ids) <= set(splits.loc[splits["split"] == "train", "image_id"])


def test_masks_on_the_lesions_have_a_lift_near_the_oracle_with_an_interval(
    tmp_path: Path,
) -> None:
    store, splits = a_store(tmp_path / "store")
    probe = Probe.build(store, splits, GRID, 0)
    assert probe.lesions is not None
    pooled = torch.nn.functional.avg_pool2d(probe.lesions[:, None].float(), 4)[:, 0]
    figures = measure(probe, Fixed(pooled == 1), Generator())  # type: ignore[arg-type]
    assert figures["lift_low"] <= figures["lift"] <= figures["lift_high"]
    assert figures["content_lift_low"] > 0
    assert figures["lift_uniform"] < figures["lift"]
    assert figures["hidden_share"] == pytest.approx(float((pooled == 1).double().mean()))


def test_measuring_twice_gives_the_same_figures(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store")
    policy = RandomBoxConfig(box=(3, 3)).build(a_setting())
    first, second = (
        measure(Probe.build(store, splits, GRID, 0), policy, Generator().manual_seed(1))
        for _ in range(2)
    )
    assert first == second
    assert set(first) >= LIFTS


class OfVariance(RandomBox):
    """Thinks most of the places of ``dqn`` whose pixels vary most."""

    def __init__(self, places: Places) -> None:
        super().__init__(RandomBoxConfig(box=places.box))
        self.places = places

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap:
        columns = []
        for place in self.places.masks(torch.arange(self.places.number)):
            hidden = to_pixels(place[None], 32, 32)[0, 0]
            columns.append(images[:, :, hidden].var(2, correction=0).mean(1))
        values = torch.stack(columns, 1).reshape(-1, *self.places.shape)
        return PlaceMap(values, self.places.box, self.places.stride)


@pytest.mark.parametrize(
    "places",
    [
        Places(GRID, (3, 3)),
        Places(GRID, (2, 2), stride=2),
        Places(GRID, (3, 2), stride=2),
        Places(GRID, (4, 4), stride=2, overhang=True),
        Places(GRID, (3, 3), overhang=True),
    ],
    ids=str,
)
def test_a_map_of_its_own_boxes_variance_correlates_with_it_wherever_the_places_lie(
    tmp_path: Path, places: Places
) -> None:
    store, splits = a_store(tmp_path / "store")
    probe = Probe.build(store, splits, GRID, 0)
    figures = measure(probe, OfVariance(places), Generator().manual_seed(0))
    assert figures["variance_correlation"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("block", [{}, {"stride": 2}, {"stride": 2, "actions": "all_cells"}])
def test_the_map_of_dqn_says_what_its_greatest_value_hides(
    block: dict[str, Any],
) -> None:
    images = torch.randn(6, 1, 32, 32, generator=Generator().manual_seed(0))
    policy = a_policy(images, **block)
    torch.nn.init.normal_(policy.network.get_parameter("advantage.weight"))
    maps = policy.maps(images, GRID)
    best = maps.values.flatten(1).argmax(1)
    columns = maps.values.shape[2]
    tops, lefts = best // columns * maps.stride, best % columns * maps.stride
    hidden = policy.choose_masks(images, GRID, Generator())
    assert torch.equal(boxes(tops, lefts, maps.box, GRID), hidden)


def test_a_policy_that_hides_nothing_has_a_hidden_share_and_no_more(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store")
    probe = Probe.build(store, splits, GRID, 0)
    figures = measure(probe, NoneConfig().build(a_setting()), Generator())
    assert figures == {"hidden_share": 0.0}


def test_drawing_the_probe_teaches_the_network_s_statistics_nothing(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store")
    probe = Probe.build(store, splits, GRID, 0)
    policy = RandomBoxConfig(box=(3, 3)).build(a_setting())
    encoder = ContextCnnConfig(widths=(8, 8), convolutions=(1, 1), norm="batch").build(1)
    objective = ContextEncoderConfig().build(a_setting(), encoder)
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    draw(probe, policy, objective, Generator().manual_seed(0))
    after = objective.state_dict()
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_gallery_shows_images_lesions_masks_maps_and_answers(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store")
    probe = Probe.build(store, splits, GRID, 0)
    policy = a_policy(torch.zeros(4, 1, 32, 32))
    objective = ContextEncoderConfig().build(a_setting(), ENCODERS["context_cnn"]().build(1))
    frames = [draw(probe, policy, objective, Generator()) for _ in range(2)]
    gallery = pack(probe, [1, 5], frames)
    shown = 12
    assert gallery.epochs.tolist() == [1, 5]
    assert gallery.images.shape == gallery.lesions.shape == (shown, 32, 32)
    assert gallery.masks.shape == (2, shown, 8, 8)
    assert gallery.maps.shape == (2, shown, 6, 6)
    assert (gallery.map_box.tolist(), int(gallery.map_stride)) == ([3, 3], 1)
    assert gallery.reconstructions.shape == (2, shown, 32, 32)
    hidden = np.kron(gallery.masks[0], np.ones((4, 4), bool))
    assert (gallery.reconstructions[0] == gallery.images)[~hidden].all()
    assert (gallery.images == store.images[probe.index[:shown].numpy()][:, 0]).all()
    assert objective.training
    errors = {"error", "error_mean_image", "error_smooth_fill", "error_correlation"}
    assert set(frames[0].errors) == errors


def test_an_objective_that_draws_nothing_leaves_the_answers_empty(tmp_path: Path) -> None:
    class Silent(torch.nn.Module):
        def forward(self, batch: Batch, mask: Tensor) -> Outcome:
            return Outcome(torch.zeros(()), torch.zeros(mask.shape))

    store, splits = a_store(tmp_path / "store")
    probe = Probe.build(store, splits, GRID, 0)
    silent: Any = Silent()
    frame = draw(probe, NoneConfig().build(a_setting()), silent, Generator())
    gallery = pack(probe, [1], [frame])
    assert frame.errors == {}
    assert gallery.reconstructions.size == gallery.maps.size == 0
    assert pack(probe, [], []).masks.size == 0


@pytest.mark.parametrize(("same", "known"), [(False, {"error_correlation"}), (True, set())])
def test_a_map_is_held_against_errors_of_a_network_that_draws_no_pixels(
    tmp_path: Path, same: bool, known: set[str]
) -> None:
    class Unseen(torch.nn.Module):
        def forward(self, batch: Batch, mask: Tensor) -> Outcome:
            errors = torch.ones(mask.shape) if same else torch.rand(mask.shape)
            return Outcome(torch.zeros(()), torch.where(mask, errors, torch.nan))

    store, splits = a_store(tmp_path / "store")
    unseen: Any = Unseen()
    probe = Probe.build(store, splits, GRID, 0)
    frame = draw(probe, a_policy(torch.rand(4, 1, 32, 32)), unseen, Generator())
    assert set(frame.errors) == known


def test_a_perfect_answer_has_no_error_and_the_mean_image_has_that_of_the_mean(
    tmp_path: Path,
) -> None:
    class Perfect(torch.nn.Module):
        def forward(self, batch: Batch, mask: Tensor) -> Outcome:
            return Outcome(
                torch.zeros(()), torch.zeros(mask.shape), torch.zeros_like(batch.images)
            )

    store, splits = a_store(tmp_path / "store")
    probe = Probe.build(store, splits, GRID, 0)
    mask = torch.zeros(1, *GRID, dtype=torch.bool)
    mask[:, 2:5, 2:5] = True
    masks = mask.expand(len(probe.images), -1, -1)
    perfect: Any = Perfect()
    policy: Any = Fixed(masks)
    errors = draw(probe, policy, perfect, Generator()).errors
    training = (store.images[:20, 0] / 255.0 - 0.5) / 0.25
    hole = (probe.images[:, 0].numpy() - training.mean(0))[:, 8:20, 8:20]
    assert errors["error"] == 0
    assert errors["error_mean_image"] == pytest.approx(float((hole**2).mean()), rel=1e-4)
    assert errors["error_smooth_fill"] > 0


def test_the_probe_moves_to_a_device_with_all_that_it_holds(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store")
    probe = Probe.build(store, splits, GRID, 0).to("meta")
    tensors = [probe.images, probe.index, probe.mean_image, probe.mean, probe.std]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_outlines_of_several_classes_are_lesions_to_the_probe(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store")
    masks = np.asarray(store.masks).astype(np.uint8)
    masks[:, 16:] *= 3
    found = Probe.build(replace(store, masks=masks), splits, GRID, 0).lesions
    expected = Probe.build(store, splits, GRID, 0).lesions
    assert found is not None
    assert expected is not None
    assert found.dtype == torch.bool
    assert torch.equal(found, expected)
