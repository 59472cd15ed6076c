"""``encoder.safetensors``: weights, and in the metadata all that is needed to use them.

Needs torch and safetensors only. All or nothing: every tensor is accounted for, or it stops.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from maskwise.artefacts.atomic import replacing
from maskwise.description import from_json
from maskwise.encoders import ENCODERS
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError, cut, hint, listed, shown
from maskwise.preparation import Preparation, upgraded
from maskwise.seeds import torch_stream

FORMAT = "maskwise/2"
READABLE = (FORMAT, "maskwise/1")
"""The latter is of version 0.1, and ``upgraded``."""
DECODER = "decoder."
"""Prefix of tensors that may stand beside the encoder's: of the decoder that it was
pre-trained with."""
WITHIN = ("state_dict", "model", "teacher")
"""Where training checkpoints of other projects hold their weights: most, MAE's, DINO's."""
MOST_TENSORS = 10
"""Named in a message."""
M = TypeVar("M", bound=nn.Module)


def write_encoder(encoder: nn.Module, metadata: EncoderMetadata, path: Path) -> None:
    """Write the encoder's parameters and buffers with their metadata.

    And those of the decoder that ``keep_decoder`` put beside it.
    """
    beside = {f"{DECODER}{name}": each for name, each in decoder_of(encoder).items()}
    tensors = {**encoder.state_dict(), **beside}
    write_tensors(tensors, {"encoder": asdict(metadata)}, path)


def keep_decoder(encoder: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Put the weights of a pre-trained decoder beside the encoder; it learns none of them."""
    vars(encoder)["decoder_tensors"] = dict(tensors)


def decoder_of(encoder: nn.Module) -> dict[str, Tensor]:
    """Return the weights that ``keep_decoder`` put there, empty where it did not."""
    return dict(vars(encoder).get("decoder_tensors", {}))


def load_encoder(path: str | Path) -> Encoder:
    """Return the encoder in ``path``, in eval mode, its ``metadata`` an attribute.

    ``prepare(array)`` makes of a raw image the batch of one, ``(1, C, H, W)``, that it takes;
    it returns one feature map per stage, and ``pooled(images)`` a row of numbers per image.
    ``decoder_of(encoder)`` holds the weights of a decoder, if the file has them.

    Raises:
        UserError: if the file is not an encoder, or a tensor is missing, unexpected or
            misshapen.
    """
    path = Path(path)
    tensors, blocks = read_tensors(path)
    if "encoder" not in blocks:
        raise UserError(f"{path}: holds {listed(blocks, 3) or 'no description'} and no encoder")
    with usable(path):
        metadata = encoder_metadata(blocks["encoder"])
        own = {name: each for name, each in tensors.items() if not name.startswith(DECODER)}
        seen = metadata.preparation
        encoder = rebuild(lambda: build_encoder(metadata, str(path)), own, seen, str(path))
    encoder.metadata = metadata
    beside = set(tensors) - set(own)
    if beside:
        keep_decoder(encoder, {name.removeprefix(DECODER): tensors[name] for name in beside})
    return encoder


@contextmanager
def usable(path: Path) -> Iterator[None]:
    """Turn whatever a damaged description leads to into one message."""
    try:
        yield
    except (UserError, MemoryError):  # the latter says nothing about the file
        raise
    except Exception as error:
        # Values that are wrong in any way raise anything: TypeError, KeyError, RuntimeError.
        raise UserError(
            f"{path}: its metadata cannot be used ({cut(str(error), 400)}); it is damaged, or "
            "from another version of maskwise: make it again, or take another copy"
        ) from None


def encoder_metadata(block: Mapping[str, Any]) -> EncoderMetadata:
    """Build the metadata from its JSON block; ``ValueError`` where it is wrong."""
    metadata = from_json(EncoderMetadata, upgraded(block))
    arguments = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in metadata.arguments.items()
    }
    return replace(metadata, arguments=arguments)


def rebuild(
    build: Callable[[], M], tensors: Mapping[str, Tensor], seen: Preparation, where: str
) -> M:
    """Return the module that ``build`` makes, in eval mode, with the weights of ``tensors``.

    It is built, and shown an image of the size that it was trained on, without memory first: a
    description that is wrong must not take all there is. Then it is built anew, for the
    sake of whatever it computes when it is built and no file holds.
    """
    with torch.device("meta"):
        module = build().eval()
    check_fit(module, tensors, where)
    image = torch.empty(1, seen.channels, seen.height, seen.width, device="meta")
    try:
        with torch.inference_mode():
            module(image)
    except (RuntimeError, IndexError):  # what torch says about it names no figure of the file
        raise ValueError("its layers do not fit one another, or its image") from None
    # The fresh weights are drawn from torch's global generator, which is not ours.
    with torch_stream(), torch.device("cpu"):
        module = build().eval()
    module.load_state_dict(dict(tensors))
    return module


def build_encoder(metadata: EncoderMetadata, where: str) -> Encoder:
    """Build the architecture that ``metadata`` names, with fresh weights."""
    if metadata.architecture not in ENCODERS:
        raise UserError(
            f"{where}: needs the encoder {shown(metadata.architecture)}, which this version of "
            f"maskwise does not have; {hint(metadata.architecture, ENCODERS)}"
        )
    config = from_json(ENCODERS[metadata.architecture], metadata.arguments)
    return config.build(metadata.preparation.channels)


def write_tensors(tensors: Mapping[str, Tensor], blocks: Mapping[str, Any], path: Path) -> None:
    """Write tensors with one JSON block per name in the safetensors metadata."""
    metadata = {name: json.dumps(block, sort_keys=True) for name, block in blocks.items()}
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        save_file(contiguous, temporary, {"format": FORMAT, **metadata})
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Put the metadata in order, in place: equal weights must be equal bytes, which DVC hashes.

    safetensors keeps the metadata in a hash map, whose order differs from run to run. The file
    begins with the header's length (8 bytes, little endian) and the header, JSON and blanks.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > length:
            raise ValueError(f"the header of {path} grew from {length} to {len(text)} bytes")
        file.seek(8)
        file.write(text.ljust(length))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write_tensors`` wrote, or raise ``UserError``."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: is not a readable safetensors file ({cut(str(error), 400)})"
        ) from None
    if metadata.get("format") not in READABLE:
        raise UserError(f"{path}: was not written by maskwise ({FORMAT}); export it again")
    with usable(path):
        return tensors, {k: json.loads(v) for k, v in metadata.items() if k != "format"}


def read_checkpoint(path: Path, where: str) -> dict[str, Tensor]:
    """Read a state dict that another project wrote: ``.safetensors``, or torch's own format.

    Nothing is unpickled but tensors and plain containers.

    Raises:
        UserError: beginning with ``where``, if there is no such file or it holds anything else.
    """
    if not path.is_file():
        raise UserError(f"{where}: no such file; save a state dict there, or name another file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:  # says nothing about the file
        raise
    except UnpicklingError:
        raise UserError(
            f"{where}: holds more than tensors, and to read it could run code of its own; save "
            "the tensors alone: torch.save(model.state_dict(), …)"
        ) from None
    except Exception as error:  # torch's reader of a file that is none raises what it meets
        raise UserError(
            f"{where}: is not a readable checkpoint of weights ({cut(str(error), 400)})"
        ) from None
    for key in WITHIN:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{where}: holds {type(state).__name__}, not a state dict of tensors")
    return dict(state)


def origin(path: Path) -> EncoderMetadata | None:
    """Return what an encoder of ours says about itself; None for another project's file."""
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    if metadata.get("format") not in READABLE or "encoder" not in metadata:
        return None
    with usable(path):
        return encoder_metadata(json.loads(metadata["encoder"]))


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> str:
    """Load all ``tensors`` into all of ``module``; return the account, "62 of 62 tensors".

    Raises:
        UserError: naming every tensor that is missing, unexpected, misshapen, of another type
            or not finite.
    """
    check_fit(module, tensors, where)
    module.load_state_dict(dict(tensors))
    return account(module)


def account(module: nn.Module) -> str:
    """Return how many tensors were loaded: all."""
    number = len(module.state_dict())
    return f"{number} of {number} tensors"


def check_fit(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise ``UserError`` as ``fill`` does; a module without memory can be asked, too."""
    wanted = module.state_dict()
    problems = [f"missing: {cut(name)}" for name in wanted if name not in tensors]
    problems += [f"unexpected: {cut(name)}" for name in tensors if name not in wanted]
    fits = [(name, _misfit(tensors[name], wanted[name])) for name in wanted if name in tensors]
    problems += [f"{word}: {cut(name)} {detail}" for name, (word, detail) in fits if word]
    if problems:
        fitting = len(wanted) - sum(not p.startswith("unexpected") for p in problems)
        more = len(problems) - MOST_TENSORS
        told = problems[:MOST_TENSORS] + ([f"and {more:,} more"] if more > 0 else [])
        raise UserError(
            f"{where}: {fitting} of {len(wanted)} tensors fit; nothing was loaded\n  "
            + "\n  ".join(told)
        )


def _misfit(tensor: Tensor, wanted: Tensor) -> tuple[str, str]:
    if tensor.shape != wanted.shape:
        return "misshapen", f"is {shown(tuple(tensor.shape))}, not {tuple(wanted.shape)}"
    if tensor.is_floating_point() != wanted.is_floating_point():
        return "of another type", f"is {tensor.dtype}, not {wanted.dtype}"
    if tensor.is_floating_point() and not tensor.float().isfinite().all():
        return "damaged", "holds values that are not finite numbers"
    return "", ""
