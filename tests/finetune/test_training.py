"""Full fine-tuning: its optimiser, its batches, its augmentation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from finetune.patches import small_encoder, write_patches
from maskwise.artefacts.store import Laterality
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.vit import Vit
from maskwise.finetune.augmentation import Augmentation, draw_moves
from maskwise.finetune.classification.heads import LinearHead
from maskwise.finetune.classification.softmax import Softmax
from maskwise.finetune.classification.training import Lesson, fine_tune, predict_logits
from maskwise.finetune.multilabel.sigmoid import Sigmoid
from maskwise.finetune.optimisation import FullConfig, batches, build_optimiser, schedule
from maskwise.progress import bar

CPU = torch.device("cpu")
FEATURES = {"context_cnn": 24, "resnet18": 120, "vit": 3 * 192}


def lesson(path: Path, **changes: object) -> Lesson:
    store, _ = write_patches(path / "store", {"a": 8, "b": 8})
    rows = np.arange(len(store))
    options = {
        "store": store,
        "rows": rows,
        "likelihood": Softmax(),
        "targets": (store.index["label_diagnosis"] == "b").to_numpy(np.int64),
        "weights": np.ones(2),
        "steps": 5,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "seed": 0,
        "device": CPU,
    }
    return Lesson(**{**options, **changes})


def augment(
    images: torch.Tensor, config: Augmentation, laterality: Laterality = "free"
) -> torch.Tensor:
    return draw_moves(images, config, laterality, np.random.default_rng(0)).apply(images)


def start(architecture: str = "context_cnn") -> tuple[Classifier, LinearHead]:
    encoder = small_encoder(architecture)
    features = FEATURES[architecture]
    stages = tuple(range(len(encoder.channels)))
    head = LinearHead(
        np.zeros(features), np.ones(features), np.ones((2, features)), np.zeros(2)
    )
    return Classifier(encoder, stages, "mean", features, 2), head


def trained(given: Lesson, config: FullConfig, architecture: str = "context_cnn") -> Classifier:
    model, head = start(architecture)
    with bar("finetune", "test", given.steps, given.batch_size) as shown:
        return fine_tune(model, head, given, config, shown)


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_branches_are_left_out_alike_by_the_seed_alone_and_not_in_what_is_kept(
    tmp_path: Path,
) -> None:
    given = lesson(tmp_path, steps=2)
    dropping = FullConfig(drop_path=0.3)
    torch.manual_seed(1)
    once = trained(given, dropping, "vit")
    torch.manual_seed(2)
    again = tensors(trained(given, dropping, "vit"))
    whole = tensors(trained(given, FullConfig(), "vit"))
    assert all(tensor.equal(again[name]) for name, tensor in tensors(once).items())
    assert not all(tensor.equal(again[name]) for name, tensor in whole.items())
    assert isinstance(once.encoder, Vit)
    assert not any(block.drop_path for block in once.encoder.blocks_in_order())


def test_the_configured_weight_decay_reaches_the_optimiser_but_no_bias_and_no_norm() -> None:
    model, _ = start()
    optimiser = build_optimiser(model.encoder, model.head, 1e-3, FullConfig(weight_decay=0.37))
    decay_of = {
        parameter: group["weight_decay"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    for parameter in model.parameters():
        assert decay_of[parameter] == (0.37 if parameter.ndim > 1 else 0.0)


def test_the_encoder_s_rate_is_a_multiple_of_the_head_s() -> None:
    model, _ = start()
    config = FullConfig(encoder_rate=0.1)
    optimiser = build_optimiser(model.encoder, model.head, 1e-3, config)
    rate_of = {p: group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert {rate_of[p] for p in model.encoder.parameters()} == {1e-3 * 0.1}
    assert {rate_of[p] for p in model.head.parameters()} == {1e-3}


@pytest.mark.parametrize("architecture", ["context_cnn", "resnet18"])
def test_a_stage_s_rate_falls_by_the_decay_for_every_stage_behind_it(architecture: str) -> None:
    model, _ = start(architecture)
    config = FullConfig(stage_decay=0.5, encoder_rate=0.1)
    optimiser = build_optimiser(model.encoder, model.head, 1e-3, config)
    rate_of = {p: group["lr"] for group in optimiser.param_groups for p in group["params"]}
    parts = model.encoder.parts()
    for position, modules in enumerate(parts):
        behind = len(parts) - 1 - position
        for module in modules:
            for parameter in module.parameters():
                assert rate_of[parameter] == pytest.approx(1e-3 * 0.1 * 0.5**behind)
    assert {rate_of[p] for p in model.head.parameters()} == {1e-3}
    assert len(rate_of) == len(list(model.parameters()))


def test_a_transformer_s_rate_falls_block_by_block_and_not_stage_by_stage() -> None:
    model, _ = start("vit")
    optimiser = build_optimiser(model.encoder, model.head, 1e-3, FullConfig(stage_decay=0.75))
    rate_of = {p: group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert isinstance(model.encoder, Vit)
    last = len(model.encoder.blocks_in_order()) + 1
    layer_of = {"patch_embed": 0, "norm": last}
    for name, parameter in model.encoder.named_parameters():
        place, _, rest = name.partition(".")
        layer = 1 + int(rest.split(".")[0]) if place == "blocks" else layer_of[place]
        assert rate_of[parameter] == pytest.approx(1e-3 * 0.75 ** (last - layer)), name
    assert {rate_of[p] for p in model.head.parameters()} == {1e-3}


def test_weight_decay_alone_shrinks_the_weights(tmp_path: Path) -> None:
    plain, decayed = (
        trained(
            lesson(tmp_path / str(decay)),
            FullConfig(weight_decay=decay, encoder_rate=1.0, warm_up=0.0, clip=1e-12),
        ).encoder.state_dict()["stages.0.0.weight"]
        for decay in (0.0, 50.0)
    )
    assert decayed.norm() < 0.95 * plain.norm()


def test_a_class_of_more_weight_is_called_oftener(tmp_path: Path) -> None:
    def lead_of_the_second(weights: list[float]) -> float:
        given = lesson(tmp_path / str(weights), weights=np.array(weights), steps=20)
        logits = predict_logits(trained(given, FullConfig()), given.store, given.rows, CPU)
        return float(np.diff(logits, axis=1).mean())

    assert lead_of_the_second([1.0, 20.0]) > lead_of_the_second([1.0, 1.0]) + 0.1
    assert lead_of_the_second([20.0, 1.0]) < lead_of_the_second([1.0, 1.0]) - 0.1


def test_what_heavier_positives_add_to_the_logits_is_no_part_of_the_model(
    tmp_path: Path,
) -> None:
    targets = np.arange(32).reshape(16, 2) % 3 == 0
    given = lesson(
        tmp_path,
        rows=np.arange(16),
        likelihood=Sigmoid(),
        targets=targets.astype(np.float64),
        weights=np.array([20.0, 0.1]),
        learning_rate=1e-12,
    )
    model, head = start()
    model.head = head.folded()
    # A rate of nothing: whatever differs was added, and not learnt.
    learnt = trained(given, FullConfig())
    untouched, found = (
        predict_logits(each, given.store, given.rows, CPU) for each in (model, learnt)
    )
    np.testing.assert_allclose(found, untouched, atol=1e-3)


def test_an_encoder_rate_of_zero_trains_the_linear_layer_alone(tmp_path: Path) -> None:
    before = tensors(start()[0].encoder)
    model = trained(lesson(tmp_path), FullConfig(encoder_rate=0.0))
    assert all(
        tensor.equal(before[name]) for name, tensor in model.encoder.state_dict().items()
    )
    assert not torch.allclose(model.head.weight, torch.ones(2, 24))  # type: ignore[arg-type]


def test_everything_learns_by_default(tmp_path: Path) -> None:
    before = tensors(start()[0].encoder)
    after = trained(lesson(tmp_path), FullConfig()).encoder.state_dict()
    assert not any(tensor.equal(before[name]) for name, tensor in after.items())


def test_the_statistics_of_batch_norms_stay_in_full_fine_tuning_too(tmp_path: Path) -> None:
    before = tensors(start("resnet18")[0].encoder)
    after = trained(lesson(tmp_path), FullConfig(), "resnet18").encoder.state_dict()
    running = [name for name in after if "running" in name or "num_batches" in name]
    assert running
    assert all(after[name].equal(before[name]) for name in running)


def test_the_same_seed_gives_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    first = trained(lesson(tmp_path / "1"), FullConfig())
    torch.rand(1)  # someone else draws from the global generator
    second = trained(lesson(tmp_path / "2"), FullConfig())
    assert all(t.equal(second.state_dict()[name]) for name, t in first.state_dict().items())


def test_training_in_bfloat16_comes_to_nearly_the_same_and_answers_in_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    given, images, seen = lesson(tmp_path), torch.zeros(1, 1, 16, 16), set[torch.dtype]()
    watch = torch.nn.modules.module.register_module_forward_hook(
        lambda module, _, answer: (
            seen.add(answer.dtype) if isinstance(module, nn.Conv2d) else None
        )
    )
    with watch:
        half = trained(given, FullConfig(precision="bfloat16"))
    whole = trained(given, FullConfig())
    assert seen == {torch.bfloat16}
    assert half(images).dtype == torch.float32
    both = tensors(half), tensors(whole)
    assert all(tensor.dtype == torch.float32 for tensor in both[0].values())
    torch.testing.assert_close(*both, atol=4e-3, rtol=0.02)
    assert any(not one.equal(both[1][name]) for name, one in both[0].items())


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    first, second = (trained(lesson(tmp_path / str(s), seed=s), FullConfig()) for s in (0, 1))
    assert not first.head.weight.equal(second.head.weight)  # type: ignore[arg-type, operator]


def test_the_model_that_is_handed_in_stays_as_it_was(tmp_path: Path) -> None:
    model, head = start()
    before = tensors(model)
    with bar("finetune", "test", 5, 8) as shown:
        fine_tune(model, head, lesson(tmp_path), FullConfig(), shown)
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("images", [3, 8, 20])
def test_every_fraction_gets_the_same_steps_of_full_batches(
    images: int,
) -> None:
    found = list(batches(images, steps=7, batch_size=8, seed=0))
    assert [len(positions) for positions in found] == [8] * 7
    counts = np.bincount(np.concatenate(found), minlength=images)
    assert counts.max() - counts.min() <= 1


def test_the_learning_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    rates = [schedule(step, steps=20, warm_up=0.2) for step in range(20)]
    np.testing.assert_allclose(rates[:5], [0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[12] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.02


def test_the_learning_rate_falls_as_a_power_where_that_is_asked_for() -> None:
    rates = [schedule(step, steps=20, warm_up=0.2, fall="polynomial") for step in range(20)]
    np.testing.assert_allclose(rates[:5], [0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[12] == pytest.approx(0.5**0.9)
    assert rates[-1] == pytest.approx((1 / 16) ** 0.9)


def shifted(image: torch.Tensor, down: int, right: int, flip: bool) -> torch.Tensor:
    """Move one image ``(C, H, W)``, pixel by pixel."""
    _, height, width = image.shape
    moved = torch.empty_like(image)
    for y in range(height):
        for x in range(width):
            column = width - 1 - x if flip else x
            from_y, from_x = y - down, column - right
            moved[:, y, x] = image[
                :, min(max(from_y, 0), height - 1), min(max(from_x, 0), width - 1)
            ]
    return moved


def test_augmentation_equals_moving_image_by_image() -> None:
    images = torch.rand(16, 2, 6, 9)
    found = draw_moves(images, Augmentation(shift=0.3), "free", np.random.default_rng(0)).apply(
        images
    )
    for image, moved in zip(images, found, strict=True):
        choices = [
            shifted(image, down, right, flip)
            for down in range(-2, 3)
            for right in range(-3, 4)
            for flip in (False, True)
        ]
        assert any(moved.equal(choice) for choice in choices)
    assert not found.equal(images)


def test_half_of_the_images_are_flipped_where_left_and_right_do_not_matter() -> None:
    images = torch.rand(400, 1, 4, 4)
    found = draw_moves(images, Augmentation(shift=0.0), "free", np.random.default_rng(0)).apply(
        images
    )
    flipped = (found == images.flip(3)).flatten(1).all(dim=1)
    assert 0.4 < flipped.float().mean() < 0.6


@pytest.mark.parametrize(("flip", "laterality"), [(True, "fixed"), (False, "free")])
def test_no_image_is_flipped_where_left_and_right_matter_or_flips_are_off(
    flip: bool, laterality: Laterality
) -> None:
    images = torch.rand(50, 1, 4, 4)
    config = Augmentation(shift=0.0, flip=flip)
    assert augment(images, config, laterality).equal(images)
