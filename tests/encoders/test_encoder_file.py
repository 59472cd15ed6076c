"""``encoder.safetensors``: everything arrives, or it says what does not."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import maskwise
from maskwise.artefacts.encoder import (
    decoder_of,
    fill,
    keep_decoder,
    read_checkpoint,
    read_tensors,
    write_encoder,
    write_tensors,
)
from maskwise.encoders import ENCODERS
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.contract import Adapted, Encoder, Package
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.encoders.pixels import PixelsConfig
from maskwise.errors import UserError
from preparations import preparation

SMALL = ContextCnnConfig(widths=(8, 8), convolutions=(1, 1), norm="batch")
IMAGES = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def metadata(**changes: Any) -> EncoderMetadata:
    values: dict[str, Any] = {
        "architecture": "context_cnn",
        "arguments": {"widths": (8, 8), "convolutions": (1, 1), "norm": "batch"},
        "preparation": preparation(32, mean=(0.4,), std=(0.2,), geometry={"name": "pad"}),
        "source": "toy",
        "recipe": "random_box",
        "seed": 3,
        "data_hash": "abc",
        "version": maskwise.__version__,
    }
    return EncoderMetadata(**{**values, **changes})


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "encoder ü %.safetensors"
    encoder = SMALL.build(1)
    encoder(IMAGES)  # moves the running statistics, which are buffers
    write_encoder(encoder, metadata(), path)
    return path


def rewrite(path: Path, change: dict[str, torch.Tensor | None]) -> None:
    """Change tensors of the file, or take them out, and keep its metadata."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        described = file.metadata()
    tensors = {**load_file(path), **{k: v for k, v in change.items() if v is not None}}
    for name in [name for name, value in change.items() if value is None]:
        del tensors[name]
    save_file(tensors, path, described)


def test_a_loaded_encoder_answers_as_the_one_that_was_written(tmp_path: Path) -> None:
    encoder = SMALL.build(1)
    encoder(IMAGES)
    write_encoder(encoder, metadata(), tmp_path / "encoder.safetensors")
    loaded = maskwise.load_encoder(tmp_path / "encoder.safetensors")
    assert not loaded.training
    assert torch.equal(loaded(IMAGES)[-1], encoder.eval()(IMAGES)[-1])


def test_a_loaded_encoder_knows_its_preprocessing(written: Path) -> None:
    known: Any = maskwise.load_encoder(str(written)).metadata
    assert known == metadata()


def test_an_encoder_without_parameters_can_be_written_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "pixels.safetensors"
    write_encoder(PixelsConfig().build(1), metadata(architecture="pixels", arguments={}), path)
    assert maskwise.load_encoder(path)(IMAGES)[0].shape == (2, 1, 8, 8)


class Counting(Encoder):
    """Adds to each place its number, which it knows of itself and no file holds."""

    channels, strides = (1,), (1,)
    places: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = channels
        self.scale = nn.Parameter(torch.rand(channels, 1, 1))
        self.register_buffer("places", torch.arange(32.0), persistent=False)

    def parts(self) -> list[list[nn.Module]]:
        return [[], [self]]

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [images * self.scale + self.places]


@dataclass(frozen=True)
class CountingConfig:
    """Has no options."""

    package: ClassVar[Package | None] = None

    def build(self, channels: int) -> Counting:
        return Counting(channels)

    def adapt(self, tensors: Mapping[str, torch.Tensor], channels: int) -> Adapted:
        return Adapted(dict(tensors))


def test_what_an_encoder_knows_and_no_file_holds_is_right_again_when_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENCODERS, "counting", CountingConfig)
    encoder = Counting(1)
    path = tmp_path / "encoder.safetensors"
    write_encoder(encoder, metadata(architecture="counting", arguments={}), path)
    assert maskwise.load_encoder(path)(IMAGES)[0].equal(encoder(IMAGES)[0])


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_comes_back_from_its_file_to_the_bit(name: str, tmp_path: Path) -> None:
    encoder = ENCODERS[name]().build(1)
    encoder(IMAGES)  # moves running statistics
    write_encoder(
        encoder, metadata(architecture=name, arguments={}), tmp_path / "e.safetensors"
    )
    loaded = maskwise.load_encoder(tmp_path / "e.safetensors")
    for ours, theirs in zip(loaded(IMAGES), encoder.eval()(IMAGES), strict=True):
        assert ours.equal(theirs)


def test_loading_an_encoder_draws_no_number_from_the_global_generator(written: Path) -> None:
    before = torch.random.get_rng_state()
    maskwise.load_encoder(written)
    assert torch.random.get_rng_state().equal(before)


def test_filling_accounts_for_every_tensor() -> None:
    encoder = SMALL.build(1)
    number = len(encoder.state_dict())
    assert fill(encoder, SMALL.build(1).state_dict(), "here") == f"{number} of {number} tensors"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem.0.weight": None}, "missing: stem.0.weight"),
        ({"extra.weight": torch.zeros(2)}, "unexpected: extra.weight"),
        (
            {"stem.0.weight": torch.zeros(8, 3, 3, 3)},
            r"misshapen: stem.0.weight is \(8, 3, 3, 3\), not",
        ),
    ],
)
def test_one_wrong_tensor_stops_the_loading_and_is_named(
    written: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    rewrite(written, change)
    number = len(SMALL.build(1).state_dict())
    fitting = number if "extra.weight" in change else number - 1
    with pytest.raises(UserError, match=f"(?s){fitting} of {number} tensors fit.*{message}"):
        maskwise.load_encoder(written)


def test_nothing_is_loaded_when_anything_is_wrong() -> None:
    encoder = SMALL.build(1)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    other = SMALL.build(1).state_dict()
    del other["stem.0.weight"]
    with pytest.raises(UserError):
        fill(encoder, other, "here")
    assert all(
        torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items()
    )


def test_a_truncated_file_is_named(written: Path) -> None:
    written.write_bytes(written.read_bytes()[:-100])
    with pytest.raises(
        UserError, match=r"encoder ü %.safetensors: is not a readable safetensors"
    ):
        maskwise.load_encoder(written)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.safetensors: no such file"):
        maskwise.load_encoder(tmp_path / "nowhere.safetensors")


def test_a_file_of_another_project_is_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="was not written by maskwise"):
        maskwise.load_encoder(tmp_path / "foreign.safetensors")


def test_an_architecture_that_this_version_lacks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    write_encoder(SMALL.build(1), metadata(architecture="context_cn"), path)
    with pytest.raises(UserError, match=r"'context_cn', .*did you mean 'context_cnn'"):
        maskwise.load_encoder(path)


def test_writing_leaves_no_other_file_behind(written: Path) -> None:
    assert [path.name for path in written.parent.iterdir()] == [written.name]
    assert set(read_tensors(written)[1]) == {"encoder"}


def test_equal_weights_are_equal_bytes_however_their_description_was_put_together(
    tmp_path: Path,
) -> None:
    tensors, blocks = {"weight": torch.ones(3)}, {f"block_{i}": i for i in range(12)}
    contents = set()
    for order in (list(blocks), list(reversed(blocks))):
        write_tensors(tensors, {name: blocks[name] for name in order}, tmp_path / "a")
        contents.add((tmp_path / "a").read_bytes())
    assert len(contents) == 1


def test_loading_an_encoder_imports_neither_kedro_nor_pandas(written: Path) -> None:
    heavy = ("kedro", "pandas", "dvc", "pydantic", "lightning_fabric", "sklearn", "matplotlib")
    code = (
        "import sys, maskwise; "
        "assert 'torch' not in sys.modules; "
        "maskwise.load_encoder(sys.argv[1]); "
        f"assert not set(sys.modules) & set({heavy!r})"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_state_dict_of_torch_or_safetensors_is_read_alike(tmp_path: Path) -> None:
    state = SMALL.build(1).state_dict()
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    save_file(dict(state), tmp_path / "weights.safetensors")
    one = read_checkpoint(tmp_path / "weights.pth", "weights")
    two = read_checkpoint(tmp_path / "weights.safetensors", "weights")
    assert one.keys() == two.keys() == state.keys()
    assert all(torch.equal(one[name], two[name]) for name in state)


class Surprise:
    """Something that only unpickling arbitrary code could bring back."""


@pytest.mark.parametrize("content", [Surprise(), {"a": 1}, [1, 2]])
def test_a_checkpoint_of_anything_but_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"weights: (is not a readable checkpoint|holds)"):
        read_checkpoint(tmp_path / "weights.pth", "weights")


def test_a_decoder_beside_the_encoder_is_left_out_of_it_and_handed_over(tmp_path: Path) -> None:
    encoder = SMALL.build(1)
    keep_decoder(encoder, {"ups.0.weight": torch.ones(3, 2)})
    write_encoder(encoder, metadata(), tmp_path / "encoder.safetensors")
    again = maskwise.load_encoder(tmp_path / "encoder.safetensors")
    assert set(again.state_dict()) == set(encoder.state_dict())
    assert decoder_of(again)["ups.0.weight"].equal(torch.ones(3, 2))


def test_an_encoder_alone_has_no_decoder_beside_it(written: Path) -> None:
    assert decoder_of(maskwise.load_encoder(written)) == {}
