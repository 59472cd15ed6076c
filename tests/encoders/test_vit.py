"""Vision transformers: places, tokens that are left out, and weights in published names."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from maskwise.artefacts.weights import read_weights
from maskwise.config import parse
from maskwise.decay import rate_shares
from maskwise.encoders.positions import sine_positions
from maskwise.encoders.transformer import Attention, Block, softmax_attention
from maskwise.encoders.vit import EXPECTED, Vit, VitConfig
from maskwise.errors import UserError


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


def built(channels: int = 1, **options: Any) -> Vit:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VitConfig(**options).build(channels).eval()


def test_positions_are_sines_and_cosines_of_the_column_and_then_of_the_row() -> None:
    table = sine_positions((3, 5), 8).reshape(3, 5, 8)
    for row in range(3):
        for column in range(5):
            expected = []
            for place in (column, row):
                angles = [place * 10_000 ** (-j / 2) for j in range(2)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            assert table[row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_a_turned_grid_swaps_the_halves_of_its_positions() -> None:
    lying = sine_positions((3, 5), 16).reshape(3, 5, 16)
    standing = sine_positions((5, 3), 16).reshape(5, 3, 16)
    swapped = torch.cat([standing[:, :, 8:], standing[:, :, :8]], 2).transpose(0, 1)
    assert lying.equal(swapped)


def test_no_two_of_64_by_64_places_have_one_code() -> None:
    table = sine_positions((64, 64), 192)
    assert len(table.unique(dim=0)) == 64 * 64


def test_a_width_that_four_does_not_divide_has_no_positions() -> None:
    with pytest.raises(ValueError, match="a multiple of 4, not 6"):
        sine_positions((2, 2), 6)


def test_aligned_places_average_to_those_that_they_are_parts_of() -> None:
    fine = sine_positions((4, 6), 4, 2).reshape(2, 2, 3, 2, 4)
    coarse = sine_positions((2, 3), 4).reshape(2, 3, 4)
    # The one frequency of width 4 is 1: sin(x - h) + sin(x + h) = 2 cos(h) sin(x), h = 1 / 4.
    assert torch.allclose(fine.mean((1, 3)), coarse * math.cos(0.25), atol=1e-6)


@pytest.mark.parametrize("class_token", [True, False])
def test_leaving_tokens_out_is_attention_among_those_that_are_seen(class_token: bool) -> None:
    encoder, images = built(patch=8, class_token=class_token), drawn(2, 1, 32, 48)
    visible = torch.tensor([[1, 4, 7, 23], [0, 2, 10, 11]])
    few = encoder.tokens(images, visible)
    front = encoder.in_front
    current = encoder.patch_embed(images, None)
    seen = torch.zeros(2, current.shape[1], dtype=torch.bool)
    seen[:, :front] = True
    seen.scatter_(1, visible + front, True)
    for block in encoder.blocks_in_order():
        current = among_the_seen(block, current, seen)
    everything = encoder.norm(current)
    places = torch.cat([torch.arange(front).expand(2, -1), visible + front], 1)
    expected = everything.gather(1, places[:, :, None].expand(-1, -1, 192))
    assert (few - expected).abs().max() < 1e-5


def among_the_seen(block: Block, tokens: Tensor, seen: Tensor) -> Tensor:
    """Compute a block by explicit softmax over the seen tokens."""
    attention: Any = block.attn
    b, n, width = tokens.shape
    q, k, v = attention.qkv(block.norm1(tokens)).reshape(b, n, 3, attention.heads, -1).unbind(2)
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / (width / attention.heads) ** 0.5
    weights = scores.masked_fill(~seen[:, None, None, :], -torch.inf).softmax(3)
    answer = attention.proj(torch.einsum("bhij,bjhd->bihd", weights, v).reshape(b, n, width))
    tokens = tokens + answer
    answered: Tensor = tokens + block.mlp(block.norm2(tokens))
    return answered


def test_what_hidden_patches_show_changes_nothing() -> None:
    encoder, images = built(), drawn(2, 1, 64, 64)
    visible = torch.tensor([[0, 9], [17, 63]])
    before = encoder.tokens(images, visible)
    wild = 100 * drawn(2, 1, 64, 64, seed=1)
    for image, numbers in enumerate(visible.tolist()):
        for number in numbers:
            rows = slice(8 * (number // 8), 8 * (number // 8) + 8)
            columns = slice(8 * (number % 8), 8 * (number % 8) + 8)
            wild[image, :, rows, columns] = images[image, :, rows, columns]
    assert encoder.tokens(wild, visible).equal(before)


def test_all_tokens_behind_the_last_norm_are_the_last_features() -> None:
    encoder, images = built(patch=16), drawn(2, 1, 32, 64)
    tokens = encoder.tokens(images)[:, 1:].transpose(1, 2).reshape(2, 192, 2, 4)
    assert encoder(images)[-1].equal(tokens)


def test_a_patch_embedding_is_the_convolution_that_its_weights_are_of() -> None:
    encoder, images = built(3, patch=4, class_token=False), drawn(2, 3, 8, 12)
    proj = encoder.patch_embed.proj
    expected = proj(images).flatten(2).transpose(1, 2) + sine_positions((2, 3), 192)
    assert torch.allclose(encoder.patch_embed(images, None), expected, atol=1e-5)


def test_what_is_asked_of_attention_is_what_it_answers_anyway() -> None:
    torch.manual_seed(0)
    block, tokens = Block(16, 4).double(), drawn(3, 7, 16).double().requires_grad_()
    asked = torch.tensor([[1, 6], [0, 3], [2, 2]])
    some = block(tokens, asked)
    picked = block(tokens).gather(1, asked[:, :, None].expand(-1, -1, 16))
    assert torch.allclose(some, picked, atol=1e-12)
    gradients = [
        torch.autograd.grad(each.square().sum(), [tokens, *block.parameters()])
        for each in (some, picked)
    ]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-10)


def test_attention_of_bfloat16_is_computed_in_float32_on_a_cpu() -> None:
    queries, keys, values = torch.randn(3, 2, 4, 9, 8, generator=Generator().manual_seed(3))
    halves = [each.bfloat16().requires_grad_() for each in (queries, keys, values)]
    with torch.autocast("cpu", torch.bfloat16):
        answer = softmax_attention(*halves)
    assert answer.dtype == torch.float32
    expected = softmax_attention(*(each.float() for each in halves))
    assert answer.equal(expected)  # rounded on the way in, and nowhere else
    answer.sum().backward()
    assert all(each.grad is not None and each.grad.dtype == torch.bfloat16 for each in halves)


def test_attention_of_double_precision_stays_in_it() -> None:
    doubles = torch.randn(3, 2, 4, 9, 8, dtype=torch.float64)
    assert softmax_attention(*doubles).dtype == torch.float64


def test_the_weights_of_the_class_token_are_a_row_of_softmax() -> None:
    torch.manual_seed(0)
    attention, tokens = Attention(16, 4), drawn(2, 5, 16)
    q, k, _ = attention.qkv(tokens).reshape(2, 5, 3, 4, 4).unbind(2)
    whole = (torch.einsum("bihd,bjhd->bhij", q, k) / 2).softmax(3)
    assert torch.allclose(whole.sum(3), torch.ones(2, 4, 5))
    expected = whole[:, :, 0, 1:].mean(1)
    assert torch.allclose(attention.class_weights(tokens), expected, atol=1e-5)


def test_what_the_last_block_attends_to_is_a_row_of_its_softmax() -> None:
    images = drawn(2, 1, 16, 24)
    for class_token in (True, False):
        encoder = built(class_token=class_token)
        current = encoder.patch_embed(images, None)
        *before, last = encoder.blocks_in_order()
        for block in before:
            current = block(current)
        b, n, width = current.shape
        joined = last.get_submodule("attn.qkv")(last.norm1(current))
        q, k, _ = joined.reshape(b, n, 3, 3, -1).unbind(2)
        query = q[:, 0] if class_token else q.mean(1)
        scores = torch.einsum("bhd,bjhd->bhj", query, k) / (width / 3) ** 0.5
        front = encoder.in_front
        if class_token:
            weights = scores.softmax(2)[:, :, front:].mean(1)
        else:
            # The mean of all tokens stands in front as a token of its own, and is left out.
            own = torch.einsum("bhd,bhd->bh", query, k.mean(1)) / (width / 3) ** 0.5
            weights = torch.cat([own[:, :, None], scores], 2).softmax(2)[:, :, 1:].mean(1)
        expected = weights / weights.sum(1, keepdim=True)
        assert torch.allclose(encoder.attended(images), expected, atol=1e-5)


@pytest.mark.parametrize("class_token", [True, False])
def test_attention_to_patches_sums_to_one(class_token: bool) -> None:
    encoder = built(class_token=class_token)
    weights = encoder.attended(drawn(3, 1, 64, 32))
    assert weights.shape == (3, 32)
    assert torch.allclose(weights.sum(1), torch.ones(3))


def test_one_encoder_sees_images_of_any_size_and_aspect() -> None:
    encoder = built(patch=16)
    assert [each.shape for each in encoder(drawn(1, 1, 48, 80))] == [(1, 192, 3, 5)] * 3
    assert encoder(drawn(1, 1, 16, 16))[-1].shape == (1, 192, 1, 1)


def test_positions_of_a_larger_image_are_computed_and_not_drawn_larger() -> None:
    encoder = built()
    for parameter in encoder.patch_embed.parameters():  # so that positions alone are left
        parameter.data.zero_()
    for side in (4, 8):
        tokens = encoder.patch_embed(drawn(1, 1, 8 * side, 8 * side), None)
        assert tokens[0, 1:].equal(sine_positions((side, side), 192))


def test_an_image_that_its_patches_do_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"60 x 64 pixels .* patches of 8 x 8"):
        built()(drawn(1, 1, 60, 64))
    with pytest.raises(UserError, match=r"60 x 64 pixels .* patches of 8 x 8"):
        built().tokens(drawn(1, 1, 60, 64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depths": [4, 8]}, "should ascend and end with 12"),
        ({"depths": [8, 4, 12]}, "should ascend and end with 12"),
        ({"patch": 7}, "patch"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse(VitConfig, options, "encoder")


def test_rates_fall_block_by_block_as_the_formula_says() -> None:
    encoder = built()
    shares = rate_shares(encoder.layers(), 0.75)
    for name, parameter in encoder.named_parameters():
        place, _, rest = name.partition(".")
        layer = {"patch_embed": 0, "norm": 13}.get(place) or 0
        if place == "blocks":
            layer = 1 + int(rest.split(".")[0])
        assert shares[id(parameter)] == pytest.approx(0.75 ** (13 - layer)), name


def test_the_class_token_is_pooled_where_there_is_one_and_else_the_mean() -> None:
    images = drawn(2, 1, 32, 32)
    encoder, bare = built(), built(class_token=False)
    assert encoder.pooled(images, pooling="class").equal(encoder.tokens(images)[:, 0])
    assert encoder.pooled(images).equal(encoder(images)[-1].mean((2, 3)))
    assert bare.pooled(images, pooling="class").equal(bare.pooled(images))
    assert [each.shape for each in encoder.pooled_stages(images, "class")] == [(2, 192)] * 3


def test_deeper_branches_are_left_out_more_often() -> None:
    encoder = built()
    encoder.drop_paths(0.11)
    shares = [block.drop_path for block in encoder.blocks_in_order()]
    assert shares == pytest.approx([0.01 * number for number in range(12)])


def test_dropped_branches_are_training_s_alone_and_keep_the_mean() -> None:
    torch.manual_seed(0)
    block, tokens = Block(8, 2), drawn(4_000, 1, 8)
    whole = block(tokens)
    block.drop_path = 0.5
    assert block.eval()(tokens).equal(whole)
    block.train()
    first = block.attn(block.norm1(tokens))
    dropped = block._dropped(first)
    kept = dropped.abs().sum((1, 2)) > 0
    assert 0.45 < float(kept.float().mean()) < 0.55
    assert torch.allclose(dropped[kept], 2 * first[kept])


PER_BLOCK = (
    "norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight",
    "attn.proj.bias", "norm2.weight", "norm2.bias", "mlp.fc1.weight", "mlp.fc1.bias",
    "mlp.fc2.weight", "mlp.fc2.bias",
)  # fmt: skip


def published(positions: Tensor | None = None, grid: int = 14) -> dict[str, Tensor]:
    """Return a small file in timm's names: every tensor of vit_tiny_patch16, made up."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, 192),
        "pos_embed": (1, 1 + grid * grid, 192),
        "patch_embed.proj.weight": (192, 3, 16, 16),
        "patch_embed.proj.bias": (192,),
        "norm.weight": (192,),
        "norm.bias": (192,),
    }
    wide = {"attn.qkv": (576, 192), "mlp.fc1": (768, 192), "mlp.fc2": (192, 768)}
    for number in range(12):
        for name in PER_BLOCK:
            layer, kind = name.rsplit(".", 1)
            full = wide.get(layer, (192, 192))
            one = layer.startswith("norm") or kind == "bias"
            shapes[f"blocks.{number}.{name}"] = (
                (192,) if layer.startswith("norm") else full[:1] if one else full
            )
    tensors = {
        name: 0.05 * drawn(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())
    }
    if positions is not None:
        tensors["pos_embed"] = positions
    return tensors


def of_mae() -> dict[str, Tensor]:
    """Return MAE's file of pre-training: fixed positions, and a decoder behind."""
    fixed = torch.cat([torch.zeros(1, 192), sine_positions((14, 14), 192)])[None]
    decoder = {
        "mask_token": (1, 1, 64),
        "decoder_embed.weight": (64, 192),
        "decoder_pos_embed": (1, 197, 64),
        "decoder_blocks.0.norm1.weight": (64,),
        "decoder_norm.weight": (64,),
        "decoder_pred.weight": (768, 64),
    }
    return published(fixed) | {name: drawn(*shape) for name, shape in decoder.items()}


def of_dino() -> dict[str, Tensor]:
    """Return DINO's teacher: wrapped, its positions learnt, and a head behind."""
    wrapped = {f"module.backbone.{name}": each for name, each in published().items()}
    return wrapped | {"module.head.mlp.0.weight": drawn(8, 192)}


LEARNT = {"positions": "learnt", "position_grid": [14, 14]}
FILES: dict[str, tuple[Callable[[], dict[str, Tensor]], dict[str, Any]]] = {
    "timm": (lambda: published() | {"head.weight": drawn(10, 192)}, LEARNT),
    "mae": (of_mae, {}),
    "dino": (of_dino, LEARNT),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_tensor_of_a_published_file_has_its_place(name: str, channels: int) -> None:
    make, options = FILES[name]
    config = parse(VitConfig, {"patch": 16, **options}, "encoder")
    adapted = config.adapt(make(), channels)
    encoder = config.build(channels)
    encoder.load_state_dict(dict(adapted.tensors), strict=True)
    assert adapted.mean is not None
    assert len(adapted.mean) == channels
    plain = {key.removeprefix("module.backbone."): each for key, each in make().items()}
    name = "blocks.7.mlp.fc2.weight"
    assert encoder.state_dict()[name].equal(plain[name])


@pytest.mark.parametrize("published_by", ["imagenet", "half"])
def test_a_grey_image_gives_what_it_gives_shown_three_times(published_by: str) -> None:
    options = {"patch": 16, "published": published_by}
    config = parse(VitConfig, options, "encoder")
    colour, grey = config.adapt(of_mae(), 3), config.adapt(of_mae(), 1)
    one, three = config.build(1).eval(), config.build(3).eval()
    one.load_state_dict(dict(grey.tensors))
    three.load_state_dict(dict(colour.tensors))
    intensities = torch.rand(2, 1, 32, 32, generator=Generator().manual_seed(3))
    mean, std = (torch.tensor(each)[:, None, None] for each in EXPECTED[published_by])
    assert grey.mean is not None
    assert grey.std is not None
    shown = one((intensities - grey.mean[0]) / grey.std[0])
    assert torch.allclose(shown[-1], three((intensities - mean) / std)[-1], atol=1e-4)


def test_learnt_positions_are_not_taken_for_computed_ones() -> None:
    config = parse(VitConfig, {"patch": 16}, "encoder")
    with pytest.raises(UserError, match=r"positions: learnt .* of 197 places"):
        config.adapt(published(), 1)


def test_learnt_positions_stay_on_their_grid_and_are_drawn_for_another() -> None:
    encoder = built(patch=16, positions="learnt", position_grid=(4, 4))
    table = encoder.patch_embed.positions
    assert table is not None
    _, same = encoder.patch_embed._places((4, 4), torch.zeros(1))
    assert same.equal(table[:, 1:])
    _, drawn_larger = encoder.patch_embed._places((6, 8), torch.zeros(1))
    maps = table[:, 1:].reshape(1, 4, 4, 192).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(maps, (6, 8), mode="bicubic")
    assert torch.allclose(drawn_larger, expected.flatten(2).transpose(1, 2))
    assert encoder(torch.zeros(1, 1, 96, 128))[-1].shape == (1, 192, 6, 8)


@pytest.mark.parametrize("key", ["model", "state_dict", "teacher"])
def test_a_training_checkpoint_s_weights_are_found_within_it(tmp_path: Path, key: str) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save({key: of_mae(), "epoch": 800}, path)
    config = parse(VitConfig, {"patch": 16}, "encoder")
    read = read_weights(str(path), "vit", config, 1, 0, "mine.encoder.weights")
    assert len(read.tensors) == len(config.build(1).state_dict())


def test_weights_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(of_mae(), path)
    config = parse(VitConfig, {"patch": 16, "size": "small"}, "encoder")
    with pytest.raises(UserError, match="nothing was loaded"):
        read_weights(str(path), "vit", config, 1, 0, "mine.encoder.weights")
