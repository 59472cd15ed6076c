"""What is spared, by which map, and how an agent's map gets from its recipe to another."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from maskwise.artefacts.policy import LearntPolicy, read_policy, write_policy
from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.pretrain.contracts import PlaceMap
from maskwise.pretrain.policies.cells import hidden_cells
from maskwise.pretrain.policies.learnt import LearntMap
from maskwise.pretrain.policies.spare import Spare, SpareConfig, by_cell
from maskwise.pretrain.replicate import Pretrained, pretraining
from pretrain.cell_toys import uniform_share
from pretrain.toys import SIMCLR, SMALL, make_run, make_setting, make_store, pretrain

GRID = (8, 8)
AGENTS: dict[str, dict[str, Any]] = {
    "a3c": {"name": "a3c", "widths": [8, 8]},
    "dqn": {"name": "dqn", "box": [3, 3], "stride": 2, "width": 8},
}


def noisy(number: int, grid: tuple[int, int] = GRID, seed: int = 0) -> Tensor:
    """Return images of cells of 4 x 4 pixels, each as loud as it happens to be."""
    generator = Generator().manual_seed(seed)
    loudness = torch.rand(number, 1, *grid, generator=generator)
    shape = (number, 1, 4 * grid[0], 4 * grid[1])
    noise = torch.randn(shape, generator=generator)
    return noise * loudness.repeat_interleave(4, 2).repeat_interleave(4, 3)


def build(block: dict[str, Any], grid: tuple[int, int] = GRID) -> Spare:
    setting = make_setting(height=4 * grid[0], width=4 * grid[1], grid=grid)
    return parse(SpareConfig, block, "policy").build(setting)


def variances(images: Tensor, grid: tuple[int, int]) -> list[list[float]]:
    """Return each cell's variance, image by image and cell by cell."""
    return [
        [
            float(image[0, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].double().var(correction=0))
            for y in range(grid[0])
            for x in range(grid[1])
        ]
        for image in images
    ]


@settings(max_examples=40, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 6), st.integers(2, 6)),
    ratio=st.floats(0.01, 0.99),
    spared=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**31),
)
def test_exactly_k_cells_are_hidden_and_the_spared_ones_only_when_no_other_is_left(
    grid: tuple[int, int], ratio: float, spared: float, seed: int
) -> None:
    images, cells = noisy(3, grid, seed), grid[0] * grid[1]
    policy = build({"ratio": ratio, "spared": spared}, grid)
    masks = policy.choose_masks(images, grid, Generator().manual_seed(seed))
    number, kept = hidden_cells(ratio, grid), hidden_cells(spared, grid)
    for mask, values in zip(masks, variances(images, grid), strict=True):
        quiet_first = sorted(range(cells), key=values.__getitem__)
        hidden = set(mask.flatten().nonzero()[:, 0].tolist())
        assert len(hidden) == number
        others = set(quiet_first[: cells - kept])
        if number <= len(others):
            assert hidden <= others
        else:  # all the others, and then the quietest of the spared
            assert hidden == set(quiet_first[:number])


def test_the_cells_that_are_not_spared_are_hidden_equally_often() -> None:
    images = torch.zeros(1, 1, 32, 32)
    images[:, :, :, 16:] = 3 * torch.randn(32, 16, generator=Generator().manual_seed(0))
    masks = build({"ratio": 0.25}).choose_masks(
        images.expand(20_000, -1, -1, -1), GRID, Generator().manual_seed(0)
    )
    assert not masks[:, :, 4:].any()
    assert uniform_share(masks[:, :, :4]) > 0.001


def test_equal_cells_are_spared_by_lot() -> None:
    masks = build({"ratio": 0.25}).choose_masks(
        torch.zeros(20_000, 1, 32, 32), GRID, Generator().manual_seed(0)
    )
    assert uniform_share(masks) > 0.001


def test_the_shuffled_control_spares_what_another_image_s_map_says() -> None:
    images = noisy(4)
    own, other = build({}), build({"shuffled": True})
    assert other.worth(images, GRID).equal(own.worth(images, GRID).roll(1, 0))
    masks = other.choose_masks(images, GRID, Generator().manual_seed(0))
    by_hand = own.choose_masks(images.roll(1, 0), GRID, Generator().manual_seed(0))
    assert masks.equal(by_hand)


@settings(max_examples=40, deadline=None)
@given(
    box=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    overhang=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_cell_s_worth_is_the_mean_of_the_places_that_cover_it(
    box: tuple[int, int], stride: int, overhang: bool, seed: int
) -> None:
    grid = (6, 7)
    reach = [0 if overhang else side - 1 for side in box]
    shape = [(cells - more - 1) // stride + 1 for cells, more in zip(grid, reach, strict=True)]
    values = torch.randn(2, *shape, generator=Generator().manual_seed(seed))
    found = by_cell(PlaceMap(values, box, stride), grid)
    for image in range(2):
        for y in range(grid[0]):
            for x in range(grid[1]):
                over = [
                    float(values[image, i, j])
                    for i in range(shape[0])
                    for j in range(shape[1])
                    if 0 <= y - i * stride < box[0] and 0 <= x - j * stride < box[1]
                ]
                expected = sum(over) / len(over) if over else float(values[image].mean())
                assert float(found[image, y, x]) == pytest.approx(expected, abs=1e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spare")


def agent_block(policy: str) -> dict[str, Any]:
    return {
        "objective": {"name": "autoencoder"},
        "policy": AGENTS[policy],
        "encoder": SMALL,
    }


SPARING = {**SIMCLR, "policy": {"name": "spare", "map": {"recipe": "recipe"}}}


def trained(folder: Path, block: dict[str, Any], **options: Any) -> Pretrained:
    learnt = options.pop("learnt", None)
    store, splits = make_store(folder / "store")
    run = replace(make_run(folder, block, steps=3, **options), learnt=learnt)
    return pretrain(store, splits, run)


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_is_written_and_thinks_the_same_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    made: list[Any] = []
    kind = {"a3c": "a3c.config.A3c", "dqn": "dqn.config.Dqn"}[name]
    module, _, last = f"maskwise.pretrain.policies.{kind}".rpartition(".")
    original = getattr(__import__(module, fromlist=[last]), last)

    class Watched(original):  # type: ignore[misc, valid-type]
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr(f"{module}.{last}", Watched)
    result = trained(tmp_path, agent_block(name))
    write_policy(result.policy, tmp_path / "policy.safetensors")
    read = read_policy(tmp_path / "policy.safetensors")
    assert read.metadata == result.policy.metadata
    images = noisy(5)
    seen = read.metadata.preparation
    setting = make_setting(batch_size=4, mean=seen.mean, std=seen.std)
    again = LearntMap(read, setting, "where").maps(images, GRID)
    expected = made[0].maps(images, GRID)
    assert again.values.equal(expected.values)
    assert (again.box, again.stride) == (expected.box, expected.stride)


def test_equal_agents_are_equal_bytes_without_optimiser_or_replay(tmp_path: Path) -> None:
    results = [trained(tmp_path / str(i), agent_block("dqn")) for i in range(2)]
    files = [tmp_path / f"{i}.safetensors" for i in range(2)]
    for result, file in zip(results, files, strict=True):
        write_policy(result.policy, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    weights = sum(tensor.numel() for tensor in results[0].policy.tensors.values())
    assert files[0].stat().st_size < 4 * weights + 10_000


@pytest.mark.parametrize(
    "policy", [{"name": "random_cells"}, {"name": "mean_map", "policy": {"name": "a3c"}}]
)
def test_a_policy_without_a_map_of_the_image_leaves_a_file_without_a_tensor(
    tmp_path: Path, policy: dict[str, Any]
) -> None:
    result = trained(tmp_path, {**agent_block("a3c"), "policy": policy})
    write_policy(result.policy, tmp_path / "policy.safetensors")
    read = read_policy(tmp_path / "policy.safetensors")
    assert not read.tensors
    assert read.metadata.name == policy["name"]
    with pytest.raises(UserError, match=f"policy {policy['name']} of recipe learns no map"):
        trained(tmp_path, SPARING, learnt=read)


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_of_another_recipe_says_what_is_spared(tmp_path: Path, name: str) -> None:
    learnt = trained(tmp_path / "agent", agent_block(name)).policy
    result = trained(tmp_path / "sparing", SPARING, learnt=learnt)
    assert result.history["loss"].notna().all()
    seen = learnt.metadata.preparation
    setting = make_setting(learnt=learnt, mean=seen.mean, std=seen.std)
    policy = parse(SpareConfig, {"map": {"recipe": "a"}}, "policy").build(setting)
    images = noisy(5)
    map_of_it = by_cell(LearntMap(learnt, setting, "").maps(images, GRID), GRID)
    masks = policy.choose_masks(images, GRID, Generator().manual_seed(0))
    for mask, values in zip(masks.flatten(1), map_of_it.flatten(1), strict=True):
        # Equal worth is parted by lot; a box's map gives cells of a corner the same.
        assert values[mask].max() <= values[~mask].max()
        assert values[mask].max() <= values.sort().values[len(values) // 2]


def test_an_agent_sees_images_as_it_learnt_to_whatever_the_encoder_s_weights_expect(
    tmp_path: Path,
) -> None:
    learnt = trained(tmp_path / "agent", agent_block("a3c")).policy
    seen = learnt.metadata.preparation
    own = make_setting(mean=seen.mean, std=seen.std)
    images = noisy(3)
    other = make_setting(mean=(0.1,), std=(0.3,))
    as_others = (images * own.std[0] + own.mean[0] - 0.1) / 0.3
    one, two = (
        LearntMap(learnt, setting, "").maps(given, GRID).values
        for setting, given in ((own, images), (other, as_others))
    )
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_asking_an_agent_changes_nothing_of_it(tmp_path: Path) -> None:
    learnt = trained(tmp_path / "agent", agent_block("a3c")).policy
    before = copy.deepcopy(dict(learnt.tensors))
    trained(tmp_path / "sparing", SPARING, learnt=learnt)
    assert all(tensor.equal(before[name]) for name, tensor in learnt.tensors.items())


def test_another_agent_makes_another_encoder_and_no_old_checkpoint_goes_on(
    tmp_path: Path,
) -> None:
    learnt = trained(tmp_path / "agent", agent_block("a3c")).policy
    turned = {name: -tensor for name, tensor in learnt.tensors.items()}
    other = LearntPolicy(learnt.metadata, turned)
    store, splits = make_store(tmp_path / "store")
    run = replace(make_run(tmp_path / "sparing", SPARING, steps=3), learnt=learnt)
    with pytest.raises(OSError, match="full"), pretraining(store, splits, run) as first:
        raise OSError("the disk is full")  # the checkpoint of the last step stays
    second = pretrain(store, splits, replace(run, learnt=other))
    alone = pretrain(store, splits, replace(run, learnt=other, checkpoints=tmp_path / "alone"))
    weights = [
        torch.cat([each.flatten() for each in result.encoder.parameters()])
        for result in (first, second, alone)
    ]
    assert weights[1].equal(weights[2])
    assert not weights[0].equal(weights[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"grid": (4, 4)},
            r"recipe\.policy\.map\.recipe: the map of recipe is of a grid of 4 x",
        ),
        ({"height": 64, "width": 64}, r"recipe learnt from images of 64 x 64 pixels and 1 ch"),
        ({"seed": 1}, r"recipe learnt from another split, seed or preparation of the images"),
        ({"source": "other"}, r"recipe learnt from another split, seed or preparation"),
        ({"data_hash": "other"}, r"may have seen this run's test part; run pretrain of recipe"),
        ({"modality": "ct"}, r"recipe learnt from another split, seed or preparation"),
    ],
)
def test_an_agent_of_other_images_is_refused(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    store, splits = make_store(folder / "store")
    run = make_run(folder / "agent", agent_block("a3c"), steps=1)
    learnt = pretrain(store, splits, run).policy
    about, seen = learnt.metadata, learnt.metadata.preparation
    own = {name: value for name, value in changes.items() if hasattr(about, name)}
    of_images = {name: value for name, value in changes.items() if name not in own}
    about = replace(about, **own, preparation=replace(seen, **of_images))
    with pytest.raises(UserError, match=message):
        trained(folder, SPARING, learnt=LearntPolicy(about, learnt.tensors))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"map": "varance"}, r"policy\.map: should be variance or \{recipe: NAME\}, but is 'v"),
        ({"map": {"recpie": "a3c"}}, r"policy\.map\.recpie: .*did you mean 'recipe'"),
        ({"map": {}}, r"policy\.map\.recipe: missing"),
        ({"map": 3}, r"policy\.map: should be variance or"),
        ({"spared": 1}, r"policy\.spared"),
    ],
)
def test_a_map_that_there_is_not_is_named(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(SpareConfig, block, "policy")


def test_a_file_that_is_no_policy_or_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    path.write_bytes(b"words")
    with pytest.raises(UserError, match="is not a readable safetensors file"):
        read_policy(path)
