"""An encoder in a script of one's own: it prepares raw images, and pools what it sees."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from finetune.patches import MEAN, STD, small_encoder
from maskwise.artefacts.encoder import write_encoder
from maskwise.encoders import ENCODERS
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError
from preparations import preparation

SIDE = 16
CT = preparation(
    8, intensity={"name": "percentile"}, geometry={"name": "pad"}, modality="ct", mean=(0.5,)
)


def image(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_an_image_is_prepared_as_a_batch_of_one_normalised() -> None:
    prepared = small_encoder().prepare(image(SIDE, SIDE))
    assert (prepared.shape, prepared.dtype) == ((1, 1, SIDE, SIDE), torch.float32)
    expected = (image(SIDE, SIDE) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    assert np.array_equal(prepared[0, 0].numpy(), expected)


def test_it_has_the_type_of_the_weights() -> None:
    encoder = small_encoder().to(torch.float64)
    assert encoder.prepare(image(20, 30)).dtype == torch.float64
    assert encoder.pooled(encoder.prepare(image(20, 30))).dtype == torch.float64


def test_a_model_prepares_an_image_as_its_encoder_does() -> None:
    encoder = small_encoder()
    models: list[Classifier | Segmenter] = [
        Classifier(encoder, (1,), "mean", 16, 2),
        Segmenter(encoder, 1, (SIDE, SIDE)),
    ]
    for model in models:
        assert model.prepare(image(20, 30)).equal(encoder.prepare(image(20, 30)))
        with pytest.raises(UserError, match="the modality is mr"):
            model.prepare(image(20, 30), modality="mr")


@pytest.mark.parametrize("name", ENCODERS)
def test_pooled_features_are_the_mean_of_the_last_stage_and_as_many_as_the_width(
    name: str,
) -> None:
    encoder, images = ENCODERS[name]().build(1).eval(), torch.rand(3, 1, 64, 64)
    pooled = encoder.pooled(images)
    assert pooled.shape == (3, encoder.width)
    torch.testing.assert_close(pooled, encoder(images)[-1].mean(dim=(2, 3)))


def test_another_stage_or_pooling_can_be_asked_for() -> None:
    encoder, images = small_encoder(), torch.rand(3, 1, SIDE, SIDE)
    first = encoder(images)[0]
    both = torch.cat([first.mean(dim=(2, 3)), first.amax(dim=(2, 3))], dim=1)
    assert encoder.pooled(images, stage=0, pooling="mean_max").equal(both)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"stage": 9}, r"stage is 9, but the encoder has the stages 0 \(the finest\) to 1"),
        ({"stage": -3}, "stage is -3, but"),
        ({"stage": "last"}, "stage is 'last', but"),
        ({"pooling": "median"}, "there is no 'median'; choose from mean, mean_max, places"),
    ],
)
def test_a_stage_or_pooling_that_there_is_not_is_answered_with_those_there_are(
    asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        small_encoder().pooled(torch.rand(1, 1, SIDE, SIDE), **asked)


def test_an_encoder_that_was_merely_built_says_that_it_knows_of_no_preparation() -> None:
    with pytest.raises(UserError, match=r"encoder\.metadata: missing.*maskwise\.load_encoder"):
        ContextCnnConfig().build(1).prepare(image(SIDE, SIDE))


def test_what_is_masked_is_background_black_and_in_no_percentile() -> None:
    ramp = np.linspace(-50, 50, 64).reshape(8, 8)
    bare = ramp.copy()
    bare[0, :4] = -2000  # padding, far below all that was measured
    background = bare == -2000
    masked = CT.prepared(np.ma.array(bare, mask=background))
    assert (masked[0][background] == -0.5).all()
    assert masked[0][~background].max() == 0.5
    assert np.array_equal(masked, CT.normalised(CT.intensities(bare, background)))
    assert not np.array_equal(masked, CT.prepared(bare))


def test_a_pixel_of_which_any_channel_is_masked_is_background() -> None:
    colour = np.ma.array(image(8, 8, 3), mask=False)
    colour[2, 3, 1] = np.ma.masked
    grey = CT.prepared(colour)[0]
    assert grey[2, 3] == -0.5


def test_nan_that_is_masked_was_not_measured() -> None:
    values = image(8, 8).astype(np.float32)
    values[0, 0] = np.nan
    assert np.isfinite(CT.prepared(np.ma.masked_invalid(values))).all()


def test_an_image_of_the_networks_own_modality_is_welcome() -> None:
    assert np.array_equal(CT.prepared(image(8, 8), "ct"), CT.prepared(image(8, 8)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[0, 1]], r"a list was given, but a NumPy array \(h, w\) or \(h, w, c\) is needed"),
        (np.zeros((1, 1, 8, 8)), r"\(1, 1, 8, 8\) was given, but \(h, w\) or"),
        (np.zeros((0, 8)), r"\(0, 8\) was given"),
        (np.zeros((8, 8), complex), "it holds complex128, but real numbers are needed"),
        (np.full((8, 8), "1"), "it holds <U1, but real numbers"),
        (np.full((8, 8), np.nan), r"not finite numbers.*numpy\.ma\.masked_invalid"),
        (np.full((8, 8), -np.inf), "not finite numbers"),
        (np.full((8, 8), 1e300), "beyond what float32 can hold"),
        (np.zeros((3, 8, 8)), "has 8 channels, but the network was trained on images of 1: "),
    ],
)
def test_what_is_no_such_image_is_refused_in_a_sentence(given: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        CT.prepared(given)


EIGHT = preparation(8, ranges=(255,))


def test_an_image_of_more_bits_than_range_was_trained_on_is_refused_instead_of_black() -> None:
    message = "holds 16 bits, but the network was trained on images of 8 bits .*nearly black"
    for given in (image(8, 8).astype(np.uint16), np.ma.array(np.ones((8, 8), np.uint16))):
        with pytest.raises(UserError, match=message):
            EIGHT.prepared(given)
    with pytest.raises(UserError, match=r"holds 1 bit, .*its greys would mean others"):
        EIGHT.prepared(image(8, 8) > 99)


def test_an_image_of_any_type_that_range_was_trained_on_is_welcome() -> None:
    mixed = preparation(8, ranges=(255, 65535))
    for given in (image(8, 8), image(8, 8).astype(np.uint16)):
        assert np.array_equal(mixed.prepared(given), preparation(8).prepared(given))
    with pytest.raises(UserError, match="images of 8 bits or 16 bits under"):
        mixed.prepared(image(8, 8).astype(np.uint32))


def test_signed_numbers_under_range_are_refused_for_what_the_network_learnt_from() -> None:
    with pytest.raises(UserError, match=r"holds int16, but the network .*: .* 8 bits"):
        EIGHT.prepared(image(8, 8).astype(np.int16))


def test_where_intensity_is_not_range_the_type_does_not_matter() -> None:
    assert CT.prepared(image(8, 8).astype(np.int32)).shape == (1, 8, 8)


def test_another_modality_is_refused() -> None:
    message = "the modality is mr, but the network was trained on ct"
    with pytest.raises(UserError, match=message):
        CT.prepared(image(8, 8), modality="mr")


def test_torch_and_numpy_are_enough_to_load_prepare_and_pool(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    encoder = small_encoder()
    write_encoder(encoder, encoder.metadata, path)
    absent = ("pandas", "pydantic", "PIL", "sklearn", "kedro", "scipy", "matplotlib", "yaml")
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"
        "import numpy, maskwise\n"
        "encoder = maskwise.load_encoder(sys.argv[1])\n"
        "scan = numpy.ma.masked_less(numpy.arange(30 * 40).reshape(30, 40) % 256, 3)\n"
        "images = encoder.prepare(scan.astype('uint8'), modality='ultrasound')\n"
        "assert encoder.pooled(images).shape == (1, encoder.width)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
