"""``encoder.safetensors``: weights, and in the metadata all that is needed to use them.

Needs torch and safetensors only. All or nothing: every tensor is accounted for, or it stops.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from maskwise.artefacts.atomic import replacing
from maskwise.encoders import ENCODERS
from maskwise.errors import UserError, hint

FORMAT = "maskwise/1"


@dataclass(frozen=True)
class EncoderMetadata:
    """What a user of the encoder must know."""

    architecture: str
    """Name in ``maskwise.encoders.ENCODERS``."""
    arguments: dict[str, Any]
    """The architecture's options."""
    channels: int
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    mean: tuple[float, ...]
    """A channel; a network sees ``(v - mean) / std`` of intensities v in [0, 1]."""
    std: tuple[float, ...]
    modality: str
    intensity: dict[str, Any]
    geometry: dict[str, Any]
    source: str
    recipe: str
    seed: int
    data_hash: str
    version: str
    """Of the package that wrote the file."""


def write_encoder(encoder: nn.Module, metadata: EncoderMetadata, path: Path) -> None:
    """Write the encoder's parameters and buffers with their metadata."""
    write_tensors(encoder.state_dict(), {"encoder": asdict(metadata)}, path)


def load_encoder(path: str | Path) -> nn.Module:
    """Return the encoder in ``path``, in eval mode, its ``metadata`` an attribute.

    Its forward takes normalised images ``(B, C, H, W)`` and returns a feature map a stage.

    Raises:
        UserError: if the file is no encoder, or a tensor is missing, unexpected or misshapen.
    """
    path = Path(path)
    tensors, blocks = read_tensors(path)
    if "encoder" not in blocks:
        raise UserError(f"{path}: holds {hint('', blocks)} and no encoder")
    metadata = encoder_metadata(blocks["encoder"])
    encoder = build_encoder(metadata, str(path))
    fill(encoder, tensors, str(path))
    encoder.eval()
    encoder.metadata = metadata  # type: ignore[assignment]
    return encoder


def encoder_metadata(block: Mapping[str, Any]) -> EncoderMetadata:
    """Build the metadata from its JSON block."""
    values = dict(block)
    values["mean"], values["std"] = tuple(values["mean"]), tuple(values["std"])
    values["arguments"] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in values["arguments"].items()
    }
    return EncoderMetadata(**values)


def build_encoder(metadata: EncoderMetadata, where: str) -> nn.Module:
    """Build the architecture that ``metadata`` names, with fresh weights."""
    if metadata.architecture not in ENCODERS:
        raise UserError(
            f"{where}: needs the encoder {metadata.architecture!r}, which this version of "
            f"maskwise does not have; {hint(metadata.architecture, ENCODERS)}"
        )
    return ENCODERS[metadata.architecture](**metadata.arguments).build(metadata.channels)


def write_tensors(tensors: Mapping[str, Tensor], blocks: Mapping[str, Any], path: Path) -> None:
    """Write tensors with one JSON block a name in the safetensors metadata."""
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
        raise UserError(f"{path}: is no readable safetensors file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path}: was not written by maskwise ({FORMAT}); export it again")
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
    except (SafetensorError, OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise UserError(f"{where}: is no readable checkpoint of weights ({error})") from None
    state = state.get("state_dict", state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{where}: holds {type(state).__name__}, and no state dict of tensors")
    return dict(state)


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> str:
    """Load all ``tensors`` into all of ``module``; return the account, "62 of 62 tensors".

    Raises:
        UserError: naming every tensor that is missing, unexpected or misshapen.
    """
    wanted = module.state_dict()
    problems = [f"missing: {name}" for name in wanted if name not in tensors]
    problems += [f"unexpected: {name}" for name in tensors if name not in wanted]
    problems += [
        f"misshapen: {name} is {tuple(tensors[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    if problems:
        fitting = len(wanted) - sum(not p.startswith("unexpected") for p in problems)
        raise UserError(
            f"{where}: {fitting} of {len(wanted)} tensors fit; nothing was loaded\n  "
            + "\n  ".join(problems)
        )
    module.load_state_dict(dict(tensors))
    return f"{len(wanted)} of {len(wanted)} tensors"
