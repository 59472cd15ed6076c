"""Cells of the foreground: which they are, how many, and where the threshold comes from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from maskwise.artefacts.store import Store
from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.pretrain.histogram import BINS, histogram
from maskwise.pretrain.policies.cells import hidden_cells
from maskwise.pretrain.policies.foreground import Foreground, ForegroundConfig, otsu
from maskwise.pretrain.replicate import Pretrained
from pretrain.cell_toys import uniform_share
from pretrain.toys import SMALL, make_run, make_setting, make_store, pretrain

GRID = (8, 8)


def build(block: dict[str, Any] | None = None, **setting: Any) -> Foreground:
    return parse(ForegroundConfig, block or {}, "policy").build(make_setting(**setting))


def masks(images: Tensor, block: dict[str, Any], seed: int = 0, **setting: Any) -> Tensor:
    grid = setting.get("grid", GRID)
    policy = build(block, **setting)
    return policy.choose_masks(images, grid, Generator().manual_seed(seed))


def foreground_by_loop(
    images: Tensor, grid: tuple[int, int], threshold: float, share: float
) -> Tensor:
    """Count cell by cell the pixels whose mean over channels lies above the threshold."""
    b, _, h, w = images.shape
    found = torch.zeros(b, *grid, dtype=torch.bool)
    for i in range(b):
        for y in range(grid[0]):
            for x in range(grid[1]):
                cell = images[
                    i,
                    :,
                    y * h // grid[0] : (y + 1) * h // grid[0],
                    x * w // grid[1] : (x + 1) * w // grid[1],
                ]
                pixels = cell.mean(0).flatten().tolist()
                above = sum(pixel > threshold for pixel in pixels)
                found[i, y, x] = above / len(pixels) >= share
    return found


def blobs(number: int, channels: int, grid: tuple[int, int], seed: int) -> Tensor:
    """Return intensities of cells of 2 x 3 pixels, dark ones and bright ones."""
    generator = Generator().manual_seed(seed)
    shape = (number, channels, 2 * grid[0], 3 * grid[1])
    bright = torch.rand(number, 1, *grid, generator=generator) < 0.5
    lifted = bright.repeat_interleave(2, 2).repeat_interleave(3, 3)
    return 0.5 * torch.rand(shape, generator=generator) + 0.4 * lifted


@settings(max_examples=60, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 6), st.integers(2, 6)),
    channels=st.integers(1, 3),
    ratio=st.floats(0.01, 0.99),
    share=st.sampled_from([0.1, 1 / 3, 0.5, 2 / 3, 1.0]),
    threshold=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**31),
)
def test_exactly_k_cells_are_hidden_and_none_of_the_rest_while_foreground_remains(
    grid: tuple[int, int],
    channels: int,
    ratio: float,
    share: float,
    threshold: float,
    seed: int,
) -> None:
    images = blobs(3, channels, grid, seed)
    block = {"ratio": ratio, "share": share, "threshold": threshold}
    mean, std = (0.3,) * channels, (0.2,) * channels
    seen = (images - 0.3) / 0.2
    made = masks(seen, block, seed, grid=grid, channels=channels, mean=mean, std=std)
    number = hidden_cells(ratio, grid)
    assert made.sum((1, 2)).tolist() == [number] * 3
    counts = foreground_by_loop(seen * 0.2 + 0.3, grid, threshold, share)
    for mask, foreground in zip(made, counts, strict=True):
        assert int((mask & foreground).sum()) == min(number, int(foreground.sum()))


def test_every_cell_of_the_foreground_is_hidden_equally_often_and_so_is_every_other() -> None:
    image = torch.zeros(1, 1, 16, 16)
    image[:, :, :, :8] = 1.0  # the left half
    few = masks(image.expand(20_000, -1, -1, -1), {"ratio": 0.25})
    assert not few[:, :, 4:].any()
    assert uniform_share(few[:, :, :4]) > 0.001
    many = masks(image.expand(20_000, -1, -1, -1), {"ratio": 0.75})
    assert many[:, :, :4].all()
    assert uniform_share(many[:, :, 4:]) > 0.001


def otsu_by_loop(pixels: list[float]) -> float:
    """Try every threshold between two bins; return the least within-class variance of them."""
    best = (float("inf"), 0.0)
    for edge in range(1, BINS):
        low = [pixel for pixel in pixels if pixel < edge / BINS]
        high = [pixel for pixel in pixels if pixel >= edge / BINS]
        within = float(sum(len(part) * np.var(part) for part in (low, high) if part))
        best = min(best, (within, edge / BINS))
    return best[0]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), apart=st.floats(0.05, 0.5), weight=st.floats(0.1, 0.9))
def test_otsu_s_threshold_leaves_as_little_variance_in_two_classes_as_any(
    seed: int, apart: float, weight: float
) -> None:
    rng = np.random.default_rng(seed)
    middles = np.where(rng.random(300) < weight, 0.3, 0.3 + apart)
    pixels = rng.normal(middles, 0.05).clip(0, 0.999)
    bins = (pixels * BINS).astype(int)
    threshold = otsu(torch.from_numpy(np.bincount(bins, minlength=BINS)))
    centres = (bins + 0.5) / BINS
    parts = centres[centres < threshold], centres[centres >= threshold]
    within = sum(len(part) * np.var(part) for part in parts if len(part))
    assert within == pytest.approx(otsu_by_loop(list(centres)), rel=1e-6, abs=1e-9)


def test_between_two_grey_levels_the_threshold_lies_in_the_middle() -> None:
    counts = torch.zeros(BINS)
    counts[[0, 128]] = torch.tensor([3.0, 1.0])
    assert otsu(counts) == pytest.approx(64.5 / BINS)


@pytest.mark.parametrize(("dark", "warned"), [(0.02, False), (0.2, True)])
def test_otsu_s_threshold_is_warned_of_where_nothing_is_a_dark_surround(
    dark: float, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    counts = torch.zeros(BINS)
    counts[[int(dark * BINS), int(0.7 * BINS)]] = torch.tensor([2.0, 1.0])
    setting = make_setting(histogram=lambda: counts)
    ForegroundConfig().build(setting)
    assert ("no dark surround" in caplog.text) == warned
    caplog.clear()
    ForegroundConfig(threshold=0.05).build(setting)
    assert not caplog.text


def test_images_of_one_grey_level_have_a_threshold_all_the_same() -> None:
    counts = torch.zeros(BINS)
    counts[40] = 9
    assert 0 <= otsu(counts) <= 1


def test_the_histogram_counts_every_pixel_once_by_its_mean_over_channels(
    tmp_path: Path,
) -> None:
    store, _ = make_store(tmp_path / "store", channels=3)
    rows = np.array([0, 3, 7])
    expected = np.zeros(BINS)
    for row in rows:
        for pixel in store.intensities(np.array([row]))[0].mean(0).ravel():
            expected[min(int(pixel * BINS), BINS - 1)] += 1
    assert histogram(store, rows).tolist() == expected.tolist()


def trained(
    store: Store, splits: pd.DataFrame, folder: Path, transductive: bool = False
) -> Pretrained:
    block = {
        "objective": {"name": "autoencoder"},
        "policy": {"name": "foreground"},
        "encoder": SMALL,
        "transductive": transductive,
    }
    return pretrain(store, splits, make_run(folder, block, steps=2))


@pytest.mark.parametrize("transductive", [False, True])
def test_only_training_images_have_a_say_in_the_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transductive: bool
) -> None:
    store, splits = make_store(tmp_path / "store")
    found: list[float] = []

    class Watched(Foreground):
        def __init__(self, number: int, threshold: float, *rest: Any) -> None:
            found.append(threshold)
            super().__init__(number, threshold, *rest)

    monkeypatch.setattr("maskwise.pretrain.policies.foreground.Foreground", Watched)
    for number, parts in enumerate(([], ["validation", "test"], ["train"])):
        images = np.array(store.images)
        chosen = splits.loc[splits["split"].isin(parts), "image_id"]
        images[store.rows(chosen)] //= 4
        changed = replace(store, images=images)
        trained(changed, splits, tmp_path / str(number), transductive)
    assert found[0] == found[1]
    assert found[0] != found[2]


CT = {"modality": "ct", "window": (-1000.0, 400.0)}


def test_hounsfield_units_are_translated_by_the_window() -> None:
    assert build({"hu": -300}, **CT).threshold == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("block", "setting", "message"),
    [
        ({"hu": -300}, {}, r"policy\.hu: needs CT whose preprocess says `intensity: \{name: w"),
        ({"hu": -300}, {"modality": "ct"}, r"policy\.hu: needs CT"),
        ({"hu": -300}, {"window": (0.0, 1.0)}, r"policy\.hu: needs CT"),
        ({"hu": -1001}, CT, r"policy\.hu: is -1001, but the images show -1000 to 400 HU"),
        ({"hu": 400}, CT, r"policy\.hu: is 400, but"),
        ({"hu": 0, "threshold": 0.5}, CT, "hu and threshold say the same twice"),
        (
            {"threshold": "otzu"},
            {},
            r"policy\.threshold: should be otsu, or a number that .*'otzu'",
        ),
        ({"threshold": 1.5}, {}, r"policy\.threshold: is 1.5, but must lie between 0 and 1"),
        ({"threshold": True}, {}, r"policy\.threshold: should be otsu, or"),
        ({"threshold": float("nan")}, {}, r"policy\.threshold: is nan"),
        ({"share": 0}, {}, r"policy\.share: is 0.*, but must be above 0"),
    ],
)
def test_a_threshold_that_means_nothing_is_refused(
    block: dict[str, Any], setting: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build(block, **setting)
