"""A fine-tuned model on its way out of the project, and back in elsewhere."""

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from finetune.patches import small_encoder
from maskwise import load_encoder, load_model
from maskwise.artefacts.encoder import FORMAT, read_tensors, write_encoder, write_tensors
from maskwise.artefacts.model import load_model as load_classifier
from maskwise.artefacts.model import write_model
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.pixels import PixelsConfig
from maskwise.encoders.pooling import AttentivePooling, pool
from maskwise.errors import UserError
from prediction.models import CLASSIFIER, MULTILABEL, random_classifier, save_multilabel

METADATA = replace(CLASSIFIER, fraction=0.25, images=10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    model = random_classifier(METADATA)
    write_model(model, METADATA, tmp_path / "models" / "best.safetensors")
    torch.save(model.state_dict(), tmp_path / "as it was.pt")
    return tmp_path / "models" / "best.safetensors"


def test_a_model_comes_back_with_every_tensor_and_its_metadata(path: Path) -> None:
    model = load_model(path)
    written = torch.load(path.parents[1] / "as it was.pt", weights_only=True)
    assert all(tensor.equal(written[name]) for name, tensor in model.state_dict().items())
    assert model.metadata == METADATA
    assert not model.training


def test_a_model_answers_with_logits_and_calibrated_probabilities(path: Path) -> None:
    model, images = load_classifier(path), torch.rand(5, 1, 16, 16)
    with torch.inference_mode():
        logits, probabilities = model(images), model.probabilities(images)
    assert logits.shape == (5, 2)
    torch.testing.assert_close(probabilities, (logits / 2.0).softmax(dim=1))


def test_loading_says_how_many_tensors_found_their_place(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        tensors = len(load_model(path).state_dict())
    assert f"{tensors} of {tensors} tensors" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop("head.bias"),
            r"17 of 18 tensors fit; nothing was loaded\n.*missing: head.b",
        ),
        (
            lambda t: t.update(other=torch.zeros(1)),
            r"18 of 18 tensors fit.*\n.*unexpected: other",
        ),
        (
            lambda t: t.update({"head.bias": torch.zeros(3)}),
            r"17 of 18 tensors fit.*\n.*misshapen: head.bias is \(3,\), not \(2,\)",
        ),
        (
            lambda t: t.update({"head.bias": torch.zeros(2, dtype=torch.int32)}),
            r"17 of 18.*\n.*of another type: head.bias is torch.int32, not torch.float32",
        ),
        (
            lambda t: t["head.bias"].fill_(torch.nan),
            r"17 of 18.*\n.*damaged: head.bias holds values that are not finite numbers",
        ),
    ],
)
def test_a_tensor_too_few_too_many_misshapen_or_without_numbers_stops_it_by_name(
    path: Path, change: object, message: str
) -> None:
    tensors, blocks = read_tensors(path)
    change(tensors)  # type: ignore[operator]
    write_tensors(tensors, blocks, path)
    with pytest.raises(UserError, match=message):
        load_model(path)


def test_an_encoder_is_no_model_and_a_model_no_encoder(path: Path, tmp_path: Path) -> None:
    encoder = tmp_path / "encoder.safetensors"
    write_encoder(small_encoder(), METADATA.encoder, encoder)
    with pytest.raises(
        UserError,
        match=r"holds an encoder, .*load_encoder.*fine-tuned model.*06_models/<source>/models",
    ):
        load_model(encoder)
    with pytest.raises(UserError, match="no encoder"):
        load_encoder(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"best.safetensors: no such file"):
        load_model(tmp_path / "best.safetensors")


def test_a_model_of_an_architecture_from_the_future_is_refused(path: Path) -> None:
    tensors, blocks = read_tensors(path)
    blocks["model"]["encoder"]["architecture"] = "context_cmm"
    write_tensors(tensors, blocks, path)
    with pytest.raises(UserError, match=r"needs the encoder 'context_cmm'.*mean 'context_cnn'"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.pop("classes"), "lacks classes"),
        (lambda m: m.update(later=1), "knows no later"),
        (lambda m: m.update(temperature=float("nan")), "temperature is nan"),
        (lambda m: m.update(temperature=-1.0), "temperature is -1.0"),
        (lambda m: m.update(stages=[9]), "layers do not fit one another"),
        (lambda m: m.update(pooling="median"), "no pooling 'median'"),
        (lambda m: m.update(classes=["a", "a"]), "not different names"),
        (lambda m: m["encoder"].update(architecture=[]), r"architecture is \[\]"),
        (lambda m: m["encoder"].update(arguments={"depth": 3}), "knows no depth"),
        (lambda m: m["encoder"]["arguments"].update(convolutions=[10**9, 1]), "convolutions"),
        (lambda m: m["encoder"]["preparation"].update(mean=[0.1, 0.2, 0.3]), "for 1 channel"),
        (lambda m: m["encoder"]["preparation"].update(std=[0.0]), r"std\[0\] is 0.0"),
        (lambda m: m["encoder"]["preparation"].update(height=10**6), "height is 1000000"),
        (lambda m: m.update(images=-1), "images is -1"),
        (lambda m: m["encoder"]["arguments"].update(stride=7), "stride is 7"),
        (
            lambda m: m["encoder"]["arguments"].update(widths=[8, True]),
            r"widths\[1\] is true",
        ),
    ],
)
def test_a_model_whose_description_is_damaged_is_refused_by_name(
    path: Path, change: Callable[[Any], object], said: str
) -> None:
    tensors, blocks = read_tensors(path)
    change(blocks["model"])
    write_tensors(tensors, blocks, path)
    with pytest.raises(UserError, match=f"best.safetensors: .*cannot be used.*{said}"):
        load_model(path)


def test_a_model_of_several_labels_comes_back_with_its_thresholds_and_answers_each_by_itself(
    tmp_path: Path,
) -> None:
    model, images = (
        load_classifier(save_multilabel(tmp_path / "m.safetensors")),
        torch.rand(5, 1, 16, 16),
    )
    assert model.metadata == MULTILABEL
    assert isinstance(model, Classifier)
    with torch.inference_mode():
        logits, probabilities = model(images), model.probabilities(images)
    torch.testing.assert_close(probabilities, (logits / 2.0).sigmoid())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.pop("thresholds"), "lacks thresholds"),
        (lambda m: m.pop("threshold_rule"), "lacks threshold_rule"),
        (
            lambda m: m.update(thresholds=[0.5, 0.5]),
            "thresholds are 2, but there are 3 classes",
        ),
        (lambda m: m.update(thresholds=[0.5, 0.5, 1.5]), r"thresholds\[2\] is 1.5"),
        (lambda m: m.update(thresholds=[0.5, 0.5, math.nan]), r"thresholds\[2\] is nan"),
        (lambda m: m.update(thresholds="high"), "thresholds is 'high'"),
        (lambda m: m.update(classes=["a", "a", "b"]), "not different names"),
    ],
)
def test_a_model_of_several_labels_whose_description_is_damaged_is_refused_by_name(
    tmp_path: Path, change: Callable[[Any], object], said: str
) -> None:
    path = save_multilabel(tmp_path / "best.safetensors")
    tensors, blocks = read_tensors(path)
    change(blocks["multilabel"])
    write_tensors(tensors, blocks, path)
    with pytest.raises(UserError, match=f"best.safetensors: .*cannot be used.*{said}"):
        load_model(path)


WRONG: list[Any] = [
    *(math.nan, math.inf, -1, 0, 10**12, 10**400, True, None, 1.5, "", "x" * 10**6),
    *([], {}, [0] * 10**5, ["a"] * 10**5, [math.nan], {"x" * 10**6: 1}),
    {str(i): i for i in range(10**5)},
]


@st.composite
def damages(draw: st.DrawFn) -> Callable[[Any], None]:
    """Draw one wrong value, missing key or further key, anywhere in the description."""
    depth, choice = draw(st.integers(1, 3)), draw(st.integers(0, 10**6))
    wrong, kind = draw(st.sampled_from(WRONG)), draw(st.sampled_from(["put", "take", "add"]))

    def damage(block: Any) -> None:
        for level in range(depth):
            keys = list(block) if isinstance(block, dict) else range(len(block))
            key = keys[choice % len(keys)]
            if level + 1 == depth or not isinstance(block[key], dict | list) or not block[key]:
                break
            block = block[key]
        if kind == "put" or isinstance(block, list):
            block[key] = wrong
        elif kind == "take":
            del block[key]
        else:
            block["more"] = wrong

    return damage


FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def refusal(path: Path) -> str | None:
    """Return what a model is refused with; None where what is wrong of it matters to nobody."""
    try:
        load_model(path)
    except UserError as error:
        return str(error)
    return None


@FEW
@given(damage=damages())
def test_whatever_is_wrong_in_a_description_ends_in_one_short_message(
    path: Path, damage: Callable[[Any], None]
) -> None:
    tensors, blocks = read_tensors(path)
    damage(blocks["model"])
    write_tensors(tensors, blocks, path.with_name("damaged.safetensors"))
    said = refusal(path.with_name("damaged.safetensors"))
    assert said is None or ("damaged.safetensors: " in said and len(said) < 2_000)


@FEW
@given(place=st.integers(0, 4_000), byte=st.integers(0, 255), end=st.integers(0, 4_000))
def test_whatever_is_wrong_in_the_bytes_of_a_file_ends_in_one_short_message(
    path: Path, place: int, byte: int, end: int
) -> None:
    damaged = path.with_name("damaged.safetensors")
    content = bytearray(path.read_bytes())
    content[place] = byte
    damaged.write_bytes(content if end % 2 else content[:end])
    said = refusal(damaged)
    assert said is None or ("damaged.safetensors: " in said and len(said) < 2_000)


@pytest.mark.parametrize("length", [2**60, 2**63, 2**64 - 1, 0])
def test_a_file_whose_header_has_no_such_length_is_refused(path: Path, length: int) -> None:
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(
        UserError, match=r"best.safetensors: is not a readable safetensors file"
    ):
        load_model(path)


def test_a_description_that_holds_lists_in_lists_without_end_is_refused(path: Path) -> None:
    tensors, _ = read_tensors(path)
    save_file(tensors, path, {"format": FORMAT, "model": "[" * 10**5})
    with pytest.raises(UserError, match=r"best.safetensors: .*cannot be used"):
        load_model(path)


def test_of_many_tensors_that_do_not_fit_the_first_are_named(path: Path) -> None:
    tensors, blocks = read_tensors(path)
    tensors.update({f"t{i:05}": torch.zeros(1) for i in range(10_000)})
    write_tensors(tensors, blocks, path)
    with pytest.raises(UserError, match=r"unexpected: t00000\n(.*\n)*  and 9,990 more$"):
        load_model(path)


def test_a_description_that_is_no_json_is_refused_by_name(path: Path) -> None:
    tensors, _ = read_tensors(path)
    save_file(tensors, path, {"format": FORMAT, "model": "{"})
    with pytest.raises(UserError, match=r"best.safetensors: .*cannot be used"):
        load_model(path)


@pytest.mark.parametrize("change", [{"features": 10**9}, {"encoder": {"widths": [8, 4096]}}])
def test_a_model_that_asks_for_more_than_its_file_holds_is_refused_before_it_is_built(
    path: Path, change: dict[str, Any]
) -> None:
    tensors, blocks = read_tensors(path)
    blocks["model"]["features"] = change.get("features", 24)
    blocks["model"]["encoder"]["arguments"].update(change.get("encoder", {}))
    write_tensors(tensors, blocks, path)
    with pytest.raises(UserError, match=r"misshapen: .*, not "):
        load_model(path)


def test_a_model_is_loaded_without_pandas_kedro_and_the_rest_of_the_pipeline(
    path: Path,
) -> None:
    heavy = ("kedro", "dvc", "pandas", "pyarrow", "pydantic", "sklearn", "scipy", "PIL", "tqdm")
    code = (
        "import sys, numpy, safetensors.torch, torch\n"
        "theirs = set(sys.modules)\n"
        "import maskwise\n"
        f"assert isinstance(maskwise.load_model({str(path)!r}), torch.nn.Module)\n"
        f"print([name for name in {heavy!r} if name in set(sys.modules) - theirs])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[1.5, 5.5]]),
        ("mean_max", [[1.5, 5.5, 3.0, 7.0]]),
        ("places", [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]),
    ],
)
def test_pooling_turns_a_feature_map_into_numbers(
    pooling: str, expected: list[list[float]]
) -> None:
    features = torch.arange(8.0).reshape(1, 2, 2, 2)
    np.testing.assert_array_equal(pool(features, pooling).numpy(), expected)


def test_attentive_pooling_begins_as_the_mean() -> None:
    maps = [torch.randn(2, 24, 3, 5), torch.randn(2, 6, 2, 2)]
    for found, each in zip(AttentivePooling([24, 6])(maps), maps, strict=True):
        torch.testing.assert_close(found, pool(each, "mean"))


def test_attentive_pooling_weighs_places_as_a_loop_over_groups_of_channels_does() -> None:
    features, query = torch.randn(2, 8, 3, 2), torch.randn(8)
    pooling = AttentivePooling([8])
    pooling.queries[0].data.copy_(query)
    expected = torch.zeros(2, 8)
    for image in range(2):
        for group in range(4):
            own = slice(2 * group, 2 * group + 2)
            places = features[image, own].flatten(1)
            shares = torch.stack([query[own] @ place / 2**0.5 for place in places.T]).exp()
            expected[image, own] = (places * shares / shares.sum()).sum(1)
    torch.testing.assert_close(pooling([features])[0], expected)


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no pooling 'median'"):
        pool(torch.zeros(1, 1, 2, 2), "median")


def test_a_classifier_sees_the_named_stages_alone() -> None:
    model = Classifier(small_encoder(), (1,), "mean", 16, 2)
    images = torch.rand(3, 1, 16, 16)
    with torch.inference_mode():
        expected = model.head(model.encoder(images)[1].mean(dim=(2, 3)))
        torch.testing.assert_close(model(images), expected)


def test_an_image_of_another_size_is_refused_where_every_place_counts_for_itself() -> None:
    model = Classifier(PixelsConfig().build(1), (0,), "places", 64, 2)
    assert model(torch.rand(3, 1, 20, 30)).shape == (3, 2)  # always 8 x 8 features
    model = Classifier(small_encoder(), (1,), "places", 64, 2)
    with pytest.raises(UserError, match=r"24 x 16 pixels .* makes 96 features, .* takes 64"):
        model(torch.rand(3, 1, 24, 16))


def test_metadata_survive_being_changed_and_written_again(path: Path, tmp_path: Path) -> None:
    model = load_model(path)
    changed = replace(METADATA, temperature=3.0)
    write_model(model, changed, tmp_path / "again.safetensors")
    assert load_model(tmp_path / "again.safetensors").temperature == 3.0
