"""``*.safetensors`` of a fine-tuned model: encoder, what lies on top, and how to use them.

The metadata's block says which kind it is: ``model`` names one class, ``multilabel`` any
number of labels, ``segmenter`` outlines.

Needs torch and safetensors only. All or nothing: every tensor is accounted for, or it stops.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from torch import nn

from maskwise.artefacts.encoder import (
    account,
    build_encoder,
    encoder_metadata,
    read_tensors,
    rebuild,
    usable,
    write_tensors,
)
from maskwise.artefacts.hashing import sha256_of
from maskwise.artefacts.limits import BLOCK, PREFIX, from_file, to_file
from maskwise.bounds import Length, Positive, Share, Within
from maskwise.description import from_json
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.contract import Encoder
from maskwise.encoders.metadata import EncoderMetadata
from maskwise.encoders.segmenter import Segmenter
from maskwise.encoders.unet import LEAN, DecoderConfig
from maskwise.errors import UserError, shown
from maskwise.limits.record import Limits
from maskwise.preparation import upgraded

log = logging.getLogger(__name__)

MOST_CLASSES = 65_536
MOST_STAGES = 64
"""Of an encoder."""
Stage = Annotated[int, Within(0, MOST_STAGES - 1)]
Number = Annotated[int, Within(1, 10**9)]
"""Of images, or of features."""
Loss = Annotated[float, Within(0, 10**9)]
Probability = Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class _OfAnyModel:
    """What the metadata of every kind of model say."""

    block: ClassVar[str]
    """Of the file, in which they stand."""

    encoder: EncoderMetadata
    """Architecture, image size, preprocessing, source, recipe and seed."""
    task: str
    """Name in ``maskwise.finetune.tasks.TASKS``."""
    classes: Annotated[tuple[str, ...], Length(1, MOST_CLASSES)]
    """In the order of a classifier's outputs. Of a segmenter, what is outlined: class i is the
    output i + 1; output 0 is the background."""
    mode: str
    """``probe`` (the encoder as pre-trained) or ``full`` (fine-tuned as a whole)."""
    fraction: Share
    """Share of the labelled, or outlined, training images that the model saw."""
    images: Number
    """Number of those images."""


@dataclass(frozen=True)
class ClassifierMetadata(_OfAnyModel):
    """What the metadata of every classifier say."""

    stages: Annotated[tuple[Stage, ...], Length(1, MOST_STAGES)]
    """Whose pooled features the linear layer sees, finest first."""
    pooling: str
    """Name that ``maskwise.encoders.pooling.pool`` knows, or ``attentive``."""
    features: Number
    """How many pooled features the linear layer sees."""
    temperature: Positive
    """By which logits are divided before they become probabilities; fitted on held-out
    labels."""
    calibrated_on: Annotated[int, Within(0, 10**9)]
    """Number of labelled images that the temperature was fitted on; 0 = it is 1, for some class
    was not among those that were held out."""
    validation_log_loss: Loss
    """Of the calibrated probabilities on the validation images of that fraction, in nats."""

    @property
    def loss(self) -> float:
        """On validation images; the lower, the better the model."""
        return self.validation_log_loss


@dataclass(frozen=True)
class ModelMetadata(ClassifierMetadata):
    """What a user of a classifier that names one class must know."""

    block: ClassVar[str] = "model"


@dataclass(frozen=True)
class MultilabelMetadata(ClassifierMetadata):
    """What a user of a classifier that names any number of labels must know."""

    block: ClassVar[str] = "multilabel"

    thresholds: Annotated[tuple[Probability, ...], Length(1, MOST_CLASSES)]
    """Of ``classes``: a label is called where its probability reaches its threshold."""
    threshold_rule: str
    """How they were chosen, in a sentence."""


@dataclass(frozen=True)
class SegmenterMetadata(_OfAnyModel):
    """What a user of a segmenter must know."""

    block: ClassVar[str] = "segmenter"

    validation_loss: Loss
    """Dice loss + cross-entropy on the validation images of that fraction."""
    network: DecoderConfig = LEAN
    """How the decoder is built."""

    @property
    def loss(self) -> float:
        """On validation images; the lower, the better the model."""
        return self.validation_loss


Metadata = ClassifierMetadata | SegmenterMetadata


def write_model(
    model: nn.Module, metadata: Metadata, path: Path, limits: Limits | None = None
) -> None:
    """Write the model's parameters and buffers with their metadata, and its limits."""
    tensors, blocks = dict(model.state_dict()), {metadata.block: asdict(metadata)}
    if limits is not None:
        beside, blocks[BLOCK] = to_file(limits)
        tensors |= beside
    write_tensors(tensors, blocks, path)


def load_model(path: str | Path) -> Classifier | Segmenter:
    """Return the model in ``path``, in eval mode, its ``metadata`` an attribute.

    A classifier takes normalised images ``(B, C, H, W)`` and returns logits ``(B, classes)``;
    ``probabilities(images)`` returns calibrated probabilities, which add to 1, or where an
    image may have several labels are each by itself. A segmenter returns them per
    pixel, the background first, and ``outline(images)`` the class of each pixel, of images of
    any size. ``limits`` is what its sets of answers and its flag of scans unlike those of
    training rest on; None where an earlier version wrote the file.

    Raises:
        UserError: if the file is not a model, or a tensor is missing, unexpected or misshapen.
    """
    path = Path(path)
    tensors, blocks = read_tensors(path)
    kind = next((kind for kind in _KINDS if kind in blocks), None)
    if kind is None:
        if "encoder" not in blocks:
            raise UserError(f"{path}: holds no model")
        raise UserError(
            f"{path}: holds an encoder, which maskwise.load_encoder loads; here a fine-tuned "
            "model is needed: they lie in data/06_models/<source>/models"
        )
    with usable(path):
        metadata = _metadata(_KINDS[kind], blocks[kind])
        seen = metadata.encoder.preparation
        beside = {name for name in tensors if BLOCK in blocks and name.startswith(PREFIX)}
        own = {name: each for name, each in tensors.items() if name not in beside}
        model = rebuild(lambda: _build(metadata, str(path)), own, seen, str(path))
        if BLOCK in blocks:
            found = {name.removeprefix(PREFIX): tensors[name] for name in beside}
            model.limits = from_file(found, blocks[BLOCK], _features(model))
    model.sha256 = sha256_of(path)
    log.info("%s: loaded %s", path, account(model))
    model.encoder.metadata = metadata.encoder
    model.metadata = metadata
    return model


def _features(model: Classifier | Segmenter) -> int:
    return model.features if isinstance(model, Classifier) else model.encoder.width


def _build(metadata: Metadata, where: str) -> Classifier | Segmenter:
    encoder = build_encoder(metadata.encoder, where)
    if isinstance(metadata, SegmenterMetadata):
        return build_segmenter(encoder, metadata)
    return build_classifier(encoder, metadata)


def build_segmenter(encoder: Encoder, metadata: SegmenterMetadata) -> Segmenter:
    """Build the model that ``metadata`` describes around ``encoder``, its decoder fresh."""
    seen = metadata.encoder.preparation
    size = seen.height, seen.width
    return Segmenter(encoder, len(metadata.classes), size, seen.channels, metadata.network)


def build_classifier(encoder: Encoder, metadata: ClassifierMetadata) -> Classifier:
    """Build the model that ``metadata`` describes around ``encoder``, its head fresh."""
    return Classifier(
        encoder,
        metadata.stages,
        metadata.pooling,
        metadata.features,
        len(metadata.classes),
        metadata.temperature,
        "sigmoid" if isinstance(metadata, MultilabelMetadata) else "softmax",
    )


def _metadata(kind: type[Metadata], block: Mapping[str, Any]) -> Metadata:
    """Build the metadata from its JSON block; ``ValueError`` where it is wrong."""
    metadata = from_json(kind, _upgraded(block))
    if len(set(metadata.classes)) < len(metadata.classes):
        raise ValueError(f"classes is {shown(metadata.classes)}, not different names")
    if isinstance(metadata, MultilabelMetadata):
        labels, thresholds = len(metadata.classes), len(metadata.thresholds)
        if labels != thresholds:
            raise ValueError(f"thresholds are {thresholds}, but there are {labels} classes")
    return replace(metadata, encoder=encoder_metadata(block["encoder"]))


def _upgraded(block: Any) -> Any:
    if not isinstance(block, Mapping) or "encoder" not in block:
        return block
    network = block.get("network")
    if isinstance(network, Mapping) and "leak" not in network:
        # Decoders had ReLU before there was a choice, and a lean one has options no longer.
        lean = network.get("layout") == "lean"
        network = {"layout": "lean"} if lean else {**network, "leak": 0.0}
    return {
        **block,
        "encoder": upgraded(block["encoder"]),
        **({} if network is None else {"network": network}),
    }


_Kind = type[ModelMetadata] | type[MultilabelMetadata] | type[SegmenterMetadata]
_KINDS: dict[str, _Kind] = {
    kind.block: kind for kind in (ModelMetadata, MultilabelMetadata, SegmenterMetadata)
}
"""Name of the block -> what it describes."""
