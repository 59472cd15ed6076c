"""Recipes: what YAML may say, what goes together, and what comes out."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from maskwise.artefacts.encoder import decoder_of, load_encoder, write_encoder
from maskwise.config import parse
from maskwise.encoders import ENCODERS
from maskwise.errors import UserError
from maskwise.pretrain.checkpoint import Checkpoint
from maskwise.pretrain.recipe import Budget, PretrainConfig, parse_recipe
from maskwise.pretrain.rehearsal import rehearse
from pretrain.toys import (
    RANDOM_BOX,
    SIMCLR,
    SMALL,
    make_run,
    make_setting,
    make_store,
    pretrain,
)

CONF = Path(__file__).parents[2] / "conf/base"
SCRATCH: dict[str, Any] = {
    "objective": {"name": "none"},
    "policy": {"name": "none"},
    "encoder": SMALL,
}


def changed(block: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {**block, **parts}


@pytest.mark.parametrize("path", sorted((CONF / "recipes").glob("*.yml")), ids=lambda p: p.stem)
def test_every_recipe_of_the_project_is_understood_and_says_what_it_reproduces(
    path: Path,
) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = yaml.safe_load(text)
    (name,) = blocks
    parse_recipe(blocks[name], name)
    assert path.stem == f"parameters_{name}"
    assert text.startswith("# ")


def test_the_project_s_options_of_the_loop_are_its_defaults() -> None:
    text = (CONF / "parameters_pretrain.yml").read_text(encoding="utf-8")
    block = yaml.safe_load(text.replace("${globals:data_root}", "data"))
    assert parse(PretrainConfig, block["pretrain"], "pretrain") == PretrainConfig()


def test_all_mistakes_of_a_recipe_are_named_at_once() -> None:
    block = {
        "objective": {"name": "context_encoder", "skip": True},
        "policy": {"name": "random_bx"},
        "optimization": {},
        "transductive": "yes",
    }
    with pytest.raises(UserError) as caught:
        parse_recipe(block, "mine")
    for sentence in (
        "mine.objective.skip: there is no such option; did you mean 'skips'?",
        "mine.policy.name: there is no 'random_bx'; did you mean 'random_box'?",
        "mine.encoder.name: missing; choose from",
        "mine.optimization: there is no such option; did you mean 'optimisation'?",
        "mine.transductive: should be true or false, but is 'yes'",
    ):
        assert sentence in str(caught.value)


def test_filling_in_without_a_policy_that_hides_is_refused() -> None:
    with pytest.raises(UserError, match=r"recipe.policy.name: objective context_encoder fills"):
        parse_recipe(changed(RANDOM_BOX, policy={"name": "none"}), "recipe")


def test_a_policy_that_nobody_asks_is_refused() -> None:
    with pytest.raises(UserError, match=r"recipe.policy.name: objective none trains nothing"):
        parse_recipe(changed(SCRATCH, policy={"name": "random_box"}), "recipe")


def test_a_recipe_knows_whether_it_trains() -> None:
    assert parse_recipe(SIMCLR, "recipe").trains
    assert not parse_recipe(SCRATCH, "recipe").trains


@pytest.mark.parametrize(
    ("config", "block", "message"),
    [
        (PretrainConfig, {"device": "gpu"}, "device: .*'auto', 'cpu' or 'cuda'"),
        (PretrainConfig, {"second_run": "stay"}, "second_run: .*'leave' or 'wait'"),
    ],
)
def test_a_wrong_budget_or_option_is_named(
    config: type[Any], block: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse(config, block, "block")


def test_scratch_is_an_initialised_encoder_at_once(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    result = pretrain(store, splits, make_run(tmp_path, SCRATCH))
    assert len(result.history) == 0
    assert list(result.history.columns[:3]) == ["epoch", "step", "loss"]
    assert len(result.gallery.epochs) == 0
    assert not result.encoder.training


def test_recipes_of_one_seed_start_from_the_same_encoder(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    still = changed(RANDOM_BOX, optimisation={"learning_rate": 1e-12, "weight_decay": 0.0})
    scratch = pretrain(store, splits, make_run(tmp_path / "a", SCRATCH)).encoder.state_dict()
    trained = pretrain(store, splits, make_run(tmp_path / "b", still)).encoder.state_dict()
    other = pretrain(store, splits, make_run(tmp_path / "c", SCRATCH, seed=1)).encoder
    for name, tensor in scratch.items():
        torch.testing.assert_close(tensor, trained[name], atol=1e-6, rtol=0)
    assert not torch.equal(
        other.state_dict()["stages.0.0.weight"], scratch["stages.0.0.weight"]
    )


def test_initialising_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    torch.manual_seed(5)
    pretrain(store, splits, make_run(tmp_path, RANDOM_BOX, steps=2))
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_the_encoder_is_written_and_loaded_with_what_its_users_must_know(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    result = pretrain(store, splits, make_run(tmp_path, RANDOM_BOX, seed=2))
    write_encoder(result.encoder, result.metadata, tmp_path / "encoder.safetensors")
    loaded: Any = load_encoder(tmp_path / "encoder.safetensors")
    images = torch.from_numpy(store.normalised(np.arange(2)))
    assert torch.equal(loaded(images)[-1], result.encoder(images)[-1])
    assert loaded.metadata == result.metadata
    assert (loaded.metadata.recipe, loaded.metadata.seed) == ("recipe", 2)
    assert loaded.metadata.data_hash == "toy"


def test_local_weights_fill_the_whole_encoder(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    resnet = {"name": "resnet18", "width": 8}
    published = parse(ENCODERS["resnet18"], {"width": 8}, "encoder").build(3).state_dict()
    published["fc.weight"] = torch.zeros(10, 64)
    torch.save(published, tmp_path / "weights.pth")
    block = changed(SCRATCH, encoder=resnet | {"weights": str(tmp_path / "weights.pth")})
    loaded = pretrain(store, splits, make_run(tmp_path, block)).encoder.state_dict()
    assert torch.equal(loaded["layer4.1.conv2.weight"], published["layer4.1.conv2.weight"])
    assert loaded["conv1.weight"].shape == (8, 1, 7, 7)


def test_weights_that_do_not_fit_stop_the_run_and_are_named(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    wide = parse(ENCODERS["resnet18"], {"width": 16}, "encoder").build(3).state_dict()
    torch.save(wide, tmp_path / "weights.pth")
    encoder = {"name": "resnet18", "width": 8, "weights": str(tmp_path / "weights.pth")}
    block = changed(SCRATCH, encoder=encoder)
    with pytest.raises(UserError, match=r"(?s)recipe.encoder.weights: .* tensors fit.*misshap"):
        pretrain(store, splits, make_run(tmp_path, block))


def test_a_file_of_words_is_no_checkpoint(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    (tmp_path / "x.pth").write_text("hello world")
    block = changed(SCRATCH, encoder=SMALL | {"weights": str(tmp_path / "x.pth")})
    with pytest.raises(UserError, match=r"x.pth: is not a readable checkpoint of weights"):
        pretrain(store, splits, make_run(tmp_path, block))


def test_absent_weights_are_named_with_the_remedy(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    block = changed(SCRATCH, encoder=SMALL | {"weights": "nowhere.pth"})
    with pytest.raises(UserError, match=r"recipe.encoder.weights: nowhere.pth: no such file"):
        pretrain(store, splits, make_run(tmp_path, block))


def test_a_grid_that_does_not_divide_the_image_is_named(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    with pytest.raises(UserError, match=r"toy.pretrain.grid: a grid of 7 x 8 cells"):
        pretrain(store, splits, make_run(tmp_path, RANDOM_BOX, grid=(7, 8)))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            changed(RANDOM_BOX, policy={"name": "random_box", "box": [7, 7]}),
            r"recipe.policy.box: 1 x 7 x 7 cells may hide more than half of the grid of 8 x 8",
        ),
        (
            changed(RANDOM_BOX, augmentation={"vertical_flip": True}),
            r"recipe.augmentation.vertical_flip: ultrasound has a depth",
        ),
    ],
)
def test_what_does_not_fit_the_images_is_named_with_the_recipe(
    tmp_path: Path, block: dict[str, Any], message: str
) -> None:
    store, splits = make_store(tmp_path / "store")
    with pytest.raises(UserError, match=message):
        pretrain(store, splits, make_run(tmp_path, block))


def test_a_source_without_training_images_is_named(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    with pytest.raises(UserError, match="source toy has no training image"):
        pretrain(store, splits.assign(split="validation"), make_run(tmp_path, RANDOM_BOX))


def test_bfloat16_and_cuda_are_refused_where_the_machine_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, splits = make_store(tmp_path / "store")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with pytest.raises(UserError, match=r"pretrain.device: this machine has no CUDA device"):
        pretrain(store, splits, make_run(tmp_path, RANDOM_BOX, device="cuda"))
    with pytest.raises(UserError, match=r"pretrain.precision: this cpu has no bfloat16"):
        pretrain(store, splits, make_run(tmp_path, RANDOM_BOX, precision="bfloat16"))


def test_a_snapshot_holds_the_encoder_of_its_step_and_another_recipe_may_begin_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, splits = make_store(tmp_path / "store")
    saved: dict[int, dict[str, torch.Tensor]] = {}

    def save(checkpoint: Checkpoint, state: Any) -> None:
        parts = state["objective"].items()
        saved[state["step"]] = {name: tensor.clone() for name, tensor in parts}

    monkeypatch.setattr(Checkpoint, "save", save)
    run = make_run(tmp_path / "s2", RANDOM_BOX, seed=2, snapshots=[4], checkpoint_every=4)
    last = pretrain(store, splits, run).encoder.state_dict()

    weights = SMALL | {"weights": str(tmp_path / "s{seed}" / "step_000004.safetensors")}
    begun = pretrain(
        store, splits, make_run(tmp_path, changed(SCRATCH, encoder=weights), seed=2)
    ).encoder.state_dict()
    assert all(tensor.equal(saved[4][f"encoder.{name}"]) for name, tensor in begun.items())
    assert not all(tensor.equal(last[name]) for name, tensor in begun.items())
    kept: Any = load_encoder(run.snapshot(4))
    assert (kept.metadata.recipe, kept.metadata.seed) == ("recipe", 2)


def test_weights_of_another_seed_or_split_of_the_source_are_refused(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path / "run", RANDOM_BOX, snapshots=[4])
    pretrain(store, splits, run)
    block = changed(SCRATCH, encoder=SMALL | {"weights": str(run.snapshot(4))})
    pretrain(store, splits, make_run(tmp_path / "same", block))
    with pytest.raises(UserError, match=r"weights: .*another seed or split of toy, and may"):
        pretrain(store, splits, make_run(tmp_path / "seed", block, seed=1))
    other = replace(store, header=replace(store.header, data_hash="other"))
    with pytest.raises(UserError, match=r"weights: .*another seed or split of toy, and may"):
        pretrain(other, splits, make_run(tmp_path / "split", block))


def test_a_changed_recipe_leaves_no_snapshot_of_the_old_one(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    old = make_run(tmp_path / "run", RANDOM_BOX, snapshots=[3, 6])
    pretrain(store, splits, old)
    new = changed(RANDOM_BOX, optimisation={"learning_rate": 1e-4})
    pretrain(store, splits, make_run(tmp_path / "run", new, snapshots=[3]))
    assert old.snapshot(3).exists()
    assert not old.snapshot(6).exists()


@pytest.mark.parametrize("steps", [[9], [3, 12]])
def test_a_snapshot_outside_the_run_is_refused(steps: list[int]) -> None:
    with pytest.raises(UserError, match=r"snapshots are .* below steps \(9\)"):
        parse(Budget, {"steps": 9, "snapshots": steps}, "phantom.pretrain")


def test_keeping_snapshots_changes_no_weight(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    encoders = [
        pretrain(store, splits, make_run(tmp_path / name, RANDOM_BOX, snapshots=kept)).encoder
        for name, kept in (("without", []), ("with", [1, 5]))
    ]
    pairs = zip(*(encoder.state_dict().values() for encoder in encoders), strict=True)
    assert all(one.equal(other) for one, other in pairs)


DRAWING: dict[str, Any] = {
    "objective": {"name": "autoencoder", "skips": True},
    "policy": {"name": "random_cells"},
    "encoder": SMALL,
}


@pytest.mark.parametrize("kept", [False, True])
def test_a_recipe_may_keep_the_decoder_beside_the_encoder(tmp_path: Path, kept: bool) -> None:
    block = changed(DRAWING, keep_decoder=kept)
    store, splits = make_store(tmp_path / "store")
    result = pretrain(store, splits, make_run(tmp_path / "run", block))
    write_encoder(result.encoder, result.metadata, tmp_path / "encoder.safetensors")
    found = decoder_of(load_encoder(tmp_path / "encoder.safetensors"))
    assert bool(found) == kept
    assert ("ups.0.weight" in found) == kept


def test_keeping_a_decoder_changes_no_weight_of_the_encoder(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    encoders = [
        pretrain(
            store, splits, make_run(tmp_path / str(kept), changed(DRAWING, **kept))
        ).encoder
        for kept in ({}, {"keep_decoder": True})
    ]
    pairs = zip(*(encoder.state_dict().values() for encoder in encoders), strict=True)
    assert all(one.equal(other) for one, other in pairs)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (SCRATCH, r"mine.keep_decoder: true, but objective none trains no decoder"),
        (changed(DRAWING, keep_decoder="yes"), r"mine.keep_decoder: should be true or false"),
    ],
)
def test_a_decoder_that_is_not_there_cannot_be_kept(
    block: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse_recipe({"keep_decoder": True, **block}, "mine")


def test_an_objective_that_draws_nothing_has_no_decoder_to_keep(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    with pytest.raises(UserError, match=r"recipe.keep_decoder: true, .* has no decoder"):
        pretrain(store, splits, make_run(tmp_path, changed(SIMCLR, keep_decoder=True)))


@pytest.mark.parametrize(
    ("policy", "option"),
    [
        ({"name": "dqn", "preset": "release"}, "reward: sum_full"),
        ({"name": "dqn", "pool_px": 2}, "pool_px: 2"),
        (
            {
                "name": "a3c",
                "reward": {"blur_px": 1.5, "credit": "image"},
                "advantage": "image_batch",
            },
            r"reward.blur_px: 1\.5",
        ),
    ],
)
def test_a_reward_made_of_pixels_is_refused_where_none_are_drawn(
    policy: dict[str, Any], option: str
) -> None:
    with pytest.raises(
        UserError,
        match=f"mine.policy.{option}: .*simclr draws none.*autoencoder, context_encoder",
    ):
        parse_recipe(changed(SIMCLR, policy=policy), "mine")


def test_several_boxes_are_refused_where_ease_is_rewarded() -> None:
    objective = {"name": "simclr", "reward": "easy"}
    several = {"name": "dqn", "box": [2, 2], "boxes": 2}
    with pytest.raises(UserError, match=r"mine\.policy\.boxes: 2, but .* over one another"):
        parse_recipe(changed(SIMCLR, objective=objective, policy=several), "mine")
    parse_recipe(changed(SIMCLR, objective=objective, policy={**several, "boxes": 1}), "mine")
    parse_recipe(changed(SIMCLR, policy=several), "mine")


@pytest.mark.parametrize(
    ("encoder", "refused"),
    [
        ({"name": "resnet18", "width": 8}, True),
        ({"name": "resnet18", "width": 8, "norm": "group"}, False),
        ({"name": "context_cnn", "widths": [8, 8], "convolutions": [1, 1]}, False),
    ],
)
def test_statistics_of_one_image_at_a_time_are_refused_before_any_stage(
    encoder: dict[str, Any], refused: bool
) -> None:
    block = {"objective": {"name": "autoencoder"}, "policy": {"name": "random_cells"}}
    recipe = parse_recipe({**block, "encoder": encoder}, "one")
    message = r"one\.encoder: its batch norm would learn statistics from one image at a time"
    with pytest.raises(UserError, match=message) if refused else nullcontext():
        rehearse(recipe, "one", make_setting(height=64, width=64, batch_size=1))
