"""What every encoder promises, and the layouts that others published."""

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
from maskwise.encoders.pixels import PixelsConfig
from maskwise.encoders.resnet18 import Resnet18Config
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
        ({"norm": "grup"}, "encoder.norm: .*'group' or 'batch'"),
        ({"strid": 8}, "encoder.strid: there is no such option; did you mean 'stride'"),
    ],
)
def test_a_wrong_layout_names_the_key_and_the_remedy(
    block: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        parse(ContextCnnConfig, block, "encoder")


def torchvision_names() -> set[str]:
    """Write out the parameters of torchvision's ``resnet18`` but its classifier."""
    norms = {"bn1"}
    weights = {"conv1"}
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            weights |= {f"layer{layer}.{block}.conv{i}" for i in (1, 2)}
            norms |= {f"layer{layer}.{block}.bn{i}" for i in (1, 2)}
        if layer > 1:
            weights.add(f"layer{layer}.0.downsample.0")
            norms.add(f"layer{layer}.0.downsample.1")
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{name}.weight" for name in weights} | {
        f"{n}.{part}" for n in norms for part in parts
    }


def test_resnet18_has_the_names_and_the_size_of_torchvision_s() -> None:
    encoder = Resnet18Config().build(3)
    assert set(encoder.state_dict()) == torchvision_names()
    assert parameters(encoder) == 11_689_512 - 513_000  # torchvision's, less its classifier


def test_dilation_keeps_what_weights_trained_at_stride_32_see() -> None:
    published = Resnet18Config(width=8, stride=32).build(1).eval()
    dense = Resnet18Config(width=8, stride=8, keep_by="dilation").build(1).eval()
    dense.load_state_dict(published.state_dict())
    torch.testing.assert_close(dense(IMAGES)[-1][..., ::4, ::4], published(IMAGES)[-1])


def test_unit_strides_keep_resolution_without_spreading_the_kernels() -> None:
    encoder = Resnet18Config(width=8, stride=8, keep_by="unit_stride").build(1)
    kernels = [m for m in encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert {kernel.dilation for kernel in kernels} == {(1, 1)}


def test_a_checkpoint_of_rgb_filters_sees_a_grey_image_as_it_saw_it_three_times() -> None:
    rgb = Resnet18Config(width=8).build(3).double().eval()
    published = {
        **rgb.state_dict(),
        "fc.weight": torch.zeros(10, 64),
        "fc.bias": torch.zeros(10),
    }
    grey = Resnet18Config(width=8).build(1).double().eval()
    grey.load_state_dict(Resnet18Config(width=8).adapt(published, channels=1))
    images = IMAGES.double()
    thrice = images.expand(-1, 3, -1, -1)
    torch.testing.assert_close(grey(images)[-1], rgb(thrice)[-1])


def test_a_checkpoint_from_before_batch_norm_counted_batches_fits_too() -> None:
    encoder = Resnet18Config(width=8).build(1)
    old = {k: v for k, v in encoder.state_dict().items() if not k.endswith("batches_tracked")}
    fitted = encoder.load_state_dict(Resnet18Config(width=8).adapt(old, channels=1))
    assert not fitted.missing_keys
    assert not fitted.unexpected_keys


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
