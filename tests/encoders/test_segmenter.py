"""An encoder that outlines: whole images, images larger than it was trained on, on disk."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finetune.patches import SMALL, metadata, small_encoder
from maskwise import load_model
from maskwise.artefacts.encoder import write_tensors
from maskwise.artefacts.model import SegmenterMetadata, build_segmenter, write_model
from maskwise.encoders.contract import Encoder
from maskwise.encoders.segmenter import Segmenter
from maskwise.encoders.unet import DecoderConfig
from maskwise.errors import UserError

METADATA = SegmenterMetadata(
    encoder=metadata("context_cnn", dict(SMALL["context_cnn"])),
    task="lesion",
    classes=("lesion", "bone"),
    mode="full",
    fraction=0.25,
    images=10,
    validation_loss=0.5,
)


class Brightness(nn.Module):
    """Calls lesion what is bright: each pixel for itself, so that a window changes nothing."""

    def forward(self, features: list[Tensor], _: Tensor) -> Tensor:
        return torch.cat([-features[-1], features[-1]], dim=1)


class Same(Encoder):
    """The image is its only feature map."""

    channels, strides, inputs = (1,), (1,), 1

    def parts(self) -> list[list[nn.Module]]:
        return [[], [self]]

    def features(self, images: Tensor) -> list[Tensor]:
        return [images]


@pytest.mark.parametrize("architecture", list(SMALL))
@pytest.mark.parametrize("side", [16, 32])
def test_there_is_an_answer_a_pixel_and_class_beside_the_background(
    architecture: str, side: int
) -> None:
    model = Segmenter(small_encoder(architecture), classes=2, size=(side, side))
    assert model(torch.rand(3, 1, side, side)).shape == (3, 3, side, side)


def test_an_image_that_the_stride_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"8 does not divide an image of 20 x 16 pixels"):
        Segmenter(small_encoder(), classes=1, size=(20, 16))


def test_an_image_of_the_size_of_training_is_seen_at_once() -> None:
    model, images = build_segmenter(small_encoder(), METADATA).eval(), torch.rand(2, 1, 16, 16)
    with torch.inference_mode():
        expected = model(images).softmax(dim=1)
        assert model.probabilities(images).equal(expected)
        assert model.outline(images).equal(expected.argmax(dim=1))


@pytest.mark.parametrize("size", [(16, 40), (37, 50), (9, 16)])
def test_an_image_of_another_size_is_seen_through_a_window(size: tuple[int, int]) -> None:
    model, images = Segmenter(Same(), classes=1, size=(16, 16)), torch.randn(2, 1, *size)
    model.decoder = Brightness()  # type: ignore[assignment]
    torch.testing.assert_close(
        model.probabilities(images), torch.cat([-images, images], dim=1).softmax(dim=1)
    )
    assert model.outline(images).equal((images[:, 0] > 0).long())


def test_a_segmenter_comes_back_with_every_tensor_and_its_metadata(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, images = build_segmenter(small_encoder(), METADATA).eval(), torch.rand(2, 1, 16, 16)
    write_model(model, METADATA, tmp_path / "best.safetensors")
    with caplog.at_level("INFO"):
        again = load_model(tmp_path / "best.safetensors")
    tensors = len(model.state_dict())
    assert f"{tensors} of {tensors} tensors" in caplog.text
    assert again.metadata == METADATA
    with torch.inference_mode():
        assert again(images).equal(model(images))


@pytest.mark.parametrize("layout", ["unet", "lean"])
def test_a_decoder_of_either_layout_comes_back(tmp_path: Path, layout: Any) -> None:
    described = replace(METADATA, network=DecoderConfig(layout=layout))
    model, images = build_segmenter(small_encoder(), described).eval(), torch.rand(2, 1, 16, 16)
    write_model(model, described, tmp_path / "best.safetensors")
    again = load_model(tmp_path / "best.safetensors")
    assert again.metadata == described
    with torch.inference_mode():
        assert again(images).equal(model(images))


def test_a_file_from_before_there_was_a_choice_holds_a_lean_decoder(tmp_path: Path) -> None:
    model = build_segmenter(small_encoder(), METADATA)
    block = {name: each for name, each in asdict(METADATA).items() if name != "network"}
    write_tensors(model.state_dict(), {"segmenter": block}, tmp_path / "old.safetensors")
    assert load_model(tmp_path / "old.safetensors").metadata == METADATA
    assert METADATA.network.layout == "lean"


@pytest.mark.parametrize("layout", ["unet", "lean"])
def test_a_file_from_before_activations_could_leak_answers_as_it_did(
    tmp_path: Path, layout: Any
) -> None:
    lean, unet = DecoderConfig(layout="lean"), DecoderConfig(norm="group", leak=0.0)
    described = replace(METADATA, network=lean if layout == "lean" else unet)
    model, images = build_segmenter(small_encoder(), described).eval(), torch.rand(2, 1, 16, 16)
    block = asdict(described)
    block["network"] = {"layout": layout, "width": 16, "norm": "group"}
    write_tensors(model.state_dict(), {"segmenter": block}, tmp_path / "old.safetensors")
    again = load_model(tmp_path / "old.safetensors")
    assert again.metadata == described
    with torch.inference_mode():
        assert again(images).equal(model(images))


def test_a_segmenter_that_lacks_a_tensor_is_not_loaded_at_all(tmp_path: Path) -> None:
    model = Segmenter(small_encoder(), 2, (16, 16))
    model.decoder.head[0].register_parameter("bias", None)
    write_model(model, METADATA, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"nothing was loaded\n  missing: decoder.head.0.bias"):
        load_model(tmp_path / "model.safetensors")


@pytest.mark.parametrize("ask", ["forward", "probabilities", "outline"])
@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 3, 16, 16), "3 channels were given"), ((1, 16, 16), r"\(B, C, H, W\) is needed")],
)
def test_what_is_no_image_of_the_network_is_refused_in_a_sentence(
    ask: str, shape: tuple[int, ...], message: str
) -> None:
    model = build_segmenter(small_encoder(), METADATA).eval()
    with pytest.raises(UserError, match=message):
        getattr(model, ask)(torch.zeros(shape))


def test_logits_of_an_image_between_the_strides_are_refused_with_the_remedy() -> None:
    model = build_segmenter(small_encoder(), METADATA).eval()
    with pytest.raises(UserError, match=r"20 x 18 pixels .* multiples of 8; probabilities\("):
        model(torch.zeros(1, 1, 20, 18))
