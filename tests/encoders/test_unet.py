"""A decoder past the features of every stride, and past the image itself."""

from typing import Any

import pytest
import torch
import yaml
from monai.networks.nets.basic_unet import BasicUNet, UpCat
from torch import Tensor, nn

from finetune.patches import small_encoder
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.contract import Encoder
from maskwise.encoders.resnet import Resnet18Config
from maskwise.encoders.segmenter import Segmenter
from maskwise.encoders.unet import DecoderConfig, UnetDecoder
from maskwise.errors import UserError
from maskwise.pretrain.recipe import parse_recipe
from project import PROJECT

UNET = DecoderConfig()


class Halving(Encoder):
    """Poolings alone, as deep as its strides say."""

    def __init__(self, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.strides, self.channels, self.inputs = strides, (1,) * len(strides), 1

    def parts(self) -> list[list[nn.Module]]:
        return [[] for _ in range(1 + len(self.strides))]

    def features(self, images: Tensor) -> list[Tensor]:
        return [nn.functional.avg_pool2d(images, stride) for stride in self.strides]


def test_maps_of_one_stride_stand_for_strides_that_halve_towards_the_image() -> None:
    decoder = UnetDecoder(UNET, 1, (192, 192, 192), (8, 8, 8), 2)
    drawn = [layer for layer in decoder.raised if isinstance(layer, nn.ConvTranspose2d)]
    assert [layer.stride for layer in drawn] == [(4, 4), (2, 2)]  # to strides of 2 and of 4
    assert [layer.out_channels for layer in drawn] == [2 * 16, 4 * 16]
    features = [torch.rand(1, 192, 2, 4, requires_grad=True) for _ in range(3)]
    decoder(torch.rand(1, 1, 16, 32), features).sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in features)


@pytest.mark.parametrize(
    "encoder",
    [
        small_encoder("context_cnn"),
        ContextCnnConfig().build(1),
        small_encoder("resnet18"),
        Resnet18Config(width=8, stride=32).build(1),
        Resnet18Config(width=8, stride=8, keep_by="dilation").build(1),
        Halving((1, 2, 4)),
        Halving((2, 4, 8, 16, 32)),
        Halving((8, 8, 16)),
        # Of one stride, as a transformer's: drawn apart.
        Halving((8, 8, 8)),
        Halving((2, 2, 2, 2)),
    ],
    ids=lambda encoder: str(encoder.strides),
)
def test_there_is_an_answer_a_pixel_whatever_the_encoder_s_strides(encoder: Encoder) -> None:
    model = Segmenter(encoder, 2, (32, 64), config=UNET).eval()
    assert model(torch.rand(2, 1, 32, 64)).shape == (2, 3, 32, 64)


def test_a_pixel_s_own_value_reaches_its_answer_past_the_encoder() -> None:
    torch.manual_seed(0)
    model = Segmenter(Halving((4, 8)), 1, (16, 16), config=UNET).eval()
    images = torch.rand(1, 1, 16, 16, requires_grad=True)
    model.encoder.forward = lambda images: [  # type: ignore[method-assign]
        torch.zeros(1, 1, 4, 4),
        torch.zeros(1, 1, 2, 2),
    ]
    (gradient,) = torch.autograd.grad(model(images)[0, 1, 5, 6], images)
    assert gradient[0, 0, 5, 6] != 0


def test_a_level_is_monai_s() -> None:
    decoder = UnetDecoder(UNET, 1, (16, 32), (1, 2), 3).eval()
    leaky, norm = ("leakyrelu", {"negative_slope": 0.1}), ("instance", {"affine": True})
    peer = UpCat(2, 32, 16, 16, act=leaky, norm=norm, bias=True, dropout=0.0).eval()
    own = [*decoder.ups.parameters(), *decoder.blocks.parameters()]
    for mine, theirs in zip(own, peer.parameters(), strict=True):
        assert mine.shape == theirs.shape
        theirs.data.copy_(mine.data)
    features = [torch.rand(2, 16, 8, 8), torch.rand(2, 32, 4, 4)]
    expected = decoder.head(peer(features[1], features[0]))
    torch.testing.assert_close(decoder(torch.rand(2, 1, 8, 8), features), expected)


def test_the_recipe_basic_unet_answers_as_monai_s_network() -> None:
    path = PROJECT / "conf/base/recipes/parameters_basic_unet.yml"
    block = yaml.safe_load(path.read_text(encoding="utf-8"))["basic_unet"]
    encoder = parse_recipe(block, "basic_unet").encoder.build(1)
    model = Segmenter(encoder, 2, (32, 32), config=UNET).eval()
    peer = BasicUNet(2, 1, 3, features=(*encoder.channels, 16)).eval()
    decoder = model.decoder
    assert isinstance(decoder, UnetDecoder)
    levels = [
        parameter
        for level in zip(decoder.ups, decoder.blocks, strict=True)
        for part in level
        for parameter in part.parameters()
    ]
    own = [*encoder.parameters(), *levels, *decoder.head.parameters()]
    for mine, theirs in zip(own, peer.parameters(), strict=True):
        theirs.data.copy_(mine.data)
    images = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(model(images), peer(images))


def test_wide_features_do_not_make_the_fine_levels_wide() -> None:
    decoder = UnetDecoder(DecoderConfig(width=4), 1, (64, 512), (2, 4), 2)
    assert [up.out_channels for up in decoder.ups] == [8, 4]


@pytest.mark.parametrize("norm", ["group", "batch", "instance"])
def test_the_norm_of_every_level_is_the_one_asked_for(norm: Any) -> None:
    decoder = UnetDecoder(DecoderConfig(norm=norm), 1, (16, 32), (2, 4), 2)
    kinds = {"group": nn.GroupNorm, "batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d}
    kind, anything = kinds[norm], tuple(kinds.values())
    norms = [each for each in decoder.modules() if isinstance(each, anything)]
    assert len(norms) == 5
    assert all(isinstance(each, kind) for each in norms)


def test_an_encoder_of_one_stride_has_nothing_to_be_taken_past() -> None:
    with pytest.raises(UserError, match=r"the stride 8, .* write network: {layout: lean}"):
        Segmenter(small_encoder("pixels"), 1, (16, 16), config=UNET)


def test_options_of_the_other_layout_are_refused() -> None:
    with pytest.raises(ValueError, match="width, norm and leak are options of layout: unet"):
        DecoderConfig(layout="lean", width=32)
