"""A trained encoder or model in a file that other programs run: ONNX, or torch's own."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch.export import ExportedProgram

from maskwise.artefacts.atomic import replacing
from maskwise.artefacts.encoder import load_encoder, read_tensors
from maskwise.artefacts.model import load_model
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError, hint, shown
from maskwise.exporting.answers import (
    Network,
    copied,
    encoder_metadata_of,
    metadata_of,
    names,
    warm,
)
from maskwise.exporting.check import TOLERANCE, Check, check, described, draw
from maskwise.exporting.files import Made, TorchFile
from maskwise.exporting.outside import inputs, outside
from maskwise.exporting.programs import program_of
from maskwise.preparation import Preparation

FORMAT = "maskwise-export/1"
KEY = "maskwise"
"""Of the metadata in an exported file."""
SUFFIXES = (".onnx", ".pt2")
PLACES = ("inside", "outside")


@dataclass(frozen=True)
class Exported:
    """What ``maskwise.export`` has written."""

    path: Path
    opset: int | None
    """Of ONNX; None of torch's own format."""
    check: Check


def export(
    model: Network | str | Path,
    path: str | Path,
    images: Sequence[NDArray[Any]] | None = None,
    opset: int | None = None,
    preparation: str = "inside",
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write what ``maskwise.export`` describes."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"{path}: a name that ends in {' or '.join(SUFFIXES)} is needed, which says what "
            "is to be written"
        )
    if preparation not in PLACES:
        told = hint(str(preparation), PLACES)
        raise UserError(f"preparation: there is no {shown(preparation)}; {told}")
    given = _loaded(Path(model)) if isinstance(model, str | Path) else model
    network, inside = copied(given), preparation == "inside"
    seen = encoder_metadata_of(network).preparation
    raw = _images(images, seen)
    warm(network, seen)
    made = _made(program_of(network, seen, inside), path, list(names(network)), opset)
    found = check(made.run, network, seen, raw, tolerance, inside, str(path))
    description = {**describe(network, seen, inside), "check": described(found)}
    content = made.content({KEY: json.dumps(description, sort_keys=True)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Exported(path, made.opset, found)


def describe(network: Network, preparation: Preparation, inside: bool) -> dict[str, Any]:
    """Return what a user of the file must know: of the network, its input and its answers."""
    metadata = metadata_of(network)
    if isinstance(metadata, EncoderMetadata):
        block, own = "encoder", asdict(_without_folder(metadata))
    else:
        whole = replace(metadata, encoder=_without_folder(metadata.encoder))
        block, own = metadata.block, asdict(whole)
    return {
        "format": FORMAT,
        block: own,
        "input": inputs(preparation, inside),
        "outputs": names(network),
        "outside": outside(preparation, network, inside),
    }


def _without_folder(metadata: EncoderMetadata) -> EncoderMetadata:
    """Leave out in which folder the file lay that the encoder began with."""
    if metadata.weights is None:
        return metadata
    name = metadata.weights.name.replace("\\", "/").rpartition("/")[2]
    return replace(metadata, weights=replace(metadata.weights, name=name))


def _made(program: ExportedProgram, path: Path, answers: list[str], opset: int | None) -> Made:
    if path.suffix == ".onnx":
        from maskwise.exporting.onnx_file import OnnxFile  # of the extra `export`

        return OnnxFile(program, answers, opset, str(path))
    if opset is not None:
        raise UserError(f"opset: is of ONNX, and {path.name} is not; leave it out")
    return TorchFile(program)


def _loaded(path: Path) -> Network:
    _, blocks = read_tensors(path)
    return load_encoder(path) if list(blocks) == ["encoder"] else load_model(path)


def _images(
    images: Sequence[NDArray[Any]] | None, preparation: Preparation
) -> list[NDArray[Any]]:
    if images is None:
        return draw(preparation)
    if not len(images):
        raise UserError("images: none were given to check with; leave them out, or give some")
    return list(images)
