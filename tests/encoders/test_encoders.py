"""What every encoder promises, and the layouts that others published."""

import copy
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwise.annotations import option_kinds
from maskwise.config import parse
from maskwise.encoders import ENCODERS
from maskwise.encoders.context_cnn import RELEASE, ContextCnnConfig
from maskwise.encoders.contract import Adapted
from maskwise.encoders.pixels import PixelsConfig
from maskwise.encoders.resnet import Resnet18Config, Resnet50Config
from maskwise.encoders.start import ChosenEncoder, StartConfig
from maskwise.errors import UserError

IMAGES = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_features_have_the_channels_and_strides_that_the_encoder_promises(
    name: str, channels: int
) -> None:
    encoder: Any = ENCODERS[name]().build(channels)
    features = encoder(IMAGES.expand(-1, channels, -1, -1))
    sides = [64 // stride for stride in encoder.strides]
    assert [tuple(feature.shape) for feature in features] == [
        (2, width, side, side) for width, side in zip(encoder.channels, sides, strict=True)
    ]


@pytest.mark.parametrize("name", ["context_cnn", "resnet18"])
@pytest.mark.parametrize("stride", [8, 16, 32])
def test_changing_the_stride_alone_gives_features_of_that_stride(
    name: str, stride: int
) -> None:
    encoder: Any = parse(ENCODERS[name], {"stride": stride}, "encoder").build(1)
    assert encoder.strides[-1] == stride
    assert encoder(IMAGES)[-1].shape[2:] == (64 // stride, 64 // stride)


@pytest.mark.parametrize("name", ["context_cnn", "resnet18"])
def test_by_default_an_image_of_64_pixels_keeps_8_x_8_features(name: str) -> None:
    assert ENCODERS[name]().build(1)(IMAGES)[-1].shape[2:] == (8, 8)


def test_the_default_context_cnn_is_small() -> None:
    assert 0.40e6 < parameters(ContextCnnConfig().build(1)) < 0.50e6


def test_the_layout_of_the_release_has_its_663120_parameters() -> None:
    encoder = parse(ContextCnnConfig, RELEASE, "encoder").build(1)
    assert parameters(encoder) == 663_120
    assert encoder.strides == (1, 2, 4, 8, 16, 32)


def test_the_last_stages_are_not_pooled_where_there_are_more_stages_than_halvings() -> None:
    block = {"widths": [8, 8, 8, 8, 8], "convolutions": [1, 1, 1, 1, 1], "stride": 8}
    encoder = parse(ContextCnnConfig, block, "encoder").build(1)
    assert encoder.strides == (1, 2, 4, 8, 8)
    assert encoder(IMAGES)[-1].shape[2:] == (8, 8)


def test_an_image_s_features_do_not_depend_on_its_batch_under_group_norm() -> None:
    encoder = ContextCnnConfig(norm="group").build(1)
    alone, together = encoder(IMAGES[:1])[-1], encoder(IMAGES)[-1][:1]
    torch.testing.assert_close(alone, together)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"stride": 12}, "encoder.stride: should be 8, 16 or 32, but is 12"),
        ({"widths": [8, 8]}, "encoder: convolutions should hold a number for each of the 2"),
        ({"widths": [8, 8, 12]}, "widths should be multiples of 8 with norm: group"),
        ({"norm": "grup"}, "encoder.norm: .*'group', 'batch' or 'instance'"),
        ({"strid": 8}, "encoder.strid: there is no such option; did you mean 'stride'"),
    ],
)
def test_a_wrong_layout_names_the_key_and_the_remedy(
    block: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse(ContextCnnConfig, block, "encoder")


def torchvision_names(blocks: tuple[int, ...], convolutions: int) -> set[str]:
    """Write out the parameters of a ResNet of torchvision's but its classifier."""
    norms = {"bn1"}
    weights = {"conv1"}
    for layer, number in enumerate(blocks, 1):
        for block in range(number):
            numbers = range(1, convolutions + 1)
            weights |= {f"layer{layer}.{block}.conv{i}" for i in numbers}
            norms |= {f"layer{layer}.{block}.bn{i}" for i in numbers}
        if layer > 1 or convolutions == 3:
            weights.add(f"layer{layer}.0.downsample.0")
            norms.add(f"layer{layer}.0.downsample.1")
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{name}.weight" for name in weights} | {
        f"{n}.{part}" for n in norms for part in parts
    }


@pytest.mark.parametrize(
    ("name", "blocks", "convolutions", "published", "width"),
    [
        ("resnet18", (2, 2, 2, 2), 2, 11_689_512, 512),
        ("resnet34", (3, 4, 6, 3), 2, 21_797_672, 512),
        ("resnet50", (3, 4, 6, 3), 3, 25_557_032, 2048),
    ],
)
def test_a_resnet_has_the_names_and_the_size_of_torchvision_s(
    name: str, blocks: tuple[int, ...], convolutions: int, published: int, width: int
) -> None:
    encoder = ENCODERS[name]().build(3)
    assert set(encoder.state_dict()) == torchvision_names(blocks, convolutions)
    # torchvision's classifier has 1,000 classes.
    assert parameters(encoder) == published - (width + 1) * 1000
    assert encoder.width == width


def test_a_bottleneck_strides_in_its_second_convolution_and_is_what_it_is_on_paper() -> None:
    encoder: Any = Resnet50Config(width=8, stride=32).build(1).double().eval()
    block = encoder.layer2[0]
    features = torch.randn(2, 32, 8, 8, dtype=torch.float64)

    def normalised(maps: torch.Tensor, norm: Any) -> torch.Tensor:
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        made: torch.Tensor = maps * scale[:, None, None] + shift[:, None, None]
        return made

    def pixelwise(maps: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bchw,oc->bohw", maps, weight[:, :, 0, 0])

    inner = normalised(pixelwise(features, block.conv1.weight), block.bn1).clamp(min=0)
    padded = torch.nn.functional.pad(inner, (1, 1, 1, 1))
    around = torch.zeros(2, 16, 4, 4, dtype=torch.float64)
    for y in range(4):
        for x in range(4):
            window = padded[:, :, 2 * y : 2 * y + 3, 2 * x : 2 * x + 3]
            around[:, :, y, x] = torch.einsum("bchw,ochw->bo", window, block.conv2.weight)
    around = normalised(around, block.bn2).clamp(min=0)
    out = normalised(pixelwise(around, block.conv3.weight), block.bn3)
    convolution, norm = block.downsample
    beside = normalised(pixelwise(features[:, :, ::2, ::2], convolution.weight), norm)
    torch.testing.assert_close(block(features), (out + beside).clamp(min=0))


@pytest.mark.parametrize("name", ENCODERS)
def test_stem_and_stages_hold_every_parameter_and_buffer_once(name: str) -> None:
    encoder = ENCODERS[name]().build(1)
    parts = encoder.parts()
    held = [
        id(tensor)
        for part in parts
        for module in part
        for tensor in (*module.parameters(), *module.buffers())
    ]
    assert sorted(held) == sorted(map(id, (*encoder.parameters(), *encoder.buffers())))
    assert len(parts) == 1 + len(encoder.channels)


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "pixels"])
def test_a_stage_s_features_follow_from_the_parts_up_to_it(name: str) -> None:
    encoder = ENCODERS[name]().build(1).eval()
    before = encoder(IMAGES)
    for frozen in range(len(encoder.channels), 0, -1):
        with torch.no_grad():
            for module in encoder.parts()[frozen]:
                for parameter in module.parameters():
                    parameter.add_(0.1)
        after = encoder(IMAGES)
        same = [one.equal(other) for one, other in zip(before, after, strict=True)]
        assert same == [stage < frozen - 1 for stage in range(len(same))]


@pytest.mark.parametrize("name", [name for name in ENCODERS if name != "pixels"])
def test_what_is_frozen_stays_to_the_bit_while_the_rest_learns(name: str) -> None:
    chosen = ChosenEncoder(ENCODERS[name](), StartConfig("x.pth", 2)).build(1)
    chosen.freeze(2, statistics=False)
    # A momentum network is a deep copy; what is frozen in one is so in the other.
    encoder = copy.deepcopy(chosen).train()
    before = copy.deepcopy(encoder.state_dict())
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(2):
        optimiser.zero_grad()
        encoder(IMAGES)[-1].square().mean().backward()
        optimiser.step()
        encoder.train()  # as the loop says at every step
    held = {
        id(tensor)
        for part in encoder.parts()[:2]
        for module in part
        for tensor in (*module.parameters(), *module.buffers())
    }
    named = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
    assert {key for key, each in named.items() if id(each) in held} == {
        key for key, each in encoder.state_dict().items() if each.equal(before[key])
    }


def test_frozen_statistics_stay_while_all_parameters_learn() -> None:
    start = StartConfig(weights="anything", norm_statistics="frozen")
    encoder = ChosenEncoder(Resnet18Config(width=8), start).build(1).train()
    before = copy.deepcopy(encoder.state_dict())
    encoder(IMAGES)[-1].sum().backward()
    assert all(encoder.state_dict()[key].equal(each) for key, each in before.items())
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("options", "frozen"),
    [
        ({}, False),
        ({"weights": "x.pth"}, True),
        ({"weights": "x.pth", "norm_statistics": "learn"}, False),
        ({"weights": "x.pth", "norm_statistics": "frozen"}, True),
    ],
)
def test_statistics_are_frozen_where_weights_brought_them_unless_the_recipe_says_otherwise(
    options: dict[str, Any], frozen: bool
) -> None:
    encoder = ChosenEncoder(Resnet18Config(width=8), StartConfig(**options)).build(1).train()
    norms = [each for each in encoder.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    assert {norm.training for norm in norms} == {not frozen}


def test_what_was_frozen_learns_again_when_it_is_let() -> None:
    start = StartConfig(weights="x.pth", frozen_stages=3)
    encoder = ChosenEncoder(Resnet18Config(width=8), start).build(1).train()
    encoder.freeze(0)
    assert all(module.training for module in encoder.modules())
    assert all(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("name", "start", "message"),
    [
        (
            "resnet18",
            {"weights": "x.pth", "frozen_stages": 5},
            "frozen_stages: 5, .* a stem and 4 stages, .* is 4",
        ),
        (
            "pixels",
            {"weights": "x.pth", "frozen_stages": 2},
            "frozen_stages: 2, .* a stem and 1 stage",
        ),
        (
            "context_cnn",
            {"weights": "x.pth", "norm_statistics": "frozen"},
            "norm_statistics: frozen, but the encoder has no batch norm; leave it out",
        ),
    ],
)
def test_what_cannot_be_frozen_is_refused(
    name: str, start: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=f"^encoder.{message}"):
        ChosenEncoder(ENCODERS[name](), StartConfig(**start)).build(1)


def test_dilation_keeps_what_weights_trained_at_stride_32_see() -> None:
    published = Resnet18Config(width=8, stride=32).build(1).eval()
    dense = Resnet18Config(width=8, stride=8, keep_by="dilation").build(1).eval()
    dense.load_state_dict(published.state_dict())
    torch.testing.assert_close(dense(IMAGES)[-1][..., ::4, ::4], published(IMAGES)[-1])


def test_unit_strides_keep_resolution_without_spreading_the_kernels() -> None:
    encoder = Resnet18Config(width=8, stride=8, keep_by="unit_stride").build(1)
    kernels = [m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert {kernel.dilation for kernel in kernels} == {(1, 1)}


def grey_and_rgb(name: str, options: dict[str, Any]) -> tuple[Any, Any, Adapted]:
    """Return an encoder of RGB images, and one of one channel with the same weights."""
    config = parse(ENCODERS[name], options, "encoder")
    rgb = config.build(3).double().eval()
    for key, tensor in rgb.state_dict().items():  # no trained network's are all 0 and 1
        if key.endswith("running_mean"):
            tensor.uniform_(-1, 1)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 2)
    published = {**rgb.state_dict(), **REST[name]}
    adapted = config.adapt(published, channels=1)
    grey = config.build(1).double().eval()
    grey.load_state_dict(adapted.tensors)
    return grey, rgb, adapted


REST: dict[str, dict[str, torch.Tensor]] = {
    "resnet18": {"fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)},
    "efficientnet_lite0": {
        "_conv_head.weight": torch.zeros(1280, 320, 1, 1),
        "_bn1.weight": torch.zeros(1280),
        "_fc.bias": torch.zeros(1000),
        "_blocks.15._bn2.weight": torch.zeros(320),
    },
}
"""Tensors of the published networks that lie behind the features."""


def test_the_folded_stem_of_lite0_sees_a_grey_image_as_the_rgb_stem_sees_it_three_times() -> (
    None
):
    grey, rgb, adapted = grey_and_rgb("efficientnet_lite0", {})
    assert (adapted.mean, adapted.std) == ((0.498,), (0.502,))
    images = (IMAGES.double().sigmoid() - 0.498) / 0.502
    thrice = images.expand(-1, 3, -1, -1)
    for one, three in zip(grey(images), rgb(thrice), strict=True):
        torch.testing.assert_close(one, three, atol=1e-6, rtol=1e-6)


def test_the_folded_stem_of_a_resnet_differs_from_the_rgb_stem_at_the_image_s_edge_alone() -> (
    None
):
    grey, rgb, adapted = grey_and_rgb("resnet18", {"width": 8})
    assert adapted.mean is not None
    assert adapted.std is not None
    intensities = IMAGES.double().sigmoid()
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64)[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64)[:, None, None]
    one = grey.bn1(grey.conv1((intensities - adapted.mean[0]) / adapted.std[0]))
    three = rgb.bn1(rgb.conv1((intensities - mean) / std))
    difference = (one - three).abs()
    # A 7 x 7 filter of stride 2 reaches over the edge from the outermost two rows and columns.
    assert difference[..., 2:-2, 2:-2].max() < 1e-6
    assert difference.max() > 1e-3


def test_a_checkpoint_of_three_channels_keeps_them_and_is_shown_imagenet_s_colours() -> None:
    config = Resnet18Config(width=8)
    adapted = config.adapt(config.build(3).state_dict(), channels=3)
    assert adapted.mean == (0.485, 0.456, 0.406)
    assert adapted.std == (0.229, 0.224, 0.225)
    assert adapted.tensors["conv1.weight"].shape == (8, 3, 7, 7)


def test_of_a_checkpoint_of_one_channel_nobody_knows_what_it_expects() -> None:
    config = Resnet18Config(width=8)
    adapted = config.adapt(config.build(1).state_dict(), channels=1)
    assert (adapted.mean, adapted.std) == (None, None)


def test_a_checkpoint_from_before_batch_norm_counted_batches_fits_too() -> None:
    encoder = Resnet18Config(width=8).build(1)
    old = {k: v for k, v in encoder.state_dict().items() if not k.endswith("batches_tracked")}
    fitted = encoder.load_state_dict(Resnet18Config(width=8).adapt(old, channels=1).tensors)
    assert not fitted.missing_keys
    assert not fitted.unexpected_keys


def test_lite0_spread_for_a_finer_stride_sees_what_it_saw() -> None:
    published = ENCODERS["efficientnet_lite0"]().build(1).double().eval()
    dense = parse(ENCODERS["efficientnet_lite0"], {"stride": 8}, "encoder").build(1).double()
    dense.load_state_dict(published.state_dict())
    images = IMAGES.double()
    found, wanted = dense.eval()(images), published(images)
    for stage, every in enumerate((1, 1, 1, 2, 4)):
        torch.testing.assert_close(found[stage][..., ::every, ::every], wanted[stage])


def test_frozen_stages_of_lite0_answer_for_many_images_what_they_answer_for_each() -> None:
    encoder = ENCODERS["efficientnet_lite0"]().build(1).eval()
    images = torch.randn(20, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    each = [torch.cat(stage) for stage in zip(*map(encoder, images.split(1)), strict=True)]
    for frozen in (0, 1, 3):
        encoder.freeze(frozen, statistics=True)
        for one, other in zip(encoder.train()(images), each, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_pixels_are_the_means_of_an_8_x_8_grid_and_nothing_is_trained() -> None:
    encoder = PixelsConfig().build(1)
    by_hand = torch.stack(
        [
            IMAGES[:, :, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8].mean((2, 3))
            for y in range(8)
            for x in range(8)
        ],
        dim=2,
    ).reshape(2, 1, 8, 8)
    torch.testing.assert_close(encoder(IMAGES)[0], by_hand)
    assert parameters(encoder) == 0


WRONG: list[tuple[Any, str]] = [
    (torch.zeros(2, 3, 64, 64), "3 channels were given, .*, but the network takes 1"),
    (torch.zeros(2, 0, 64, 64), "0 channels were given, .*, but the network takes 1"),
    (
        torch.zeros(1, 64, 64),
        r"\(1, 64, 64\) was given, but \(B, C, H, W\) .*images\[None\]",
    ),
    (torch.zeros(64, 64), r"\(64, 64\) was given, but \(B, C, H, W\) is needed"),
    (torch.zeros(2, 1, 0, 64), r"0 x 64 pixels were given, but .* needs \d or more per side"),
    (torch.zeros(2, 1, 64, 64).byte(), "torch.uint8 was given, .* as torch.float32"),
    (np.zeros((2, 1, 64, 64)), "a ndarray was given, but a torch tensor is needed"),
]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("images", "message"), WRONG)
def test_images_that_an_encoder_cannot_see_are_refused_in_a_sentence(
    name: str, images: Any, message: str
) -> None:
    with pytest.raises(UserError, match=f"^images: {message}"):
        ENCODERS[name]().build(1)(images)


@pytest.mark.parametrize("name", ["context_cnn", "resnet18"])
def test_numbers_of_another_type_than_the_weights_are_refused_with_the_remedy(
    name: str,
) -> None:
    encoder = ENCODERS[name]().build(1)
    with pytest.raises(UserError, match=r"torch.float64 was .*images.to\(torch.float32\)"):
        encoder(IMAGES.double())
    with pytest.raises(UserError, match=r"torch.float32 was .*images.to\(torch.bfloat16\)"):
        encoder.bfloat16()(IMAGES)
    with torch.autocast("cpu", torch.bfloat16):
        assert encoder.float()(IMAGES.bfloat16())[-1].shape[2:] == (8, 8)


def test_one_image_whose_features_are_one_number_is_nothing_to_learn_batch_norm_from() -> None:
    encoder = parse(ContextCnnConfig, {"stride": 32, "norm": "batch"}, "encoder").build(1)
    with pytest.raises(UserError, match=r"values per channel.*batch_size.*norm: group"):
        encoder(IMAGES[:1, :, :32, :32])
    assert encoder(IMAGES[:, :, :32, :32])[-1].shape == (2, 112, 1, 1)
    assert encoder.eval()(IMAGES[:1, :, :32, :32])[-1].shape == (1, 112, 1, 1)


@cache
def built(name: str, norm: str, stride: int) -> Any:
    """Build an encoder with those of the options that it has."""
    options = {"norm": norm, "stride": stride, "width": 8}
    known = {key: each for key, each in options.items() if key in option_kinds(ENCODERS[name])}
    return parse(ENCODERS[name], known, "encoder").build(1)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("norm", "stride"), [("group", 8), ("batch", 8), ("batch", 32)])
@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(0, 9), max_size=5)
    | st.tuples(st.integers(0, 2), st.just(1), st.integers(1, 40), st.integers(1, 40)),
    training=st.booleans(),
)
def test_an_encoder_answers_whatever_it_is_shown_or_refuses_it_in_a_sentence(
    name: str, norm: str, stride: int, shape: list[int], training: bool
) -> None:
    encoder = built(name, norm, stride).train(training)
    with suppress(UserError):
        assert len(encoder(torch.zeros(tuple(shape)))) == len(encoder.channels)
