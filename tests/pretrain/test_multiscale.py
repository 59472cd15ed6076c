"""Masked reconstruction at one scale (MAE) and at several (MIRAM), against slow references."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from finetune.patches import metadata
from maskwise.artefacts.encoder import decoder_of, load_encoder, write_encoder
from maskwise.config import parse
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.positions import sine_positions
from maskwise.encoders.tokens import TokenEncoder
from maskwise.encoders.transformer import Attention, picked
from maskwise.encoders.vit import VitConfig
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.pretrain.augmentation import AugmentationConfig
from maskwise.pretrain.batches import Batches
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.objectives.linear_attention import (
    LinformerAttention,
    NystromAttention,
)
from maskwise.pretrain.objectives.multiscale import (
    MaeConfig,
    Multiscale,
    MultiscaleConfig,
    images_of,
    patches,
)
from maskwise.pretrain.objectives.token_decoder import (
    Shape,
    TokenDecoder,
    children,
    numbers_of_children,
)
from maskwise.pretrain.recipe import parse_recipe
from pretrain.toys import (
    TOKENS,
    crashing,
    make_run,
    make_setting,
    make_store,
    pretrain,
    small_tokens,
)

GRID: Grid = (4, 6)
LEAN = {"width": 16, "heads": 4}
FINE = {"fine_width": 8, "fine_heads": 2}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def a_setting(fine: int = 1, detail: Sequence[float] | None = None) -> Setting:
    known = None if detail is None else np.array(detail)
    return make_setting(height=32, width=48, grid=GRID, fine=fine, detail=known)


def made(
    name: str = "mae", fine: int = 1, options: Mapping[str, Any] | None = None, patch: Any = 8
) -> Multiscale:
    config: Any = {"mae": MaeConfig, "multiscale": MultiscaleConfig}[name]
    further = FINE if name == "multiscale" else {}
    chosen: Any = parse(config, {**LEAN, **further, **(options or {})}, "objective")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = VitConfig(patch=patch).build(1)
        objective: Multiscale = chosen.build(a_setting(fine), encoder).double()
    return objective


def a_batch(fine: int = 1, number: int = 3, double: bool = True) -> Batch:
    rows = torch.arange(number)
    large = drawn(number, 1, 32 * fine, 48 * fine)
    large = large.double() if double else large
    images = torch.nn.functional.avg_pool2d(large, fine) if fine > 1 else large
    return Batch(images, rows, rows, rows, 0.0, large if fine > 1 else None)


def a_mask(number: int = 3, hidden: int = 15, seed: int = 0) -> Tensor:
    scores = torch.rand(number, 24, generator=Generator().manual_seed(seed))
    return (scores.argsort(1).argsort(1) < hidden).reshape(number, *GRID)


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_put_together_again_are_the_image(channels: int) -> None:
    images = drawn(2, channels, 12, 20)
    cut = patches(images, 4)
    assert images_of(cut, (3, 5), 4).equal(images)
    for row in range(3):
        for column in range(5):
            box = images[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert cut[:, 5 * row + column].equal(box.permute(0, 2, 3, 1).flatten(1))


def slow_mae(objective: Multiscale, batch: Batch, mask: Tensor) -> tuple[float, Tensor]:
    """Compute loss and error map one image and one patch at a time, all tokens decoded."""
    decoder = objective.decoders["1"]
    assert isinstance(decoder, TokenDecoder)
    errors = torch.full(mask.shape, torch.nan, dtype=torch.float64)
    for number, image in enumerate(batch.images):
        visible = [i for i in range(24) if not mask[number].flatten()[i]]
        seen = objective.embed(objective.encoder.tokens(image[None], torch.tensor([visible])))
        tokens = objective.mask_token.repeat(1, 25, 1).clone()
        tokens[0, 0] = seen[0, 0]
        for place, token in zip(visible, seen[0, 1:], strict=True):
            tokens[0, 1 + place] = token
        answer = decoder(tokens)[0]
        for row, column in mask[number].nonzero().tolist():
            box = image[0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].numpy()
            wanted = (box - box.mean()) / np.sqrt(box.var(ddof=1) + 1e-6)
            drawn_patch = answer[6 * row + column].detach().numpy().reshape(8, 8)
            errors[number, row, column] = float(((drawn_patch - wanted) ** 2).mean())
    return float(errors.nanmean()), errors


def test_mae_is_the_squared_error_of_hidden_patches_without_mean_and_deviation() -> None:
    objective, batch, mask = made(), a_batch(), a_mask()
    outcome = objective(batch, mask)
    loss, errors = slow_mae(objective, batch, mask)
    assert outcome.loss.item() == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(outcome.error_map.double(), errors, rtol=1e-5, equal_nan=True)


def test_two_blocks_and_all_patches_make_the_same_error_map() -> None:
    few, every = (made(options={"depth": 2, "loss_region": each}) for each in ("hidden", "all"))
    batch, mask = a_batch(), a_mask()
    one, other = few(batch, mask), every(batch, mask)
    assert torch.allclose(one.error_map, other.error_map, equal_nan=True, rtol=1e-5)
    assert one.loss.item() != pytest.approx(other.loss.item(), rel=1e-3)


def gradients(objective: Multiscale, outcome: Outcome) -> dict[str, Tensor]:
    objective.zero_grad()
    outcome.loss.backward()
    found = {name: each.grad for name, each in objective.named_parameters()}
    assert all(each is not None for each in found.values()), "a parameter learns nothing"
    return {name: each.clone() for name, each in found.items() if each is not None}


def test_a_last_block_that_answers_for_hidden_patches_alone_changes_no_gradient() -> None:
    objective, batch, mask = made(options={"depth": 2}), a_batch(), a_mask()
    lean = objective(batch, mask)
    first = gradients(objective, lean)
    for decoder in objective.decoders.values():
        vars(decoder)["can_be_lean"] = False
    full = objective(batch, mask)
    assert lean.loss.item() == pytest.approx(full.loss.item(), rel=1e-6)
    for name, gradient in gradients(objective, full).items():
        assert torch.allclose(gradient, first[name], atol=1e-6), name


@pytest.mark.parametrize("name", ["mae", "multiscale"])
def test_every_parameter_learns_in_one_step(name: str) -> None:
    objective = made(name, 2 if name == "multiscale" else 1)
    found = gradients(objective, objective(a_batch(2), a_mask()))
    assert found.keys() == dict(objective.named_parameters()).keys()


def test_one_scale_alone_is_mae() -> None:
    mae = made("mae")
    one = made("multiscale", options={"scales": [1], "loss_weights": [1]})
    assert {*mae.state_dict()} == {*one.state_dict()}
    one.load_state_dict(mae.state_dict())
    batch, mask = a_batch(), a_mask()
    first, second = mae(batch, mask), one(batch, mask)
    assert first.loss.equal(second.loss)
    again = gradients(one, second)
    assert all(each.equal(again[name]) for name, each in gradients(mae, first).items())


@pytest.mark.parametrize("factor", [2, 4])
def test_a_fine_decoder_whose_places_stand_at_their_coarse_one_draws_what_it_draws(
    factor: int,
) -> None:
    fine = {"fine_width": 16, "fine_heads": 4, "fine_depth": 2, "fine_attention": "plain"}
    scales = {"scales": [1, 2, 4], "loss_weights": [1, 1, 1]}
    config = parse(MultiscaleConfig, {**LEAN, **fine, **scales, "depth": 2}, "objective")
    # Attention over places that all stand there equally often is attention over each once; a
    # class token would not be repeated with them.
    bare = VitConfig(patch=8, class_token=False).build(1)
    decoders = config.build(a_setting(4), bare).double().decoders
    coarse, decoder = decoders["1"], decoders[str(factor)]
    assert isinstance(coarse, TokenDecoder)
    assert isinstance(decoder, TokenDecoder)
    decoder.load_state_dict(coarse.state_dict())
    places = [(row, column) for row in range(4 * factor) for column in range(6 * factor)]
    above = torch.tensor([6 * (row // factor) + column // factor for row, column in places])
    decoder.positions = coarse.positions[:, above]
    tokens = drawn(2, 24, 16).double()
    expected = coarse(tokens)[:, above]
    assert torch.allclose(decoder(tokens), expected, atol=1e-9)
    asked = torch.tensor([[5, 0, 17], [3, 90, 41]])
    assert torch.allclose(decoder(tokens, asked), picked(expected, asked), atol=1e-9)


def test_children_of_a_place_are_the_places_under_it() -> None:
    tokens = torch.arange(25.0)[None, :, None]
    fine = children(tokens, GRID, 2, 1)
    assert fine[0, 0].item() == 0
    maps = fine[0, 1:, 0].reshape(8, 12)
    numbers = numbers_of_children(torch.arange(24)[None], GRID, 2)[0].reshape(24, 4)
    for row in range(4):
        for column in range(6):
            under = maps[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert (under == 1 + 6 * row + column).all()
            expected = {12 * (2 * row + i) + 2 * column + j for i in (0, 1) for j in (0, 1)}
            assert {*numbers[6 * row + column].tolist()} == expected


def test_a_fine_patch_lies_over_the_pixels_of_its_coarse_one() -> None:
    large = drawn(1, 1, 64, 96)
    fine, coarse = patches(large, 8), patches(torch.nn.functional.avg_pool2d(large, 2), 8)
    numbers = numbers_of_children(torch.arange(24)[None], GRID, 2)[0].reshape(24, 4)
    # Four fine patches have the mean of the coarse one that they are the parts of.
    assert torch.allclose(fine[0, numbers].mean((1, 2)), coarse[0].mean(1), atol=1e-6)


def test_hidden_places_hold_the_mask_token_and_visible_ones_their_own() -> None:
    objective, mask = made(), a_mask()
    visible, hidden = objective._numbers(mask)
    assert not mask.flatten(1).gather(1, visible).any()
    assert mask.flatten(1).gather(1, hidden).all()
    seen = drawn(3, 1 + visible.shape[1], 192).double()
    tokens, embedded = objective._completed(seen, visible), objective.embed(seen)
    assert picked(tokens[:, 1:], visible).equal(embedded[:, 1:])
    at_hidden = picked(tokens[:, 1:], hidden)
    assert at_hidden.equal(objective.mask_token.expand_as(at_hidden))
    assert tokens[:, 0].equal(embedded[:, 0])


def test_where_nothing_is_hidden_the_decoder_sees_no_mask_token() -> None:
    objective, everything = made(), torch.randperm(24, generator=Generator().manual_seed(0))
    seen = drawn(1, 25, 192).double()
    places = objective._completed(seen, everything[None])[:, 1:]
    assert places[:, everything].equal(objective.embed(seen)[:, 1:])


def test_a_cell_of_several_tokens_has_the_mean_of_their_errors() -> None:
    objective, batch, mask = made(patch=4), a_batch(), a_mask()
    outcome = objective(batch, mask)
    assert objective.grid == (8, 12)
    wide = mask.repeat_interleave(2, 1).repeat_interleave(2, 2)
    fine = objective(batch, wide)
    means = fine.error_map.reshape(3, 4, 2, 6, 2).mean((2, 4))
    assert torch.allclose(outcome.error_map, means, equal_nan=True, rtol=1e-5)
    assert outcome.loss.equal(fine.loss)


def test_what_hidden_patches_show_reaches_the_loss_through_the_target_alone() -> None:
    objective, batch, mask = made(options={"target": "plain"}), a_batch(), a_mask()
    before = objective(batch, mask).reconstruction
    pixels = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    changed = torch.where(pixels, drawn(3, 1, 32, 48, seed=5).double(), batch.images)
    rows = batch.index
    after = objective(Batch(changed, rows, rows, rows, 0.0), mask).reconstruction
    assert before is not None
    assert after is not None
    assert after.equal(before)


def test_a_plain_target_answers_pixels() -> None:
    objective, batch, mask = made(options={"target": "plain"}), a_batch(), a_mask()
    outcome = objective(batch, mask)
    assert outcome.residual is not None
    errors = patches(outcome.residual.double(), 8).square().mean(2).reshape(3, *GRID)
    assert torch.allclose(errors[mask], outcome.error_map[mask].double(), rtol=1e-4)
    # What is seen is not drawn, unless the loss is of it, too.
    assert not errors[~mask].any()
    everywhere = made(options={"target": "plain", "loss_region": "all"})(batch, mask)
    assert everywhere.residual is not None
    assert patches(everywhere.residual, 8)[~mask.flatten(1)].abs().min() > 0


@pytest.mark.parametrize(("region", "equal"), [("masked", True), ("all", False)])
def test_a_fine_loss_is_of_hidden_places_or_of_all(region: str, equal: bool) -> None:
    options = {"hi_target": "upsampled", "hi_loss_region": region}
    objective, batch, mask = made("multiscale", options=options), a_batch(), a_mask()
    fine = objective.decoders["2"]
    assert isinstance(fine, TokenDecoder)
    places = torch.zeros(1, 4 * 24, 64, dtype=torch.float64)
    visible, _ = objective._numbers(mask[:1])
    places[0, numbers_of_children(visible, GRID, 2)[0]] = 1.0
    seen = places.bool()
    places.requires_grad_()
    first = batch.index[:1]
    one = Batch(batch.images[:1], first, first, first, 0.0)
    before = objective(one, mask[:1])
    forward = fine.forward

    def noisy(tokens: Tensor, asked: Tensor | None = None) -> Tensor:
        wrong = places if asked is None else picked(places, asked)
        return forward(tokens, asked) + wrong

    fine.forward = noisy  # type: ignore[method-assign]
    after = objective(one, mask[:1])
    assert (after.figures["loss_2"] == before.figures["loss_2"]) == equal
    (gradient,) = torch.autograd.grad(after.loss, places)
    assert gradient.any()
    assert bool(gradient[seen].any()) != equal
    assert after.figures["loss_1"].equal(before.figures["loss_1"])


def test_normalised_targets_have_no_mean_no_scale_and_no_noise_where_nothing_is() -> None:
    objective = made()
    cut = patches(drawn(2, 1, 32, 48).double(), 8)
    wanted, _ = objective._wanted(cut)
    assert torch.allclose(wanted.mean(2), torch.zeros(2, 24).double(), atol=1e-3)
    assert torch.allclose(wanted.var(2), torch.ones(2, 24).double(), atol=1e-3)
    shifted, _ = objective._wanted(3 * cut - 7)
    assert torch.allclose(shifted, wanted, atol=1e-4)
    black, deviation = objective._wanted(torch.full((1, 1, 64), -2.0))
    assert not black.any()
    assert not deviation.any()
    grain, _ = objective._wanted(1e-7**0.5 * drawn(1, 1, 64).double())
    assert grain.std() == pytest.approx(0.3, abs=0.05)


def test_a_native_target_of_an_enlarged_image_is_the_enlarged_image() -> None:
    batch, mask = a_batch(), a_mask()
    rows = batch.index
    large = torch.nn.functional.interpolate(batch.images, scale_factor=2, mode="nearest")
    kept = Batch(batch.images, rows, rows, rows, 0.0, large)
    native = made("multiscale", 2)
    upsampled = made("multiscale", options={"hi_target": "upsampled"})
    first, second = native(kept, mask), upsampled(batch, mask)
    assert first.loss.equal(second.loss)


def test_a_native_target_is_what_the_scan_shows_beyond_the_image() -> None:
    native, batch, mask = made("multiscale", 2), a_batch(2), a_mask()
    rows = batch.index
    enlarged = torch.nn.functional.interpolate(batch.images, scale_factor=2, mode="nearest")
    blurred = Batch(batch.images, rows, rows, rows, 0.0, enlarged)
    first, second = native(batch, mask), native(blurred, mask)
    assert first.figures["loss_1"].equal(second.figures["loss_1"])
    assert not first.figures["loss_2"].equal(second.figures["loss_2"])


def test_a_third_scale_draws_at_four_times_the_size() -> None:
    options = {"scales": [1, 2, 4], "loss_weights": [1, 0.5, 0.25]}
    objective = made("multiscale", 4, options)
    outcome = objective(a_batch(4), a_mask())
    parts = [float(outcome.figures[f"loss_{each}"]) for each in (1, 2, 4)]
    weighed = parts[0] + 0.5 * parts[1] + 0.25 * parts[2]
    assert outcome.loss.item() == pytest.approx(weighed, rel=1e-6)


def test_the_encoder_s_latent_is_the_trainer_s() -> None:
    objective, batch, mask = made("multiscale", 2), a_batch(2), a_mask()
    visible, _ = objective._numbers(mask)
    encoder: TokenEncoder = objective.encoder
    again = VitConfig(patch=8).build(1).double()
    again.load_state_dict(encoder.state_dict())
    assert again.tokens(batch.images, visible).equal(encoder.tokens(batch.images, visible))
    assert not any("decoder" in name or "mask" in name for name in encoder.state_dict())


def test_a_written_encoder_has_the_trainer_s_latent_and_no_decoder(tmp_path: Path) -> None:
    objective, batch = made("multiscale", 2).float(), a_batch(2, double=False)
    path = tmp_path / "encoder.safetensors"
    write_encoder(objective.encoder, metadata("vit", {"patch": 8}, 32), path)
    again = load_encoder(path)
    assert isinstance(again, TokenEncoder)
    visible, _ = objective._numbers(a_mask())
    expected = objective.encoder.eval().tokens(batch.images, visible)
    assert again.tokens(batch.images, visible).equal(expected)
    assert not decoder_of(again)


def test_masks_of_different_sizes_are_refused() -> None:
    mask = a_mask()
    mask[1] = a_mask(1, 14)[0]
    with pytest.raises(UserError, match="14 to 15 of 24 patches are hidden"):
        made()(a_batch(), mask)


@pytest.mark.parametrize("hidden", [0, 24])
def test_all_or_no_patches_hidden_is_refused(hidden: int) -> None:
    told = rf"{hidden} to {hidden} of 24 .* at least 1 and not all"
    with pytest.raises(UserError, match=told):
        made()(a_batch(), a_mask(hidden=hidden))


def test_an_encoder_without_tokens_is_refused() -> None:
    with pytest.raises(UserError, match="choose vit, or objective spark"):
        MaeConfig().build(a_setting(), ContextCnnConfig().build(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": [2, 4], "loss_weights": [1, 1]}, "should begin with 1"),
        ({"scales": [1, 4, 2], "loss_weights": [1, 1, 1]}, "should begin with 1 and ascend"),
        ({"loss_weights": [1]}, "one number for each of the 2 scales"),
        ({"loss_weights": [0, 0]}, "not all 0"),
        (
            {"scales": [1], "loss_weights": [1], "hi_target": "upsampled"},
            "are of scales beyond 1",
        ),
        ({"fine_width": 18, "fine_heads": 3}, "positions need a multiple of 4"),
        ({"width": 20, "heads": 16}, "heads need a multiple of 16"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse(MultiscaleConfig, options, "objective")


@pytest.mark.parametrize(("fine", "told"), [(1, "no finer than"), (2, "at 2 times")])
def test_a_native_target_that_is_not_kept_is_refused(fine: int, told: str) -> None:
    config = MultiscaleConfig(scales=(1, 2, 4), loss_weights=(1, 1, 1))
    with pytest.raises(UserError, match=f"{told} the network's size; write fine: 4"):
        config.build(a_setting(fine), VitConfig().build(1))


def test_a_native_target_that_few_files_have_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    few, most = [1.9, 1.2, 3.0, 1.0, 2.0], [1.9, 2.5, 3.0, 1.0, 2.0]
    MultiscaleConfig().build(a_setting(2, few), VitConfig().build(1))
    assert "only 40 % of the training images' files" in caplog.text
    caplog.clear()
    MultiscaleConfig().build(a_setting(2, most), VitConfig().build(1))
    # What is kept finer than any scale draws is not asked for.
    objective = MultiscaleConfig().build(a_setting(4, most), VitConfig().build(1))
    assert not caplog.text
    outcome = objective(a_batch(4, double=False), a_mask())
    assert float(outcome.figures["native_fraction"]) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"name": "random_box", "box": [2, 2], "boxes": 2}, "say fill_to"),
        ({"name": "dqn", "box": [2, 2], "boxes": 2}, "say fill_to"),
        ({"name": "dqn", "actions": "all_cells"}, "take actions: valid"),
        ({"name": "a3c", "preset": "ahm"}, "say exact_k: true"),
        ({"name": "mean_map", "policy": {"name": "a3c", "preset": "ahm"}}, "exact_k: true"),
    ],
)
def test_a_policy_that_hides_here_more_and_there_less_is_refused(
    policy: dict[str, Any], told: str
) -> None:
    block = {"objective": {"name": "mae"}, "policy": policy, "encoder": {"name": "vit"}}
    with pytest.raises(UserError, match=f"more cells of one image than of another.*{told}"):
        parse_recipe(block, "recipe")


def attentions(objective: Multiscale) -> dict[str, list[type]]:
    found = {}
    for factor, decoder in objective.decoders.items():
        assert isinstance(decoder, TokenDecoder)
        found[factor] = [type(block.get_submodule("attn")) for block in decoder.blocks]
    return found


@pytest.mark.parametrize(
    ("options", "fine"),
    [
        ({}, [Attention]),
        ({"fine_attention": "plain", "fine_depth": 2}, [Attention] * 2),
        ({"fine_attention": "nystrom", "landmarks": 16}, [NystromAttention]),
        ({"fine_attention": "linformer"}, [LinformerAttention]),
    ],
)
def test_the_fine_decoder_attends_as_it_is_told_and_learns(
    options: dict[str, Any], fine: list[type]
) -> None:
    objective = made("multiscale", 2, options)
    assert attentions(objective) == {"1": [Attention], "2": fine}
    gradients(objective, objective(a_batch(2), a_mask()))


def test_plain_attention_gives_way_where_it_would_be_the_slower() -> None:
    config = MultiscaleConfig(fine_width=8, fine_heads=2)
    setting = make_setting(height=136, width=136, grid=(17, 17), fine=2)
    objective = config.build(setting, VitConfig().build(1))
    assert attentions(objective)["2"] == [NystromAttention]  # 34 x 34 places are beyond 1,024


def test_the_release_has_the_release_s_decoders() -> None:
    config = parse(MultiscaleConfig, {"preset": "release"}, "objective")
    objective = config.build(a_setting(), VitConfig(patch=16).build(1))
    assert attentions(objective) == {"1": [Attention] * 8, "2": [NystromAttention] * 8}
    assert (config.hi_target, config.upsample_mode, config.hi_loss_region) == (
        "upsampled",
        "nearest",
        "all",
    )
    fine: Any = objective.decoders["2"].get_submodule("blocks.0.attn")
    assert (fine.layout, fine.landmarks, fine.iterations, fine.heads) == ("raster", 64, 6, 16)


def test_places_are_told_apart_by_their_positions_alone() -> None:
    torch.manual_seed(0)
    decoder = TokenDecoder(Shape(16, 1, 4), 16, GRID, 2, 1, 64).double()
    tokens = drawn(1, 1, 16).double().expand(1, 25, 16)
    answer = decoder(tokens)[0]
    assert len(answer.round(decimals=6).unique(dim=0)) == 4 * 24
    integer, aligned = (
        TokenDecoder(Shape(16, 1, 4), 16, GRID, 2, 1, 64, aligned=each).positions
        for each in (False, True)
    )
    assert not integer.equal(aligned)
    assert aligned[0, 1:].equal(sine_positions((8, 12), 16, 2))
    assert not aligned[0, 0].any()


def test_a_larger_epsilon_mutes_patches_without_structure() -> None:
    grain = 1e-7**0.5 * drawn(1, 1, 64).double()
    loud, _ = made()._wanted(grain)
    quiet, _ = made(options={"target_eps": 0.01})._wanted(grain)
    assert float(loud.std()) > 50 * float(quiet.std())


def test_hidden_patches_that_show_nothing_are_counted() -> None:
    objective, batch, mask = made(), a_batch(), a_mask()
    pixels = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    rows = batch.index
    blank = Batch(torch.where(pixels, 0.0, batch.images), rows, rows, rows, 0.0)
    assert float(objective(blank, mask).figures["constant_hidden"]) == 1
    assert float(objective(batch, mask).figures["constant_hidden"]) == 0


def test_an_enlarged_target_is_enlarged_as_it_is_told() -> None:
    batch = a_batch()
    for mode in ("nearest", "bicubic"):
        config = MultiscaleConfig(hi_target="upsampled", upsample_mode=mode)
        shown = config.shown(batch, 2)
        expected = torch.nn.functional.interpolate(batch.images, scale_factor=2, mode=mode)
        assert shown is not None
        assert shown.equal(expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_run_at_two_scales_goes_on_to_the_same_weights_after_it_was_cut_short(
    tmp_path: Path, channels: int
) -> None:
    store, splits = make_store(tmp_path / "store", channels=channels, fine=2)
    block = {
        "objective": {"name": "multiscale", **LEAN, **FINE},
        "policy": {"name": "a3c", "ratio": 0.75},
        "encoder": TOKENS,
    }
    options: dict[str, Any] = {"steps": 3, "grid": (4, 4), "checkpoint_every": 1}
    with small_tokens():
        whole = pretrain(store, splits, make_run(tmp_path / "whole", block, **options))
        with pytest.raises(OSError, match="the disk is gone"):
            pretrain(crashing(store), splits, make_run(tmp_path / "cut", block, **options))
        resumed = pretrain(store, splits, make_run(tmp_path / "cut", block, **options))
    again = resumed.encoder.state_dict()
    assert all(each.equal(again[name]) for name, each in whole.encoder.state_dict().items())
    assert set(whole.history["native_fraction"]) == {1.0}


def test_native_and_enlarged_targets_are_of_the_same_images(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store", fine=2)
    rows = store.rows(splits["image_id"][:4])
    batches = Batches(
        store=store,
        rows=rows,
        batch_size=4,
        seed=0,
        augmentation=AugmentationConfig(shift_px=2),
        laterality="free",
        device=torch.device("cpu"),
        groups=np.arange(len(store)),
    )
    batch = batches.batch(0, 0.0)
    assert batch.fine is not None
    assert torch.allclose(batch.images, torch.nn.functional.avg_pool2d(batch.fine, 2))
    again = batches.images(batch.index, batch.augmentation_seed)
    assert again.equal(batch.images)
